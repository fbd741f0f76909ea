"""Dark matter in simulated lenses, against closed forms and lenstronomy."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy import constants as const
from astropy.cosmology import FlatLambdaCDM, Planck18

from lenssuper import SIE, TNFW, ExternalShear, PointMass
from lenssuper.simulate import AxionVortex, ColdSubhaloes, NoSubstructure, random_lens
from lenssuper.simulate.substructure import duffy_concentration, einstein_radius, power_law

arcsec = u.arcsec
MACRO = SIE(theta_E=1.2 * arcsec, q=0.8, x=0.3 * arcsec, y=-0.2 * arcsec) + ExternalShear(
    gamma1=0.03, gamma2=0
)


def deflection(lens, x, y):
    ax, ay = lens.deflection(x * arcsec, y * arcsec)
    return ax.to_value(arcsec), ay.to_value(arcsec)


def critical_mass(z_lens=0.5, z_source=1.0):
    """Solar masses per pi arcsec^2 of critical surface density: theta_E^2 = M / this."""
    d_lens, d_source = Planck18.angular_diameter_distance([z_lens, z_source])
    # in a flat universe comoving distances add up
    d_between = d_source - d_lens * (1 + z_lens) / (1 + z_source)
    factor = const.c**2 / (4 * const.G) * d_lens * d_source / d_between
    return (factor * arcsec.to(u.rad) ** 2).to_value(u.Msun)


def test_smooth_lens_has_nothing():
    drawn = NoSubstructure().draw(0, MACRO)
    assert drawn.lens is None
    assert drawn.parameters == {}


def test_einstein_radius_of_a_point():
    radius = einstein_radius(1e10 * u.Msun, 0.5, 1.0, Planck18).to_value(arcsec)
    assert radius**2 == pytest.approx(1e10 / critical_mass(), rel=1e-6)


class TestMassFunction:
    masses = power_law(np.random.default_rng(1), 200_000, 1e6, 1e10, -1.9)

    def test_within_its_limits(self):
        assert 1e6 <= self.masses.min() < 1.001e6
        assert 1e9 < self.masses.max() <= 1e10

    @pytest.mark.parametrize("at", [2e6, 1e7, 1e8, 1e9])
    def test_number_above_a_mass(self, at):
        share = (at**-0.9 - 1e10**-0.9) / (1e6**-0.9 - 1e10**-0.9)
        assert (self.masses > at).mean() == pytest.approx(share, abs=4 * np.sqrt(share / 200_000))

    def test_slope_of_minus_one(self):
        logs = np.log10(power_law(np.random.default_rng(2), 50_000, 1e6, 1e10, -1.0))
        assert logs.mean() == pytest.approx(8, abs=0.03)
        assert logs.std() == pytest.approx(4 / np.sqrt(12), rel=0.02)


class TestColdSubhaloes:
    def test_number_is_poisson(self):
        cold = ColdSubhaloes(mean_number=6, point_masses=True)
        counts = np.array([len(cold.draw(i, MACRO).parameters["masses"]) for i in range(400)])
        assert counts.mean() == pytest.approx(6, abs=0.5)
        assert counts.var() == pytest.approx(6, rel=0.25)

    def test_none_at_all(self):
        drawn = ColdSubhaloes(mean_number=0).draw(0, MACRO)
        assert drawn.lens is None
        assert drawn.parameters["masses"] == []

    def test_uniform_on_a_disc_around_the_lens(self):
        lens = ColdSubhaloes(mean_number=3000, radius=2 * arcsec, point_masses=True).draw(3, MACRO).lens
        x, y = np.array(lens.centers_arcsec()).T
        r = np.hypot(x - 0.3, y + 0.2)
        assert r.max() <= 2
        # uniform in area: the square of the radius is uniform
        assert np.mean(r**2 / 4) == pytest.approx(0.5, abs=0.03)
        assert np.mean(r < 1) == pytest.approx(0.25, abs=0.03)

    def test_total_mass_of_points_bends_light_far_away(self):
        drawn = ColdSubhaloes(point_masses=True, mean_number=40).draw(5, MACRO)
        x, y = 3e3 * np.cos([0.3, 2.0]), 3e3 * np.sin([0.3, 2.0])
        ax, ay = deflection(drawn.lens, x, y)
        square = sum(drawn.parameters["masses"]) / critical_mass()
        np.testing.assert_allclose(np.hypot(ax, ay), square / 3e3, rtol=2e-3)

    def test_truncated_haloes_have_their_masses_within_r200(self):
        """Without truncation: projected, so somewhat more than M200 within r200 (Golse & Kneib 2002)."""
        drawn = ColdSubhaloes(mean_number=15, mass=(1e7, 1e9) * u.Msun).draw(8, MACRO)
        for halo, mass in zip(drawn.lens.components, drawn.parameters["masses"], strict=True):
            assert isinstance(halo, TNFW)
            c = duffy_concentration(mass, 0.5, Planck18)
            untruncated = halo.replace(r_trunc=1e6 * arcsec, x=0 * arcsec, y=0 * arcsec)
            r200 = c * halo.Rs.to_value(arcsec)
            g = np.log(c / 2) + np.arccos(1 / c) / np.sqrt(c**2 - 1)
            projected = mass * g / (np.log(1 + c) - c / (1 + c))
            ax, _ = deflection(untruncated, r200, 0.0)
            assert ax * r200 == pytest.approx(projected / critical_mass(), rel=1e-3)

    def test_scale_radius_is_that_of_the_concentration(self):
        (halo,) = _one_halo().lens.components
        c = 5.71 * (1e8 * 0.6766 / 2e12) ** -0.084 * 1.5**-0.47
        density = Planck18.critical_density(0.5)
        r200 = (3e8 * u.Msun / (800 * np.pi * density)) ** (1 / 3)
        scale = Planck18.angular_diameter_distance(0.5) / u.rad
        assert halo.Rs.to_value(arcsec) == pytest.approx((r200 / c / scale).to_value(arcsec), rel=1e-6)

    def test_tides_truncate(self):
        """In the plane of the lens, 1.4 kpc at 50 kpc for 1e7 solar masses (Gilman et al. 2020)."""
        (halo,) = _one_halo().lens.components
        scale = (Planck18.angular_diameter_distance(0.5) / u.rad).to_value(u.kpc / arcsec)
        x, y = halo.x.to_value(arcsec) - 0.3, halo.y.to_value(arcsec) + 0.2
        expected = 1.4 * 10 ** (1 / 3) * (np.hypot(x, y) * scale / 50) ** (2 / 3)
        assert halo.r_trunc.to_value(arcsec) * scale == pytest.approx(expected, rel=1e-6)

    def test_same_as_lenstronomy(self):
        from lenstronomy.LensModel.lens_model import LensModel as Theirs

        drawn = ColdSubhaloes(mean_number=8, mass=(1e8, 1e10) * u.Msun).draw(2, MACRO)
        lens = MACRO + drawn.lens
        names, kwargs = lens.to_lenstronomy()
        x, y = np.random.default_rng(0).uniform(-2, 2, (2, 50))
        np.testing.assert_allclose(
            deflection(lens, x, y), Theirs(names).alpha(x, y, kwargs), rtol=2e-6, atol=1e-7
        )

    def test_seed(self):
        cold = ColdSubhaloes()
        assert cold.draw(4, MACRO).lens == cold.draw(4, MACRO).lens
        assert cold.draw(4, MACRO).lens != cold.draw(5, MACRO).lens


def _one_halo():
    cold = ColdSubhaloes(mean_number=1, mass=(1e8, 1e8) * u.Msun, depth=0 * u.kpc)
    return next(d for d in (cold.draw(i, MACRO) for i in range(20)) if len(d.parameters["masses"]) == 1)


class TestVortex:
    vortex = AxionVortex(mass=2e10 * u.Msun, length=(1.5, 1.5) * arcsec, points=400)

    def test_far_away_it_is_a_point(self):
        drawn = self.vortex.draw(1, MACRO)
        x, y = 500 * np.cos([0.1, 1.2, 4.0]), 500 * np.sin([0.1, 1.2, 4.0])
        ax, ay = deflection(drawn.lens, x + 0.3, y - 0.2)
        square = 2e10 / critical_mass()
        np.testing.assert_allclose(ax, square * x / 500**2, rtol=1e-5)
        np.testing.assert_allclose(ay, square * y / 500**2, rtol=1e-5)

    def test_close_up_it_is_a_uniform_line(self):
        """
        The deflection of a uniform line is the integral of that of its points, in complex notation
        conj(alpha) = theta_E^2 / L ln((z - z1) / (z - z2)) with the ends z1 and z2.
        """
        drawn = self.vortex.draw(1, MACRO)
        turn = np.exp(1j * np.radians(drawn.parameters["angle"]))
        rng = np.random.default_rng(4)
        # at least fifteen times the distance of the points from one another away
        across = rng.uniform(0.06, 1.0, 60) * rng.choice([-1, 1], 60)
        local = rng.uniform(-1.2, 1.2, 60) + 1j * across
        z = local * turn
        # the branch cut of the logarithm lies on the line itself
        conjugate = 2e10 / critical_mass() / 1.5 * np.log((local + 0.75) / (local - 0.75)) / turn
        ax, ay = deflection(drawn.lens, z.real + 0.3, z.imag - 0.2)
        np.testing.assert_allclose(ax, conjugate.real, rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(ay, -conjugate.imag, rtol=2e-3, atol=1e-5)

    def test_same_as_lenstronomy(self):
        from lenstronomy.LensModel.lens_model import LensModel as Theirs

        lens = MACRO + AxionVortex(points=25).draw(2, MACRO).lens
        names, kwargs = lens.to_lenstronomy()
        x, y = np.random.default_rng(0).uniform(-2, 2, (2, 50))
        np.testing.assert_allclose(
            deflection(lens, x, y), Theirs(names).alpha(x, y, kwargs), rtol=1e-6, atol=1e-8
        )

    def test_what_is_drawn(self):
        drawn = [AxionVortex(points=3, offset=0.4 * arcsec).draw(i, MACRO) for i in range(200)]
        lengths = np.array([d.parameters["length"] for d in drawn])
        angles = np.array([d.parameters["angle"] for d in drawn])
        middles = np.array([d.parameters["middle"] for d in drawn]) - [0.3, -0.2]
        assert 0.5 <= lengths.min() < 0.55
        assert 1.95 < lengths.max() <= 2
        assert 0 <= angles.min() < 5
        assert 175 < angles.max() < 180
        assert 0.35 < np.hypot(*middles.T).max() <= 0.4
        for one in drawn[:5]:
            assert all(isinstance(part, PointMass) for part in one.lens.components)
            ends = np.array(one.lens.centers_arcsec())[[0, -1]]
            np.testing.assert_allclose(ends.mean(axis=0), one.parameters["middle"])
            assert np.hypot(*(ends[1] - ends[0])) == pytest.approx(one.parameters["length"] * 2 / 3)

    def test_goes_through_the_lens_by_default(self):
        lens = random_lens(7)
        drawn = AxionVortex().draw(0, lens)
        np.testing.assert_allclose(drawn.parameters["middle"], lens.centers_arcsec()[0])
        assert drawn.parameters["mass"] == 1e10


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "name"),
    [
        (ColdSubhaloes, {"mean_number": -1}, ValueError, "mean_number"),
        (ColdSubhaloes, {"mass": (1e6, 1e10)}, TypeError, "mass"),
        (ColdSubhaloes, {"mass": (1e10, 1e6) * u.Msun}, ValueError, "mass"),
        (ColdSubhaloes, {"mass": (0, 1e6) * u.Msun}, ValueError, "mass"),
        (ColdSubhaloes, {"slope": "steep"}, TypeError, "slope"),
        (ColdSubhaloes, {"radius": 2.0}, TypeError, "radius"),
        (ColdSubhaloes, {"radius": -2 * arcsec}, ValueError, "radius"),
        (ColdSubhaloes, {"depth": 2 * arcsec}, TypeError, "depth"),
        (ColdSubhaloes, {"z_source": 0.3}, ValueError, "z_source"),
        (ColdSubhaloes, {"cosmology": 70}, TypeError, "cosmology"),
        (AxionVortex, {"mass": 1e10}, TypeError, "mass"),
        (AxionVortex, {"mass": 0 * u.Msun}, ValueError, "mass"),
        (AxionVortex, {"length": 1 * arcsec}, TypeError, "length"),
        (AxionVortex, {"offset": np.nan * arcsec}, ValueError, "offset"),
        (AxionVortex, {"points": 2.5}, TypeError, "points"),
        (AxionVortex, {"points": 0}, ValueError, "points"),
        (AxionVortex, {"z_lens": 0}, ValueError, "z_lens"),
    ],
)
def test_errors_name_the_argument(kind, arguments, error, name):
    with pytest.raises(error, match=rf"\b{name} must"):
        kind(**arguments)


def test_the_cosmology_counts():
    empty = FlatLambdaCDM(70, 0.1)
    assert einstein_radius(1e10 * u.Msun, 0.5, 1, empty) != einstein_radius(1e10 * u.Msun, 0.5, 1, Planck18)
    assert "Om0=0.1" in repr(ColdSubhaloes(cosmology=empty))
