"""Lens models: what all of them answer, the sum of several, and the registry of single profiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from astropy import units as u

from lenssuper._utils.checks import check_kind
from lenssuper._utils.units import arcsec, to_arcsec
from lenssuper.lens import curves, files, images
from lenssuper.lens.interop import coolest, lenstronomy, pyautolens
from lenssuper.observation.grid import PixelGrid

# The single profiles by the names of their classes. A class enters itself when it is defined; files and the
# conversions from other codes find it here.
PROFILES: dict[str, type[LensModel]] = {}


class LensModel(ABC):
    """A lens in a single plane: anything with a potential, a deflection and a Hessian.

    Lens models are immutable, can be compared, hashed, copied and pickled, and add up: ``lens + lens`` is a
    `CompositeLens`. All positions are tangent-plane offsets from the grid's reference point, x to the west
    and y to the north, as Quantities with an angular unit; x and y broadcast against each other. At a centre
    where the deflection has no limit (of an isothermal lens, a point mass) it is set to exactly zero.
    """

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
    def values(self) -> dict[str, float]:
        """The parameters as floats (arcsec, radian, 1), same keys as `parameters`."""

    @abstractmethod
    def centers_arcsec(self) -> list[tuple[float, float]]:
        """The points around which mass is concentrated, often to infinite density, in arcsec."""

    # For code that computes: floats in arcsec, numpy or torch; x and y broadcast.

    @abstractmethod
    def deflection_arcsec(self, x, y, values: Mapping[str, Any] | None = None):
        """Return the deflection (alpha_x, alpha_y) in arcsec at positions in arcsec.

        Parameters
        ----------
        x, y : float, ndarray or tensor
            Image-plane offsets in arcsec; they broadcast.
        values : mapping, optional
            Floats or tensors in place of some of the `values` of the lens, e.g. to differentiate by them.
        """

    @abstractmethod
    def hessian(self, x, y, values: Mapping[str, Any] | None = None):
        """Return the second derivatives psi_xx, psi_yy, psi_xy of the potential; see `deflection_arcsec`."""

    @abstractmethod
    def potential_arcsec2(self, x, y, values: Mapping[str, Any] | None = None):
        """Return the lensing potential in arcsec^2; see `deflection_arcsec`."""

    def rays_arcsec(self, x, y, values: Mapping[str, Any] | None = None):
        """Return the source-plane positions beta = theta - alpha(theta); see `deflection_arcsec`."""
        alpha_x, alpha_y = self.deflection_arcsec(x, y, values)
        return x - alpha_x, y - alpha_y

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
        alpha_x, alpha_y = self.deflection_arcsec(*_positions(x, y))
        return arcsec(alpha_x), arcsec(alpha_y)

    def ray_shooting(self, x: u.Quantity, y: u.Quantity) -> tuple[u.Quantity, u.Quantity]:
        """Return the source-plane position beta = theta - alpha(theta) of image-plane positions.

        Parameters and shapes as in `deflection`.
        """
        beta_x, beta_y = self.rays_arcsec(*_positions(x, y))
        return arcsec(beta_x), arcsec(beta_y)

    def potential(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the lensing potential psi in arcsec^2, whose gradient is the deflection.

        Its constant is free; here psi = 0 at the centre if it is finite there. Parameters and shapes as in
        `deflection`.
        """
        return u.Quantity(self.potential_arcsec2(*_positions(x, y)), u.arcsec**2, copy=False)

    def convergence(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the convergence kappa, half the Laplacian of the potential; infinite at a singular centre.

        Parameters and shapes as in `deflection`.
        """
        psi_xx, psi_yy, _, centre = self._curvature(x, y)
        return _dimensionless(np.where(centre, np.inf, (psi_xx + psi_yy) / 2))

    def shear(self, x: u.Quantity, y: u.Quantity) -> tuple[u.Quantity, u.Quantity]:
        """Return the shear (gamma_1, gamma_2) = ((psi_xx - psi_yy) / 2, psi_xy).

        NaN at a singular centre, where it has no direction. Parameters and shapes as in `deflection`.
        """
        psi_xx, psi_yy, psi_xy, centre = self._curvature(x, y)
        return tuple(_dimensionless(np.where(centre, np.nan, g)) for g in ((psi_xx - psi_yy) / 2, psi_xy))

    def jacobian(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the Jacobian d beta / d theta as matrices of shape (..., 2, 2); NaN at a singular centre.

        Parameters as in `deflection`.
        """
        psi_xx, psi_yy, psi_xy, centre = self._curvature(x, y)
        rows = [np.stack([1 - psi_xx, -psi_xy], axis=-1), np.stack([-psi_xy, 1 - psi_yy], axis=-1)]
        return _dimensionless(np.where(centre[..., None, None], np.nan, np.stack(rows, axis=-2)))

    def magnification(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the signed magnification 1 / det(d beta / d theta) of a point source.

        Negative where the image is mirrored, infinite on a critical curve, zero at a singular centre.
        Parameters and shapes as in `deflection`.
        """
        psi_xx, psi_yy, psi_xy, centre = self._curvature(x, y)
        with np.errstate(divide="ignore"):
            mu = 1 / np.asarray((1 - psi_xx) * (1 - psi_yy) - psi_xy**2)
        return _dimensionless(np.where(centre, 0.0, mu))

    def critical_curves(self, grid: PixelGrid) -> list[u.Quantity]:
        """Return the critical curves, where the magnification is infinite, in the field of a grid.

        Parameters
        ----------
        grid : `~lenssuper.PixelGrid`
            The field and, with its pixels, how finely the curves are drawn. Curves around a singular centre
            are found however small they are, down to 1e-6 arcsec.

        Returns
        -------
        list of `~astropy.units.Quantity`
            Polylines of shape (N, 2), columns x and y in arcsec, the largest first. Closed curves end with
            their first point; a curve that runs into a singular centre is cut there. Every point has
            abs(det A) < 1e-8, close to a centre relative to the terms of det A.
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

        For an SIE without shear that is ``theta_E``. A lens without a closed critical curve has none: a
        ValueError.
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

    def to_lenstronomy(self, *, x_axis: str = "west") -> tuple[list[str], list[dict[str, float]]]:
        """Return ``lens_model_list`` and ``kwargs_lens`` of lenstronomy, angles in arcsec.

        Parameters
        ----------
        x_axis : {"west", "east"}, optional
            Where lenstronomy's x axis points: "west", along the columns of a north-up image, as here; or
            "east", along right ascension, which mirrors centres and orientations.
        """
        return lenstronomy.to_lenstronomy(self.components, x_axis)

    @classmethod
    def from_lenstronomy(
        cls, names: Sequence[str], kwargs: Sequence[Mapping[str, float]], *, x_axis: str = "west"
    ) -> LensModel:
        """Return the lens that lenstronomy describes by a list of names and a list of keyword arguments.

        Parameters
        ----------
        names : sequence of str
            For example ``["SIE", "SHEAR"]``.
        kwargs : sequence of mapping
            The parameters of each, angles in arcsec.
        x_axis : {"west", "east"}, optional
            Where their x axis points; see `to_lenstronomy`.
        """
        return cls._sum_of(lenstronomy.from_lenstronomy(PROFILES, names, kwargs, x_axis))

    def to_coolest(self, *, z_lens: float | None = None) -> dict[str, Any]:
        """Return a COOLEST template with the lens in it, ready for JSON.

        An SIS becomes an SIE with q = 1, an EPL a PEMD; a shear must have its origin at zero. Observation and
        instrument are empty, with a pixel scale of 1 arcsec that stands for none, so that the ``coolest``
        library loads it.

        Parameters
        ----------
        z_lens : float, optional
            Redshift of the lens, if the template is to have it.
        """
        return coolest.to_coolest(self.components, z_lens)

    @classmethod
    def from_coolest(cls, template: Mapping[str, Any] | str | PathLike) -> LensModel:
        """Return the lens in a COOLEST template: the point estimates of all its mass profiles.

        Parameters
        ----------
        template : mapping, str or path-like
            The content of the JSON file, or its path.
        """
        return cls._sum_of(coolest.from_coolest(PROFILES, template))

    @classmethod
    def from_pyautolens(
        cls,
        *,
        einstein_radius: u.Quantity,
        ell_comps: tuple[float, float] = (0.0, 0.0),
        centre: u.Quantity = (0.0, 0.0) * u.arcsec,
        slope: float = 2.0,
        gamma_1: float = 0.0,
        gamma_2: float = 0.0,
    ) -> LensModel:
        """Return the lens of PyAutoLens' Isothermal or PowerLaw, and of its ExternalShear if there is any.

        PyAutoLens scales its Einstein radius with the axis ratio,
        theta_E = sqrt(q) (2 / (1 + q))^(1 / (slope - 1)) einstein_radius.

        Parameters
        ----------
        einstein_radius : `~astropy.units.Quantity`
            In PyAutoLens' scaling.
        ell_comps : tuple of float, optional
            (e_y, e_x) = (1 - q) / (1 + q) (sin 2 phi, cos 2 phi).
        centre : `~astropy.units.Quantity`, optional
            (y, x).
        slope : float, optional
            Slope of the density in three dimensions.
        gamma_1, gamma_2 : float, optional
            External shear.
        """
        mass = {"einstein_radius": einstein_radius, "ell_comps": ell_comps, "centre": centre, "slope": slope}
        return cls._sum_of(pyautolens.from_pyautolens(PROFILES, **mass, shear=(gamma_1, gamma_2)))

    def to_dict(self) -> dict[str, Any]:
        """Return the lens as plain numbers and strings such as ``"1.2 arcsec"``, ready for JSON."""
        return files.to_dict(self.components)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LensModel:
        """Return the lens that `to_dict` described."""
        return cls._sum_of(files.from_dict(PROFILES, content))

    def write(self, path: str | PathLike, *, overwrite: bool = False) -> None:
        """Write the lens to a JSON file; an existing file is kept unless ``overwrite`` is set."""
        files.write(self.components, path, overwrite)

    @classmethod
    def read(cls, path: str | PathLike) -> LensModel:
        """Return the lens in a JSON file, written by `write` or following COOLEST."""
        return cls._sum_of(files.read(PROFILES, path))

    @classmethod
    def _sum_of(cls, parts):
        """Return the sum of profiles if it is of this class: ``SIE.read`` does not return a sum."""
        lens = parts[0] if len(parts) == 1 else CompositeLens(parts)
        if not isinstance(lens, cls):
            raise ValueError(f"expected a lens of type {cls.__name__}; found {lens!r}")
        return lens

    def __add__(self, other: LensModel) -> CompositeLens:
        return CompositeLens([self, other]) if isinstance(other, LensModel) else NotImplemented

    def __radd__(self, other):
        # sum() starts from the number zero
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __setattr__(self, name, value):
        raise AttributeError(
            f"{type(self).__name__} is immutable; use replace({name}=...) for a changed copy"
        )

    def __delattr__(self, name):
        raise AttributeError(f"{type(self).__name__} is immutable")

    def _curvature(self, x, y):
        """Return psi_xx, psi_yy and psi_xy at positions with a unit, and where they do not exist."""
        x, y = _positions(x, y)
        singular = [c for part in self.components if part.singular for c in part.centers_arcsec()]
        return *self.hessian(x, y), sum(((x == cx) & (y == cy) for cx, cy in singular), start=x != x)


class CompositeLens(LensModel):
    """A sum of lens profiles in one plane; what ``lens + lens`` returns.

    Parameters
    ----------
    lenses : iterable of `LensModel`
        What to add; of a sum among them the components are taken.
    """

    def __init__(self, lenses: Iterable[LensModel]):
        components = []
        for lens in lenses:
            components.extend(check_kind(lens, "each of lenses", LensModel).components)
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
        return vars(self)["_parts"]

    @property
    def parameters(self) -> dict[str, u.Quantity | float]:
        return {f"{n}.{key}": v for n, lens in self._named() for key, v in lens.parameters.items()}

    def replace(self, **changes) -> CompositeLens:
        groups = self._groups(changes)
        return CompositeLens([lens.replace(**groups[name]) for name, lens in self._named()])

    def values(self):
        return {f"{n}.{key}": v for n, lens in self._named() for key, v in lens.values().items()}

    def potential_arcsec2(self, x, y, values=None):
        return sum(self._each("potential_arcsec2", x, y, values))

    def deflection_arcsec(self, x, y, values=None):
        return tuple(sum(parts) for parts in zip(*self._each("deflection_arcsec", x, y, values), strict=True))

    def hessian(self, x, y, values=None):
        return tuple(sum(parts) for parts in zip(*self._each("hessian", x, y, values), strict=True))

    def centers_arcsec(self):
        return [centre for lens in self._parts for centre in lens.centers_arcsec()]

    def _named(self):
        return zip(self._names, self._parts, strict=True)

    def _each(self, method, x, y, values):
        groups = self._groups(values or {})
        return [getattr(lens, method)(x, y, groups[name]) for name, lens in self._named()]

    def _groups(self, flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        check_names(self, flat)
        groups: dict[str, dict[str, Any]] = {name: {} for name in vars(self)["_names"]}
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


def _positions(x, y):
    x, y = to_arcsec(x, "x"), to_arcsec(y, "y")
    try:
        return np.broadcast_arrays(x, y)
    except ValueError:
        raise ValueError(f"x and y must broadcast; got shapes {np.shape(x)} and {np.shape(y)}") from None


def _dimensionless(values):
    return u.Quantity(values, u.dimensionless_unscaled, copy=False)


def check_names(lens: LensModel, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping whose keys are parameters of the lens."""
    unknown = given.keys() - lens.values().keys()
    if unknown:
        raise ValueError(
            f"unknown parameter {sorted(unknown)[0]!r}; this lens has {', '.join(lens.values())}"
        )
    return given
