"""
How good are the solvers? PSNR, chi-square and error bars on the seeded simulated set.

    python benchmarks/quality.py --n 12
    python benchmarks/quality.py --solvers cubic lognormal --generator knotty --json out.json
    python benchmarks/quality.py --solvers cubic gradient64 lognormal --sources galaxies.fits --json out.json

See README.rst beside this file for what the columns are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import ndtri

import lenssuper
from lenssuper import ForwardModel, PixelGrid, SuperResolution, SuperResolver, solvers
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.simulate import (
    ImageSource,
    MockLens,
    benchmark_set,
    random_elliptical,
    random_field_galaxy,
    random_knotty_spiral,
    random_merger,
    random_ring_galaxy,
)

# Source pixels brighter than this share of the peak count in the coverage of the error bars.
BRIGHT = 0.1
# Ranges of brightness, as shares of the peak, and shares that error bars should hold, for the JSON file
RANGES = {"0.03-0.1": (0.03, 0.1), "0.1-0.3": (0.1, 0.3), "0.3-1": (0.3, 1.0), "0.1-1": (0.1, 1.0)}
LEVELS = (0.5, 0.68, 0.9, 0.95)
# Galaxies that differ in kind. Settings of solvers were compared on clumpy, rings, ellipticals, fields and
# images of real galaxies; the others are only for reports, but for the factor in the network's error bars.
GENERATORS = {
    "clumpy": None,  # those of the set itself
    "rings": random_ring_galaxy,
    "ellipticals": random_elliptical,
    "knotty": random_knotty_spiral,
    "mergers": random_merger,
    "fields": random_field_galaxy,
}
COLUMNS = ("image", "gain", "source", "chi2", "reduced", "cover", "cover_image", "cpu", "seconds")


def methods() -> dict[str, Callable[[], solvers.Solver] | None]:
    """Give what makes a solver, for each that this version has; None for cubic interpolation."""
    made = {
        "cubic": None,
        "gradient": lambda: solvers.Gaussian(solvers.GradientPrior()),
        "gradient64": lambda: solvers.Gaussian(solvers.GradientPrior()),
        "curvature": lambda: solvers.Gaussian(solvers.CurvaturePrior()),
        "curvature64": lambda: solvers.Gaussian(solvers.CurvaturePrior()),
        "matern": lambda: solvers.Gaussian(solvers.MaternPrior()),
        "positive": lambda: solvers.Positive(),
        "tv": lambda: solvers.Positive(solvers.TotalVariation()),
        "lognormal": lambda: solvers.LogNormal(),
        "network": lambda: solvers.NetworkSolver.pretrained("space"),
        "network_refined": lambda: solvers.NetworkSolver.pretrained("space", refine=True),
    }
    needs = dict.fromkeys(("gradient", "gradient64", "curvature", "curvature64", "matern"), "Gaussian")
    needs |= dict.fromkeys(("positive", "tv"), "Positive")
    needs |= dict.fromkeys(("network", "network_refined"), "NetworkSolver")
    return {name: make for name, make in made.items() if hasattr(solvers, needs.get(name, "LogNormal"))}


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, the peak being that of the truth."""
    return float(10 * np.log10(truth.max() ** 2 / np.mean((found - truth) ** 2)))


def interpolated(mock: MockLens) -> np.ndarray:
    """Interpolate the observed image with cubic splines at the centres of the fine pixels."""
    factor = mock.factor
    rows, columns = ((np.arange(factor * n) + 0.5) / factor - 0.5 for n in mock.grid.shape)
    where = np.meshgrid(rows, columns, indexing="ij")
    return map_coordinates(np.asarray(mock.observation.data), where, order=3, mode="nearest")


def grid_of_64(mock: MockLens) -> PixelGrid:
    """Give 64 x 64 pixels that cover what the default source grid covers."""
    grid = ForwardModel(mock.observation, mock.lens, factor=mock.factor).source_grid
    side = max(grid.shape) * grid.pixel_scale / 64
    return PixelGrid((64, 64), side, center=grid.center, reference=grid.reference)


def covered(found: np.ndarray, sigma: np.ndarray, truth: np.ndarray) -> float:
    """Share of the bright pixels whose truth is within one sigma of what was found."""
    bright = truth > BRIGHT * truth.max()
    return float(np.mean(np.abs(found - truth)[bright] < sigma[bright]))


def coverage(found: np.ndarray, sigma: np.ndarray, truth: np.ndarray) -> dict[str, list[float]]:
    """Share of the pixels within each of the error bars of ``LEVELS``, by brightness."""
    deviation = np.abs(found - truth) / np.maximum(sigma, 1e-300)
    held = {}
    for name, (low, high) in RANGES.items():
        among = deviation[(truth > low * truth.max()) & (truth <= high * truth.max())]
        held[name] = [float(np.mean(among < ndtri(0.5 + level / 2))) for level in LEVELS if among.size]
    return held


