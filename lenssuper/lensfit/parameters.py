"""
The free parameters of a lens as a vector, in which an optimiser moves.

The vector is regular where the parameters are not: axis ratio and angle become the two components of the
ellipticity, (1 - q) / (1 + q) (cos 2 phi, sin 2 phi), which pass smoothly through a round lens, and radii
become their logarithms, which cannot turn negative.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lenssuper._utils.checks import check_kind
from lenssuper.forward.judgement import LensGalaxy
from lenssuper.lens import CompositeLens, LensModel
from lenssuper.lens.interop import ellipticity

__all__ = ["FreeParameters", "main_component"]

# Ellipticity |e| = (1 - q) / (1 + q) of the flattest lens that is tried, q = 0.11
_FLATTEST = 0.8
# Distance, as a share of its range, that a parameter keeps from an end that does not belong to the range
_ASIDE = 0.02
# Error, in radian, of an angle that is not known at all: that of a uniform distribution over half a turn
_ANY_ANGLE = math.pi / math.sqrt(12)
# Standard deviations of each component of ellipticity and of shear among lenses. Where the arcs are faint,
# the two could otherwise grow without bound, one against the other
_ELLIPTICITY, _SHEAR = 0.35, 0.1
# Standard deviations, about those of its light, of the centre of a mass, in arcsec, and of each component of
# its ellipticity
_OFF_LIGHT, _UNLIKE_LIGHT = 0.02, 0.15
# Typical error of a guess, by kind, over which the starts of a fit are spread
_SPREAD = {"log": 0.08, "ellipse": 0.12, "length": 0.04, "number": 0.05, "angle": 0.3}


@dataclass(frozen=True)
class _Plain:
    """A parameter that is an element of the vector, or whose logarithm is one."""

    name: str
    log: bool
    lower: float
    upper: float
    kind: str

    size = 1

    @property
    def names(self):
        return (self.name,)

    def pack(self, values):
        value = values[self.name]
        return [math.log(value) if self.log else value]

    def unpack(self, vector):
        return {self.name: math.exp(vector[0]) if self.log else float(vector[0])}

    def slopes(self, vector):
        return np.array([[math.exp(vector[0]) if self.log else 1.0]])

    def inside(self, vector):
        return np.clip(vector, self.lower, self.upper)


@dataclass(frozen=True)
class _Ellipse:
    """Axis ratio and angle, as the components of an ellipticity."""

    q: str
    phi: str

    size = 2
    kind = "ellipse"

    @property
    def names(self):
        return self.q, self.phi

    def pack(self, values):
        return list(ellipticity.components(values[self.q], values[self.phi]))

    def unpack(self, vector):
        q, phi = ellipticity.axis_ratio_and_angle(*map(float, vector))
        return {self.q: q, self.phi: phi}

    def slopes(self, vector):
        """Return d(q, phi) / d(e1, e2); the angle of an almost round lens is unknown, not infinite."""
        e = max(math.hypot(*vector), 1e-6)
        e1, e2 = (vector / e) if math.hypot(*vector) > 0 else (1.0, 0.0)
        radial = -2 / (1 + e) ** 2
        return np.array([[radial * e1, radial * e2], [-e2 / (2 * e), e1 / (2 * e)]])

    def inside(self, vector):
        return vector * min(1.0, _FLATTEST / max(math.hypot(*vector), 1e-12))


class FreeParameters:
    """
    The parameters of a lens that are fitted.

    Parameters
    ----------
    lens : LensModel
        Gives the values of fixed parameters, and the start of free ones.
    free, fixed, priors
        As of `~lenssuper.LensFitter`.

    Raises
    ------
    TypeError, ValueError
        If a name is not one of the lens, nothing is left to fit, or a prior is not a mean and a positive
        standard deviation.
    """

    def __init__(
        self,
        lens: LensModel,
        *,
        free: Iterable[str] | None = None,
        fixed: Iterable[str] = (),
        priors: Mapping[str, tuple] | None = None,
    ) -> None:
        self.template = lens
        if isinstance(lens, CompositeLens):
            self._table = {f"{name}.{p.name}": p for name, part in lens._named() for p in part._schema}
        else:
            profile: Any = lens
            self._table = {p.name: p for p in profile._schema}
        wanted = _chosen(self._table, free, fixed)
        self._blocks = _blocks(self._table, wanted, lens.values())
        self.names = tuple(name for block in self._blocks for name in block.names)
        self.start = self.pack(lens)
        self._given = self._priors = _priors(priors, self._table, self.names)
        self._expected, self._weak = np.zeros(len(self)), self._population()
        self.given = lens  # by the user

    def with_weaker(self, priors: Mapping[str, tuple[float, float]]) -> FreeParameters:
        """Return the same parameters with further priors (arcsec, radian, 1); the user's come first."""
        new = copy.copy(self)
        fitted = {name: prior for name, prior in priors.items() if name in self.names}
        new._priors = self._priors | fitted | self._given
        return new

    def beside(self, galaxy: LensGalaxy) -> FreeParameters:
        """
        Return the same parameters, with priors on centre and ellipticity from the light of the lens galaxy.

        They are on the component of the largest Einstein radius; what the user has given comes first.
        """
        mass = main_component(self.template)
        if mass is None:
            return self
        new = self.with_weaker({mass + "x": (galaxy.x, _OFF_LIGHT), mass + "y": (galaxy.y, _OFF_LIGHT)})
        shape = [block.names[0] == mass + "q" for block in self._each_element()]
        if any(shape) and math.isfinite(galaxy.q) and not {mass + "q", mass + "phi"} & set(self._given):
            new._expected, new._weak = self._expected.copy(), self._weak.copy()
            new._expected[shape], new._weak[shape] = (
                ellipticity.components(galaxy.q, galaxy.phi),
                1 / _UNLIKE_LIGHT,
            )
        return new

    def of_lens(
        self, lens: LensModel, renamed: Mapping[str, str], more: Iterable[str] = ()
    ) -> FreeParameters:
        """
        Return the free parameters of another lens, which starts there, with the same priors.

        ``renamed`` gives new names of parameters that have others there; ``more`` of that lens are free too.
        """
        names = [renamed.get(name, name) for name in self.names]
        new = FreeParameters(lens, free=[*names, *more])
        new.given = self.given
        new._given, new._priors = (
            {renamed.get(name, name): prior for name, prior in each.items()}
            for each in (self._given, self._priors)
        )
        # an element of the vector belongs to the parameter with the same position among the names
        there = [new.names.index(name) for name in names]
        new._expected[there], new._weak[there] = self._expected, self._weak
        return new

    def center(self) -> tuple[float, float]:
        """Return where the largest mass is expected, (x, y) in arcsec."""
        mass, values = main_component(self.template), self.template.values()
        if mass is None:
            return 0.0, 0.0
        return tuple(self._priors.get(mass + axis, (values[mass + axis],))[0] for axis in "xy")

    @property
    def expected(self) -> np.ndarray:
        """The vector of the lens at the means of the priors; where there is none, at the start."""
        vector = np.where(self._weak > 0, self._expected, self.start)
        for k, block in enumerate(self._each_element()):
            if block.size == 1 and block.names[0] in self._priors:
                vector[k] = block.pack({block.names[0]: self._priors[block.names[0]][0]})[0]
        return vector

    def __len__(self) -> int:
        return len(self.names)

    def pack(self, lens: LensModel) -> np.ndarray:
        """Return the vector of a lens of this kind."""
        values = lens.values()
        return np.array([x for block in self._blocks for x in block.pack(values)], dtype=np.float64)

    def values(self, vector: np.ndarray) -> dict[str, float]:
        """Return all parameters as plain numbers (arcsec, radian, 1)."""
        values = self.template.values()
        for block, part in self._parts(vector):
            values.update(block.unpack(part))
        return values

    def lens(self, vector: np.ndarray) -> LensModel:
        """Return the lens of a vector."""
        values = self.values(vector)
        return self.template.replace(**{n: self._table[n].to_public(values[n]) for n in self.names})

    def inside(self, vector: np.ndarray) -> np.ndarray:
        """Move a vector into the range of the parameters."""
        return np.concatenate([block.inside(part) for block, part in self._parts(vector)])

    def slopes(self, vector: np.ndarray) -> np.ndarray:
        """Return the derivatives of the parameters, in the order of `names`, by the vector."""
        slopes = np.zeros((len(self), len(self)))
        first = 0
        for block, part in self._parts(vector):
            last = first + block.size
            slopes[first:last, first:last] = block.slopes(part)
            first = last
        return slopes

    @property
    def spread(self) -> np.ndarray:
        """Typical error of each element of a guess."""
        return np.array([_SPREAD[block.kind] for block in self._each_element()])

    @property
    def is_radius(self) -> np.ndarray:
        """Elements of the vector that are logarithms of Einstein radii."""
        return np.array([b.names[0].rpartition(".")[2] == "theta_E" for b in self._each_element()])

    @property
    def is_ellipse(self) -> np.ndarray:
        """Elements of the vector that are components of an ellipticity."""
        return np.array([block.kind == "ellipse" for block in self._each_element()])

    def _each_element(self):
        return [block for block in self._blocks for _ in range(block.size)]

    def covariance(self, vector: np.ndarray, of_vector: np.ndarray) -> np.ndarray:
        """Return the covariance of the parameters, in the order of `names`, from that of the vector."""
        slopes = self.slopes(vector)
        covariance = slopes @ of_vector @ slopes.T
        scale = np.ones(len(self))
        for k, name in enumerate(self.names):
            if self._table[name].kind == "angle":
                scale[k] = min(1.0, _ANY_ANGLE / max(math.sqrt(covariance[k, k]), 1e-300))
        return covariance * np.outer(scale, scale)

    def prior_residuals(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return (value - mean) / std for each prior, and the derivatives by the vector.

        After the given priors come weak ones, of ellipticity and shear.
        """
        residuals, rows = [], []
        if self._priors:
            values, slopes = self.values(vector), self.slopes(vector)
            for name, (mean, std) in self._priors.items():
                difference = values[name] - mean
                if self._table[name].kind == "angle":  # an axis has no head and tail
                    difference = (difference + math.pi / 2) % math.pi - math.pi / 2
                residuals.append(difference / std)
                rows.append(slopes[self.names.index(name)] / std)
        weak = self._weak
        return np.append(residuals, weak * (vector - self._expected)), np.vstack([*rows, np.diag(weak)])

    def pulls(self, vector: np.ndarray) -> dict[str, float]:
        """Return (value - mean) / std by the name of the parameter; the larger one of an ellipticity."""
        weak = [" and ".join(block.names) for block in self._each_element()]
        residuals, _ = self.prior_residuals(vector)
        found: dict[str, float] = {}
        for name, pull in zip([*self._priors, *weak], residuals.tolist(), strict=True):
            found[name] = max(found.get(name, 0.0), pull, key=abs)
        return found

    @property
    def log_prior_norm(self) -> float:
        """Logarithm of the integral of exp(-(sum of squared prior residuals) / 2) over their parameters."""
        stds = [*(std for _, std in self._priors.values()), *(1 / self._weak[self._weak > 0])]
        return float(np.sum(np.log(np.multiply(stds, math.sqrt(2 * math.pi)))))

    def _population(self):
        """Return one over the standard deviation of the weak prior on each element; 0 where there is none."""
        weak = np.where(self.is_ellipse, 1 / _ELLIPTICITY, 0.0)
        shear = [block.names[0].rpartition(".")[2] in ("gamma1", "gamma2") for block in self._each_element()]
        return np.where(shear, 1 / _SHEAR, weak)

    def public(self, name: str, number: float):
        """Return a number as the lens has it: a Quantity, or itself."""
        return self._table[name].to_public(float(number))

    def _parts(self, vector):
        first = 0
        for block in self._blocks:
            yield block, np.asarray(vector[first : first + block.size], dtype=np.float64)
            first += block.size


def main_component(lens: LensModel) -> str | None:
    """Return how the names of the parameters of the largest mass begin; None if no mass has a radius."""
    if not isinstance(lens, CompositeLens):
        return "" if {"theta_E", "x", "y"} <= set(lens.parameters) else None
    values = lens.values()
    radii = {name[: -len("theta_E")]: values[name] for name in values if name.endswith(".theta_E")}
    radii = {prefix: radius for prefix, radius in radii.items() if prefix + "x" in values}
    return max(radii, key=lambda prefix: radii[prefix]) if radii else None


def _chosen(table, free, fixed):
    """Return the names to fit, in the order of the lens's parameters."""
    unobservable = {name for name, parameter in table.items() if not parameter.observable}
    fixed = _names(table, fixed, "fixed")
    if free is None:
        free = set(table) - fixed - unobservable
    else:
        free = _names(table, free, "free")
        if both := free & fixed:
            raise ValueError(f"{sorted(both)[0]!r} is both in free and in fixed")
        if lost := free & unobservable:
            raise ValueError(f"free must not hold {sorted(lost)[0]!r}: it only moves the source")
    if not free:
        raise ValueError("no parameter of the lens is left to fit: all are fixed")
    return [name for name in table if name in free]


def _names(table, given, argument):
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} must be a list of parameter names; got {given!r}")
    found = set()
    for name in given:
        of_component = {key for key in table if key.partition(".")[0] == name}
        if name not in table and not of_component:
            raise ValueError(f"{argument} has {name!r}, but this lens has {', '.join(table)}")
        found |= of_component or {name}
    return found


