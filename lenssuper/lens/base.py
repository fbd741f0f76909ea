"""Lens models: what all of them answer, a single profile, and a sum of profiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from astropy import units as u

from .._units import arcsec, to_arcsec
from ..grid import PixelGrid
from . import curves, images
from ._arrays import as_arrays
from ._parameters import Parameter


class LensModel(ABC):
    """A lens in a single plane: anything with a potential, a deflection and a Hessian.

    Lens models are immutable, can be compared, hashed, copied and pickled, and add up: ``lens + lens`` is a
    `CompositeLens`. All positions are tangent-plane offsets from the grid's reference point, x to the west
    and y to the north, as Quantities with an angular unit; x and y broadcast against each other.

    Notes
    -----
    At a centre where the deflection has no limit (a singular isothermal or steeper profile, a point mass) it
    is set to exactly zero.
    """

    # -- what a subclass gives: floats in arcsec and radian, no units ----------------------------------------

    @property
    @abstractmethod
    def components(self) -> tuple[LensModel, ...]:
        """The single profiles this lens is the sum of."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, u.Quantity | float]:
        """The parameters by name; of a sum as ``"SIE.theta_E"``, of a second SIE ``"SIE_2.theta_E"``."""

    @abstractmethod
    def replace(self, **changes) -> LensModel:
        """Return a lens with some parameters changed; names as in `parameters`."""

    @abstractmethod
    def _values(self) -> dict[str, float]:
        """The parameters as floats (arcsec, radian, 1), same keys as `parameters`."""

    @abstractmethod
    def _potential(self, x, y, values=None):
        """Potential in arcsec^2; x, y in arcsec, numpy or torch; ``values`` may replace any of `_values`."""

    @abstractmethod
    def _deflection(self, x, y, values=None):
        """Deflection (alpha_x, alpha_y) in arcsec."""

    @abstractmethod
    def _hessian(self, x, y, values=None):
        """Second derivatives (psi_xx, psi_yy, psi_xy) of the potential."""

    @abstractmethod
    def _centers(self) -> list[tuple[float, float]]:
        """The points where the deflection may be torn or the convergence infinite, in arcsec."""

    # -- what astronomers call ------------------------------------------------------------------------------

    def deflection(self, x: u.Quantity, y: u.Quantity) -> tuple[u.Quantity, u.Quantity]:
        """Return the (scaled) deflection angle alpha.

        Parameters
        ----------
        x, y : `~astropy.units.Quantity`
            Image-plane offsets, scalars or arrays that broadcast.

        Returns
        -------
        alpha_x, alpha_y : `~astropy.units.Quantity`
            Components in arcsec, of the broadcast shape.
        """
        alpha_x, alpha_y = self._deflection(*_positions(x, y))
        return arcsec(alpha_x), arcsec(alpha_y)

    def ray_shooting(self, x: u.Quantity, y: u.Quantity) -> tuple[u.Quantity, u.Quantity]:
        """Return the source-plane position beta = theta - alpha(theta) of image-plane positions.

        Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        alpha_x, alpha_y = self._deflection(x, y)
        return arcsec(x - alpha_x), arcsec(y - alpha_y)

    def potential(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the lensing potential psi in arcsec^2, whose gradient is the deflection.

        Parameters and shapes as in `deflection`. The constant is free; here psi = 0 at the centre where that
        is possible.
        """
        return u.Quantity(self._potential(*_positions(x, y)), u.arcsec**2, copy=False)

    def convergence(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the convergence kappa, half the Laplacian of the potential; infinite at a singular centre.

        Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, _ = self._hessian(x, y)
        kappa = np.where(self._at_center(x, y), np.inf, (psi_xx + psi_yy) / 2)
        return _dimensionless(kappa)

    def shear(self, x: u.Quantity, y: u.Quantity) -> tuple[u.Quantity, u.Quantity]:
        """Return the shear (gamma_1, gamma_2) = ((psi_xx - psi_yy) / 2, psi_xy).

        NaN at a singular centre, where it has no direction. Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, psi_xy = self._hessian(x, y)
        centre = self._at_center(x, y)
        return tuple(_dimensionless(np.where(centre, np.nan, g)) for g in ((psi_xx - psi_yy) / 2, psi_xy))

    def jacobian(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the Jacobian d beta / d theta as matrices of shape (..., 2, 2); NaN at a singular centre.

        Parameters as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, psi_xy = self._hessian(x, y)
        rows = [np.stack([1 - psi_xx, -psi_xy], axis=-1), np.stack([-psi_xy, 1 - psi_yy], axis=-1)]
        matrices = np.stack(rows, axis=-2)
        return _dimensionless(np.where(self._at_center(x, y)[..., None, None], np.nan, matrices))

    def magnification(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the signed magnification 1 / det(d beta / d theta) of a point source.

        Negative where the image is mirrored, infinite on a critical curve, zero at a singular centre.
        Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, psi_xy = self._hessian(x, y)
        with np.errstate(divide="ignore"):
            mu = 1 / np.asarray((1 - psi_xx) * (1 - psi_yy) - psi_xy**2)
        return _dimensionless(np.where(self._at_center(x, y), 0.0, mu))

    def critical_curves(self, grid: PixelGrid) -> list[u.Quantity]:
        """Return the critical curves, where the magnification is infinite, in the field of a grid.

        Parameters
        ----------
        grid : `~lenssuper.PixelGrid`
            The field and, with its pixels, how finely the curves are drawn. Curves around a singular centre
            are found however small they are, down to 1e-8 arcsec.

        Returns
        -------
        list of `~astropy.units.Quantity`
            Polylines of shape (N, 2), columns x and y in arcsec, the largest first; closed curves end with
            their first point. Every point has abs(det A) < 1e-8.
        """
        return [arcsec(curve) for curve in curves.critical_curves(self, grid)]

    def caustics(self, grid: PixelGrid) -> list[u.Quantity]:
        """Return the caustics, the critical curves mapped to the source plane; see `critical_curves`.

        An isothermal centre has a cut in place of its radial caustic: see `cuts`.
        """
        return [arcsec(curve) for curve in curves.caustics(self, grid)]

    def cuts(self, n_points: int = 360) -> list[u.Quantity]:
        """Return the cut (pseudo-caustic) of each isothermal centre: the source positions the centre maps to.

        Inside a cut a source has one image more than outside.

        Returns
        -------
        list of `~astropy.units.Quantity`
            Closed polylines of shape (n_points + 1, 2) in arcsec; none for lenses whose deflection vanishes
            or diverges at the centre.
        """
        return [arcsec(curve) for curve in curves.cuts(self, n_points)]

    def einstein_radius(self) -> u.Quantity:
        """Return the effective Einstein radius, sqrt(area / pi) of the largest critical curve, in arcsec.

        For an SIE without shear that is ``theta_E``.

        Raises
        ------
        ValueError
            If there is no closed critical curve.
        """
        return arcsec(curves.einstein_radius(self))

    def image_positions(
        self, beta_x: u.Quantity, beta_y: u.Quantity, *, grid: PixelGrid | None = None
    ) -> tuple[u.Quantity, u.Quantity]:
        """Return all images of a point source, in the order in which they arrive.

        Parameters
        ----------
        beta_x, beta_y : `~astropy.units.Quantity`
            Source position, scalars.
        grid : `~lenssuper.PixelGrid`, optional
            Field to look in; by default one that no image can be outside of.

        Returns
        -------
        x, y : `~astropy.units.Quantity`
            Image positions in arcsec, of shape (N,). Central images within 1e-8 arcsec of a singular centre,
            which have no light, are left out.
        """
        beta = np.array([to_arcsec(beta_x, "beta_x"), to_arcsec(beta_y, "beta_y")])
        if beta.shape != (2,):
            raise ValueError(f"beta_x and beta_y must be scalars; got arrays of shape {beta.shape[1:]}")
        points = images.image_positions(self, beta, grid)
        return arcsec(points[:, 0]), arcsec(points[:, 1])

    def __add__(self, other: LensModel) -> CompositeLens:
        if not isinstance(other, LensModel):
            return NotImplemented
        return CompositeLens([self, other])

    def __radd__(self, other):
        # sum() starts from the number zero
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __setattr__(self, name, value):
        raise AttributeError(
            f"{type(self).__name__} is immutable; use replace({name}=...) for a changed copy"
        )

    def __delattr__(self, name):
        raise AttributeError(f"{type(self).__name__} is immutable")

    def _at_center(self, x, y):
        return np.any([(x == cx) & (y == cy) for cx, cy in self._centers()] or [(x != x) & (y != y)], axis=0)


class ProfileLens(LensModel):
    """A single lens profile: parameters checked at the door, and the functions that bend the light.

    A subclass names its parameters (``_schema``), the three functions of `lenssuper.lens.profiles` it stands
    on (potential, deflection, Hessian) and which parameters they take (``_arguments``); where one of the
    parameters is ``phi`` the positions are turned into the frame of the axes and the results back.
    """

    _schema: ClassVar[tuple[Parameter, ...]]
    _functions: ClassVar[tuple]
    _arguments: ClassVar[tuple[str, ...]]
    _singular: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for parameter in cls._schema:
            setattr(cls, parameter.name, property(_getter(parameter.name), doc=parameter.description))

    def __init__(self, **given):
        floats = {p.name: p.to_float(given[p.name]) for p in self._schema}
        kept = {p.name: p.keep(given[p.name]) for p in self._schema}
        # past the immutability of the class, once
        self.__dict__.update(_floats=floats, _kept=kept)

    @property
    def components(self) -> tuple[LensModel, ...]:
        return (self,)

    @property
    def parameters(self) -> dict[str, u.Quantity | float]:
        return {
            name: value.copy() if isinstance(value, u.Quantity) else value
            for name, value in self._kept.items()
        }

    def replace(self, **changes) -> ProfileLens:
        _check_names(self, changes)
        return type(self)(**{**self._kept, **changes})

    def _values(self):
        return dict(self._floats)

    def _potential(self, x, y, values=None):
        x, y, arguments, _ = self._local(x, y, values)
        return self._functions[0](x, y, *arguments)

    def _deflection(self, x, y, values=None):
        x, y, arguments, turn = self._local(x, y, values)
        alpha_x, alpha_y = self._functions[1](x, y, *arguments)
        if turn is None:
            return alpha_x, alpha_y
        c, s = turn
        return c * alpha_x - s * alpha_y, s * alpha_x + c * alpha_y

    def _hessian(self, x, y, values=None):
        x, y, arguments, turn = self._local(x, y, values)
        xx, yy, xy = self._functions[2](x, y, *arguments)
        if turn is None:
            return xx, yy, xy
        c, s = turn
        cross = 2 * c * s * xy
        return (
            c * c * xx + s * s * yy - cross,
            s * s * xx + c * c * yy + cross,
            c * s * (xx - yy) + (c * c - s * s) * xy,
        )

    @property
    def _torn(self) -> bool:
        """Whether the deflection tends to different finite values on different ways into the centre."""
        return False

    def _centers(self):
        strength = self._floats[self._schema[0].name]
        return [(self._floats["x"], self._floats["y"])] if self._singular and strength != 0 else []

    def _local(self, x, y, values):
        """Return x, y in the frame of the lens, its functions' arguments, and (cos, sin) of its angle."""
        v = self._floats if values is None else {**self._floats, **_check_names(self, values)}
        arguments = [v[name] for name in self._arguments]
        xp, x, y, *centre = as_arrays(x, y, v["x"], v["y"], v.get("phi", 0.0))
        x, y = x - centre[0], y - centre[1]
        if "phi" not in v:
            return x, y, arguments, None
        c, s = xp.cos(centre[2]), xp.sin(centre[2])
        return c * x + s * y, c * y - s * x, arguments, (c, s)

    def __eq__(self, other):
        return self._floats == other._floats if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash((type(self).__name__, *self._floats.items()))

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self._kept.items())})"


