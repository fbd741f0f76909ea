"""
Do the error bars hold? Lenses that were fitted, their error in the budget, against the truth.

    python benchmarks/calibration.py docs/figures/calibration.jsonl --first 124 --n 50
    python benchmarks/calibration.py hard.jsonl --hard --n 40 --network hard_network.jsonl

Each record is of one simulated lens: light of the arcs alone, its lens fitted from a radius that is up to 15%
wrong, and 64 draws over noise, prior of the source and lens. Nothing is tuned on what is reported:
settings were looked at on ``random_mock`` with the seeds from 977000 on (``TUNING``), and the lenses here
have the seeds from 983000 on (``REPORTING``), which are run once: the first 124 were reported by earlier
versions. With ``--hard`` they are as hard as those of SLACS, beneath a bright galaxy: prepared, light and
lens fitted in turn; the first 55 were seen by earlier versions. With ``--network`` each lens that was fitted
is super-resolved by the network that comes with the package, too. The same command resumes where an earlier
one ended.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import astropy.units as u
import numpy as np
from hard_lenses import light_and_lens
from records import add_record, read_records
from scipy.spatial import cKDTree
from scipy.special import ndtri

from lenssuper import (
    ForwardModel,
    LensFit,
    LensFitter,
    LensModel,
    Observation,
    PixelGrid,
    SuperResolution,
    SuperResolver,
    Systematics,
)
from lenssuper.simulate import MockLens, hard_lenses, random_mock
from lenssuper.solvers import LogNormal, NetworkSolver, Solver

TUNING, REPORTING = 977000, 983000
SHAPE = (48, 48)
ROUGH = 0.15
DRAWS = 64
# Pixels of each image that a record has at most, and the faintest, as a share of the peak
PIXELS, FAINT = 100, 0.03
LEVELS = 0.5, 0.68, 0.9, 0.95
# Smaller pixels in which the true source is magnified, along the side of one of the result
FINER = 3
MEASURED = "flux", "half_light_radius", "axis_ratio", "magnification", "image_flux"


def fitted(mock: MockLens, number: int, hard: bool) -> tuple[Observation, LensFit]:
    """Return the arcs as observed, and the lens fitted to them from a rough radius."""
    scale = np.random.default_rng([REPORTING, number]).uniform(1 - ROUGH, 1 + ROUGH)
    radius = scale * mock.lens.parameters["EPL.theta_E" if hard else "SIE.theta_E"]
    if hard:
        light, fit = light_and_lens(mock, radius)
        return light.subtracted, fit
    observation = Observation.of(mock.observation)
    return observation, LensFitter(radius, rng=1, progress=False)(observation)


def fraction_nearer(draws: np.ndarray, truth: np.ndarray, reference: np.ndarray) -> float:
    """
    Return the share of draws (n, ...) that are nearer to a reference than the truth.

    For a posterior that is right it is uniform between 0 and 1, whatever the reference, if that does not
    depend on the truth: tests of accuracy with random points (TARP; Lemos et al. 2023, arXiv 2302.03026).
    """
    far = np.sum((draws - reference) ** 2, axis=tuple(range(1, draws.ndim)))
    return float(np.mean(far < np.sum((truth - reference) ** 2)))


def expected_coverage(fractions: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the expected coverage probability at each level: the share of lenses with a smaller fraction."""
    return np.mean(np.asarray(fractions)[:, None] < levels, axis=0)