def measure(mock: MockLens, name: str, make: Callable | None, seed: int) -> dict[str, float]:
    """Run one method on one mock."""
    truth = mock.image()
    reference = interpolated(mock)
    if make is None:
        return {"image": psnr(reference, truth), "gain": 0.0}
    source_grid = grid_of_64(mock) if name.endswith("64") else None
    resolver = SuperResolver(
        mock.lens, factor=mock.factor, solver=make(), source_grid=source_grid, rng=seed, progress=False
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        start, busy = time.perf_counter(), time.process_time()
        result = resolver(mock.observation)
        seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    record = scores(result, mock) | {"seconds": seconds, "cpu": cpu}
    record["gain"] = record["image"] - psnr(reference, truth)
    return record | {"unconverged": any(w.category is ConvergenceWarning for w in caught)}


def scores(result: SuperResolution, mock: MockLens) -> dict[str, float]:
    """Compare a result with the truth."""
    truth, source = mock.image(), mock.source_image(result.source_grid)
    scored = {
        "image": psnr(result.image.data, truth),
        "source": psnr(result.source.data, source),
        "chi2": result.chi2 / result.n_pixels,
        "reduced": result.reduced_chi2,
        "held_out": result.held_out_chi2,
    }
    if result.source.uncertainty is not None:
        found = result.source.data, result.source.uncertainty.array, source
        scored |= {"cover": covered(*found), "source_coverage": coverage(*found)}
    if result.image.uncertainty is not None:
        found = result.image.data, result.image.uncertainty.array, truth
        scored |= {"cover_image": covered(*found), "image_coverage": coverage(*found)}
    return scored


def galaxies(path: str, pixels: Sequence[u.Quantity]) -> list[ImageSource]:
    """
    Read images of galaxies, one in each HDU that has one, as sources with pixels of ``pixels`` in turn.

    The median of the border is taken off, the outer part brought smoothly to zero, and the noise reduced: the
    image is blurred by one of its pixels, and negative values are set to zero.
    """
    found = []
    with fits.open(path) as hdus:
        for hdu in hdus:
            if hdu.data is None or np.ndim(hdu.data) != 2 or "XTENSION" in hdu.header.get("EXTNAME", ""):
                continue
            image = np.nan_to_num(np.asarray(hdu.data, dtype=float))
            border = np.concatenate([image[:3].ravel(), image[-3:].ravel(), image[:, :3].ravel()])
            y, x = (np.linspace(-1, 1, n) for n in image.shape)
            r = np.hypot(y[:, None], x)
            window = np.cos(0.5 * np.pi * np.clip((r - 0.7) / 0.3, 0, 1)) ** 2
            image = np.maximum(gaussian_filter((image - np.median(border)) * window, 1), 0)
            found.append(ImageSource(image, pixels[len(found) % len(pixels)]))
    if not found:
        raise SystemExit(f"{path} holds no two-dimensional image")
    return found


def rows(options: argparse.Namespace) -> Iterator[dict]:
    """Give a record for each lens and method, and print it."""
    sources = GENERATORS[options.generator]
    if options.sources is not None:
        sources = galaxies(options.sources, options.source_pixel * u.arcsec)
    available = methods()
    mocks = benchmark_set(options.n, options.seed, sources=sources)
    # allocate and import outside of what is timed
    warm = benchmark_set(1, options.seed, shape=(24, 24))[0]
    SuperResolver(warm.lens, solver=solvers.LogNormal(n_draws=2, max_evaluations=3), rng=1)(warm.observation)
    print(table_row(["lens", "method", *COLUMNS]))
    for number, mock in enumerate(mocks):
        for name in options.solvers:
            record = measure(mock, name, available[name], options.seed)
            print(table_row([str(number), name, *(shown(record, c) for c in COLUMNS)]), flush=True)
            yield {"lens": number, "method": name} | record


def summary(records: list[dict], names: list[str]) -> dict[str, dict[str, float]]:
    """Average over the lenses; of the time also the longest."""
    means = {}
    for name in names:
        of_method = [r for r in records if r["method"] == name]
        values = {
            c: float(np.mean([r[c] for r in of_method]))
            for c in (*COLUMNS, "held_out")
            if all(c in r for r in of_method)
        }
        if "seconds" in values:
            values["slowest"] = max(r["seconds"] for r in of_method)
            values["unconverged"] = sum(r["unconverged"] for r in of_method)
        means[name] = values
    return means


def shown(record: dict, column: str) -> str:
    """Format one number."""
    if column not in record:
        return ""
    return f"{record[column]:.{3 if column in ('chi2', 'reduced') else 2}f}"


def table_row(cells: list[str]) -> str:
    """Format one line."""
    widths = [5, 12] + [8] * (len(cells) - 2)
    return " ".join(f"{cell:>{width}.{width}}" for cell, width in zip(cells, widths, strict=True))


def main() -> None:
    """Run the benchmark as the command line says."""
    available = methods()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--n", type=int, default=6, help="number of lenses (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the set and of the solvers (default 0)")
    parser.add_argument(
        "--solvers", nargs="+", default=list(available), choices=list(available), metavar="NAME"
    )
    parser.add_argument(
        "--generator", choices=list(GENERATORS), default="clumpy", help="kind of galaxies (default clumpy)"
    )
    parser.add_argument(
        "--sources", help="FITS file with an image of a galaxy per HDU, to lens these instead"
    )
    parser.add_argument(
        "--source-pixel",
        type=float,
        nargs="+",
        default=[0.012],
        help="side of a pixel of these images in arcsec (default 0.012); with several, for galaxies in turn",
    )
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()

    records = list(rows(options))
    means = summary(records, options.solvers)
    print(f"\nmeans over {options.n} lenses; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(table_row(["", "method", *COLUMNS, "slowest"]))
    for name, values in means.items():
        print(table_row(["", name, *(shown(values, c) for c in (*COLUMNS, "slowest"))]))
    if options.json:
        about = {
            "lenssuper": lenssuper.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "options": {k: str(v) for k, v in vars(options).items()},
        }
        options.json.write_text(json.dumps({"about": about, "means": means, "lenses": records}, indent=1))


if __name__ == "__main__":
    main()
