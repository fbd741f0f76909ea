"""Lens models: what all of them answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from lenssuper._utils.units import arcsec, to_arcsec
from lenssuper.lens import curves, images
from lenssuper.observation.grid import PixelGrid

if TYPE_CHECKING:
    from lenssuper.lens.profile import CompositeLens


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

    # -- what a subclass gives, in floats without units: arcsec and radian -----------------------------------

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
        """The points where the deflection may be torn or the convergence infinite, in arcsec."""

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

        Parameters and shapes as in `deflection`. The constant is free; here psi = 0 at the centre where that
        is possible.
        """
        return u.Quantity(self.potential_arcsec2(*_positions(x, y)), u.arcsec**2, copy=False)

    def convergence(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the convergence kappa, half the Laplacian of the potential; infinite at a singular centre.

        Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, _ = self.hessian(x, y)
        kappa = np.where(self._at_center(x, y), np.inf, (psi_xx + psi_yy) / 2)
        return _dimensionless(kappa)

    def shear(self, x: u.Quantity, y: u.Quantity) -> tuple[u.Quantity, u.Quantity]:
        """Return the shear (gamma_1, gamma_2) = ((psi_xx - psi_yy) / 2, psi_xy).

        NaN at a singular centre, where it has no direction. Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, psi_xy = self.hessian(x, y)
        centre = self._at_center(x, y)
        return tuple(_dimensionless(np.where(centre, np.nan, g)) for g in ((psi_xx - psi_yy) / 2, psi_xy))

    def jacobian(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the Jacobian d beta / d theta as matrices of shape (..., 2, 2); NaN at a singular centre.

        Parameters as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, psi_xy = self.hessian(x, y)
        rows = [np.stack([1 - psi_xx, -psi_xy], axis=-1), np.stack([-psi_xy, 1 - psi_yy], axis=-1)]
        matrices = np.stack(rows, axis=-2)
        return _dimensionless(np.where(self._at_center(x, y)[..., None, None], np.nan, matrices))

    def magnification(self, x: u.Quantity, y: u.Quantity) -> u.Quantity:
        """Return the signed magnification 1 / det(d beta / d theta) of a point source.

        Negative where the image is mirrored, infinite on a critical curve, zero at a singular centre.
        Parameters and shapes as in `deflection`.
        """
        x, y = _positions(x, y)
        psi_xx, psi_yy, psi_xy = self.hessian(x, y)
        with np.errstate(divide="ignore"):
            mu = 1 / np.asarray((1 - psi_xx) * (1 - psi_yy) - psi_xy**2)
        return _dimensionless(np.where(self._at_center(x, y), 0.0, mu))

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

    # -- other codes and files -------------------------------------------------------------------------------

    def to_lenstronomy(self, *, x_axis: str = "west") -> tuple[list[str], list[dict[str, float]]]:
        """Return ``lens_model_list`` and ``kwargs_lens`` of lenstronomy, angles in arcsec.

        Parameters
        ----------
        x_axis : {"west", "east"}, optional
            Where lenstronomy's x axis is to point: "west" is along the columns of a north-up image, as here;
            "east" is along right ascension, which mirrors centres, e2 and gamma2.
        """
        from lenssuper.lens.interop import lenstronomy

        return lenstronomy.to_lenstronomy(self, x_axis)

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
        from lenssuper.lens.interop import lenstronomy

        return _of(cls, lenstronomy.from_lenstronomy(names, kwargs, x_axis))

    def to_coolest(self, *, z_lens: float | None = None) -> dict[str, Any]:
        """Return the lens-mass part of a COOLEST template, ready for JSON.

        An SIS becomes an SIE with q = 1, an EPL a PEMD.

        Raises
        ------
        ValueError
            For a profile that COOLEST does not know, and for a shear whose origin is not at zero.
        """
        from lenssuper.lens.interop import coolest

        return coolest.to_coolest(self, z_lens)

    @classmethod
    def from_coolest(cls, template: Mapping[str, Any] | str | PathLike) -> LensModel:
        """Return the lens in a COOLEST template: the point estimates of all its mass profiles.

        Parameters
        ----------
        template : mapping, str or path-like
            The content of the JSON file, or its path.
        """
        from lenssuper.lens.interop import coolest

        return _of(cls, coolest.from_coolest(template))

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
        from lenssuper.lens.interop import pyautolens

        return _of(
            cls, pyautolens.from_pyautolens(einstein_radius, ell_comps, centre, slope, gamma_1, gamma_2)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the lens as plain numbers and strings such as ``"1.2 arcsec"``, ready for JSON."""
        from lenssuper.lens import files

        return files.to_dict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> LensModel:
        """Return the lens that `to_dict` described."""
        from lenssuper.lens import files

        return _of(cls, files.from_dict(content))

    def write(self, path: str | PathLike, *, overwrite: bool = False) -> None:
        """Write the lens to a JSON file; an existing file is kept unless ``overwrite`` is set."""
        from lenssuper.lens import files

        files.write(self, path, overwrite)

    @classmethod
    def read(cls, path: str | PathLike) -> LensModel:
        """Return the lens in a JSON file, written by `write` or following COOLEST."""
        from lenssuper.lens import files

        return _of(cls, files.read(path))

    def __add__(self, other: LensModel) -> CompositeLens:
        if not isinstance(other, LensModel):
            return NotImplemented
        from lenssuper.lens.profile import CompositeLens

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
        return np.any(
            [(x == cx) & (y == cy) for cx, cy in self.centers_arcsec()] or [(x != x) & (y != y)], axis=0
        )


def _positions(x, y):
    x, y = to_arcsec(x, "x"), to_arcsec(y, "y")
    try:
        return np.broadcast_arrays(x, y)
    except ValueError:
        raise ValueError(f"x and y must broadcast; got shapes {np.shape(x)} and {np.shape(y)}") from None


def _dimensionless(values):
    return u.Quantity(values, u.dimensionless_unscaled, copy=False)


def _of(cls, lens):
    """Return the lens if it is what was asked for: ``SIE.read`` is not to return a sum."""
    if not isinstance(lens, cls):
        raise ValueError(f"expected a lens of type {cls.__name__}; found {lens!r}")
    return lens
