"""Light and mass of a lens galaxy, fitted in turn from a rough radius."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from lenssuper import EPL, Observation
from lenssuper.exceptions import ObservationError
from lenssuper.forward.judgement import Verdict
from lenssuper.lensfit import LensFitter
from lenssuper.lensfit.disagreement import with_disagreement
from lenssuper.lensfit.inturn import fit_in_turn
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.light import ForegroundFitter
from lenssuper.simulate import Instrument, SersicSource, mock_lens

# Pixels as large as PSF and galaxy allow: the fits take two thirds of the time they take on HST's
CAMERA = Instrument.gaussian(0.08 * u.arcsec, 0.12 * u.arcsec)
# A massive galaxy like those of SLACS: cuspy, with a disk that is turned against the bulge, and steeper than
# isothermal
LENS = EPL(theta_E=0.8 * u.arcsec, gamma=2.15, q=0.75, phi=40 * u.deg)
SOURCE = SersicSource(0.1 * u.arcsec, 1.0, q=0.7, x=0.09 * u.arcsec, y=-0.05 * u.arcsec)
BULGE = SersicSource(0.35 * u.arcsec, 4.0, q=0.8, phi=40 * u.deg, amplitude=1.5)
DISK = SersicSource(0.9 * u.arcsec, 1.0, q=0.6, phi=60 * u.deg, amplitude=0.4)


class Scripted:
    """What fits lenses, with fits that a function of the image returns."""

    progress = False

    def __init__(self, guess, answer):
        self.guess, self.answer, self.followed = guess, answer, []
        self.parameters = FreeParameters(guess)

    def roughly(self):
        return self

    def following(self, lens):
        self.followed.append(lens)
        return self, {}

    def beside(self, light):
        return self.answer


@pytest.fixture(scope="module")
def scene():
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(38, 38), peak_snr=25, lens_light=BULGE + DISK, rng=3)
    return Observation.from_nddata(mock.observation, noise_correlation=1)


@pytest.fixture(scope="module")
def found(scene):
    return LensFitter(0.7 * u.arcsec, factor=1, rng=1).with_light(scene)


def test_the_lens_is_found_from_a_rough_radius(found):
    _, fit = found
    parameters, errors = fit.lens.parameters, fit.errors
    assert parameters["EPL.theta_E"].to_value("arcsec") == pytest.approx(0.8, rel=0.02)
    for name in ("theta_E", "q", "x", "y"):
        off, error = parameters[f"EPL.{name}"] - LENS.parameters[name], errors[f"EPL.{name}"]
        assert abs(off) < 3.5 * error, name
    assert fit.verdict == "trusted"


def test_light_is_fitted_beneath_the_arcs(found, scene):
    light, fit = found
    assert not light.arcs.any()
    np.testing.assert_array_equal(light.observation.data, scene.data)
    np.testing.assert_allclose(light.subtracted.data, fit.subtracted.data, atol=1e-9)
    assert light.reduced_chi2 == pytest.approx(1.0, abs=0.1)


def test_half_of_the_last_change_is_added_to_the_errors(found):
    light, fit = found
    first = replace(fit, lens=fit.lens.replace(**{"EPL.theta_E": 0.9 * u.arcsec}))
    fits = iter([first, fit])

    fitter = Scripted(fit.lens, lambda observation: next(fits))
    light_fitter = ForegroundFitter(1, modes=0, arcs=[0.4, 1.3] * u.arcsec)
    again, last = fit_in_turn(fitter, light.observation, light, light_fitter)
    (followed,) = fitter.followed
    assert followed is first.lens
    # the settings of the fitter are kept, and the source is what the first lens explains
    assert len(again.fit.components) == 1
    assert again.isophotes is None
    np.testing.assert_array_equal(again.source, first.model.data - first.foreground.data)
    k = fit.names.index("EPL.theta_E")
    added = last.vector_covariance - fit.vector_covariance
    change = np.log(fit.lens.values()["EPL.theta_E"] / 0.9)
    assert added[k, k] == pytest.approx((0.5 * change) ** 2)
    assert np.count_nonzero(np.abs(added) > 1e-12) == 1
    # and of the difference between both models of the light, to its errors
    expected = with_disagreement(fit, light.light + light.sky).light_errors
    np.testing.assert_array_equal(last.light_errors, expected)
    np.testing.assert_array_equal(again.light_errors, expected)


def test_a_rival_of_the_last_lens_is_said_and_within_the_errors(found):
    light, fit = found
    rival = fit.lens.replace(**{"EPL.theta_E": 0.88 * u.arcsec})
    doubted = replace(fit, optima=((fit.lens, fit.log_evidence), (rival, fit.log_evidence - 20.0)))
    fits = iter([fit, doubted])
    fitter = Scripted(fit.lens, lambda observation: next(fits))
    _, last = fit_in_turn(fitter, light.observation, light, ForegroundFitter(1, modes=0))
    (reason,) = last.reasons
    assert reason.startswith("search: a lens with an Einstein radius of 0.8")
    assert reason.endswith("is almost as credible: its ln Z is 20 lower")
    k = fit.names.index("EPL.theta_E")
    move = np.log(0.88 / fit.lens.values()["EPL.theta_E"])
    added = (last.vector_covariance - fit.vector_covariance)[k, k]
    assert 0.35 * move**2 < added < 0.5 * move**2


def test_a_galaxy_that_took_the_arcs_is_fitted_outside_of_them(found, scene):
    """Without light of arcs there is no lens: the galaxy is fitted again, outside of an annulus."""
    _, fit = found
    annuli = []

    class LightFitter(ForegroundFitter):
        def with_arcs(self, arcs):
            annuli.append(arcs)
            return super().with_arcs(arcs)

    def answer(observation):
        if not annuli:
            raise ObservationError("there is no light to fit")
        return fit

    fitter = Scripted(fit.lens, answer)
    _, last = fit_in_turn(fitter, scene, None, LightFitter(1, modes=0))
    np.testing.assert_allclose(annuli[0].to_value("arcsec"), [0.6 * 0.8, 1.5 * 0.8], rtol=0.03)
    assert last.verdict == "look"
    assert any("left no arcs" in reason for reason in last.reasons)
    annuli.clear()
    given = ForegroundFitter(1, modes=0, arcs=[0.4, 1.3] * u.arcsec)
    with pytest.raises(ObservationError, match="no light"):
        fit_in_turn(fitter, scene, None, given)


@pytest.mark.parametrize(
    ("second", "other"), [("trusted", 0.8), ("wrong", 0.8), ("trusted", 0.55)], ids=["better", "no", "unlike"]
)
def test_after_a_wrong_lens_what_has_no_counter_image_is_masked(found, scene, monkeypatch, second, other):
    """It may be a neighbour: without it another lens may be found, and is returned if it is better."""
    _, fit = found
    seen = []

    def answer(observation):
        seen.append(observation.mask)
        new = len(seen) > 2
        radius = other if new else 0.6
        lens = fit.lens.replace(**{"EPL.theta_E": radius * u.arcsec})
        return replace(fit, lens=lens, judgement=Verdict(second if new else "wrong", (), {}))

    mask = np.zeros(scene.shape, dtype=bool)
    mask[30:32, 30:32] = True
    monkeypatch.setattr("lenssuper.lensfit.inturn.neighbours", lambda scene: mask)
    light, last = fit_in_turn(Scripted(fit.lens, answer), scene, None, ForegroundFitter(1, modes=0))
    assert not seen[0].any()
    assert seen[2][mask].all()
    assert seen[2].sum() < 50  # grown by the width of the PSF
    better = second == "trusted" and other == 0.8
    assert last.lens.parameters["EPL.theta_E"].value == (0.8 if better else 0.6)
    assert light.observation.mask.any() == better
    if better:
        assert last.verdict == "look"
        assert any("counter-image were masked" in reason for reason in last.reasons)
    else:
        assert not seen[-1].any()  # all of an annulus was left out of the light, nothing of the image
        assert last.verdict == "wrong"


@pytest.mark.parametrize("second", ["look", "wrong"])
def test_a_radius_unlike_that_of_the_guess_is_fitted_again(found, scene, second):
    """Another model of the light may lead to about the radius that was given; it must be no worse."""
    _, fit = found
    annuli = []

    class LightFitter(ForegroundFitter):
        def with_arcs(self, arcs):
            if isinstance(arcs, u.Quantity):
                annuli.append(arcs)
            return super().with_arcs(arcs)

    def answer(observation):
        radius, verdict = (0.78, second) if annuli else (0.5, "look")
        lens = fit.lens.replace(**{"EPL.theta_E": radius * u.arcsec})
        return replace(fit, lens=lens, judgement=Verdict(verdict, (), {}))

    _, last = fit_in_turn(Scripted(fit.lens, answer), scene, None, LightFitter(1, modes=0))
    assert last.lens.parameters["EPL.theta_E"].value == (0.78 if second == "look" else 0.5)
    assert last.verdict == "look"
    assert any("outside of an annulus" in reason for reason in last.reasons) == (second == "look")


def test_arguments_are_checked(scene):
    with pytest.raises(TypeError, match="light_fitter must be"):
        LensFitter(LENS).with_light(scene, light_fitter=2)
    with pytest.raises(TypeError, match="light must be"):
        LensFitter(LENS).with_light(scene, 2)
