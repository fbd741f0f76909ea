"""Pages in a real browser: they sort, search, page, link the planes, fit a phone, and raise no errors."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from matplotlib.image import imsave

from lenssuper import SIE, ForwardModel, Observation, SuperResolution
from lenssuper.plotting.pages import write_index, write_report
from lenssuper.simulate import SersicSource, mock_lens
from lenssuper.simulate.instruments import BENCHMARK
from lenssuper.solvers import Posterior

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# Before the scripts of the page: whatever goes wrong is kept.
_LISTEN = """<script>
window.wrong = [];
window.addEventListener("error", event => wrong.push(event.message));
window.addEventListener("unhandledrejection", event => wrong.push(String(event.reason)));
for (const kind of ["error", "warn"]) console[kind] = (...words) => wrong.push(words.join(" "));
</script>"""
# After them: steps are taken, and what they return is written where it can be read.
_TAKE = """<pre id="found"></pre><script>
(async () => {
  const found = {};
  try {
    for (let k = 0; k < 200 && document.querySelector(".viewer:not([data-ready])"); k++)
      await new Promise(resolve => setTimeout(resolve, 20));
    found.steps = await (async () => { %s })();
  } catch (error) { wrong.push(String(error)); }
  found.wrong = wrong;
  found.width = [document.documentElement.scrollWidth, window.innerWidth];
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script>"""


def in_browser(page, steps, width=1000):
    """Open a page, take steps in JavaScript, and return what they gave."""
    text = page.read_text(encoding="utf-8")
    trial = page.with_name("trial.html")
    text = text.replace("<head>", "<head>" + _LISTEN, 1).replace("</body>", _TAKE % steps + "</body>")
    trial.write_text(text, encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
    command += [f"--window-size={width},900", f"--user-data-dir={page.parent / 'profile'}", "--dump-dom"]
    try:
        done = subprocess.run([*command, trial.as_uri()], capture_output=True, timeout=60, check=True).stdout
    except subprocess.TimeoutExpired as late:  # some versions do not end by themselves
        done = late.stdout or b""
    (text,) = re.findall(r'<pre id="found">(.*?)</pre>', done.decode("utf-8"), re.DOTALL)
    found = json.loads(html.unescape(text))
    assert found["wrong"] == []
    return found


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    directory = tmp_path_factory.mktemp("index")
    n = 150
    rng = np.random.default_rng(4)
    table = QTable({"name": [f"J{k:03d}" for k in range(n)], "status": ["done"] * n})
    table["einstein_radius"] = rng.uniform(0.5, 2, n) * u.arcsec
    table["reduced_chi2"] = np.where(np.arange(n) == 7, np.nan, rng.uniform(0.8, 1.2, n))
    table["time"] = table["cpu_time"] = np.ones(n) * u.s
    table["warnings"] = [""] * n
    table["reason"] = [
        "the PSF is too wide to be true, says a long note" if k == 42 else "" for k in range(n)
    ]
    path = directory / "index.html"
    write_index(table, path)
    return path, table


def test_index_sorts_searches_and_turns_pages(index):
    path, table = index
    steps = """
      const rows = () => [...document.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent);
      const place = () => document.getElementById("place").textContent;
      const heading = text => [...document.querySelectorAll("th button")].find(b => b.textContent === text);
      const all = [rows(), place()];
      document.getElementById("on").click();
      const second = [rows(), place(), document.getElementById("on").disabled];
      document.getElementById("back").click();
      const back = [rows()[0], document.getElementById("back").disabled];
      heading("reduced χ²").click();
      const up = [rows(), heading("reduced χ²").parentElement.ariaSort];
      heading("reduced χ²").click();
      const down = [rows(), heading("reduced χ²").parentElement.ariaSort];
      const search = document.getElementById("search");
      search.value = "PSF true"; search.dispatchEvent(new Event("input"));
      return {all, second, back, up, down, searched: [rows(), place()]};"""
    found = in_browser(path, steps)["steps"]
    names = list(table["name"])
    assert found["all"] == [names[:100], "1 to 100 of 150"]
    assert found["second"] == [names[100:], "101 to 150 of 150", True]
    assert found["back"] == ["J000", True]
    order = np.argsort(np.asarray(table["reduced_chi2"].round(3)), kind="stable")  # NaN at the end
    rising, falling = found["up"], found["down"]
    assert rising[1] == "ascending"
    assert rising[0] == [names[k] for k in order[:100]]
    assert falling[1] == "descending"
    values = {name: value for name, value in zip(names, table["reduced_chi2"].round(3), strict=True)}
    known = sorted((value for value in values.values() if value == value), reverse=True)
    assert [values[name] for name in falling[0]] == known[:100]
    assert found["searched"] == [["J042"], "1 to 1 of 1"]


def test_index_fits_a_laptop(tmp_path):
    table = QTable({"name": ["J0946", "J1430+4105"], "status": ["done", "failed"]})
    table["verdict"] = ["look", ""]
    table["reasons"] = ["held-out pixels are fitted much worse (chi-square 1.41) than the others (1.02)", ""]
    table["reason"] = [
        "",
        "LensFitter: the image has no pixel with light near the Einstein radius of 1.4 arcsec",
    ]
    table["einstein_radius"] = [1.4, 1.5] * u.arcsec
    table["time"] = table["cpu_time"] = [123.4, 98.7] * u.s
    for name in ("reduced_chi2", "lens_reduced_chi2", "light_reduced_chi2", "effective_modes"):
        table[name] = [1.031, np.nan]
    table["log_evidence"] = [-10021.5, np.nan]
    for name in table["name"]:
        image = np.zeros((90, 276))
        imsave(tmp_path / f"{name}_small.png", image)
    write_index(table, tmp_path / "index.html")
    found = in_browser(tmp_path / "index.html", "return document.images[0].offsetWidth;", width=1280)
    assert found["width"][0] <= found["width"][1] == 1280
    assert found["steps"] > 150


def test_index_fits_a_phone(index):
    inside, window = in_browser(index[0], "return null;", width=400)["width"]
    assert window <= 500
    assert inside <= window


@pytest.fixture(scope="module")
def lens():
    return SIE(theta_E=1.0 * u.arcsec, q=0.75, phi=30 * u.deg)


@pytest.fixture(scope="module")
def report(lens, tmp_path_factory):
    """The report on a result that is the truth, with a mask."""
    mock = mock_lens(
        lens, SersicSource(0.1 * u.arcsec, 1.0, x=0.05 * u.arcsec), BENCHMARK, shape=(40, 44), rng=1
    )
    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    hidden = np.zeros(observation.shape, dtype=bool)
    hidden[:5, :5] = True
    model = ForwardModel(observation.masked(hidden), lens, factor=2)
    mean = mock.source_image(model.source_grid)
    draws = mean * (1 + 0.1 * np.random.default_rng(3).standard_normal((8, *mean.shape)))
    result = SuperResolution.from_posterior(model, Posterior(mean=mean, std=draws.std(axis=0), draws=draws))
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(result, path, times={"super-resolution": (3.0, 2.5)})
    return path, result


def test_report_fits_a_phone(report):
    inside, window = in_browser(report[0], "return null;", width=400)["width"]
    assert window <= 500
    assert inside <= window


_HOW = """
  const [image, source] = [...document.querySelectorAll(".viewer figure")];
  const said = () => document.querySelector(".readout").textContent;
  const at = (figure, x, y) => {
    const canvas = figure.querySelector("canvas"), box = canvas.getBoundingClientRect();
    const where = {clientX: box.left + x * box.width, clientY: box.bottom - y * box.height, bubbles: true};
    canvas.dispatchEvent(new PointerEvent("pointermove", where));
    return said();
  };
  const pixel = (figure, x, y) => {
    const canvas = figure.querySelector("canvas");
    const at = [Math.floor(x * canvas.width), Math.floor((1 - y) * canvas.height), 1, 1];
    return [...canvas.getContext("2d").getImageData(...at).data.slice(0, 3)];
  };
"""


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text.replace("−", "-"))]


def test_point_in_the_image_is_traced_to_the_source(report, lens):
    """Anywhere in the image: the page's ray is the lens's, to a fraction of a source pixel."""
    path, result = report
    places = [(0.3, 0.7), (0.55, 0.8), (0.81, 0.33), (0.2, 0.25)]
    said = in_browser(path, _HOW + f"return {json.dumps(places)}.map(([x, y]) => at(image, x, y));")["steps"]
    ny, nx = result.fine_grid.shape
    for (right, up), text in zip(places, said, strict=True):
        x, y = result.fine_grid.to_offset(right * nx - 0.5, up * ny - 0.5)
        here, behind = (numbers(part.partition(":")[0]) for part in text.split("·")[:2])
        np.testing.assert_allclose(here, [x, y], atol=2e-3)
        np.testing.assert_allclose(behind, lens.rays_arcsec(x, y), atol=result.source_grid.side_arcsec)


def test_point_in_the_source_shows_its_images(report, lens):
    """Their number and magnifications are those that the lens equation gives."""
    path, result = report
    ny, nx = result.source_grid.shape
    offsets = [(0.0, 0.1), (0.08, -0.05), (0.45, 0.3)]
    places = [result.source_grid.to_pixel(*offset) for offset in offsets]
    places = [((column + 0.5) / nx, (row + 0.5) / ny) for column, row in places]
    said = in_browser(path, _HOW + f"return {json.dumps(places)}.map(([x, y]) => at(source, x, y));")["steps"]
    for offset, text in zip(offsets, said, strict=True):
        x, y = lens.image_positions(*(offset * u.arcsec))
        expected = np.sort(np.abs(lens.magnification(x, y)))
        found = np.sort(numbers(text.split("magnified")[1]))
        expected = expected[expected > 0.05]
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, rtol=0.3)
        assert f"{len(expected)} images" in text


def test_slider_buttons_and_keys(report):
    path, _ = report
    steps = (
        _HOW
        + """
      const button = text =>
        [...document.querySelectorAll(".viewer button")].find(it => it.textContent === text);
      const pressed = () => [...document.querySelectorAll("[aria-pressed=true]")].map(b => b.textContent);
      const start = pressed();
      button("data").click();
      const hidden = pixel(image, 0.05, 0.05), data = pressed();
      button("residual").click();
      const residual = pressed();
      const fade = document.querySelector(".viewer input[type=range]");
      fade.value = 1; fade.dispatchEvent(new Event("input"));
      const interpolated = pressed();
      button("its uncertainty").click();
      const spread = pressed();
      button("blink data and model").click();
      const shown = [];
      for (let k = 0; k < 3; k++) {
        shown.push(pixel(image, 0.05, 0.05));
        await new Promise(resolve => setTimeout(resolve, 720));
      }
      button("blink data and model").click();
      at(image, 0.5, 0.75);
      const canvas = image.querySelector("canvas"), before = said();
      canvas.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", shiftKey: true}));
      return {start, hidden, data, residual, interpolated, spread, shown, before, after: said()};"""
    )
    found = in_browser(path, steps)["steps"]
    assert found["start"] == ["super-resolved", "source"]
    assert found["data"] == ["data", "source"]
    assert found["hidden"] == [128, 128, 128]  # masked
    assert found["residual"] == ["residual", "source"]
    assert found["interpolated"] == ["interpolation", "source"]
    assert found["spread"] == ["interpolation", "its uncertainty"]
    assert [pixel == [128, 128, 128] for pixel in found["shown"]] == [True, False, True]
    side = report[1].fine_grid.side_arcsec
    moved = np.subtract(numbers(found["after"])[:2], numbers(found["before"])[:2])
    np.testing.assert_allclose(moved, [10 * side, 0], atol=2e-3)
