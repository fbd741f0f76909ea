"""
What happens to the error bars if PSF, lens or sky are wrong, without and with an error budget.

    python benchmarks/wrong_inputs.py docs/figures/wrong_inputs.jsonl --n 20

Each mock is super-resolved as it is, and with one input wrong at a time: a PSF that is 10% wider or
narrower, an Einstein radius 1% too large, a sky left in that is as bright as the noise of a pixel, a star
at the edge of the field. The budget is given an error of 5% in the PSF's width, 1% in the radius, one
sigma in the sky and 5% in the noise, in all cases. A record has the share of bright pixels of image and
source, above a tenth of the peak, whose truth is within their 68% error bar, without and with the budget,
the verdict, and the scores of the budget. The lenses have the seeds from 984000 on; nothing was tuned on
them, and they are run once. The same command resumes where an earlier one ended.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from records import add_record, read_records

from lenssuper import Observation, SuperResolver, Systematics
from lenssuper.simulate import random_mock
from lenssuper.superres.systematics import stretched

CASES = ("right", "psf", "theta_E", "sky", "neighbour")
SEED = 984000
BRIGHT = 0.1
COLUMNS = "image_off", "image_on", "source_off", "source_on", "chi2", "cpu"


def wrong(observation: Observation, lens, case: str, sign: int):
    """Return observation and lens with one input wrong."""
    sigma = float(np.median(observation.sigma))
    if case == "psf":
        observation = observation.with_psf(stretched(observation.psf, (1 + 0.1 * sign) * np.eye(2)))
    if case == "theta_E":
        lens = lens.replace(**{"SIE.theta_E": 1.01 * lens.parameters["SIE.theta_E"]})
    if case == "sky":
        observation = observation.with_data(observation.data + sigma)
    if case == "neighbour":
        y, x = np.indices(observation.shape)
        star = np.exp(-0.5 * ((x - 1) ** 2 + (y - observation.shape[0] / 3) ** 2) / 1.2**2)
        observation = observation.with_data(observation.data + 30 * sigma * star)
    return observation, lens


def covered(found, sigma, truth) -> float:
    """Share of the bright pixels whose truth is within one sigma of what was found."""
    bright = truth > BRIGHT * truth.max()
    return float(np.mean(np.abs(found - truth)[bright] < sigma[bright]))


def record(number: int, case: str, size: int) -> dict:
    """Super-resolve one mock with one input wrong."""
    mock = random_mock(SEED + number, shape=(size, size))
    right = Observation.of(mock.observation)
    observation, lens = wrong(right, mock.lens, case, 1 if number % 2 else -1)
    errors = Systematics(
        psf=0.05,
        lens={"SIE.theta_E": 0.01 * mock.lens.parameters["SIE.theta_E"]},
        sky=float(np.median(right.sigma)),
        noise=0.05,
    )
    found, busy = {"lens": number, "case": case}, time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = SuperResolver(lens, rng=1, systematics=errors, progress=False)(observation)
    except Exception as error:  # such a lens counts
        return found | {"failed": repr(error)[:200]}
    budget = result.budget
    found["cpu"] = time.process_time() - busy
    found |= {"verdict": result.verdict, "reasons": list(result.reasons)}
    found["chi2"] = result.chi2 / result.n_pixels
    truths = mock.source_image(result.source_grid), mock.image()
    for k, (plane, truth) in enumerate(zip(("source", "image"), truths, strict=True)):
        shown = (result.source if plane == "source" else result.image).data
        plain = np.sqrt(budget.variances["noise"][k] + budget.variances["prior of the source"][k])
        found[f"{plane}_off"] = covered(shown, plain, truth)
        found[f"{plane}_on"] = covered(shown, budget.std(plane=plane), truth)
    names = budget.changes["name"]
    found["sigma"] = dict(zip(map(str, names), map(float, budget.changes["sigma"]), strict=True))
    found["pull"] = dict(zip(map(str, names), map(float, budget.changes["pull"]), strict=True))
    return found | {"measures": {k: v for k, v in result.measures.items() if np.isfinite(v)}}


def report(rows: list[dict]) -> None:
    """Print coverage and verdicts for each case."""
    for case in CASES:
        own = [row for row in rows if row["case"] == case and "failed" not in row]
        if own:
            means = {key: np.mean([row[key] for row in own]) for key in COLUMNS}
            doubted = np.mean([row["verdict"] != "trusted" for row in own])
            numbers = "  ".join(f"{key} {value:.2f}" for key, value in means.items())
            print(f"{case:<10} {len(own):3d}  {numbers}  not trusted {doubted:.2f}")


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="file with a line for each lens and case")
    parser.add_argument("--n", type=int, default=20, help="number of lenses (default 20)")
    parser.add_argument("--size", type=int, default=48, help="pixels along a side (default 48)")
    parser.add_argument("--minutes", type=float, default=np.inf, help="end after so many minutes")
    options = parser.parse_args()
    start = time.monotonic()
    rows = read_records(options.results)
    done = {(row["lens"], row["case"]) for row in rows}
    for number in range(options.n):
        for case in CASES:
            if (number, case) in done or time.monotonic() - start > 60 * options.minutes:
                continue
            rows.append(add_record(options.results, record(number, case, options.size)))
            print(
                number, case, {key: rows[-1].get(key) for key in (*COLUMNS, "verdict", "failed")}, flush=True
            )
    report(rows)


if __name__ == "__main__":
    main()
