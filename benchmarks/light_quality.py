"""
How well do sums of Sersics describe galaxies? Error, R2 and time of the methods of SersicFitter against K.

    python benchmarks/light_quality.py --n 10
    python benchmarks/light_quality.py --galaxies galaxies.fits --methods least_squares cnn
    python benchmarks/light_quality.py --n 10 --docs docs/validation.rst

See README.rst beside this file for what the columns are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData

import lenssuper
from lenssuper import Observation, PixelGrid, SersicFitter
from lenssuper.datasets import CutoutFolder, Galaxy10, with_noise
from lenssuper.exceptions import LensSuperWarning
from lenssuper.simulate import mock_galaxies

COLUMNS = ("error", "r2", "skill", "cpu", "seconds")
MARKS = (".. light table: begin", ".. light table: end")
BASELINES = {"black": "Black image", "constant": "Constant: the median", "noise": "Noise alone"}
# How each method is called, and what it is called in the table.
METHODS = {
    "least_squares": ({"method": "least_squares"}, "``least_squares``"),
    "cnn": ({"method": "cnn"}, "``cnn``"),
    "cnn_polish": ({"method": "cnn", "polish": True}, "``cnn``, polished"),
    "ppo": ({"method": "ppo"}, "``ppo``"),
    "ppo_discrete": ({"method": "ppo", "weights": "ppo_discrete"}, "``ppo``, discrete actions"),
}


class Scaled:
    """An observation brought to [0, 1] by its smallest and largest value, and models in the same way."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.used = ~observation.mask
        self.low = float(observation.data[self.used].min())
        self.range = float(observation.data[self.used].max()) - self.low
        self.image = self.of(observation.data)

    def of(self, image: np.ndarray) -> np.ndarray:
        """The pixels that are used of an image like the data, in one row."""
        return (np.asarray(image, dtype=float)[self.used] - self.low) / self.range

    def scores(self, model: np.ndarray | float) -> dict[str, float]:
        """Compare a model in [0, 1] with the image."""
        difference = self.image - model
        total = np.sum((self.image - self.image.mean()) ** 2)
        return {
            "error": float(100 * np.mean(np.abs(difference))),
            "r2": float(1 - np.sum(difference**2) / total),
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        """Scores of a black image and of the median; and the error of a perfect model of Gaussian noise."""
        sigma = self.observation.sigma[self.used] / self.range
        total = np.sum((self.image - self.image.mean()) ** 2)
        perfect = {
            "error": float(100 * np.sqrt(2 / np.pi) * sigma.mean()),
            "r2": float(1 - np.sum(sigma**2) / total),
        }
        return {
            "black": self.scores(0.0),
            "constant": self.scores(float(np.median(self.image))),
            "noise": perfect,
        }


def read_galaxies(path: Path, n: int | None, pixel: u.Quantity) -> list[CCDData]:
    """Galaxies of a folder of cutouts, of the file of Galaxy10, or of a FITS file with one to an HDU."""
    if path.is_dir():
        return list(CutoutFolder(path, estimate_noise=True, pixel_scale=pixel)[:n])
    if path.suffix in (".h5", ".hdf5"):
        return list(Galaxy10(path)[:n])
    with fits.open(path) as hdus:
        images = [np.asarray(hdu.data, dtype=float) for hdu in hdus if np.ndim(hdu.data) == 2]
    if not images:
        raise SystemExit(f"{path} holds no two-dimensional image")
    grids = [PixelGrid(image.shape, pixel) for image in images[:n]]
    return [
        with_noise(CCDData(image, unit="", wcs=grid.wcs)) for image, grid in zip(images, grids, strict=False)
    ]


def measure(galaxy: CCDData, scaled: Scaled, options: dict, k: int) -> dict[str, float]:
    """Fit K Sersics by one method."""
    fitter = SersicFitter(n_components=k, mask_neighbors=False, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)
        start, busy = time.perf_counter(), time.process_time()
        fit = fitter(galaxy)
        times = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy}
    return scaled.scores(scaled.of(fit.model.data)) | times | {"reduced": fit.reduced_chi2}


def rows(galaxies: list[CCDData], options: argparse.Namespace) -> Iterator[dict]:
    """Give a record for each galaxy, method and K, and print it."""
    print(line(["galaxy", "method", "K", *COLUMNS]))
    for number, galaxy in enumerate(galaxies):
        scaled = Scaled(Observation.from_nddata(galaxy))
        baselines = scaled.baselines()
        runs = [(name, 0) for name in baselines] + [
            (m, k) for m in options.methods for k in options.components
        ]
        for name, k in runs:
            record = baselines.get(name) or measure(galaxy, scaled, METHODS[name][0], k)
            record |= {"galaxy": number, "method": name, "k": k}
            record["skill"] = 1 - record["error"] / baselines["constant"]["error"]
            print(shown(record), flush=True)
            yield record


