"""Analytic sources: what is recovered, and how well it is said to be known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import SIE, ExternalShear, ForwardModel, Observation, SuperResolution, SuperResolver
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import EUCLID_VIS, SersicSource, mock_lens
from lenssuper.solvers import Gaussian, Sersics

LENS = SIE(theta_E=1.1 * u.arcsec, q=0.75, phi=30 * u.deg) + ExternalShear(gamma1=0.03, gamma2=-0.02)
TRUTH = {"x": 0.08, "y": -0.05, "R_e": 0.25, "n": 1.4, "q": 0.65, "phi": np.radians(70)}


def source(**changes):
    values = TRUTH | changes
    return SersicSource(
        values["R_e"] * u.arcsec,
        values["n"],
        q=values["q"],
        phi=values["phi"] * u.rad,
        x=values["x"] * u.arcsec,
        y=values["y"] * u.arcsec,
    )


def observe(source, *, seed=1, peak_snr=40):
    return mock_lens(LENS, source, EUCLID_VIS, shape=(44, 44), peak_snr=peak_snr, rng=seed)


def independent(mock):
    """The observation, with noise that is known to be independent from pixel to pixel."""
    return Observation.from_nddata(mock.observation, noise_correlation=1)


def model_of(mock):
    """With a source grid of fewer pixels than by default, for speed."""
    grid = square_source_grid(Observation.of(mock.observation), LENS, 2, 72)
    return ForwardModel(mock.observation, LENS, source_grid=grid)


@pytest.fixture(scope="module")
def mock():
    return observe(source())


@pytest.fixture(scope="module")
def resolved(mock):
    """A function that solves with a solver, on pixels that are fine enough for this source."""
    observation = independent(mock)
    grid = square_source_grid(observation, LENS, 2, 72)
    return lambda solver: SuperResolver(LENS, solver=solver, source_grid=grid, rng=1)(observation)


@pytest.fixture(scope="module")
def result(resolved):
    return resolved(Sersics())


def test_recovers_the_profile_within_its_errors(result):
    found = result.hyperparameters
    for name, value in TRUTH.items():
        error = found[f"{name}_1_error"]
        assert abs(found[f"{name}_1"] - value) < 3.5 * error
        assert 0 < error < 0.1 * abs(value) + 0.01
    assert result.effective_modes == 7
    assert 0.9 < result.reduced_chi2 < 1.1


def test_errors_are_of_the_size_of_the_errors(monkeypatch):
    monkeypatch.setattr("lenssuper.solvers.sersic._FINER", 2)
    scatter = []
    for seed in range(4):
        model = model_of(observe(source(), seed=seed))
        found = Sersics(n_draws=1).solve(model, rng=1).hyperparameters
        scatter += [(found[f"{k}_1"] - v) / found[f"{k}_1_error"] for k, v in TRUTH.items()]
    assert 0.6 < np.sqrt(np.mean(np.square(scatter))) < 1.6


def test_is_better_than_pixels_for_a_smooth_source(mock, resolved, result):
    pixels = resolved(Gaussian(dense_limit=0, n_draws=2))
    truth = mock.source_image(result.source_grid)
    errors = [np.sqrt(np.mean((r.source.data - truth) ** 2)) for r in (result, pixels)]
    assert errors[0] < 0.3 * errors[1]
    assert result.log_evidence > pixels.log_evidence


def test_parameters_survive_a_file(result, tmp_path):
    path = tmp_path / "result.fits"
    result.write(path)
    back = SuperResolution.read(path)
    assert back.hyperparameters == result.hyperparameters
    assert back.solver == "Sersics"


def test_adds_profiles_as_long_as_the_data_ask_for_them(mock, monkeypatch):
    monkeypatch.setattr("lenssuper.solvers.sersic._FINER", 2)  # fewer pixels, for speed
    bulge = source(R_e=0.06, n=1.0, q=0.9)
    both = observe(source(R_e=0.35, n=0.8) + 4 * bulge, peak_snr=60)
    model = model_of(both)
    two = Sersics(None, max_components=2, n_draws=1).solve(model, rng=1)
    assert two.effective_modes == 14
    assert two.log_evidence > Sersics(1, n_draws=1).solve(model, rng=1).log_evidence + 10
    sizes = sorted(two.hyperparameters[f"R_e_{k}"] for k in (1, 2))
    assert sizes == pytest.approx([0.06, 0.35], rel=0.25)
    one = model_of(mock)
    assert Sersics(None, max_components=2, n_draws=1).solve(one, rng=1).effective_modes == 7


def test_noise_without_a_source_ends_in_something(mock, monkeypatch):
    monkeypatch.setattr("lenssuper.solvers.sersic._FINER", 2)  # fewer pixels, for speed
    image = mock.observation.copy()
    image.psf = mock.observation.psf
    image.data = image.uncertainty.array * np.random.default_rng(1).standard_normal(image.shape)
    model = ForwardModel(image, LENS)
    try:
        posterior = Sersics().solve(model, rng=1)
    except ConvergenceWarning:  # an error in tests
        return
    assert np.isfinite(posterior.mean).all()
    assert np.isfinite(posterior.std).all()


@pytest.mark.parametrize("name", ["n_components", "max_components", "n_draws"])
def test_numbers_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        Sersics(**{name: 0})
    with pytest.raises(TypeError):
        Sersics(**{name: 1.5})
