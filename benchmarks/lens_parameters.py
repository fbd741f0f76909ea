"""
How well does LensFitter find a lens? Errors of its parameters, and whether they are as large as it says.

    python benchmarks/lens_parameters.py --n 20 --seed 77
    python benchmarks/lens_parameters.py --n 20 --seed 77 --floor --json lenses.json

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

import numpy as np

import lenssuper
from lenssuper import LensFit, LensFitter
from lenssuper.exceptions import LensSuperWarning
from lenssuper.lens import LensModel
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.simulate import MockLens, Source, benchmark_set, mock_lens

COLUMNS = ("theta_E", "q", "sigma_q", "pull", "within1", "within2", "reduced", "modes", "cpu")
FLOOR_COLUMNS = ("q_position", "q_affine")
# How far starts are from the truth: Einstein radius (relative), and each pair of components
RADIUS, ELLIPTICITY, POSITION, SHEAR = 0.1, 0.05, 0.05, 0.03
# What was asked for: errors of the Einstein radius (relative) and of the axis ratio
RADIUS_LIMIT, RATIO_LIMIT = 0.003, 0.01
# Half the distance of the two lenses, and of the two sources (arcsec, and 1), of a numerical derivative
STEP, SOURCE_STEP = 2e-3, 1e-3


class AffineSource(Source):
    """A source seen through an affine map, x -> matrix x + shift."""

    def __init__(self, source: Source, matrix: np.ndarray, shift: np.ndarray) -> None:
        self.source, self.matrix, self.shift = source, matrix, shift

    def surface_brightness(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Surface brightness of the source at the place that the map leads to."""
        (xx, xy), (yx, yy) = self.matrix
        return self.source.surface_brightness(
            xx * x + xy * y + self.shift[0], yx * x + yy * y + self.shift[1]
        )


def start(lens: LensModel, rng: np.random.Generator) -> LensModel:
    """Give a guess that is off by about a tenth in everything."""
    parameters = FreeParameters(lens)
    vector = parameters.start.copy()
    vector[0] += np.log(1 + RADIUS * rng.choice([-1, 1]))
    for first, distance in ((1, ELLIPTICITY), (3, POSITION), (5, SHEAR)):
        turn = rng.uniform(0, 2 * np.pi)
        vector[first : first + 2] += distance * np.array([np.cos(turn), np.sin(turn)])
    return parameters.lens(vector)


def deviations(fit: LensFit, truth: LensModel) -> dict[str, float]:
    """Fitted less true value of each parameter, in arcsec, radian and 1; an axis has no head and tail."""
    found, true = fit.lens.values(), truth.values()
    errors = {name: found[name] - true[name] for name in fit.names}
    errors["SIE.phi"] = (errors["SIE.phi"] + np.pi / 2) % np.pi - np.pi / 2
    return errors


def scores(fit: LensFit, truth: LensModel) -> dict[str, float]:
    """Compare a fit with the truth."""
    errors = deviations(fit, truth)
    sigmas = dict(zip(fit.names, np.sqrt(np.diag(fit.covariance.matrix)), strict=True))
    pulls = np.array([errors[name] / sigmas[name] for name in fit.names])
    return {
        "theta_E": errors["SIE.theta_E"] / truth.values()["SIE.theta_E"],
        "q": errors["SIE.q"],
        "sigma_q": float(sigmas["SIE.q"]),
        "pull": float(np.sqrt(np.mean(pulls**2))),
        "within1": float(np.mean(np.abs(pulls) < 1)),
        "within2": float(np.mean(np.abs(pulls) < 2)),
        "reduced": fit.reduced_chi2,
        "modes": fit.effective_modes,
        "log_evidence": fit.log_evidence,
        "converged": fit.converged,
        "pulls": dict(zip(fit.names, pulls.tolist(), strict=True)),
    }


