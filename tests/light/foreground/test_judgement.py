"""The verdict on the light of a lens galaxy: on a fit made right, and made wrong."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest

from lenssuper import SIE
from lenssuper.forward.judgement import LensGalaxy, Verdict
from lenssuper.light import ForegroundFitter
from lenssuper.light.foreground.judgement import judge_foreground
from lenssuper.observation import read_observation
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens


@pytest.fixture(scope="module")
def fit():
    lens = SIE(theta_E=1.0 * u.arcsec, q=0.8, phi=30 * u.deg)
    source = SersicSource(0.1 * u.arcsec, 1.0, x=0.08 * u.arcsec)
    galaxy = SersicSource(
        0.4 * u.arcsec, 2.0, q=0.7, phi=40 * u.deg, x=0.06 * u.arcsec, y=-0.04 * u.arcsec, amplitude=0.5
    )
    mock = mock_lens(lens, source, HST_ACS_F814W, shape=(80, 80), peak_snr=20, lens_light=galaxy, rng=1)
    return ForegroundFitter(1, modes=0)(mock.observation)


def test_right_light_is_trusted(fit):
    assert fit.verdict == "trusted", fit.reasons
    assert fit.measures["lobes"] == 0
    assert fit.measures["light_chi2"] == fit.reduced_chi2
    assert "verdict   trusted" in fit.summary()


def test_lobes_and_chi2_of_too_much_light(fit):
    found = judge_foreground(replace(fit, light=1.3 * fit.light))
    assert found.verdict == "wrong"
    assert found.measures["lobes"] > 0.1
    assert any("which arcs cannot be" in reason for reason in found.reasons)
    assert found.measures["light_chi2"] > 5


def test_most_of_the_field_taken_for_arcs(fit):
    found = judge_foreground(replace(fit, arcs=np.arange(6400).reshape(80, 80) >= 2400))
    assert found.measures["arc_share"] == pytest.approx(0.625)
    assert any("62% of the pixels" in reason for reason in found.reasons)


def test_bounds(fit):
    covariance = fit.fit.covariance.copy()
    covariance[3] = covariance[:, 3] = 0  # the index ended at its bound
    parameters = fit.fit.parameters.copy()
    parameters[0, 3] = 8.0
    sersics = replace(fit.fit, covariance=covariance, parameters=parameters)
    found = judge_foreground(replace(fit, fit=sersics))
    assert found.measures["at_bounds"] == 1
    assert found.measures["largest_index"] == 8
    assert fit.measures["at_bounds"] == 0
    # a model that describes the light may have it
    assert found.verdict == "trusted"
    noisy = replace(fit, fit=sersics, observation=fit.observation.with_weights(1.5 * fit.observation.weights))
    found = judge_foreground(noisy)
    assert found.verdict == "look"
    assert {"1 parameters of the galaxy are at a bound"} < set(found.reasons)


def test_a_flat_core_is_no_bound(fit):
    covariance = fit.fit.covariance.copy()
    covariance[3] = covariance[:, 3] = 0
    parameters = fit.fit.parameters.copy()
    parameters[0, 3] = 0.6
    sersics = replace(fit.fit, covariance=covariance, parameters=parameters)
    assert judge_foreground(replace(fit, fit=sersics)).measures["at_bounds"] == 0


def test_place_and_verdict_go_with_the_image(fit, tmp_path):
    odd = replace(fit, judgement=Verdict("look", ("it is odd", "very odd " * 20)))
    odd.write(tmp_path / "arcs.fits")
    arcs = read_observation(tmp_path / "arcs.fits")
    assert Verdict.in_cards(arcs.meta).verdict == "look"
    assert Verdict.in_cards(arcs.meta).reasons[0] == "it is odd"
    galaxy = LensGalaxy.of(arcs)
    assert (galaxy.x, galaxy.y) == pytest.approx((0.06, -0.04), abs=0.005)
    assert galaxy.q == pytest.approx(0.7, abs=0.03)
    assert np.degrees(galaxy.phi) == pytest.approx(40, abs=3)
