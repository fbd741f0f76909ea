"""What is not known besides the source: lens, PSF, sky, noise map and light in front, as errors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from astropy import units as u
from scipy import ndimage
from scipy.special import ndtr, stdtrit

from lenssuper._utils.checks import check_number, check_quantity
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel

__all__ = ["Change", "FittedLens", "Systematics", "psf_modes", "stretched"]

# Degrees of freedom of Student's distribution of the errors of a galaxy's light that was fitted. Images of
# its errors are one error bar of 68% each: `lensfit.lighterrors` has how both were measured
_LIGHT_DEGREES = 3.0
# Of a set of PSFs, the modes that are kept.
_MODES = 4


class FittedLens(Protocol):
    """A lens with errors, such as a `~lenssuper.LensFit`."""

    @property
    def lens(self) -> LensModel:
        """The most probable lens."""

    def principal_lenses(self) -> list[tuple[LensModel, LensModel]]:
        """Return pairs of lenses, one standard deviation to either side along each axis of the errors."""


@dataclass(frozen=True, eq=False)
class Change:
    """
    One thing that may be wrong, and the model with it one standard deviation to either side.

    Attributes
    ----------
    part : str
        Part of the budget, e.g. "PSF".
    name : str
    plus, minus : ForwardModel
    fitted : bool
        Whether the error is already that of a fit to these data, which cannot tell any more of it.
    degrees : float
        Degrees of freedom of Student's distribution of the error; infinite for a normal one. Of either, 68%
        are between minus and plus one.
    """

    part: str
    name: str
    plus: ForwardModel
    minus: ForwardModel
    fitted: bool = False
    degrees: float = math.inf

    def drawn(self, normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return how wrong it is in each draw, shape (n,), from ``normal`` draws (n,) of variance 1."""
        if math.isinf(self.degrees):
            return normal
        wider = np.sqrt(self.degrees / rng.chisquare(self.degrees, len(normal)))
        return normal * wider / stdtrit(self.degrees, ndtr(1.0))


