"""
The vector of a lens with multipoles and clumps.

After the parameters of the smooth lens come the strengths of its multipoles, in arcsec, which share its
centre and axes, and of each clump the position, the logarithm of the mass and, if it is fitted, that of its
concentration over the mean one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from lenssuper._utils.units import arcsec
from lenssuper.lens import (
    EPL,
    SIE,
    SIS,
    CompositeLens,
    ExternalShear,
    LensModel,
    Multipole1,
    Multipole3,
    Multipole4,
)
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.substructure.templates import Perturber

__all__ = ["Clumps", "ClumpyLens", "SumOfParts", "smooth_lens"]

_MULTIPOLES = {1: Multipole1, 3: Multipole3, 4: Multipole4}
# Standard deviation of the strengths of multipoles, relative to the Einstein radius; and mean and standard
# deviation of the slopes of the density
_STRENGTH, _SLOPE = 0.01, (2.0, 0.2)
# Mean and standard deviation of the logarithms of masses and of concentrations over the mean ones
_LOG_MASS, _LOG_CONCENTRATION = (8.5 * math.log(10), 1.5 * math.log(10)), (0.0, 1.0)
# Typical errors of the position in arcsec, and of the logarithms
_ASIDE, _FACTOR = 0.04, 0.2
# Deflections by profiles that are kept
_KEPT = 32
# Logarithms beyond which a mass or concentration is not tried, in standard deviations from the mean
_FAR = 4.0


@dataclass(frozen=True, eq=False)
class Clumps:
    """The clumps of a fit: their kind, how many, and where they may be."""

    perturber: Perturber
    n: int
    middle: tuple[float, float]  # of their prior, in arcsec
    width: float  # standard deviation of their prior, in arcsec, along each axis
    concentration: bool = False  # whether it is fitted

    def of_number(self, n: int) -> Clumps | None:
        """Return n clumps of this kind; None for none."""
        return replace(self, n=n) if n else None

    @property
    def size(self) -> int:
        """Elements of the vector for each clump."""
        return 4 if self.concentration else 3

    @property
    def priors(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of all elements."""
        one = [(self.middle[0], self.width), (self.middle[1], self.width), _LOG_MASS, _LOG_CONCENTRATION]
        return tuple(np.tile(np.array(one[: self.size]), (self.n, 1)).T)

    @property
    def spread(self) -> np.ndarray:
        """Typical errors of all elements."""
        return np.tile([_ASIDE, _ASIDE, _FACTOR, _FACTOR][: self.size], self.n)

    def inside(self, part: np.ndarray) -> np.ndarray:
        """Move elements into their range."""
        mean, std = self.priors
        return np.clip(part, mean - _FAR * std, mean + _FAR * std)

    def lenses(self, part: np.ndarray) -> list[LensModel]:
        """Return the lens of each clump."""
        clumps = part.reshape(self.n, self.size).tolist()
        return [self._lens(*clump) for clump in clumps]

    # most directions of a derivative leave a clump as it is
    @lru_cache(maxsize=64)  # noqa: B019  few objects of this class live, and not for long
    def _lens(self, x, y, log_mass, log_concentration=0.0):
        return self.perturber.lens(math.exp(log_mass), x, y, math.exp(log_concentration))


class Deflections:
    """
    The latest deflections by single profiles.

    A small step of one parameter changes one profile of a lens or two, and leaves the others as they are.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[Any, Any] = OrderedDict()

    def by(self, profiles: Sequence[LensModel], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Return the deflection (2, ...) in arcsec by each profile at positions in arcsec."""
        # equal sums and ends: the same positions
        places = tuple(f(v) for v in (x, y) for f in (np.shape, np.sum, np.min, np.max))
        return [self._by(profile, places, x, y) for profile in profiles]

    def _by(self, profile, places, x, y):
        key = (profile, places)
        if key not in self._found:
            self._found[key] = np.array(profile.deflection_arcsec(x, y))
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]


@dataclass(frozen=True, eq=False)
class SumOfParts:
    """A lens that remembers the deflections by its profiles."""

    lens: LensModel
    known: Deflections

    def rays_arcsec(self, x, y):
        """Return the source-plane positions of positions, all in arcsec."""
        bend_x, bend_y = sum(self.known.by(self.lens.components, x, y))
        return x - bend_x, y - bend_y


