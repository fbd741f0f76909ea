"use strict";
(async () => {
const root = document.querySelector(".viewer"), it = JSON.parse(document.getElementById("viewer-data").textContent);
const [image, source] = root.querySelectorAll("figure");
const fade = image.querySelector("input"), curves = source.querySelector("input"), readout = root.querySelector(".readout");
const HIDDEN = 255, FAINT = 0.05, BLINK = 700;
let layer = "source", mode = "", blinked = false, timer = null;
let cursor = null;  // {plane, image: [column, row] or null, source: [column, row], images: [...]}

// Images: grey levels become colours once, in canvases of their own.

function table(hex) {
  return Uint8Array.from({length: hex.length / 2}, (_, k) => parseInt(hex.substr(2 * k, 2), 16));
}

async function painted(address, hex) {
  const picture = new Image();
  await new Promise((loaded, failed) => Object.assign(picture, {onload: loaded, onerror: failed, src: address}));
  const canvas = Object.assign(document.createElement("canvas"), {width: picture.width, height: picture.height});
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height), colour = table(hex);
  canvas.levels = new Uint8Array(canvas.width * canvas.height);
  for (let k = 0; k < canvas.levels.length; k++) {
    const level = pixels.data[4 * k];
    canvas.levels[k] = level;
    for (let c = 0; c < 3; c++) pixels.data[4 * k + c] = level === HIDDEN ? 128 : colour[3 * level + c];
    pixels.data[4 * k + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// A long source is as high as it would be wide.
for (const [figure, grid] of [[image, it.imageGrid], [source, it.sourceGrid]])
  figure.querySelector("canvas").style.width = `${Math.min(1, grid.nx / grid.ny) * 100}%`;

const layers = {};
for (const [name, address] of Object.entries({...it.image, ...it.source})) {
  const map = name === "residual" ? "signed" : name === "spread" ? "spread" : "light";
  layers[name] = await painted(address, it.colours[map]);
}
if (!layers.spread) source.querySelector("[data-layer=spread]").hidden = true;

// Rays: a mesh over the image, of positions in the source plane.

function integers(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

const mesh = it.rays, across = integers(mesh.column), along = integers(mesh.row);
const stepX = it.imageGrid.nx / (mesh.nx - 1), stepY = it.imageGrid.ny / (mesh.ny - 1);

function ray(column, row) {
  const u = Math.min(Math.max((column + 0.5) / stepX, 0), mesh.nx - 1.001), v = Math.min(Math.max((row + 0.5) / stepY, 0), mesh.ny - 1.001);
  const i = Math.floor(u), j = Math.floor(v), k = j * mesh.nx + i, p = u - i, q = v - j;
  const at = a => ((1 - q) * ((1 - p) * a[k] + p * a[k + 1]) + q * ((1 - p) * a[k + mesh.nx] + p * a[k + mesh.nx + 1])) / mesh.steps;
  return [at(across), at(along)];
}

// All triangles of the mesh that hold a point of the source: where its images are, and how much they are magnified.
function imagesOf([x, y]) {
  const found = [], X = x * mesh.steps, Y = y * mesh.steps;
  const cell = (ratio => ratio * ratio)(sideOf(it.imageGrid) / sideOf(it.sourceGrid));
  for (let j = 0; j < mesh.ny - 1; j++) {
    for (let i = 0; i < mesh.nx - 1; i++) {
      const k = j * mesh.nx + i;
      for (const [a, b, c, flip] of [[k, k + 1, k + mesh.nx, 0], [k + mesh.nx + 1, k + mesh.nx, k + 1, 1]]) {
        const ux = across[b] - across[a], uy = along[b] - along[a], vx = across[c] - across[a], vy = along[c] - along[a];
        const area = ux * vy - uy * vx;
        if (!area) continue;
        const s = ((X - across[a]) * vy - (Y - along[a]) * vx) / area, t = (ux * (Y - along[a]) - uy * (X - across[a])) / area;
        if (s < 0 || t < 0 || s + t >= 1) continue;
        const magnification = cell * stepX * stepY * mesh.steps ** 2 / Math.abs(area);
        if (magnification < FAINT) continue;
        const [di, dj] = flip ? [1 - s, 1 - t] : [s, t];
        found.push([(i + di) * stepX - 0.5, (j + dj) * stepY - 0.5, magnification]);
      }
    }
  }
  return found;
}

function sideOf(grid) {
  const [[a, b], [c, d]] = grid.matrix;
  return Math.sqrt(Math.abs(a * d - b * c));
}

function offset(grid, [column, row]) {
  return [0, 1].map(k => grid.origin[k] + grid.matrix[k][0] * column + grid.matrix[k][1] * row);
}

// Drawing: everything is in pixels of the grid that fills the canvas, first row at the bottom.

function view(figure) {
  const canvas = figure.querySelector("canvas"), grid = figure === image ? it.imageGrid : it.sourceGrid;
  const ratio = window.devicePixelRatio || 1, width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(width * grid.ny / grid.nx));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  const scale = width / grid.nx, context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  return {canvas, context, grid, scale, ratio, to: ([c, r]) => [(c + 0.5) * scale, height - (r + 0.5) * scale]};
}

function lay({context, canvas}, name, opacity) {
  context.globalAlpha = opacity;
  context.drawImage(layers[name], 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

function trace({context, to, ratio}, lines) {
  context.strokeStyle = "#7fd4ff";
  context.lineWidth = 1.2 * ratio;
  for (const line of lines) {
    context.beginPath();
    line.forEach((point, k) => context[k ? "lineTo" : "moveTo"](...to(point)));
    context.stroke();
  }
}

function mark({context, to, ratio}, point, cross) {
  const [x, y] = to(point), size = 7 * ratio;
  const path = new Path2D();
  if (cross) {
    path.moveTo(x - size, y); path.lineTo(x + size, y);
    path.moveTo(x, y - size); path.lineTo(x, y + size);
  } else path.arc(x, y, size, 0, 2 * Math.PI);
  for (const [colour, thick] of [["black", 4], ["white", 1.8]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick * ratio;
    context.stroke(path);
  }
}

function compass({context, canvas, grid, ratio}) {
  if (!grid.sky) return;
  const [[a, b], [c, d]] = grid.matrix, det = a * d - b * c, size = 22 * ratio;
  const x = canvas.width - 2 * size, y = canvas.height - 1.2 * size;
  context.font = `${12 * ratio}px sans-serif`;
  context.textAlign = "center"; context.textBaseline = "middle";
  // north is +y and east is -x, in offsets
  for (const [name, ox, oy] of [["N", 0, 1], ["E", -1, 0]]) {
    let [column, row] = [(d * ox - b * oy) / det, (a * oy - c * ox) / det];
    const length = Math.hypot(column, row);
    [column, row] = [column / length, row / length];
    const end = [x + column * size, y - row * size], word = [x + 1.45 * column * size, y - 1.45 * row * size];
    for (const [colour, thick] of [["black", 4], ["white", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick * ratio;
      context.beginPath(); context.moveTo(x, y); context.lineTo(...end); context.stroke();
      context[colour === "black" ? "strokeText" : "fillText"](name, ...word, 2 * size);
      context.fillStyle = "white";
    }
  }
}

function shown() {
  if (mode === "residual") return [["residual", 1]];
  if (mode === "blink") return [[blinked ? "model" : "data", 1]];
  const value = Number(fade.value), from = Math.min(Math.floor(value), 1), names = ["data", "interpolated", "resolved"];
  return [[names[from], 1], [names[from + 1], value - from]];
}

function draw() {
  const left = view(image), right = view(source);
  for (const [name, opacity] of shown()) if (opacity > 0) lay(left, name, opacity);
  lay(right, layer, 1);
  if (curves.checked) { trace(left, it.critical); trace(right, it.caustics); }
  compass(left);
  if (cursor) {
    for (const found of cursor.images) mark(left, found, false);
    if (cursor.image) mark(left, cursor.image, true);
    mark(right, cursor.source, cursor.plane === source);
    if (cursor.plane === image) mark(right, cursor.source, true);
  }
  bars();
  for (const button of root.querySelectorAll("[data-stop]"))
    button.setAttribute("aria-pressed", String(!mode && Number(fade.value) === Number(button.dataset.stop)));
  for (const button of root.querySelectorAll("[data-mode]"))
    button.setAttribute("aria-pressed", String(mode === button.dataset.mode));
  for (const button of root.querySelectorAll("[data-layer]"))
    button.setAttribute("aria-pressed", String(layer === button.dataset.layer));
}

function bars() {
  const short = value => Number(value.toPrecision(2)).toString().replace("-", "−"), unit = it.unit ? ` ${it.unit}` : "";
  const light = ["light", short(it.scale.low), short(it.scale.high) + unit];
  const left = mode === "residual" ? ["signed", `−${it.sigmas} σ`, `${it.sigmas} σ`] : light;
  const right = layer === "spread" ? ["spread", "0", short(it.spread) + unit] : light;
  for (const [figure, [map, low, high]] of [[image, left], [source, right]]) {
    const strip = figure.querySelector(".scale canvas"), context = strip.getContext("2d"), colour = table(it.colours[map]);
    for (let k = 0; k < HIDDEN; k++) {
      context.fillStyle = `rgb(${colour[3 * k]},${colour[3 * k + 1]},${colour[3 * k + 2]})`;
      context.fillRect(k, 0, 2, 1);
    }
    figure.querySelector(".low").textContent = low;
    figure.querySelector(".high").textContent = high;
  }
}

// The number behind a colour, as near as 255 levels say it.
function value(name, [column, row]) {
  const canvas = layers[name], grid = ["source", "spread"].includes(name) ? it.sourceGrid : it.imageGrid;
  const i = Math.floor((column + 0.5) * canvas.width / grid.nx), j = Math.floor((grid.ny - row - 0.5) * canvas.height / grid.ny);
  if (i < 0 || j < 0 || i >= canvas.width || j >= canvas.height) return null;
  const level = canvas.levels[j * canvas.width + i];
  if (level === HIDDEN) return "masked";
  const part = level / (HIDDEN - 1), {low, high, linear} = it.scale;
  if (name === "residual") return `${((2 * part - 1) * it.sigmas).toFixed(1)} σ`;
  if (name === "spread") return (part * it.spread).toPrecision(2);
  const [from, to] = [low, high].map(v => Math.asinh(v / linear));
  return (linear * Math.sinh(from + part * (to - from))).toPrecision(2);
}

function say() {
  const words = point => point.map(v => v.toFixed(3).replace("-", "−")).join("″, ") + "″";
  const here = cursor.image && value(shown().at(-1)[1] > 0.5 ? shown().at(-1)[0] : shown()[0][0], cursor.image);
  const behind = value(layer, cursor.source);
  const parts = [];
  if (cursor.image) parts.push(`image ${words(offset(it.imageGrid, cursor.image))}${here ? `: ${here}` : ""}`);
  parts.push(`source ${words(offset(it.sourceGrid, cursor.source))}${behind ? `: ${behind}` : ""}`);
  const each = cursor.images.map(found => found[2] > 100 ? "> 100" : found[2].toPrecision(2));
  parts.push(each.length === 1 ? `1 image, magnified ${each[0]} times` : `${each.length} images, magnified ${each.join(", ")} times`);
  readout.textContent = parts.join(" · ");
}

function point(plane, at) {
  const grid = plane === image ? it.imageGrid : it.sourceGrid;
  at = [Math.min(Math.max(at[0], -0.5), grid.nx - 0.5), Math.min(Math.max(at[1], -0.5), grid.ny - 0.5)];
  const behind = plane === image ? ray(...at) : at;
  cursor = {plane, image: plane === image ? at : null, source: behind, images: imagesOf(behind)};
  say();
  draw();
}

// What the user does.

for (const plane of [image, source]) {
  const canvas = plane.querySelector("canvas");
  const move = event => {
    const {grid} = view(plane), box = canvas.getBoundingClientRect();
    point(plane, [(event.clientX - box.left) / box.width * grid.nx - 0.5, (box.bottom - event.clientY) / box.height * grid.ny - 0.5]);
  };
  canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); move(event); });
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("keydown", event => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!step) return;
    event.preventDefault();
    const grid = plane === image ? it.imageGrid : it.sourceGrid, far = event.shiftKey ? 10 : 1;
    const last = cursor && (plane === image ? cursor.image || cursor.images[0] : cursor.source);
    const from = last || [(grid.nx - 1) / 2, (grid.ny - 1) / 2];
    point(plane, [from[0] + far * step[0], from[1] + far * step[1]]);
  });
}

function become(next) {
  clearInterval(timer);
  mode = mode === next ? "" : next;
  blinked = false;
  if (mode === "blink") timer = setInterval(() => { blinked = !blinked; draw(); }, BLINK);
  draw();
}

fade.addEventListener("input", () => { if (mode) become(mode); draw(); });
for (const button of root.querySelectorAll("[data-stop]")) {
  button.addEventListener("click", () => { fade.value = button.dataset.stop; if (mode) become(mode); draw(); });
}
for (const button of root.querySelectorAll("[data-mode]")) button.addEventListener("click", () => become(button.dataset.mode));
for (const button of root.querySelectorAll("[data-layer]")) {
  button.addEventListener("click", () => { layer = button.dataset.layer; draw(); });
}
curves.addEventListener("change", draw);
new ResizeObserver(draw).observe(root);
// Begin where the source is brightest: it shows how the planes are linked.
const {levels} = layers.source, brightest = levels.reduce((best, level, k) => level > levels[best] ? k : best, 0);
point(source, [brightest % layers.source.width, it.sourceGrid.ny - 1 - Math.floor(brightest / layers.source.width)]);
root.dataset.ready = "yes";
})();
