"""
How often is a right lens trusted, and a wrong one not? Verdicts on mocks with lenses and data made wrong.

    python benchmarks/verdicts.py --n 12 --seed 314 --json verdicts.json
    python benchmarks/verdicts.py --read verdicts.json

The lens is not fitted unless asked for: the source behind a given one is, as `~lenssuper.SuperResolver`
does it. See README.rst beside this file for what the cases are. The limits in
``lenssuper/forward/judgement/rules.py`` are tuned on mocks with even numbers; those with odd numbers are the
report.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
from scipy import ndimage

from lenssuper import LensFitter, Observation, SuperResolver
from lenssuper.forward.judgement import GRADES, LENS_RULES, LensGalaxy, judge
from lenssuper.forward.judgement.positive import grid_of_light
from lenssuper.lens import LensModel
from lenssuper.simulate import MockLens, benchmark_set
from lenssuper.solvers import Gaussian, LogNormal

# How far light and mass of the mocks differ: the centre in arcsec, and the axis ratio
CENTER, RATIO = 0.015, 0.08
RADII = (0.6, 0.75, 0.9, 1.1, 1.25, 1.4)
OFFSETS = (0.2, 0.7, 2.0)
# Peak of a neighbour, and of what is left of the lens galaxy, in units of the noise
NEIGHBOUR, LEFT = 40.0, 25.0


def with_galaxy(mock: MockLens, rng: np.random.Generator) -> Observation:
    """Return the observation of a mock, as if the light of a galaxy had been subtracted from it."""
    observation, lens = Observation.of(mock.observation), mock.lens.values()
    x, y = np.array([lens["SIE.x"], lens["SIE.y"]]) + CENTER * rng.standard_normal(2)
    q = float(np.clip(lens["SIE.q"] + RATIO * rng.standard_normal(), 0.3, 1.0))
    cards = LensGalaxy(float(x), float(y), q, lens["SIE.phi"]).cards(observation)
    return replace(observation, meta={**observation.meta, **cards})


def cases(mock: MockLens, rng: np.random.Generator) -> Iterator[tuple[str, Observation, LensModel]]:
    """Yield a name, data and a lens: first both right, then one of them wrong."""
    observation, lens = with_galaxy(mock, rng), mock.lens
    yield "right", observation, lens
    radius = lens.parameters["SIE.theta_E"]
    for factor in RADII:
        yield f"radius x {factor}", observation, lens.replace(**{"SIE.theta_E": factor * radius})
    for offset in OFFSETS:
        turn = rng.uniform(0, 2 * np.pi)
        x = lens.parameters["SIE.x"] + offset * np.cos(turn) * u.arcsec
        y = lens.parameters["SIE.y"] + offset * np.sin(turn) * u.arcsec
        yield f'centre off {offset}"', observation, lens.replace(**{"SIE.x": x, "SIE.y": y})
    yield "q = 0.15", observation, lens.replace(**{"SIE.q": 0.15})
    yield "no lens", observation, lens.replace(**{"SIE.theta_E": 0.03 * u.arcsec})
    flipped = replace(
        observation, **{name: getattr(observation, name)[:, ::-1] for name in ("data", "weights", "mask")}
    )
    yield "flipped data", flipped, lens
    for factor in (0.5, 2.0):
        psf = np.abs(ndimage.zoom(observation.psf, factor, order=3))
        psf = psf[: psf.shape[0] - 1 + psf.shape[0] % 2, : psf.shape[1] - 1 + psf.shape[1] % 2]
        psf = np.roll(psf, np.array(psf.shape) // 2 - np.unravel_index(np.argmax(psf), psf.shape), (0, 1))
        yield f"PSF x {factor}", observation.with_psf(psf / psf.sum()), lens
    yield "neighbour", with_blob(observation, mock, rng.uniform(1.5, 2.0), NEIGHBOUR, 0.15, rng), lens
    yield "noise / 3", observation.with_weights(9 * observation.weights), lens
    yield "light left", with_blob(observation, mock, 0.0, LEFT, 0.12, rng), lens


def fitted(mock: MockLens, rng: np.random.Generator) -> Iterator[tuple[str, Observation, LensFitter]]:
    """Yield a name, data and a fitter: of all parameters, or of all but the radius, which is wrong."""
    observation, radius = with_galaxy(mock, rng), mock.lens.parameters["SIE.theta_E"]
    yield "fitted, right", observation, LensFitter(mock.lens, rng=1, progress=False)
    for factor in RADII:
        guess = mock.lens.replace(**{"SIE.theta_E": factor * radius})
        fitter = LensFitter(guess, fixed=["SIE.theta_E"], rng=1, progress=False)
        yield f"fitted, radius x {factor}", observation, fitter


def with_blob(observation, mock, distance, peak, size, rng) -> Observation:
    """Return the observation with a Gaussian, so many Einstein radii from the lens."""
    lens, turn = mock.lens.values(), rng.uniform(0, 2 * np.pi)
    reach = distance * lens["SIE.theta_E"]
    x, y = observation.grid.centers_arcsec()
    x, y = x - lens["SIE.x"] - reach * np.cos(turn), y - lens["SIE.y"] - reach * np.sin(turn)
    blob = np.exp(-(x**2 + y**2) / (2 * size**2))
    return observation.with_data(observation.data + peak * float(np.median(observation.sigma)) * blob)


def measured(numbers: range, seed: int, solver) -> Iterator[dict]:
    """Yield the measures of each case of each mock; without a solver the lens is fitted."""
    for k, mock in enumerate(benchmark_set(numbers.stop, seed)):
        if k not in numbers:
            continue
        rng = np.random.default_rng([seed, k])
        for name, observation, lens in fitted(mock, rng) if solver is None else cases(mock, rng):
            busy = time.process_time()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = lens(observation) if solver is None else resolved(observation, lens, solver)
                measures = dict(result.measures)
            except ValueError as error:
                measures = {"failed": str(error)}
            yield {"mock": k, "case": name, "cpu": time.process_time() - busy, "measures": measures}


def resolved(observation, lens, solver):
    """Super-resolve, with a source that covers the light only."""
    grid = grid_of_light(observation, lens, observation.bright)
    return SuperResolver(lens, solver=solver, source_grid=grid, rng=1, progress=False)(observation)


def report(records: list[dict], odd: int) -> None:
    """Print how often each case gets which verdict, and by which measures."""
    counts, why = {}, {}
    for record in records:
        if record["mock"] % 2 != odd or "failed" in record["measures"]:
            continue
        found = {key: np.nan if value is None else value for key, value in record["measures"].items()}
        counts.setdefault(record["case"], Counter())[judge(found, LENS_RULES).verdict] += 1
        graded = Counter({rule.measure for rule in LENS_RULES if rule.grade(found) != "trusted"})
        why.setdefault(record["case"], Counter()).update(graded)
    print(f"{'case':<20}" + "".join(f"{grade:>9}" for grade in GRADES) + "   found by")
    for case, count in counts.items():
        reasons = ", ".join(f"{name} {n}" for name, n in why[case].most_common(6))
        print(f"{case:<20}" + "".join(f"{count[grade]:>9}" for grade in GRADES) + f"   {reasons}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--n", type=int, default=12, help="number of mocks")
    parser.add_argument("--first", type=int, default=0, help="number of the first mock")
    parser.add_argument("--seed", type=int, default=314)
    parser.add_argument("--solver", choices=("gaussian", "lognormal"), default="gaussian")
    parser.add_argument("--fit", action="store_true", help="fit the lens, or all but a wrong radius")
    parser.add_argument("--json", type=Path, help="where to add the measures, one line a case")
    parser.add_argument("--read", type=Path, help="judge measures of an earlier run")
    parser.add_argument(
        "--odd", type=int, choices=(0, 1), default=1, help="which half to report: 1, or 0 to tune"
    )
    options = parser.parse_args()
    if options.read:
        records = [json.loads(line) for line in options.read.read_text().splitlines()]
    else:
        solver = Gaussian(n_draws=2) if options.solver == "gaussian" else LogNormal(n_draws=2)
        solver, records = None if options.fit else solver, []
        for record in measured(range(options.first, options.first + options.n), options.seed, solver):
            records.append(record)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    report(records, options.odd)


if __name__ == "__main__":
    main()
