"""Fits of mock lenses, and what is said of input that does not make sense."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import SIE, LensFitter, Observation
from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.firstguess import Arcs, first_guesses
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.solvers import MaternPrior
from lenssuper.substructure import JaffeClump, SubstructureMap


def pulls(fit, truth):
    expected, found, errors = truth.values(), fit.lens.values(), fit.errors
    differences = {name: found[name] - expected[name] for name in fit.names}
    differences["SIE.phi"] = (differences["SIE.phi"] + np.pi / 2) % np.pi - np.pi / 2
    sigmas = {name: getattr(errors[name], "value", errors[name]) for name in fit.names}
    return np.array([differences[name] / sigmas[name] for name in fit.names])


def test_truth_is_found_from_ten_per_cent_off(fit, truth):
    assert fit.lens.parameters["SIE.theta_E"].to_value(u.arcsec) == pytest.approx(0.9, rel=0.005)
    assert fit.lens.parameters["SIE.q"] == pytest.approx(0.8, abs=0.03)
    assert np.max(np.abs(pulls(fit, truth))) < 4
    assert 0.85 < fit.reduced_chi2 < 1.15
    assert fit.converged


def test_errors_are_of_the_size_of_the_noise(fit):
    # S/N 40 on a ring of some 300 pixels
    assert 1e-4 < fit.errors["SIE.theta_E"].to_value(u.arcsec) < 5e-3
    assert fit.errors["ExternalShear.x"] == 0 * u.arcsec
    assert np.linalg.eigvalsh(fit.covariance.matrix).min() > 0
    assert fit.covariance.names == fit.names


def test_a_rough_radius_will_do(mock, truth):
    observation = Observation.from_nddata(mock.observation)
    fitter = LensFitter.from_einstein_radius(1.08 * u.arcsec)
    arcs = Arcs(Exposure.of(observation, None), fitter.parameters)
    guesses = first_guesses(arcs, fitter._starts(fitter.parameters), lambda share, what: None, apart=0.1)
    best = fitter.parameters.lens(guesses[0].vector)
    assert best.parameters["SIE.theta_E"].to_value(u.arcsec) == pytest.approx(0.9, rel=0.03)
    assert best.parameters["SIE.q"] == pytest.approx(0.8, abs=0.06)


def test_gaussians_alone_come_close(mock, guess, truth):
    observation = Observation.from_nddata(mock.observation)
    parameters = FreeParameters(guess)
    arcs = Arcs(Exposure.of(observation, None), parameters)
    (best, *others) = first_guesses(arcs, [parameters.start], lambda share, what: None, apart=0.1)
    assert parameters.lens(best.vector).parameters["SIE.theta_E"].to_value(u.arcsec) == pytest.approx(
        0.9, rel=0.02
    )
    assert all(best.cost <= other.cost for other in others)


FIXED = ["SIE.q", "SIE.phi", "SIE.x", "SIE.y", "ExternalShear"]


@pytest.fixture(scope="module")
def only_radius(mock, truth):
    guess = truth.replace(**{"SIE.theta_E": 0.94 * u.arcsec})
    return LensFitter(guess, fixed=FIXED, rng=1)(mock.observation)


def test_fixed_parameters_stay_and_priors_pull(mock, truth, only_radius):
    assert only_radius.names == ("SIE.theta_E",)
    assert only_radius.lens.parameters["SIE.q"] == 0.8
    radius, sigma = only_radius.lens.parameters["SIE.theta_E"], only_radius.errors["SIE.theta_E"]
    # errors are 1.2 times those of the information that the prior adds to
    priors = {"SIE.theta_E": (radius + 4 * sigma, sigma)}
    pulled = LensFitter(truth, fixed=FIXED, priors=priors, rng=1)(mock.observation)
    assert float((pulled.lens.parameters["SIE.theta_E"] - radius) / sigma) == pytest.approx(1.64, abs=0.4)
    assert float(pulled.errors["SIE.theta_E"] / sigma) == pytest.approx(0.77, rel=0.1)


def test_a_wide_prior_costs_its_width(mock, truth, only_radius):
    radius = only_radius.lens.parameters["SIE.theta_E"]
    start = truth.replace(**{"SIE.theta_E": radius})
    narrow, wide = (
        LensFitter(start, fixed=FIXED, priors={"SIE.theta_E": (radius, std * u.arcsec)}, rng=1)(
            mock.observation
        )
        for std in (0.1, 1.0)
    )
    assert narrow.log_evidence - wide.log_evidence == pytest.approx(np.log(10), abs=0.1)


def test_evidence_asks_for_the_shear_that_is_there(fit, guess, mock):
    # the guess is without one component of it
    alone = LensFitter(guess, fixed=["ExternalShear"], rng=1)(mock.observation)
    assert alone.log_evidence < fit.log_evidence - 5
    assert alone.lens.parameters["ExternalShear.gamma1"] == 0


def test_same_seed_same_fit_and_data_unchanged(mock, truth, only_radius):
    before = mock.observation.data.copy()
    guess = truth.replace(**{"SIE.theta_E": 0.94 * u.arcsec})
    again = LensFitter(guess, fixed=FIXED, rng=1)(mock.observation)
    assert again.lens == only_radius.lens
    assert again.log_evidence == only_radius.log_evidence
    np.testing.assert_array_equal(mock.observation.data, before)


@pytest.mark.parametrize(
    ("guess", "options", "error", "message"),
    [
        (1.2, {}, TypeError, "guess must be a LensModel, or an Einstein radius such as 1.2"),
        (-1 * u.arcsec, {}, ValueError, "an Einstein radius must be one positive angle"),
        (1 * u.kg, {}, (TypeError, ValueError), "guess"),
        (1 * u.arcsec, {"factor": 0}, ValueError, "factor"),
        (1 * u.arcsec, {"prior": "gradient"}, TypeError, "prior must be a QuadraticPrior"),
        (1 * u.arcsec, {"fixed": ["x"]}, ValueError, "but this lens has"),
    ],
)
def test_bad_arguments(guess, options, error, message):
    with pytest.raises(error, match=message):
        LensFitter(guess, **options)


def test_foreground_is_fitted_with_the_lens(mock, truth):
    x, y = mock.grid.centers_arcsec()
    light = mock.observation.data.max() * np.exp(-np.hypot(x, y) / 0.2)
    sky = float(np.median(mock.observation.uncertainty.array))
    bright = mock.observation.copy()
    bright.data = bright.data + light + sky
    fit = LensFitter(truth, fixed=FIXED, foreground=0.7 * light, rng=1)(bright)
    assert fit.lens.parameters["SIE.theta_E"].to_value(u.arcsec) == pytest.approx(0.9, rel=0.004)
    assert fit.reduced_chi2 < 1.15
    np.testing.assert_allclose(fit.foreground.data, light + sky, atol=0.1 * light.max())
    np.testing.assert_allclose(fit.subtracted.data, bright.data - fit.foreground.data)
    assert fit.subtracted.psf is not None
    np.testing.assert_array_equal(fit.subtracted.light_errors, fit.light_errors)
    missed = (fit.foreground.data - light - sky)[fit.observation.bright]
    along = fit.light_errors[:, fit.observation.bright]
    amplitudes, *_ = np.linalg.lstsq(along.T, missed, rcond=None)
    assert np.all(np.abs(amplitudes) < 3)  # the truth, in standard deviations
    corner = bright.copy()
    corner.mask = np.zeros((28, 28), dtype=bool)
    corner.mask[:3, :3] = True
    masked = LensFitter(truth, fixed=FIXED, foreground=0.7 * light, rng=1)(corner)
    np.testing.assert_array_equal(masked.model.data[:3, :3], masked.foreground.data[:3, :3])
    bright.data = bright.data - 0.7 * light
    left = LensFitter(truth, fixed=FIXED, rng=1)
    with pytest.warns(LensSuperWarning):
        assert left(bright).log_evidence < fit.log_evidence - 10
    assert "without foreground" in fit.plot().axes[0].get_title()


def test_foreground_must_be_images(mock, truth):
    for wrong, error, message in (
        ("light", TypeError, "foreground must be a SersicFit"),
        (np.ones(28), ValueError, "the shape"),
        (np.ones((2, 5, 5)), ValueError, "the observation's"),
        (np.full((28, 28), np.nan), ValueError, "finite where there are data"),
    ):
        with pytest.raises(error, match=message):
            LensFitter(truth, foreground=wrong)(mock.observation)


@pytest.mark.parametrize("kind", [LensFitter, SubstructureMap])
def test_a_prior_must_have_its_parameters(kind):
    lens = SIE(theta_E=1 * u.arcsec, q=0.8, phi=0 * u.deg)
    given = (lens, JaffeClump(0.2, 0.6, theta_E=1 * u.arcsec)) if kind is SubstructureMap else (lens,)
    with pytest.raises(ValueError, match="prior must have all its parameters"):
        kind(*given, prior=MaternPrior(length=4.0))
    with pytest.raises(TypeError, match="prior must be a QuadraticPrior"):
        kind(*given, prior="smooth")


def test_radius_must_be_an_angle():
    with pytest.raises(TypeError, match="theta_E must be a Quantity"):
        LensFitter.from_einstein_radius(1.2)


def test_nothing_to_fit_to(mock):
    rng = np.random.default_rng(1)
    dark = CCDData(
        rng.standard_normal((28, 28)), unit="adu", uncertainty=StdDevUncertainty(np.ones((28, 28)))
    )
    with pytest.raises(ObservationError, match="no pixel of the observation is significantly above"):
        LensFitter(1 * u.arcsec)(Observation.from_nddata(dark, grid=mock.grid))
    with pytest.raises(TypeError, match="must be an astropy NDData"):
        LensFitter(1 * u.arcsec)([mock.observation])
    with pytest.raises(ObservationError, match="no uncertainty"):
        LensFitter(1 * u.arcsec)(CCDData(np.ones((28, 28)), unit="adu", wcs=mock.grid.wcs))


def test_a_wrong_lens_is_told(mock):
    # a round lens in the wrong place cannot explain the arcs
    lens = SIE(theta_E=0.9 * u.arcsec, q=1.0, x=0.25 * u.arcsec)
    with pytest.warns(LensSuperWarning):
        fit = LensFitter(lens, free=["theta_E"], rng=1)(mock.observation)
    assert any("residuals are larger than the noise" in message for message in fit.messages)


def test_arcs_that_stay_apart_are_told(mock, truth):
    # with so small a radius the source has to be a copy of the image
    small = truth.replace(**{"SIE.theta_E": 0.3 * u.arcsec})
    with pytest.warns(LensSuperWarning):
        fit = LensFitter(small, free=["SIE.x", "SIE.y"], rng=1)(mock.observation)
    assert any("does not map the arcs to one region" in message for message in fit.messages)