class CompositeLens(LensModel):
    """A sum of lens profiles in one plane; what ``lens + lens`` returns.

    Parameters
    ----------
    lenses : iterable of `LensModel`
        What to add; sums among them are taken apart, so there is one level.
    """

    def __init__(self, lenses: Iterable[LensModel]):
        components = []
        for lens in lenses:
            if not isinstance(lens, LensModel):
                raise TypeError(f"lenses must be LensModel instances; got {lens!r}")
            components.extend(lens.components)
        if not components:
            raise ValueError("lenses must hold at least one LensModel; got none")
        seen: dict[str, int] = {}
        names = []
        for lens in components:
            kind = type(lens).__name__
            seen[kind] = seen.get(kind, 0) + 1
            names.append(kind if seen[kind] == 1 else f"{kind}_{seen[kind]}")
        self.__dict__.update(_parts=tuple(components), _names=tuple(names))

    @property
    def components(self) -> tuple[LensModel, ...]:
        return self._parts

    @property
    def parameters(self) -> dict[str, u.Quantity | float]:
        return {f"{n}.{key}": v for n, lens in self._named() for key, v in lens.parameters.items()}

    def replace(self, **changes) -> CompositeLens:
        groups = self._groups(changes)
        return CompositeLens([lens.replace(**groups[name]) for name, lens in self._named()])

    def _values(self):
        return {f"{n}.{key}": v for n, lens in self._named() for key, v in lens._values().items()}

    def _potential(self, x, y, values=None):
        return sum(self._each("_potential", x, y, values))

    def _deflection(self, x, y, values=None):
        return tuple(sum(parts) for parts in zip(*self._each("_deflection", x, y, values), strict=True))

    def _hessian(self, x, y, values=None):
        return tuple(sum(parts) for parts in zip(*self._each("_hessian", x, y, values), strict=True))

    def _centers(self):
        return [centre for lens in self._parts for centre in lens._centers()]

    def _named(self):
        return zip(self._names, self._parts, strict=True)

    def _each(self, method, x, y, values):
        groups = self._groups(values or {})
        return [getattr(lens, method)(x, y, groups[name]) for name, lens in self._named()]

    def _groups(self, flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        _check_names(self, flat)
        groups: dict[str, dict[str, Any]] = {name: {} for name in self._names}
        for key, value in flat.items():
            name, _, parameter = key.partition(".")
            groups[name][parameter] = value
        return groups

    def __eq__(self, other):
        return self._parts == other._parts if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash(self._parts)

    def __repr__(self):
        return " + ".join(map(repr, self._parts))


def _getter(name):
    return lambda self: self.parameters[name]


def _check_names(lens, given: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = given.keys() - lens._values().keys()
    if unknown:
        raise ValueError(
            f"unknown parameter {sorted(unknown)[0]!r}; this lens has {', '.join(lens._values())}"
        )
    return given


def _positions(x, y):
    x, y = to_arcsec(x, "x"), to_arcsec(y, "y")
    try:
        return np.broadcast_arrays(x, y)
    except ValueError:
        raise ValueError(f"x and y must broadcast; got shapes {np.shape(x)} and {np.shape(y)}") from None


def _dimensionless(values):
    return u.Quantity(values, u.dimensionless_unscaled, copy=False)