def measure(mock: MockLens, guess: LensModel, seed: int) -> dict[str, float]:
    """Fit one lens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)
        begun, busy = time.perf_counter(), time.process_time()
        fit = LensFitter(guess, rng=seed, progress=False)(mock.observation)
        cpu, seconds = time.process_time() - busy, time.perf_counter() - begun
    return scores(fit, mock.lens) | {"cpu": cpu, "seconds": seconds}


def floor(mock: MockLens) -> dict[str, float]:
    """
    Give the errors of the axis ratio that the noise alone leaves if the true source is known.

    It is known but for its position, or but for an affine map. The errors are those of Cramer and Rao: the
    derivatives of the noiseless observation by finite differences, over its noise.
    """
    parameters = FreeParameters(mock.lens)

    def render(vector, matrix, shift):
        source = AffineSource(mock.source, matrix, shift)
        lens = parameters.lens(vector)
        return mock_lens(lens, source, mock.instrument, shape=mock.grid.shape, rng=0).noiseless

    def slope(place, step):
        ends = []
        for sign in (-1, 1):
            change = np.zeros(len(parameters) + 6)
            change[place] = sign * step
            vector, shift, matrix = np.split(change, [len(parameters), len(parameters) + 2])
            ends.append(render(parameters.start + vector, np.eye(2) + matrix.reshape(2, 2), shift))
        return (ends[1] - ends[0]).ravel() / (2 * step)

    lens_slopes = [slope(k, STEP) for k in range(len(parameters))]
    source_slopes = [slope(len(parameters) + k, SOURCE_STEP) for k in range(6)]
    rows = np.array(lens_slopes + source_slopes) / mock.observation.uncertainty.array.ravel()
    ratio = parameters.names.index("SIE.q")
    found = {}
    for name, free in (("q_position", len(parameters) + 2), ("q_affine", len(rows))):
        covariance = np.linalg.inv(rows[:free] @ rows[:free].T)[: len(parameters), : len(parameters)]
        found[name] = float(np.sqrt(parameters.covariance(parameters.start, covariance)[ratio, ratio]))
    return found


def rows(options: argparse.Namespace) -> Iterator[dict]:
    """Give a record for each lens, and print it."""
    columns = COLUMNS + (FLOOR_COLUMNS if options.floor else ())
    mocks = benchmark_set(options.n, options.seed, peak_snr=(options.snr, options.snr))
    # allocate and import outside of what is timed
    warm = benchmark_set(1, options.seed, shape=(40, 40), peak_snr=(options.snr, options.snr))[0]
    measure(warm, warm.lens, options.seed)
    print(table_row(["lens", *columns]))
    for number, mock in enumerate(mocks):
        guess = start(mock.lens, np.random.default_rng([options.seed, number, 1]))
        record = {"lens": number} | measure(mock, guess, options.seed)
        if options.floor:
            record |= floor(mock)
        print(table_row([str(number), *(shown(record[c]) for c in columns)]), flush=True)
        yield record


def summary(records: list[dict]) -> dict[str, float]:
    """Put the lenses together."""
    theta_E, q, sigma, cpu = (np.array([r[c] for r in records]) for c in ("theta_E", "q", "sigma_q", "cpu"))
    pulls = np.abs([list(r["pulls"].values()) for r in records])
    together = {
        "theta_E within 0.3%": int(np.sum(np.abs(theta_E) < RADIUS_LIMIT)),
        "theta_E rms %": 100 * rms(theta_E),
        "theta_E largest %": 100 * float(np.max(np.abs(theta_E))),
        "q within 0.01": int(np.sum(np.abs(q) < RATIO_LIMIT)),
        "q rms": rms(q),
        "q largest": float(np.max(np.abs(q))),
        "sigma_q least": float(sigma.min()),
        "sigma_q median": float(np.median(sigma)),
        "sigma_q rms": rms(sigma),
        "sigma_q largest": float(sigma.max()),
        "pulls rms": rms(pulls),
        "pulls below 1": float(np.mean(pulls < 1)),
        "pulls below 2": float(np.mean(pulls < 2)),
        "pulls above 3": int(np.sum(pulls > 3)),
        "cpu mean": float(cpu.mean()),
        "cpu largest": float(cpu.max()),
    }
    for column in FLOOR_COLUMNS:
        if column in records[0]:
            together[f"{column} median"] = float(np.median([r[column] for r in records]))
    return together


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def shown(value: float) -> str:
    """Format one number."""
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"


def table_row(cells: list[str]) -> str:
    """Format one line."""
    return " ".join(f"{cell:>10.10}" for cell in cells)


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--n", type=int, default=6, help="number of lenses (default 6)")
    parser.add_argument("--seed", type=int, default=0, help="seed of lenses, starts and fits (default 0)")
    parser.add_argument("--snr", type=float, default=40.0, help="peak S/N of the arcs (default 40)")
    parser.add_argument("--floor", action="store_true", help="errors with the source known, too")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()

    records = list(rows(options))
    together = summary(records)
    print(f"\n{options.n} lenses; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, value in together.items():
        print(f"{name:<22} {value if isinstance(value, int) else round(value, 4)}")
    if options.json:
        about = {
            "lenssuper": lenssuper.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "options": {k: str(v) for k, v in vars(options).items()},
        }
        options.json.write_text(
            json.dumps({"about": about, "together": together, "lenses": records}, indent=1)
        )


if __name__ == "__main__":
    main()
