"""The vector that an optimiser moves: there and back, derivatives, names and priors."""

import astropy.units as u
import numpy as np
import pytest

from lenssuper import EPL, NFW, SIE, SIS, ExternalShear
from lenssuper.forward.judgement import LensGalaxy
from lenssuper.lens.interop.ellipticity import components
from lenssuper.lensfit.parameters import FreeParameters

SIE_SHEAR = SIE(theta_E=1.2 * u.arcsec, q=0.7, phi=70 * u.deg, x=0.1 * u.arcsec) + ExternalShear(
    gamma1=0.03, gamma2=-0.02
)
EPL_HALO = EPL(theta_E=1.1 * u.arcsec, gamma=2.2, q=0.9, phi=-20 * u.deg) + NFW(
    alpha_Rs=0.2 * u.arcsec, Rs=3 * u.arcsec
)


@pytest.mark.parametrize("lens", [SIE_SHEAR, EPL_HALO, SIS(theta_E=1 * u.arcsec)], ids=["sie", "epl", "sis"])
def test_there_and_back(lens):
    parameters = FreeParameters(lens)
    back = parameters.lens(parameters.start)
    for name, value in back.values().items():
        assert value == pytest.approx(lens.values()[name], abs=1e-12)


@pytest.mark.parametrize("lens", [SIE_SHEAR, EPL_HALO], ids=["sie", "epl"])
def test_slopes_are_the_derivatives(lens):
    parameters = FreeParameters(lens)
    slopes, h = parameters.slopes(parameters.start), 1e-6
    for k, step in enumerate(h * np.eye(len(parameters))):
        above, below = (parameters.values(parameters.start + s * step) for s in (1, -1))
        changes = [(above[name] - below[name]) / (2 * h) for name in parameters.names]
        np.testing.assert_allclose(slopes[:, k], changes, atol=1e-7)


def test_the_origin_of_a_shear_is_not_fitted():
    names = FreeParameters(SIE_SHEAR).names
    assert "ExternalShear.gamma1" in names
    assert "ExternalShear.x" not in names
    with pytest.raises(ValueError, match="it only moves the source"):
        FreeParameters(SIE_SHEAR, free=["ExternalShear.x"])


def test_fixed_by_name_and_by_component():
    parameters = FreeParameters(SIE_SHEAR, fixed=["SIE.x", "ExternalShear"])
    assert parameters.names == ("SIE.theta_E", "SIE.q", "SIE.phi", "SIE.y")


def test_axis_ratio_alone_is_fitted_as_it_is():
    parameters = FreeParameters(SIE_SHEAR, free=["SIE.q"])
    assert parameters.start == pytest.approx([0.7])
    assert parameters.lens(np.array([0.8])).parameters["SIE.phi"] == 70 * u.deg


def test_a_step_too_far_is_brought_back():
    parameters = FreeParameters(EPL_HALO, free=["EPL.gamma", "EPL.q", "EPL.phi"])
    lens = parameters.lens(parameters.inside(parameters.start + 5))
    assert 1 < lens.parameters["EPL.gamma"] < 3
    assert 0.05 < lens.parameters["EPL.q"] < 0.2


def test_the_angle_of_a_round_lens_is_not_known():
    parameters = FreeParameters(SIE(theta_E=1 * u.arcsec, q=1.0))
    covariance = parameters.covariance(parameters.start, 1e-4 * np.eye(5))
    error = np.sqrt(covariance[parameters.names.index("phi"), parameters.names.index("phi")])
    assert error == pytest.approx(np.pi / np.sqrt(12))


def test_priors_count_in_standard_deviations():
    priors = {"SIE.theta_E": (1.1 * u.arcsec, 50 * u.mas), "SIE.phi": (-115 * u.deg, 10 * u.deg)}
    parameters = FreeParameters(SIE_SHEAR, priors=priors)
    residuals, rows = parameters.prior_residuals(parameters.start)
    # 70 and -115 degrees are 5 degrees apart, as an axis has no head
    np.testing.assert_allclose(residuals[:2], [2, 0.5])
    # beside these, weak ones keep shear and ellipticity from growing against each other
    np.testing.assert_allclose(residuals[-2:], [0.03 / 0.1, -0.02 / 0.1])
    h = 1e-6
    for k, step in enumerate(h * np.eye(len(parameters))):
        change = parameters.prior_residuals(parameters.start + step)[0] - residuals
        np.testing.assert_allclose(rows[:, k], change / h, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fixed": ["SIE.theta"]}, ValueError, "fixed has 'SIE.theta', but this lens has SIE.theta_E"),
        ({"fixed": "SIE.x"}, TypeError, "fixed must be a list of parameter names"),
        ({"free": ["SIE.x"], "fixed": ["SIE.x"]}, ValueError, "both in free and in fixed"),
        ({"fixed": ["SIE", "ExternalShear"]}, ValueError, "no parameter of the lens is left"),
        ({"priors": {"SIE.z": (1, 2)}}, ValueError, "which is not fitted"),
        ({"priors": {"SIE.q": 0.7}}, TypeError, r"must be \(mean, standard deviation\)"),
        ({"priors": {"SIE.q": (0.7, 0)}}, ValueError, "must be positive"),
        ({"priors": {"SIE.theta_E": (1.1, 0.1)}}, TypeError, "theta_E"),
        ({"priors": [("SIE.q", 0.7, 0.1)]}, TypeError, "priors must be a mapping of names"),
    ],
)
def test_bad_choices(options, error, message):
    with pytest.raises(error, match=message):
        FreeParameters(SIE_SHEAR, **options)