def _blocks(table, names, values):
    blocks = []
    for name in names:
        last = name.rpartition(".")[2]
        twin = name[: -len(last)] + {"q": "phi", "phi": "q"}.get(last, "")
        if last in ("q", "phi") and twin in names:
            if last == "q":
                blocks.append(_Ellipse(name, twin))
            continue
        blocks.append(_plain(name, table[name], values[name]))
    return blocks


def _plain(name, parameter, value):
    if parameter.kind == "length" and parameter.lower == 0:
        if not value > 0:
            raise ValueError(f"{name} must be above 0 in a guess for it to be fitted; got {value}")
        return _Plain(name, True, -math.inf, math.inf, "log")
    lower, upper = parameter.lower, parameter.upper
    room = _ASIDE * (upper - lower) if math.isfinite(upper - lower) else 0.0
    lower += room if lower in parameter.excluded else 0.0
    upper -= room if upper in parameter.excluded else 0.0
    return _Plain(name, False, lower, upper, parameter.kind)


def _priors(priors, table, names):
    if priors is None:
        return {}
    check_kind(priors, "priors", Mapping, "a mapping of names to (mean, standard deviation)")
    checked = {}
    for name, prior in priors.items():
        if name not in names:
            raise ValueError(f"priors has {name!r}, which is not fitted; fitted are {', '.join(names)}")
        try:
            mean, std = prior
        except (TypeError, ValueError):
            raise TypeError(f"priors[{name!r}] must be (mean, standard deviation); got {prior!r}") from None
        width = {"name": f"the standard deviation of {name} in priors", "lower": 0.0, "upper": math.inf}
        width = replace(table[name], excluded=(0.0,), **width)
        checked[name] = table[name].to_float(mean), width.to_float(std)
    return checked
