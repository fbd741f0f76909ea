"""Constructors: what they accept, what they refuse and how, and the closed forms behind the physics."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import constants as const
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM, LambdaCDM, Planck18

from lenssuper.lens import (
    DPIE,
    EPL,
    NFW,
    SIE,
    SIS,
    TNFW,
    CompositeLens,
    ExternalShear,
    LensModel,
    Multipole1,
    Multipole4,
    PointMass,
)
from lenssuper.lens.base import PROFILES
from lenssuper.lens.interop.naming import Naming
from lenssuper.lens.parameters import Parameter
from lenssuper.lens.profile import ProfileLens

A = u.arcsec


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SIS(theta_E=1.2), TypeError, "theta_E must be a Quantity with an angular unit"),
        (lambda: SIS(theta_E=1.2 * u.kpc), u.UnitConversionError, "theta_E must have an angular unit"),
        (lambda: SIS(theta_E=-1 * A), ValueError, "theta_E must be at least 0 arcsec; got -1.0 arcsec"),
        (lambda: SIS(theta_E=np.nan * A), ValueError, "theta_E must be finite"),
        (
            lambda: SIS(theta_E=[1, 2] * A),
            ValueError,
            "theta_E must be one value; got an array of shape (2,)",
        ),
        (lambda: SIS(theta_E=1 * A, x=0.1), TypeError, "x must be a Quantity"),
        (lambda: SIE(theta_E=1 * A, q=0), ValueError, "q must lie in (0, 1]; got 0"),
        (lambda: SIE(theta_E=1 * A, q=1.01), ValueError, "q must lie in (0, 1]; got 1.01"),
        (lambda: SIE(theta_E=1 * A, q="0.5"), TypeError, "q must be a real number"),
        (lambda: SIE(theta_E=1 * A, q=0.5, phi=30), TypeError, "phi must be a Quantity"),
        (lambda: SIE(theta_E=1 * A, q=0.5 * A), u.UnitConversionError, "q must be a number without a unit"),
        (lambda: EPL(theta_E=1 * A, gamma=3, q=0.5), ValueError, "gamma must lie in (1, 3); got 3"),
        (lambda: EPL(theta_E=1 * A, gamma=2, q=0.001), ValueError, "q must lie in [0.01, 1]; got 0.001"),
        (lambda: NFW(alpha_Rs=1 * A, Rs=0 * A), ValueError, "Rs must be positive; got 0.0 arcsec"),
        (lambda: TNFW(alpha_Rs=1 * A, Rs=1 * A, r_trunc=0 * A), ValueError, "r_trunc must be positive"),
        (
            lambda: DPIE(theta_E=1 * A, r_trunc=1 * A, r_core=1 * A),
            ValueError,
            "r_core must be below r_trunc",
        ),
        (lambda: Multipole1(a=0.1, b=0 * A), TypeError, "a must be a Quantity"),
        (lambda: SIS(), TypeError, "SIS needs the parameter 'theta_E'"),
        (lambda: SIS(theta_E=1 * A, q=1), TypeError, "SIS has no parameter 'q'; it has theta_E, x, y"),
        (lambda: ExternalShear(gamma1=np.inf, gamma2=0), ValueError, "gamma1 must be finite"),
        (lambda: CompositeLens([]), ValueError, "lenses must hold at least one LensModel"),
        (lambda: CompositeLens([1]), TypeError, "each of lenses must be a LensModel; got 1"),
    ],
)
def test_bad_parameters_are_named(build, error, message):
    with pytest.raises(error, match=re.escape(message)):
        build()


def test_parameters_keep_their_unit():
    lens = SIE(theta_E=770 * u.mas, q=0.95, phi=48 * u.deg, x=0.05 * A)
    assert lens.theta_E.unit == u.mas
    assert lens.phi == 48 * u.deg
    assert lens.y == 0 * A
    assert lens.values()["theta_E"] == pytest.approx(0.77, rel=1e-15)
    assert repr(lens) == "SIE(theta_E=770.0 mas, q=0.95, phi=48.0 deg, x=0.05 arcsec, y=0.0 arcsec)"


def test_sums_are_flat_and_named():
    sie, sis, shear = SIE(theta_E=1 * A, q=0.8), SIS(theta_E=0.1 * A), ExternalShear(gamma1=0.1, gamma2=0)
    left, right = (sie + shear) + (sis + sie), sie + (shear + (sis + sie))
    assert left == right == sum([sie, shear, sis, sie]) == CompositeLens([sie, shear + sis, sie])
    assert left.components == (sie, shear, sis, sie)
    assert left != sie + sis + shear + sie
    assert list(left.parameters) == [
        *("SIE.theta_E", "SIE.q", "SIE.phi", "SIE.x", "SIE.y"),
        *("ExternalShear.gamma1", "ExternalShear.gamma2", "ExternalShear.x", "ExternalShear.y"),
        *("SIS.theta_E", "SIS.x", "SIS.y"),
        *("SIE_2.theta_E", "SIE_2.q", "SIE_2.phi", "SIE_2.x", "SIE_2.y"),
    ]
    changed = left.replace(**{"SIE_2.q": 0.5, "SIS.theta_E": 0.2 * A})
    assert changed.components == (sie, shear, sis.replace(theta_E=0.2 * A), sie.replace(q=0.5))
    assert left.components[3].q == 0.8
    assert sie.components == (sie,)


def test_adding_something_else():
    with pytest.raises(TypeError, match="unsupported operand"):
        SIS(theta_E=1 * A) + 1
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + SIS(theta_E=1 * A)


def test_only_own_parameters_are_replaced_in_a_sum():
    """Values for one component leave the others alone."""
    lens = SIS(theta_E=1 * A) + SIS(theta_E=0.5 * A, x=1 * A)
    found = lens.deflection_arcsec(0.3, 0.4, {"SIS_2.theta_E": 0.0})
    np.testing.assert_allclose(found, (0.6, 0.8), rtol=1e-14)


def test_isothermal_sphere():
    """psi = theta_E r, alpha = theta_E e, kappa = |gamma| = theta_E / 2r, mu = 1 / (1 - theta_E / r)."""
    lens = SIS(theta_E=1.5 * A, x=1 * A, y=-1 * A)
    x, y = np.array([4.0, 1.6]) * A, np.array([3.0, -1.8]) * A
    r = np.array([5.0, 1.0])
    np.testing.assert_allclose(lens.potential(x, y).value, 1.5 * r)
    np.testing.assert_allclose(lens.deflection(x, y)[0].value, 1.5 * np.array([0.6, 0.6]))
    np.testing.assert_allclose(lens.convergence(x, y).value, 0.75 / r)
    np.testing.assert_allclose(np.hypot(*lens.shear(x, y)).value, 0.75 / r)
    np.testing.assert_allclose(lens.magnification(x, y).value, 1 / (1 - 1.5 / r))
    assert lens.deflection(1 * A, -1 * A) == (0 * A, 0 * A)


def test_sie_convergence_and_orientation():
    """kappa = theta_E / (2 sqrt(q x'^2 + y'^2 / q)), the major axis at phi from +x towards +y."""
    lens = SIE(theta_E=1.5 * A, q=0.6, phi=90 * u.deg)
    major, minor = lens.convergence([0, 1] * A, [1, 0] * A).value
    assert major == pytest.approx(0.75 / np.sqrt(0.6))
    assert minor == pytest.approx(0.75 * np.sqrt(0.6))
    tilted = lens.replace(phi=45 * u.deg)
    assert tilted.convergence(1 * A, 1 * A) > tilted.convergence(1 * A, -1 * A)


def test_epl_is_the_sie_at_slope_two():
    x, y = np.random.default_rng(2).normal(size=(2, 50)) * A
    shape = {"theta_E": 1.2 * A, "q": 0.4, "phi": 20 * u.deg, "x": 0.1 * A}
    for found, expected in zip(
        EPL(gamma=2, **shape).deflection(x, y), SIE(**shape).deflection(x, y), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14 * A)


def test_mean_convergence_inside_theta_E_is_one():
    """On the intermediate axis: the ellipse of area pi theta_E^2 holds the mass pi theta_E^2 Sigma_crit."""
    for gamma in (1.5, 2.0, 2.5):
        lens, q = EPL(theta_E=1.3 * A, gamma=gamma, q=0.5), 0.5
        s, phi = (
            np.polynomial.legendre.leggauss(80)[0] * 0.5 + 0.5,
            np.linspace(0, 2 * np.pi, 60, endpoint=False),
        )
        w = np.polynomial.legendre.leggauss(80)[1] * 0.5
        radius = 1.3 * s[:, None] ** 4
        x, y = radius * np.cos(phi) / np.sqrt(q), radius * np.sin(phi) * np.sqrt(q)
        kappa = lens.convergence(x * A, y * A).value
        mass = np.sum(w[:, None] * kappa * radius * 1.3 * 4 * s[:, None] ** 3) * (2 * np.pi / 60)
        assert mass == pytest.approx(np.pi * 1.3**2, rel=1e-8)


def test_velocity_dispersion():
    lens = SIS.from_velocity_dispersion(
        250 * u.km / u.s, z_lens=0.5, z_source=1.5, cosmology=Planck18, x=1 * A
    )
    ratio = 1 - Planck18.comoving_distance(0.5) / Planck18.comoving_distance(1.5)  # flat space
    expected = (4 * np.pi * (250 * u.km / u.s / const.c) ** 2 * ratio).decompose() * u.rad
    assert lens.theta_E.to_value(A) == pytest.approx(expected.to_value(A), rel=2e-4)  # Planck18 has neutrinos
    assert lens.x == 1 * A
    assert 1.0 < lens.theta_E.to_value(A) < 1.05


@pytest.mark.parametrize("Om0", [0.3, 0.6])
def test_distances_in_curved_space(Om0):
    """D_ls from the addition of comoving distances in curved space (Hogg 1999, eq. 19)."""
    curved = LambdaCDM(H0=70, Om0=Om0, Ode0=0.2)
    z1, z2 = 0.4, 1.8
    d1, d2 = (curved.comoving_transverse_distance(z) for z in (z1, z2))
    hubble = curved.hubble_distance
    between = d2 * np.sqrt(1 + curved.Ok0 * (d1 / hubble) ** 2) - d1 * np.sqrt(
        1 + curved.Ok0 * (d2 / hubble) ** 2
    )
    lens = SIS.from_velocity_dispersion(200 * u.km / u.s, z_lens=z1, z_source=z2, cosmology=curved)
    expected = (4 * np.pi * (200 * u.km / u.s / const.c) ** 2 * between / d2).decompose() * u.rad
    assert lens.theta_E.to_value(A) == pytest.approx(expected.to_value(A), rel=1e-8)


def test_halo_mass():
    """The projected mass far outside the truncation-free r200 sphere is checked through the 3-D density."""
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    mass, c, z_lens, z_source = 1e13 * u.Msun, 6.0, 0.5, 1.5
    lens = NFW.from_mass_concentration(mass, c, z_lens=z_lens, z_source=z_source, cosmology=cosmology)
    d_lens, d_source = (cosmology.angular_diameter_distance(z) for z in (z_lens, z_source))
    d_between = (cosmology.comoving_distance(z_source) - cosmology.comoving_distance(z_lens)) / (1 + z_source)
    sigma_crit = const.c**2 / (4 * np.pi * const.G) * d_source / (d_lens * d_between)
    Rs = (lens.Rs.to_value(u.rad) * d_lens).to(u.kpc)
    r200 = (3 * mass / (4 * np.pi * 200 * cosmology.critical_density(z_lens))) ** (1 / 3)
    assert (r200 / Rs).to_value(u.one) == pytest.approx(c, rel=1e-9)
    # mass within a cylinder of radius R is pi R alpha(R) Sigma_crit D^2; m(c) of the sphere over it at R = Rs
    cylinder = (np.pi * lens.Rs * lens.alpha_Rs * sigma_crit * d_lens**2).to_value(
        u.Msun, u.dimensionless_angles()
    )
    shape = (1 + np.log(0.5)) / (np.log1p(c) - c / (1 + c))
    assert cylinder == pytest.approx(1e13 * shape, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"z_source": 0.5}, ValueError, "z_source must be above z_lens = 0.5, behind the lens; got 0.5"),
        ({"z_source": 0.3}, ValueError, "z_source must be above z_lens"),
        ({"z_lens": -0.1}, ValueError, "z_lens must be positive; got -0.1"),
        ({"cosmology": 70}, TypeError, "cosmology must be an astropy.cosmology FLRW"),
    ],
)
def test_bad_redshifts(change, error, message):
    given = {"z_lens": 0.5, "z_source": 1.5, "cosmology": Planck18} | change
    with pytest.raises(error, match=message):
        SIS.from_velocity_dispersion(250 * u.km / u.s, **given)
    with pytest.raises(error, match=message):
        NFW.from_mass_concentration(1e13 * u.Msun, 6, **given)


def test_bad_physical_quantities():
    given = {"z_lens": 0.5, "z_source": 1.5, "cosmology": Planck18}
    with pytest.raises(TypeError, match="sigma must be a Quantity"):
        SIS.from_velocity_dispersion(250, **given)
    with pytest.raises(u.UnitConversionError, match="sigma must have a unit like km / s"):
        SIS.from_velocity_dispersion(250 * u.km, **given)
    with pytest.raises(ValueError, match="M200 must be positive"):
        NFW.from_mass_concentration(-1e13 * u.Msun, 6, **given)
    with pytest.raises(ValueError, match="c must be positive; got 0"):
        NFW.from_mass_concentration(1e13 * u.Msun, 0, **given)


def test_multipole_shapes_the_contours():
    """With a > 0 and phi of the ellipse, an order of four adds mass along both axes: disky."""
    lens = Multipole4(a=0.1 * A, b=0 * A, q=0.6, phi=30 * u.deg)
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    along, across, between = ((c, s), (-s, c), (c - 0.6 * s, s + 0.6 * c))  # elliptical angles 0, 90, 45 deg
    kappa = [lens.convergence(*(p * A)).value for p in (along, across, between)]
    np.testing.assert_allclose(kappa, [0.05 / np.sqrt(0.6), 0.05 * np.sqrt(0.6), -0.05 / np.sqrt(1.2)])


def test_radius_of_an_odd_multipole_moves_the_source_only():
    lens = Multipole1(a=0.1 * A, b=-0.05 * A, q=0.7, phi=20 * u.deg)
    other = lens.replace(r_E=2 * A)
    x, y = np.random.default_rng(5).normal(size=(2, 50))
    shift = np.array(other.deflection_arcsec(x, y)) - lens.deflection_arcsec(x, y)
    np.testing.assert_allclose(np.ptp(shift, axis=1), 0, atol=1e-15)
    assert np.hypot(*shift[:, 0]) > 0.01
    np.testing.assert_array_equal(other.hessian(x, y), lens.hessian(x, y))


def test_a_new_profile_is_its_functions_and_a_class():
    """A sheet of constant convergence: files and lenstronomy know it once the class is there."""

    class Sheet(ProfileLens):
        """Constant convergence."""

        kappa: float = Parameter("number", "Convergence.")

        _functions = (
            lambda x, y, kappa: kappa * (x**2 + y**2) / 2,
            lambda x, y, kappa: (kappa * x, kappa * y),
            lambda x, y, kappa: (kappa + 0 * x, kappa + 0 * x, 0 * x * y),
        )
        _lenstronomy = (Naming("CONVERGENCE", center=("ra_0", "dec_0")),)

    try:
        lens = Sheet(kappa=0.1, x=1 * A) + SIS(theta_E=1 * A)
        assert list(lens.parameters)[:3] == ["Sheet.kappa", "Sheet.x", "Sheet.y"]
        assert LensModel.from_dict(lens.to_dict()) == lens
        names, kwargs = lens.to_lenstronomy()
        assert (names[0], kwargs[0]) == ("CONVERGENCE", {"kappa": 0.1, "ra_0": 1.0, "dec_0": 0.0})
        assert LensModel.from_lenstronomy(names, kwargs) == lens
        with pytest.raises(ValueError, match="COOLEST has no profile for Sheet"):
            lens.to_coolest()
    finally:
        del PROFILES["Sheet"]


def test_point_mass_bends_like_all_its_mass_in_the_centre():
    far = 500.0
    sis_truncated = TNFW(alpha_Rs=0.5 * A, Rs=0.5 * A, r_trunc=1 * A)
    alpha = sis_truncated.deflection_arcsec(far, 0.0)[0]
    point = PointMass(theta_E=np.sqrt(alpha * far) * A)
    np.testing.assert_allclose(
        point.deflection_arcsec(900.0, 0.0)[0], sis_truncated.deflection_arcsec(900.0, 0.0)[0], rtol=1e-3
    )