class Systematics:
    """
    Errors of all that a super-resolution takes as known, one standard deviation each.

    Parameters
    ----------
    lens : LensFit or mapping of str to Quantity or float, optional
        A fit of the lens, with its covariance, or errors of parameters by their names in ``lens.parameters``.
    psf : float or sequence of ndarray, optional
        Relative error of the PSF's width, and of its two shears; or PSFs that may be right, e.g. those of
        several stars, of the shape and sampling of that of the observation.
    sky : Quantity or float, optional
        Error of the sky's brightness, in the unit of the data.
    noise : float, optional
        Relative error of the noise map.
    light : ndarray or sequence of ndarray, optional
        Errors of the light in front that was subtracted: images (ny, nx) in the unit of the data, each with
        one unknown factor of variance 1. By default the ``Observation.light_errors`` of the
        observation, which a fit of galaxy and lens leaves there; their factors have the tails of Student's
        distribution.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or not positive.
    """

    def __init__(
        self,
        *,
        lens: FittedLens | Mapping[str, u.Quantity | float] | None = None,
        psf: float | Sequence[np.ndarray] | None = None,
        sky: u.Quantity | float | None = None,
        noise: float | None = None,
        light: np.ndarray | Sequence[np.ndarray] | None = None,
    ) -> None:
        if lens is not None and not isinstance(lens, Mapping) and not hasattr(lens, "principal_lenses"):
            raise TypeError(f"lens must be a LensFit, or errors by parameter; got {lens!r:.80}")
        self.lens = lens
        self.psf = psf
        if psf is not None:
            self.psf = check_number(psf, "psf", above=0, most=0.5) if np.ndim(psf) == 0 else _several(psf)
        self.sky = sky
        self.noise = None if noise is None else check_number(noise, "noise", above=0, most=0.5)
        self.light = [] if light is None else list(np.atleast_3d(np.asarray(light, dtype=float).T).T)

    def __repr__(self) -> str:
        known = {name: getattr(self, name) for name in ("lens", "psf", "sky", "noise")}
        given = [f"{name}={value!r:.60}" for name, value in known.items() if value is not None]
        if self.light:
            given.append(f"light=<{len(self.light)} images>")
        return f"Systematics({', '.join(given)})"

    def changes(self, model: ForwardModel) -> Iterator[Change]:
        """Yield all that may be wrong of a model."""
        yield from self._of_lens(model)
        if self.psf is not None:
            yield from self._of_psf(model)
        observation = model.observation
        unit = observation.unit
        if self.sky is not None:
            level = u.Quantity(self.sky, unit).to_value(unit)
            level = check_number(level, "sky", above=0)
            yield _added(model, np.full(observation.shape, level), "sky", "sky")
        for k, image in enumerate(self.light, start=1):
            if image.shape != observation.shape:
                raise ValueError(
                    f"light must have the shape of the data, {observation.shape}; got {image.shape}"
                )
            yield _added(model, image, "light in front", f"light {k}")
        if not self.light and observation.light_errors is not None:
            for k, image in enumerate(observation.light_errors, start=1):
                change = _added(model, image, "light in front", f"light {k}")
                yield replace(change, fitted=True, degrees=_LIGHT_DEGREES)
        if self.noise is not None:
            # of the logarithm, so that both sides are alike
            larger, smaller = (
                model.with_weights(model.weights * np.exp(-2 * e)) for e in (self.noise, -self.noise)
            )
            yield Change("noise map", "noise", larger, smaller)

    def _of_lens(self, model):
        if self.lens is None:
            return
        if isinstance(self.lens, Mapping):
            for name, error in self.lens.items():
                value = model.lens.parameters.get(name)
                if value is None:
                    known = ", ".join(model.lens.parameters)
                    raise ValueError(f"lens names {name!r}, and the lens has {known}")
                if isinstance(value, u.Quantity):
                    check_quantity(error, f"lens[{name!r}]", value.unit, f"0.01 * u.{value.unit}", above=0)
                else:
                    check_number(error, f"lens[{name!r}]", above=0)
                pair = (model.with_lens(model.lens.replace(**{name: value + e})) for e in (error, -error))
                yield Change("lens", name, *pair)
            return
        for k, pair in enumerate(self.lens.principal_lenses(), start=1):
            yield Change("lens", f"lens {k}", *map(model.with_lens, pair), fitted=True)

    def _of_psf(self, model):
        psf = model.observation.psf
        if psf is None:
            raise ValueError("psf is an error of the PSF, and the observation has none")
        if isinstance(self.psf, float):
            for name, pair in psf_modes(psf, self.psf):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the PSF as it was given has had them
                    plus, minus = map(model.with_psf, pair)
                yield Change("PSF", f"PSF {name}", plus, minus)
            return
        others = np.stack([each / each.sum() for each in self.psf]) - psf / psf.sum()
        _, sizes, modes = np.linalg.svd(others.reshape(len(others), -1), full_matrices=False)
        for k in range(min(_MODES, len(sizes))):
            mode = sizes[k] / np.sqrt(len(others)) * modes[k].reshape(psf.shape)
            yield Change("PSF", f"PSF mode {k + 1}", model.with_psf(psf + mode), model.with_psf(psf - mode))


def _several(psfs):
    psfs = [np.asarray(each, dtype=float) for each in psfs]
    if len(psfs) < 2 or any(each.ndim != 2 or each.shape != psfs[0].shape for each in psfs):
        raise ValueError("psf must be a number, or two or more PSFs of one shape")
    return psfs


def _added(model, image, part, name):
    """Return the change that the data hold so much more, or less, than light of the source."""
    own = model.observation
    pair = (model.with_data(own.data - sign * image) for sign in (1, -1))
    return Change(part, name, *pair)


def psf_modes(psf: np.ndarray, size: float) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield names and pairs of PSFs, whose width and then each shear is ``size`` larger and smaller."""
    modes = {"width": np.eye(2), "shear 1": np.diag([1.0, -1.0]), "shear 2": np.array([[0, 1.0], [1, 0]])}

    def moved(change):
        return stretched(psf, np.eye(2) + change)

    for name, mode in modes.items():
        yield name, (moved(size * mode), moved(-size * mode))


def stretched(psf: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """
    Return a PSF whose points are moved by a matrix, (x, y) about its middle, of the same sum.

    Between pixels it is interpolated by splines of the fifth order; beyond its edge it is 0.
    """
    inverse = np.linalg.inv(matrix)[::-1, ::-1]  # in the order of rows and columns
    middle = (np.array(psf.shape) - 1) / 2
    moved = ndimage.affine_transform(psf, inverse, middle - inverse @ middle, order=5, mode="grid-constant")
    return moved * (psf.sum() / moved.sum())
