"""Kinds of perturbers: what a mass at a position adds to a lens."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from astropy import units as u
from astropy.cosmology import FLRW, Planck18

from lenssuper._utils.checks import (
    check_angle,
    check_count,
    check_kind,
    check_length,
    check_number,
    check_quantity,
)
from lenssuper._utils.units import arcsec
from lenssuper.lens import DPIE, TNFW, CompositeLens, LensModel, PointMass
from lenssuper.lens.cosmology import _distances, halo_parameters
from lenssuper.simulate.substructure import duffy_concentration, einstein_radius

__all__ = ["FixedShape", "JaffeClump", "MassLine", "Perturber", "PointClump", "TidalHalo"]


class Perturber(ABC):
    """
    A kind of perturber, which gives the lens of a mass at a position.

    Attributes
    ----------
    has_mass : bool
        Whether masses are in solar masses; if not, they are multiples of a given lens.
    """

    has_mass = True

    @abstractmethod
    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        """
        Return the lens of a mass in solar masses at a position in arcsec.

        ``concentration`` multiplies that of the relation to the mass, where there is one.
        """

    @abstractmethod
    def described(self) -> str:
        """Return what the masses mean, in words."""

    @property
    def has_concentration(self) -> bool:
        """Whether it has a concentration that may be fitted."""
        return False


@dataclass(frozen=True, eq=False)
class _AtRedshift(Perturber):
    """A perturber in the plane of the lens."""

    z_lens: float
    z_source: float
    cosmology: FLRW = field(default_factory=lambda: Planck18, kw_only=True)

    def __post_init__(self) -> None:
        if self.z_lens is None or self.z_source is None:
            raise ValueError(
                f"z_lens and z_source must be given for masses in solar masses; got z_lens={self.z_lens}, "
                f"z_source={self.z_source}"
            )
        _distances(self.z_lens, self.z_source, self.cosmology)

    @cached_property
    def _kpc(self):
        """Length of an arcsec in the plane of the lens."""
        distance = _distances(self.z_lens, self.z_source, self.cosmology)[0]
        return (distance * u.arcsec.to(u.rad)).to_value(u.kpc)

    @cached_property
    def critical_mass(self) -> float:
        """Solar masses per arcsec^2 of the critical surface density."""
        # a point mass has the mass pi theta_E^2 in these units
        radius = einstein_radius(1 * u.Msun, self.z_lens, self.z_source, self.cosmology)
        return 1 / (math.pi * radius.to_value(u.arcsec) ** 2)


@dataclass(frozen=True, eq=False)
class TidalHalo(_AtRedshift):
    """
    A halo of cold dark matter that tides have truncated.

    Parameters
    ----------
    z_lens, z_source : float
        Redshifts.
    concentration : float, optional
        Multiple of the mean concentration at the mass.
    distance : `~astropy.units.Quantity`, optional
        From the centre of the lens, in three dimensions; tides truncate the halo more where it is small.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default `astropy.cosmology.Planck18`.

    Notes
    -----
    Masses are M200 before tides. Concentration of Duffy et al. 2008, MNRAS 390, L64, and truncation radius of
    Gilman et al. 2020, MNRAS 491, 6077, eq. 9, as of `~lenssuper.simulate.ColdSubhaloes`.
    """

    concentration: float = field(default=1.0, kw_only=True)
    distance: u.Quantity = field(default=100 * u.kpc, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.concentration, "concentration", above=0)
        check_quantity(self.distance, "distance", u.kpc, "100 * u.kpc", above=0)

    @property
    def has_concentration(self) -> bool:
        return True

    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        c = self.concentration * concentration * duffy_concentration(mass, self.z_lens, self.cosmology)
        alpha_Rs, Rs = halo_parameters(mass * u.Msun, c, self.z_lens, self.z_source, self.cosmology)
        distance = self.distance.to_value(u.kpc)
        truncation = 1.4 * (mass / 1e7) ** (1 / 3) * (distance / 50) ** (2 / 3) / self._kpc
        return TNFW(alpha_Rs=alpha_Rs, Rs=Rs, r_trunc=arcsec(truncation), x=arcsec(x), y=arcsec(y))

    def described(self) -> str:
        c = self.concentration * duffy_concentration(1e9, self.z_lens, self.cosmology)
        return (
            f"truncated NFW halo, mass M200 before tides, concentration {c:.3g} at 1e9 Msun "
            f"({self.concentration:g} times Duffy et al. 2008), truncated by tides at {self.distance:g} from "
            f"the centre; z_lens = {self.z_lens:g}, z_source = {self.z_source:g}"
        )


@dataclass(frozen=True, eq=False)
class JaffeClump(_AtRedshift):
    """
    A pseudo-Jaffe clump: isothermal, and truncated by tides.

    Parameters
    ----------
    z_lens, z_source : float
        Redshifts.
    theta_E : `~astropy.units.Quantity`
        Einstein radius of the lens, which sets the truncation.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default `astropy.cosmology.Planck18`.

    Notes
    -----
    Total mass pi b r_t Sigma_crit with the Einstein radius b of the clump and the truncation radius
    r_t = sqrt(b theta_E), as for a clump at its tidal radius (Metcalf & Madau 2001, ApJ 563, 9; Vegetti et
    al. 2010, MNRAS 408, 1969).
    """

    theta_E: u.Quantity = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_length(self.theta_E, "theta_E", above=0)

    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        radius = self.theta_E.to_value(u.arcsec)
        b = (mass / (math.pi * self.critical_mass * math.sqrt(radius))) ** (2 / 3)
        return DPIE(theta_E=arcsec(b), r_trunc=arcsec(math.sqrt(b * radius)), x=arcsec(x), y=arcsec(y))

    def described(self) -> str:
        return (
            f"pseudo-Jaffe clump, total mass, truncated at sqrt(b theta_E) with theta_E = {self.theta_E:g}; "
            f"z_lens = {self.z_lens:g}, z_source = {self.z_source:g}"
        )


@dataclass(frozen=True, eq=False)
class PointClump(_AtRedshift):
    """
    A point mass.

    Parameters
    ----------
    z_lens, z_source : float
        Redshifts.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default `astropy.cosmology.Planck18`.
    """

    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        radius = einstein_radius(mass * u.Msun, self.z_lens, self.z_source, self.cosmology)
        return PointMass(theta_E=radius, x=arcsec(x), y=arcsec(y))

    def described(self) -> str:
        return f"point mass; z_lens = {self.z_lens:g}, z_source = {self.z_source:g}"


@dataclass(frozen=True, eq=False)
class MassLine(_AtRedshift):
    """
    A straight uniform line of mass, such as a vortex in a superfluid of axions.

    Parameters
    ----------
    z_lens, z_source : float
        Redshifts.
    length : `~astropy.units.Quantity`, optional
        On the sky.
    phi : `~astropy.units.Quantity`, optional
        Its direction, counter-clockwise from +x.
    points : int, optional
        The number of point masses that make up the line, as of `~lenssuper.simulate.AxionVortex`.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default `astropy.cosmology.Planck18`.
    """

    length: u.Quantity = field(default=1 * u.arcsec, kw_only=True)
    phi: u.Quantity = field(default=0 * u.deg, kw_only=True)
    points: int = field(default=25, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_length(self.length, "length", above=0)
        check_angle(self.phi, "phi")
        check_count(self.points, "points")

    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        # the middles of equal pieces
        along = self.length.to_value(u.arcsec) * ((np.arange(self.points) + 0.5) / self.points - 0.5)
        phi = self.phi.to_value(u.rad)
        radius = einstein_radius(mass / self.points * u.Msun, self.z_lens, self.z_source, self.cosmology)
        return CompositeLens(
            PointMass(theta_E=radius, x=arcsec(x + s * math.cos(phi)), y=arcsec(y + s * math.sin(phi)))
            for s in along
        )

    def described(self) -> str:
        return (
            f"line of mass, {self.length:g} long in the direction {self.phi:g} from +x; "
            f"z_lens = {self.z_lens:g}, z_source = {self.z_source:g}"
        )


@dataclass(frozen=True, eq=False)
class FixedShape(Perturber):
    """
    Any lens whose deflection is scaled: amplitudes are multiples of it, and there are no masses.

    Parameters
    ----------
    shape : LensModel
        With its middle at x = y = 0.
    """

    shape: LensModel

    has_mass = False

    def __post_init__(self) -> None:
        check_kind(self.shape, "shape", LensModel)
        centres = self.shape.centers_arcsec()
        if not centres:
            raise ValueError(f"shape must be a lens with a centre; got {self.shape!r:.80}")

    def lens(self, mass: float, x: float = 0.0, y: float = 0.0, concentration: float = 1.0) -> LensModel:
        return self.shape

    def described(self) -> str:
        return f"multiples of {self.shape!r}"
