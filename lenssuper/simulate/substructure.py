"""
Dark matter in a lens: smooth, in cold subhaloes, or in a vortex of a superfluid.

These are the three classes that simulated lenses are commonly sorted into to learn what dark matter is
(Alexander et al. 2020, ApJ 893, 15; 2021, arXiv:2008.12731). They are drawn as in their authors' programs
unless a class says otherwise, for a lens at z = 0.5 and a source at z = 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from astropy import constants as const
from astropy import units as u
from astropy.cosmology import FLRW, Planck18

from lenssuper._utils.checks import (
    check_count,
    check_interval,
    check_length,
    check_number,
    check_quantity,
    check_rng,
)
from lenssuper._utils.units import arcsec
from lenssuper.lens import TNFW, CompositeLens, LensModel, PointMass
from lenssuper.lens.cosmology import _distances, halo_parameters

__all__ = ["AxionVortex", "ColdSubhaloes", "DarkMatter", "NoSubstructure", "Substructure"]


@dataclass(frozen=True, eq=False)
class Substructure:
    """
    The substructure of one lens, drawn by a `DarkMatter`.

    Attributes
    ----------
    lens : LensModel or None
        To be added to the lens; None if there is nothing.
    parameters : dict
        The numbers drawn, ready for JSON: masses in solar masses, lengths in arcsec.
    """

    lens: LensModel | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DarkMatter(ABC):
    """A class of dark matter, which draws the substructure of lenses."""

    label: ClassVar[str]

    @abstractmethod
    def draw(self, rng: np.random.Generator | int | None, lens: LensModel) -> Substructure:
        """
        Draw the substructure of one lens.

        Parameters
        ----------
        rng : `~numpy.random.Generator` or int, optional
        lens : LensModel
            The lens without substructure.

        Returns
        -------
        Substructure
        """


@dataclass(frozen=True, eq=False)
class NoSubstructure(DarkMatter):
    """A smooth lens."""

    label: ClassVar[str] = "none"

    def draw(self, rng, lens):
        """Draw nothing."""
        return Substructure()


@dataclass(frozen=True, eq=False)
class ColdSubhaloes(DarkMatter):
    """
    Subhaloes of cold dark matter.

    Parameters
    ----------
    mean_number : float, optional
        Of subhaloes in the field; the number is drawn from a Poisson distribution.
    mass : (2,) `~astropy.units.Quantity`, optional
        Range of their masses M200, before tides.
    slope : float, optional
        Of the mass function dn/dm ~ m^slope (Springel et al. 2008, MNRAS 391, 1685).
    radius : `~astropy.units.Quantity`, optional
        Of the disc on the sky, around the centre of the lens, on which they are uniformly distributed, as
        subhaloes are in the inner parts of haloes.
    point_masses : bool, optional
        Whether each is a point mass, as in the original sets, instead of a truncated NFW halo.
    depth : `~astropy.units.Quantity`, optional
        Largest distance of truncated haloes from the centre of the lens along the line of sight; uniform.
    z_lens, z_source : float, optional
        Redshifts.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default `astropy.cosmology.Planck18`.

    Notes
    -----
    The concentration of a halo is that of Duffy et al. 2008, MNRAS 390, L64 (table 1, full sample, NFW, 200
    times the critical density), c = 5.71 (M h / 2e12)^-0.084 (1 + z)^-0.47, extrapolated to lower masses and
    without scatter. Tides truncate it at 1.4 kpc (M / 1e7)^(1/3) (r / 50 kpc)^(2/3), r its distance from the
    centre of the lens (Gilman et al. 2020, MNRAS 491, 6077, eq. 9, after Cyr-Racine et al. 2016,
    Phys. Rev. D 94, 043505), which leaves it less mass than M200.
    """

    label: ClassVar[str] = "cdm"

    mean_number: float = 25.0
    mass: u.Quantity = (1e6, 1e10) * u.Msun
    slope: float = -1.9
    radius: u.Quantity = 2.0 * u.arcsec
    point_masses: bool = False
    depth: u.Quantity = 200.0 * u.kpc
    z_lens: float = 0.5
    z_source: float = 1.0
    cosmology: FLRW = field(default_factory=lambda: Planck18)

    def __post_init__(self) -> None:
        check_number(self.mean_number, "mean_number", least=0)
        check_interval(self.mass, "mass", check_quantity, unit=u.Msun, example="1e8 * u.Msun", above=0)
        check_number(self.slope, "slope")
        check_length(self.radius, "radius", least=0)
        check_quantity(self.depth, "depth", u.kpc, "200 * u.kpc", least=0)
        _distances(self.z_lens, self.z_source, self.cosmology)

    def draw(self, rng, lens):
        """Draw the subhaloes of one lens."""
        rng = check_rng(rng)
        count = int(rng.poisson(self.mean_number))
        masses = power_law(rng, count, *self.mass.to_value(u.Msun), self.slope)
        x, y = _on_a_disc(rng, count, self.radius.to_value(u.arcsec), lens)
        depths = rng.uniform(-1, 1, count) * self.depth.to_value(u.kpc)
        parameters = {"masses": masses.tolist(), "redshifts": [self.z_lens, self.z_source]}
        if not count:
            return Substructure(parameters=parameters)
        if self.point_masses:
            radii = einstein_radius(masses * u.Msun, self.z_lens, self.z_source, self.cosmology)
            return Substructure(_points(radii, x, y), parameters)
        haloes = [self._halo(*values, lens) for values in zip(masses, x, y, depths, strict=True)]
        return Substructure(CompositeLens(haloes), parameters)

    def _halo(self, mass, x, y, depth, lens):
        concentration = duffy_concentration(mass, self.z_lens, self.cosmology)
        alpha_Rs, Rs = halo_parameters(
            mass * u.Msun, concentration, self.z_lens, self.z_source, self.cosmology
        )
        scale = _distances(self.z_lens, self.z_source, self.cosmology)[0] * u.arcsec.to(u.rad)  # per arcsec
        x0, y0 = _centre(lens)
        distance = math.hypot(depth, math.hypot(x - x0, y - y0) * scale.to_value(u.kpc))
        truncation = 1.4 * u.kpc * (mass / 1e7) ** (1 / 3) * (distance / 50) ** (2 / 3)
        r_trunc = arcsec((truncation / scale).to_value(u.one))
        return TNFW(alpha_Rs=alpha_Rs, Rs=Rs, r_trunc=r_trunc, x=arcsec(x), y=arcsec(y))


@dataclass(frozen=True, eq=False)
class AxionVortex(DarkMatter):
    """
    A vortex in a superfluid of axions: a straight line of mass.

    Parameters
    ----------
    mass : `~astropy.units.Quantity`, optional
        Of the whole line; by default a hundredth of that of a halo of 1e12 solar masses.
    length : (2,) `~astropy.units.Quantity`, optional
        Range of its length on the sky; uniform. Its direction is random.
    offset : `~astropy.units.Quantity`, optional
        Largest distance of its middle from the centre of the lens.
    points : int, optional
        The number of point masses that make up the line.
    z_lens, z_source : float, optional
        Redshifts.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default `astropy.cosmology.Planck18`.

    Notes
    -----
    Alexander et al. 2020, ApJ 893, 15, and their programs take a uniform line of 0.01 to 0.03 of the mass of
    the halo through its centre, made of 25 to 100 equal point masses.
    """

    label: ClassVar[str] = "vortex"

    mass: u.Quantity = 1e10 * u.Msun
    length: u.Quantity = (0.5, 2.0) * u.arcsec
    offset: u.Quantity = 0.0 * u.arcsec
    points: int = 100
    z_lens: float = 0.5
    z_source: float = 1.0
    cosmology: FLRW = field(default_factory=lambda: Planck18)

    def __post_init__(self) -> None:
        check_quantity(self.mass, "mass", u.Msun, "1e10 * u.Msun", above=0)
        check_interval(self.length, "length", check_length, above=0)
        check_length(self.offset, "offset", least=0)
        check_count(self.points, "points")
        _distances(self.z_lens, self.z_source, self.cosmology)

    def draw(self, rng, lens):
        """Draw the vortex of one lens."""
        rng = check_rng(rng)
        length, phi = rng.uniform(*self.length.to_value(u.arcsec)), rng.uniform(0, np.pi)
        (x,), (y,) = _on_a_disc(rng, 1, self.offset.to_value(u.arcsec), lens)
        # the middles of equal pieces
        along = length * ((np.arange(self.points) + 0.5) / self.points - 0.5)
        radius = einstein_radius(self.mass / self.points, self.z_lens, self.z_source, self.cosmology)
        radii = np.full(self.points, radius.value) * radius.unit
        chain = _points(radii, x + along * np.cos(phi), y + along * np.sin(phi))
        parameters = {
            "mass": self.mass.to_value(u.Msun).item(),
            "length": length,
            "angle": float(np.degrees(phi)),
            "middle": [float(x), float(y)],
            "redshifts": [self.z_lens, self.z_source],
        }
        return Substructure(chain, parameters)


def power_law(rng: np.random.Generator, count: int, low: float, high: float, slope: float) -> np.ndarray:
    """Draw from a density ~ m^slope between two limits, by inversion of its integral."""
    share, power = rng.uniform(size=count), slope + 1
    if power == 0:
        return low * (high / low) ** share
    return (low**power + share * (high**power - low**power)) ** (1 / power)


def duffy_concentration(mass: float, z: float, cosmology: FLRW) -> float:
    """Return c200 of Duffy et al. 2008, table 1; the mass is in solar masses."""
    return 5.71 * (mass * cosmology.h / 2e12) ** -0.084 * (1 + z) ** -0.47


def einstein_radius(mass: u.Quantity, z_lens: float, z_source: float, cosmology: FLRW) -> u.Quantity:
    """
    Return the Einstein radius of point masses.

    theta_E^2 = 4 G M / c^2 D_ls / (D_l D_s) (Schneider, Ehlers & Falco 1992, eq. 2.6a).
    """
    d_lens, d_source, d_between = _distances(z_lens, z_source, cosmology)
    square = 4 * const.G * mass / const.c**2 * d_between / (d_lens * d_source)
    return (np.sqrt(square.to_value(u.one)) * u.rad).to(u.arcsec)


def _points(radii, x, y):
    return CompositeLens(
        PointMass(theta_E=radius, x=arcsec(at_x), y=arcsec(at_y))
        for radius, at_x, at_y in zip(radii, x, y, strict=True)
    )


def _on_a_disc(rng, count, radius, lens):
    """Draw points uniformly on a disc about the centre of the lens."""
    x, y = _centre(lens)
    r, phi = radius * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * np.pi, count)
    return x + r * np.cos(phi), y + r * np.sin(phi)


def _centre(lens):
    """Return the centre of the first component that has one: the galaxy, not the shear."""
    return next(iter(lens.centers_arcsec()), (0.0, 0.0))