def tarp(draws: np.ndarray, truth: np.ndarray, rng: np.random.Generator, n: int = 8) -> list[float]:
    """
    Return the fractions for some random references.

    They are far away in the directions of differences of two draws that are then left out, in which truth and
    draws differ: with references in random directions, images of thousands of pixels are all equally far.
    """
    found = []
    for _ in range(n):
        a, b = rng.choice(len(draws) // 2, 2, replace=False)
        # draws come in opposite pairs
        others = np.delete(draws, [2 * a, 2 * a + 1, 2 * b, 2 * b + 1], axis=0)
        reference = draws.mean(axis=0) + 3 * (draws[2 * a] - draws[2 * b])
        found.append(fraction_nearer(others, truth, reference))
    return found


def pixels(draws, mean, std, truth, maps: dict[str, np.ndarray], rng) -> dict[str, list]:
    """Return z-scores, ranks and more of some pixels, each drawn from those that are not dark."""
    seen = np.flatnonzero((truth > FAINT * truth.max()).ravel() & np.isfinite(maps["magnification"]).ravel())
    chosen = rng.permutation(seen)[:PIXELS]
    values = {name: each.ravel()[chosen] for name, each in maps.items()}
    at = truth.ravel()[chosen]
    values["brightness"] = at / truth.max()
    values["z"] = (at - mean.ravel()[chosen]) / std.ravel()[chosen]
    values["rank"] = np.mean(draws.reshape(len(draws), -1)[:, chosen] < at, axis=0)
    return {name: [float(f"{x:.4g}") for x in each] for name, each in values.items()}


def caustic_distance(lens: LensModel, grid: PixelGrid, field: PixelGrid) -> np.ndarray:
    """Return the distance in arcsec of each source pixel from the nearest caustic; infinite without one."""
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    lines = [each.to_value(u.arcsec) for each in lens.caustics(field)]
    if not lines:
        return np.full(grid.shape, np.inf)
    nearest = cKDTree(np.concatenate(lines)).query(np.stack([x.ravel(), y.ravel()], axis=1))[0]
    return nearest.reshape(grid.shape)


def _number(draws: np.ndarray, truth: float, rng: np.random.Generator) -> dict[str, float]:
    """Return z-score, rank, relative error and the fraction of TARP, the reference being within 4 sigma."""
    spread = np.std(draws)
    reference = np.mean(draws) + spread * rng.uniform(-4, 4)
    return {
        "truth": float(truth),
        "mean": float(np.mean(draws)),
        "z": float((truth - np.mean(draws)) / spread),
        "rank": float(np.mean(draws < truth)),
        "error": float(spread / abs(truth)),
        "tarp": fraction_nearer(draws, np.array(truth), reference),
    }


def true_numbers(result: SuperResolution, source: np.ndarray, mock: MockLens) -> dict[str, float]:
    """Measure the true source in the aperture of a result, magnified by the true lens."""
    measured = result.measure_sources(source)
    found = {name: float(np.ravel(u.Quantity(measured[name]).value)[0]) for name in MEASURED}
    # on smaller pixels: in those of the result, light that is averaged over a pixel is magnified less
    fine = result.source_grid.refine(FINER)
    light = np.kron(result.aperture, np.ones((FINER, FINER))) * mock.source_image(fine)
    # over the margin that the PSF needs around the field, too, as that of the result
    model = ForwardModel(result.observation, mock.lens, factor=result.factor, source_grid=fine)
    lensed = float(np.sum(light * model.lensing.magnification))
    share = fine.area_arcsec2 / result.observation.grid.area_arcsec2
    return found | {"magnification": lensed / float(light.sum()), "image_flux": share * lensed}


def scores(result: SuperResolution, mock: MockLens, fit: LensFit, rng: np.random.Generator) -> dict:
    """Compare a result with the truth."""
    budget, record = result.budget, {}
    source, image = mock.source_image(result.source_grid), mock.image()
    lensed = np.abs(np.broadcast_to(mock.lens.magnification(*result.fine_grid.centers), image.shape))
    planes = {
        "image": (
            budget.image_draws,
            result.lensed_image,
            result.lensed_std,
            image,
            {"magnification": lensed},
        ),
        "source": (
            budget.source_draws,
            result.posterior.mean,
            result.posterior.std,
            source,
            {
                "magnification": np.where(result.coverage > 0.5, result.magnification, np.nan),
                "caustic": caustic_distance(mock.lens, result.source_grid, mock.grid),
            },
        ),
    }
    for name, (draws, mean, std, truth, maps) in planes.items():
        record[name] = pixels(draws, mean, std, truth, maps, rng)
        bright = truth > 0.1 * truth.max()
        record[f"{name}_tarp"] = tarp(draws[:, bright], truth[bright], rng)
    drawn, truths = result.measure_draws(), true_numbers(result, source, mock)
    numbers = {name: _number(u.Quantity(drawn[name]).value, truths[name], rng) for name in MEASURED}
    radius = mock.lens.einstein_radius().to_value(u.arcsec)
    lenses = [each.einstein_radius().to_value(u.arcsec) for each in fit.samples(DRAWS, rng)]
    numbers["theta_E"] = _number(np.array(lenses), radius, rng)
    return record | {"numbers": numbers}


def coverage(z: np.ndarray) -> list[float]:
    """Return the shares of z-scores within error bars of ``LEVELS``."""
    return [float(np.mean(np.abs(z) < ndtri(0.5 + level / 2))) for level in LEVELS]


def coverage_of_ranks(ranks: np.ndarray) -> list[float]:
    """Return the shares of truths within the central intervals of the draws, by their ranks among these."""
    return [float(np.mean(np.abs(np.asarray(ranks) - 0.5) < level / 2)) for level in LEVELS]


def report(rows: list[dict]) -> None:
    """Print coverage, z-scores and the largest deviation of TARP from the diagonal."""
    rows = [row for row in rows if "failed" not in row]
    grid = np.linspace(0, 1, 101)
    print(f"{len(rows)} lenses; " + ", ".join(f"{level:.0%}" for level in LEVELS))
    for name in ("image", "source", *MEASURED, "theta_E"):
        if name in ("image", "source"):
            z = np.concatenate(
                [np.array(row[name]["z"])[np.array(row[name]["brightness"]) > 0.1] for row in rows]
            )
            fractions = np.concatenate([row[f"{name}_tarp"] for row in rows])
            found = coverage(z)
        else:
            z = np.array([row["numbers"][name]["z"] for row in rows])
            fractions = np.array([row["numbers"][name]["tarp"] for row in rows])
            found = coverage_of_ranks([row["numbers"][name]["rank"] for row in rows])
        shares = ", ".join(f"{share:.2f}" for share in found)
        off = np.max(np.abs(expected_coverage(fractions, grid) - grid))
        print(f"{name:<18} {shares}; z {np.mean(z):+.2f} +- {np.std(z):.2f}; TARP {off:.2f}")


def lenses(hard: bool, first: int, n: int) -> Iterator[tuple[int, MockLens]]:
    """Yield numbers and lenses."""
    if hard:
        return islice(enumerate(hard_lenses(first + n, REPORTING)), first, None)
    return ((number, random_mock(REPORTING + number, shape=SHAPE)) for number in range(first, first + n))


def measure(number: int, mock: MockLens, hard: bool, solvers: list[Solver]) -> list[dict]:
    """Fit one lens, and super-resolve it with each solver; what fails is a record too."""
    start = time.process_time()
    record = {"number": number}
    try:
        observation, fit = fitted(mock, number, hard)
    except Exception as error:  # such a lens counts
        return [record | {"failed": repr(error)[:200]}] * len(solvers)
    record |= {"lens_cpu": time.process_time() - start, "lens_verdict": fit.verdict}
    return [record | super_resolved(observation, fit, mock, number, solver) for solver in solvers]


def super_resolved(observation, fit: LensFit, mock: MockLens, number: int, solver: Solver) -> dict:
    """Super-resolve one lens, and compare with the truth."""
    start = time.process_time()
    settings = {"rng": 1, "systematics": Systematics(lens=fit), "progress": False}
    try:
        result = SuperResolver(fit.lens, solver=solver, **settings)(observation)
    except Exception as error:
        return {"failed": repr(error)[:200]}
    record = {"cpu": time.process_time() - start, "verdict": result.verdict, "reasons": result.reasons}
    return record | scores(result, mock, fit, np.random.default_rng([REPORTING, number, 1]))


def show(record: dict) -> None:
    """Print a line on a record."""
    numbers = {name: round(each["z"], 2) for name, each in record.get("numbers", {}).items()}
    shown = {key: record.get(key) for key in ("lens_verdict", "verdict", "failed", "cpu")}
    planes = [plane for plane in ("image", "source") if plane in record]
    within = {plane: float(np.mean(np.abs(record[plane]["z"]) < 1)) for plane in planes}
    print(record["number"], shown, numbers, within, flush=True)


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="file with a line for each lens")
    parser.add_argument("--n", type=int, default=12, help="number of lenses (default 12)")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (default 0)")
    parser.add_argument("--hard", action="store_true", help="lenses as hard as those of SLACS")
    parser.add_argument(
        "--minutes", type=float, default=np.inf, help="end after the lens in which they are over"
    )
    parser.add_argument("--network", type=Path, help="file for the results of the network (default: not run)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.monotonic()
    files: dict[Path, Solver] = {options.results: LogNormal()}
    if options.network is not None:
        files[options.network] = NetworkSolver.pretrained("space")
    done = set.intersection(*({row["number"] for row in read_records(path)} for path in files))
    for number, mock in lenses(options.hard, options.first, options.n):
        if number in done or time.monotonic() - start > 60 * options.minutes:
            continue
        records = measure(number, mock, options.hard, list(files.values()))
        for path, record in zip(files, records, strict=True):
            show(add_record(path, record))
    for path in files:
        report(read_records(path))


if __name__ == "__main__":
    main()