def shown(record: dict) -> str:
    """Format one record."""
    numbers = [f"{record[name]:.3f}" if name in record else "" for name in COLUMNS]
    return line([str(record.get("galaxy", "")), record["method"], str(record["k"]), *numbers])


def line(cells: list[str]) -> str:
    """Format one line."""
    widths = [6, 14, 3, 8, 8, 8, 8, 8]
    return " ".join(f"{cell:>{width}.{width}}" for cell, width in zip(cells, widths, strict=True))


def summary(records: list[dict]) -> list[dict]:
    """Average over the galaxies; the skill is that of the mean error."""
    means: list[dict] = []
    keys = dict.fromkeys((record["method"], record["k"]) for record in records)
    for name, k in keys:
        same = [r for r in records if (r["method"], r["k"]) == (name, k)]
        values = {c: float(np.mean([r[c] for r in same])) for c in COLUMNS if c in same[0]}
        means.append({"method": name, "k": k, "least_skill": min(r["skill"] for r in same)} | values)
    constant = next(m["error"] for m in means if m["method"] == "constant")
    return [m | {"skill": 1 - m["error"] / constant} for m in means]


def table(means: list[dict], components: list[int]) -> str:
    """The table of the documentation."""
    first, last = components[0], components[-1]
    titles = ["Method", *(f"K = {k}" for k in components), f"R² at {last}", f"Skill at {last}"]
    titles += [f"Time at {first} (s)", f"at {last}"]
    lines = [[BASELINES[m["method"]], f"{m['error']:.2f}", *[""] * (len(components) - 1)] for m in means[:3]]
    for cells, m in zip(lines, means, strict=False):
        cells += [f"{m['r2']:.3f}", f"{m['skill']:.2f}", "", ""]
    for name in dict.fromkeys(m["method"] for m in means[3:]):
        by_k = {m["k"]: m for m in means if m["method"] == name}
        cells = [METHODS[name][1], *(f"{by_k[k]['error']:.2f}" for k in components)]
        cells += [f"{by_k[last]['r2']:.3f}", f"{by_k[last]['skill']:.2f}"]
        lines.append([*cells, f"{by_k[first]['cpu']:.2f}", f"{by_k[last]['cpu']:.1f}"])
    widths = "26 " + " ".join(["9"] * (len(titles) - 1))
    text = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for cells in [titles, *lines]:
        text += [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(cells)]
    return "\n".join(text)


def write_table(text: str, path: Path) -> None:
    """Put the table between its marks in a page of the documentation."""
    page = path.read_text(encoding="utf-8")
    begin, end = (page.find(mark) for mark in MARKS)
    if not 0 <= begin < end:
        raise SystemExit(f"{path} does not have the marks {MARKS}")
    path.write_text(page[: begin + len(MARKS[0])] + f"\n\n{text}\n\n" + page[end:], encoding="utf-8")


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--n", type=int, default=10, help="number of galaxies (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the set (default 1)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--components", nargs="+", type=int, default=[1, 2, 3, 4, 5, 6], metavar="K")
    parser.add_argument(
        "--galaxies",
        type=Path,
        help="real galaxies instead of simulated ones: a FITS file with one to an HDU, a folder of FITS "
        "files, or the HDF5 file of Galaxy10",
    )
    parser.add_argument(
        "--pixel", type=float, default=0.03, help="side in arcsec of pixels without WCS (default 0.03)"
    )
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--docs", type=Path, help="put the table between its marks in this page")
    options = parser.parse_args()

    if options.galaxies:
        galaxies = read_galaxies(options.galaxies, options.n, options.pixel * u.arcsec)
    else:
        galaxies = mock_galaxies(options.n, options.seed)
    # import and read weights outside of what is timed
    warm = mock_galaxies(1, 0, shape=(32, 32))[0]
    for name in options.methods:
        measure(warm, Scaled(Observation.from_nddata(warm)), METHODS[name][0], 1)

    records = list(rows(galaxies, options))
    means = summary(records)
    print(f"\nmeans over {len(galaxies)} galaxies; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for mean in means:
        print(shown(mean) + f"   least skill {mean['least_skill']:.2f}")
    text = table(means, options.components)
    print(f"\n{text}")
    if options.docs:
        write_table(text, options.docs)
    if options.json:
        about = {
            "lenssuper": lenssuper.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "options": {k: str(v) for k, v in vars(options).items()},
        }
        options.json.write_text(json.dumps({"about": about, "means": means, "galaxies": records}, indent=1))


if __name__ == "__main__":
    main()
