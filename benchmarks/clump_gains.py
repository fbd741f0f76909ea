r"""
Whether the map of a search for substructure says by how much a clump at a place improves the evidence.

    python benchmarks/clump_gains.py --numbers 2121 2122 2123 --log-masses 9.0 9.2 9.5 --json gains.json

The lenses are those of `substructure.py`, with a clump of the given mass where it would be seen with 5 sigma.
At its place, and at others where the map has more than 2 sigma and where 10^9.5 Msun would be seen, the
square T of the significance is compared with twice the gain in log evidence by fits with a clump held there:
of the amplitude of the clump of the map, and of a clump's mass, both with source grid and prior as they were;
and of the mass with these chosen anew. The smooth lens with its multipoles is fitted along each time, and
the priors of the clump do not count.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from substructure import guess, observed, smooth

from lenssuper._utils.progress import quietly
from lenssuper._utils.threads import one_blas_thread
from lenssuper.lens import LensModel
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.refine import Refined, climbed
from lenssuper.observation import Observation
from lenssuper.solvers import GradientPrior
from lenssuper.substructure import JaffeClump
from lenssuper.substructure.fitted import Fitted, fit
from lenssuper.substructure.maps import scan
from lenssuper.substructure.parameters import Clumps, ClumpyLens, smooth_lens
from lenssuper.substructure.templates import Perturber

REFERENCE, SEEN, ORDERS = 1e9, 10**9.5, (3, 4)


@dataclass(frozen=True, eq=False)
class Held(Clumps):
    """A clump that stays where the middle of its prior is; its logarithm of the mass is the only element."""

    @property
    def size(self) -> int:
        return 1

    @property
    def priors(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([math.log(REFERENCE)]), np.array([5.0])

    @property
    def spread(self) -> np.ndarray:
        return np.array([0.2])

    def lenses(self, part: np.ndarray) -> list[LensModel]:
        return [self._lens(*self.middle, float(part[0]))]


@dataclass(frozen=True, eq=False)
class Amplitude(Perturber):
    """The clump of one mass, whose deflection is scaled: that of the map."""

    kind: JaffeClump

    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        one = self.kind.lens(REFERENCE, x, y)
        return one.replace(theta_E=one.theta_E * (mass / REFERENCE))

    def described(self) -> str:
        return "the clump of the map"


def cost(fitted: Fitted) -> float:
    """Return minus the log of evidence and priors, that of the clump left out."""
    mean, std = fitted.registration.clumps.priors
    pull = (fitted.registration.of_clumps(fitted.refined.vector) - mean) / std
    return fitted.refined.cost - 0.5 * float(pull @ pull)


def on_the_same_source(fitted: Fitted, registration: ClumpyLens, vector: np.ndarray) -> Fitted:
    """Fit a lens with a clump, source grid and prior as in the fit without it."""
    source = replace(fitted.source, registration=registration)
    (inversion,) = fitted.refined.inversions
    plane = copy(inversion.plane)
    plane.source = source
    refined: Refined = replace(fitted.refined, inversions=(replace(inversion, plane=plane),), cost=math.inf)
    while True:
        better = climbed(refined, vector, (), np.random.default_rng(0))
        gain, refined, vector = refined.cost - better.cost, better, better.vector
        if gain < 0.1:
            return Fitted(source, registration, refined)


def compared(number: int, log_mass: float, places: int) -> list[dict]:
    """Return T and the gains of fits at places in one lens, the first that of its clump."""
    lens, options = smooth(number)
    kind = JaffeClump(0.2, 0.6, theta_E=lens.components[0].theta_E)
    registration = ClumpyLens(smooth_lens(guess(lens), ORDERS), ORDERS)

    def refit(exposure, registration, vector):
        rng = np.random.default_rng(number)
        return fit(exposure, registration, vector, 2, GradientPrior(), rng, quietly)

    def mapped(lens):
        exposure = Exposure.of(Observation.of(observed(lens, options).observation), None)
        fitted = refit(exposure, registration, registration.start)
        return exposure, fitted, scan(fitted, kind, REFERENCE, np.random.default_rng(0), finely=True)

    _, _, maps = mapped(lens)
    rows, columns = np.nonzero(np.nan_to_num(maps.sensitivity(5.0), nan=np.inf) < 10**log_mass)
    pick = options["rng"].integers(len(rows))
    x, y = maps.grid.to_offset(float(columns[pick]), float(rows[pick]))
    exposure, fitted, maps = mapped(lens + kind.lens(10**log_mass, x, y))
    pixels = [tuple(round(v) for v in maps.grid.to_pixel(x, y))]
    sensitive = np.nan_to_num(maps.sensitivity(5.0), nan=np.inf) < SEEN
    rows, columns = np.nonzero(sensitive & (maps.significance > 2))
    for k in np.random.default_rng(number).permutation(len(rows)):
        apart = [math.dist((columns[k], rows[k]), other) * maps.grid.side_arcsec for other in pixels]
        if len(pixels) < places and min(apart) > 0.2:
            pixels.append((int(columns[k]), int(rows[k])))
    found = []
    for i, j in pixels:
        place, t = maps.grid.to_offset(float(i), float(j)), float(maps.amplitude[j, i])
        row = {
            "number": number,
            "log_mass": log_mass,
            "place": place,
            "T": float(maps.significance[j, i] ** 2),
        }
        for name, perturber in (("amplitude", Amplitude(kind)), ("mass", kind)):
            clumpy = fitted.registration.with_clumps(Held(perturber, 1, place, 1.0))
            begin = np.append(fitted.refined.vector, math.log(max(t, 0.1) * REFERENCE))
            best = on_the_same_source(fitted, clumpy, begin)
            row[name] = 2 * float(fitted.refined.cost - cost(best))
        anew = refit(exposure, clumpy, best.refined.vector)
        row["anew"] = 2 * float(fitted.refined.cost - cost(anew))
        found.append(row)
        print({k: v if isinstance(v, int | tuple) else round(v, 2) for k, v in row.items()}, flush=True)
    return found


def main() -> None:
    """Run what is asked for, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--numbers", type=int, nargs="+", required=True)
    parser.add_argument("--log-masses", type=float, nargs="+", required=True)
    parser.add_argument("--places", type=int, default=7)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    rows: list[dict] = []
    for number, log_mass in zip(options.numbers, options.log_masses, strict=True):
        with warnings.catch_warnings(), one_blas_thread():
            warnings.simplefilter("ignore")
            rows += compared(number, log_mass, options.places)
        options.json.write_text(json.dumps(rows))
    for name in ("amplitude", "mass", "anew"):
        ratio = np.array([row["T"] / row[name] for row in rows])
        good = np.mean((ratio > 0.75) & (ratio < 1.1))
        print(
            f"T over the gain by fits, {name}: median {np.median(ratio):.2f}, {ratio.min():.2f} to "
            f"{ratio.max():.2f}, within -25% and +10% in {good:.0%}"
        )


if __name__ == "__main__":
    main()