class ClumpyLens:
    """
    The free parameters of one lens, with its multipoles and clumps, for a fit of `lensfit.refine`.

    ``smooth`` is the lens without them, as `smooth_lens` returns it; ``orders`` are those of multipoles.
    Those with other clumps share ``known``.
    """

    def __init__(
        self,
        smooth: CompositeLens,
        orders: Sequence[int],
        clumps: Clumps | None = None,
        known: Deflections | None = None,
    ) -> None:
        priors = {f"{name}.gamma": _SLOPE for name, part in smooth._named() if isinstance(part, EPL)}
        self._macro = FreeParameters(smooth, priors=priors)
        self.orders, self.clumps = tuple(orders), clumps
        self._main = _main_name(smooth)
        self._known = Deflections() if known is None else known
        strength = _STRENGTH * smooth.values()[f"{self._main}.theta_E"] if self.orders else 1.0
        means, stds = (np.zeros(0), np.zeros(0)) if clumps is None else clumps.priors
        self._means = np.concatenate([np.zeros(2 * len(self.orders)), means])
        self._stds = np.concatenate([np.full(2 * len(self.orders), strength), stds])

    def __len__(self) -> int:
        return len(self._macro) + len(self._means)

    @property
    def start(self) -> np.ndarray:
        """Vector of the smooth lens without multipoles, the clumps at the means of their priors."""
        return np.concatenate([self._macro.start, self._means])

    def with_clumps(self, clumps: Clumps | None) -> ClumpyLens:
        """Return the parameters of the same lens with other clumps."""
        smooth: Any = self._macro.template
        return ClumpyLens(smooth, self.orders, clumps, self._known)

    def without_clumps(self, vector: np.ndarray) -> np.ndarray:
        """Return the elements of a vector that belong to the lens without clumps."""
        return vector[: len(self._macro) + 2 * len(self.orders)]

    def of_clumps(self, vector: np.ndarray) -> np.ndarray:
        """Return the elements of a vector that belong to the clumps."""
        return vector[len(self._macro) + 2 * len(self.orders) :]

    def lens(self, vector: np.ndarray) -> LensModel:
        """Return the lens of a vector."""
        smooth: Any = self._macro.lens(vector[: len(self._macro)])
        main = dict(smooth._named())[self._main]
        parts = [smooth]
        for order, (a, b) in zip(self.orders, self._strengths(vector), strict=True):
            axes = {name: getattr(main, name) for name in ("q", "phi", "x", "y") if hasattr(main, name)}
            parts.append(_MULTIPOLES[order](a=arcsec(a), b=arcsec(b), **axes))
        if self.clumps is not None:
            parts += self.clumps.lenses(self.of_clumps(vector))
        return CompositeLens(parts)

    def _strengths(self, vector):
        n = len(self._macro)
        return vector[n : n + 2 * len(self.orders)].reshape(-1, 2).tolist()

    # What a fit asks for, as of `lensfit.registration.Registration`

    def trial(self, vector: np.ndarray, observation: int) -> SumOfParts:
        """Return the lens of a vector as the one observation sees it."""
        return SumOfParts(self.lens(vector), self._known)

    def moving(self, observations: tuple[int, ...]) -> list[int]:
        """Return all elements of the vector."""
        return list(range(len(self)))

    def inside(self, vector: np.ndarray) -> np.ndarray:
        """Move a vector into the range of the parameters."""
        macro, rest = np.split(vector, [len(self._macro)])
        if self.clumps is not None:
            n = 2 * len(self.orders)
            rest = np.concatenate([rest[:n], self.clumps.inside(rest[n:])])
        return np.concatenate([self._macro.inside(macro), rest])

    @property
    def spread(self) -> np.ndarray:
        """Typical error of each element of a guess."""
        clumps = np.zeros(0) if self.clumps is None else self.clumps.spread
        return np.concatenate([self._macro.spread, self._stds[: 2 * len(self.orders)], clumps])

    def prior_residuals(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (value - mean) / std for each prior, and the derivatives by the vector."""
        n = len(self._macro)
        residuals, rows = self._macro.prior_residuals(vector[:n])
        both = np.zeros((len(rows) + len(self._means), len(self)))
        both[: len(rows), :n] = rows
        both[len(rows) :, n:] = np.diag(1 / self._stds)
        return np.append(residuals, (vector[n:] - self._means) / self._stds), both

    def pulls(self, vector: np.ndarray) -> dict[str, float]:
        """Return (value - mean) / std of each parameter of the smooth lens and of its multipoles, by name."""
        n, many = len(self._macro), 2 * len(self.orders)
        names = [f"{_MULTIPOLES[order].__name__}.{part}" for order in self.orders for part in "ab"]
        strengths = (vector[n : n + many] / self._stds[:many]).tolist()
        return self._macro.pulls(vector[:n]) | dict(zip(names, strengths, strict=True))

    @property
    def log_prior_norm(self) -> float:
        """Logarithm of the integral of exp(-(sum of squared prior residuals) / 2) over their parameters."""
        return self._macro.log_prior_norm + float(np.sum(np.log(self._stds * math.sqrt(2 * math.pi))))


def smooth_lens(lens: LensModel, orders: Sequence[int]) -> CompositeLens:
    """
    Return a lens in the form that is fitted: a power law in place of an isothermal one, and with a shear.

    Multipoles of the ``orders`` that are fitted are left out, as they begin at zero.
    """
    kinds = tuple(_MULTIPOLES[order] for order in orders)
    parts = [_power_law(part) for part in lens.components if not isinstance(part, kinds)]
    if not any(isinstance(part, ExternalShear) for part in parts):
        parts.append(ExternalShear(gamma1=0.0, gamma2=0.0))
    smooth = CompositeLens(parts)
    if orders and _main_name(smooth) is None:
        raise ValueError(
            "multipoles belong to a lens with an Einstein radius and a centre, such as an SIE or EPL; "
            f"this is {lens!r:.120}: pass multipoles=() for none"
        )
    return smooth


def _power_law(part):
    if isinstance(part, SIE | SIS):
        return EPL(gamma=2.0, **({"q": 1.0} | part.parameters))
    return part


def _main_name(smooth):
    """Return the name of the first component with an Einstein radius, an axis ratio and a centre."""
    wanted = {"theta_E", "q", "phi", "x", "y"}
    return next((name for name, part in smooth._named() if wanted <= part.values().keys()), None)