def test_a_lens_without_mass_is_no_guess():
    with pytest.raises(ValueError, match=r"theta_E must be above 0 in a guess"):
        FreeParameters(SIS(theta_E=0 * u.arcsec))


GALAXY = LensGalaxy(0.02, -0.01, 0.8, 0.3)


def test_light_gives_priors_on_centre_and_shape():
    parameters = FreeParameters(SIE_SHEAR).beside(GALAXY)
    assert parameters.center() == (0.02, -0.01)
    lens = SIE(theta_E=1.2 * u.arcsec, q=0.8, phi=0.3 * u.rad, x=0.04 * u.arcsec, y=-0.01 * u.arcsec)
    vector = parameters.pack(lens + ExternalShear(gamma1=0.0, gamma2=0.0))
    residuals, rows = parameters.prior_residuals(vector)
    # only the centre is off, by one standard deviation of 0.02 arcsec
    np.testing.assert_allclose(np.sort(np.abs(residuals))[-2:], [0.0, 1.0], atol=1e-12)
    for k, step in enumerate(1e-6 * np.eye(len(parameters))):
        change = parameters.prior_residuals(vector + step)[0] - residuals
        np.testing.assert_allclose(rows[:, k], change / 1e-6, atol=1e-3)
    flat = parameters.pack(lens.replace(q=0.5, phi=1.2 * u.rad) + ExternalShear(gamma1=0.0, gamma2=0.0))
    found = parameters.prior_residuals(flat)[0]
    e = np.subtract(components(0.5, 1.2), components(0.8, 0.3)) / 0.15
    np.testing.assert_allclose(np.sort(found[np.abs(found) > 1.01]), np.sort(e[np.abs(e) > 1.01]))


def test_priors_of_the_user_come_before_those_of_the_light():
    priors = {"SIE.x": (0.3 * u.arcsec, 0.5 * u.arcsec), "SIE.q": (0.6, 0.1)}
    parameters = FreeParameters(SIE_SHEAR, priors=priors).beside(GALAXY)
    assert parameters.center() == (0.3, -0.01)
    residuals, _ = parameters.prior_residuals(parameters.start)
    # those of the user on x and q, that of the light on y
    np.testing.assert_allclose(residuals[:3], [(0.1 - 0.3) / 0.5, (0.7 - 0.6) / 0.1, 0.01 / 0.02])
    # the ellipticity has the weak prior around zero then
    np.testing.assert_allclose(residuals[4:6], np.array(components(0.7, np.radians(70))) / 0.35)


def test_a_lens_of_another_kind_keeps_the_priors():
    sie = FreeParameters(SIE_SHEAR, fixed=["SIE.y"]).beside(GALAXY)
    epl = EPL(theta_E=1.2 * u.arcsec, gamma=2.0, q=0.7, phi=70 * u.deg, x=0.1 * u.arcsec)
    lens = epl + ExternalShear(gamma1=0.03, gamma2=-0.02)
    renamed = {name: name.replace("SIE.", "EPL.") for name in SIE_SHEAR.parameters}
    new = sie.of_lens(lens, renamed, more=["EPL.gamma"])
    assert set(new.names) == {renamed[name] for name in sie.names} | {"EPL.gamma"}
    before, after = (each.prior_residuals(each.start)[0] for each in (sie, new))
    np.testing.assert_allclose(np.sort(after[after != 0]), np.sort(before[before != 0]))
    assert new.log_prior_norm == pytest.approx(sie.log_prior_norm)
    steep = new.with_weaker({"EPL.gamma": (2.1, 0.1), "EPL.y": (0.0, 1.0)})
    assert -1.0 in steep.prior_residuals(steep.start)[0].round(9)  # y is not fitted
