"""What every solver promises, tried on every one of them."""

from __future__ import annotations

import inspect
import pickle
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty

from lenssuper import ForwardModel, PixelGrid
from lenssuper import solvers as room
from lenssuper.simulate import SersicSource, mock_lens, random_mock
from lenssuper.solvers import (
    CurvaturePrior,
    Gaussian,
    GradientPrior,
    LogNormal,
    MaternPrior,
    NetworkSolver,
    Positive,
    Posterior,
    RelativeGradient,
    Sersics,
    Solver,
    SquaredGradient,
    TotalVariation,
)

SOLVERS = {
    "gradient": Gaussian(GradientPrior()),
    "curvature": Gaussian(CurvaturePrior()),
    "Matern": Gaussian(MaternPrior(length=5.0, smoothness=1.0)),
    "matrix-free": Gaussian(dense_limit=0, n_draws=8),
    "log-normal": LogNormal(max_evaluations=8),
    "positive, relative gradient": Positive(RelativeGradient(), max_evaluations=4, n_draws=6),
    "positive, squared gradient": Positive(SquaredGradient(), max_evaluations=4, n_draws=6),
    "positive, total variation": Positive(TotalVariation(), max_evaluations=4, n_draws=6),
    "Sersics": Sersics(),
    "network": NetworkSolver.pretrained("space", n_draws=16),
    "network, refined": NetworkSolver.pretrained("space", n_draws=8, refine=True),
}
POSITIVE = {"log-normal", "Sersics", *(name for name in SOLVERS if name.startswith(("positive", "network")))}
WITH_EVIDENCE = {"gradient", "curvature", "Matern", "matrix-free", "log-normal", "Sersics"}
SHAPE = (19, 20)


@pytest.fixture(scope="module")
def mock(name):
    return smooth() if name == "Sersics" else lumpy()


@cache
def lumpy():
    return random_mock(6, shape=(22, 24), peak_snr=(40, 40))


@cache
def smooth():
    """The same with a source without arms and lumps, which an analytic one can describe."""
    mock = lumpy()
    disk = SersicSource(0.25 * u.arcsec, 1.2, q=0.6, phi=20 * u.deg, x=0.15 * u.arcsec, y=0.15 * u.arcsec)
    return mock_lens(mock.lens, disk, mock.instrument, shape=(22, 24), peak_snr=40, rng=1)


def model_of(mock, *, unit=1.0):
    observation = mock.observation.copy()
    psf = mock.observation.psf
    observation.data = unit * mock.observation.data
    observation.uncertainty = StdDevUncertainty(unit * mock.observation.uncertainty.array)
    observation.mask = np.zeros(observation.shape, dtype=bool)
    observation.mask[3:5, 17:19] = True
    observation.psf = psf
    grid = PixelGrid(SHAPE, 0.066 * u.arcsec, center=(0, 0) * u.arcsec, reference=mock.grid.reference)
    return ForwardModel(observation, mock.lens, factor=1, source_grid=grid)


@pytest.fixture(scope="module")
def model(mock):
    return model_of(mock)


@pytest.fixture(scope="module", params=SOLVERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def solver(name):
    return SOLVERS[name]


@pytest.fixture(scope="module")
def posterior(solver, model):
    return solver.solve(model, rng=3)


@pytest.fixture(scope="module")
def again(solver, model, posterior):
    """The same once more, and what it reported and changed."""
    before = pickle.dumps(solver), model.data.copy(), model.weights.copy(), global_state()
    reports = []
    repeated = solver.solve(
        model,
        rng=np.random.default_rng(3),
        report=lambda share, what: reports.append((share, what)),
    )
    return SimpleNamespace(posterior=repeated, reports=reports, before=before)


def global_state():
    return np.random.get_state()[1].copy()  # noqa: NPY002


def test_every_solver_is_here():
    classes = {value for value in vars(room).values() if inspect.isclass(value)}
    final = {c for c in classes if issubclass(c, Solver) and not inspect.isabstract(c)}
    assert final == {type(solver) for solver in SOLVERS.values()}


def test_gives_a_posterior_on_the_source_grid(posterior):
    assert isinstance(posterior, Posterior)
    assert posterior.mean.shape == posterior.std.shape == SHAPE
    assert posterior.draws.shape[1:] == SHAPE
    for image in (posterior.mean, posterior.std, posterior.draws):
        assert image.dtype == np.float64
        assert np.isfinite(image).all()
    assert posterior.std.min() >= 0
    assert posterior.std.max() > 0
    assert posterior.converged


def test_fits_the_data(posterior, model):
    used = np.count_nonzero(model.weights)
    assert 0 < posterior.effective_modes < used
    assert 0.8 < model.chi2(posterior.mean) / (used - posterior.effective_modes) < 1.25


def test_foretells_pixels_it_has_not_seen(posterior, model):
    dark = np.sum(model.residuals(np.zeros(SHAPE)) ** 2) / np.count_nonzero(model.weights)
    assert 0.5 < posterior.held_out_chi2 < 0.2 * dark


def test_finds_the_source(posterior, model, mock):
    truth = mock.source_image(model.source_grid)
    correlation = np.corrcoef(posterior.mean.ravel(), truth.ravel())[0, 1]
    assert correlation > 0.93
    assert posterior.mean.sum() == pytest.approx(truth.sum(), rel=0.1)


def test_error_bars_are_of_the_size_of_the_errors(name, posterior, model, mock):
    truth = mock.source_image(model.source_grid)
    bright = truth > 0.1 * truth.max()
    inside = np.mean(np.abs(posterior.mean - truth)[bright] < 2 * posterior.std[bright])
    assert inside > (0.4 if "variation" in name else 0.65)


def test_positive_where_it_says_so(name, posterior):
    if name in POSITIVE:
        assert posterior.mean.min() >= 0
        assert posterior.draws.min() >= 0


def test_evidence_where_there_is_one(name, posterior):
    assert np.isfinite(posterior.log_evidence) == (name in WITH_EVIDENCE)


def test_hyperparameters_are_numbers_by_name(posterior):
    assert posterior.hyperparameters
    for key, value in posterior.hyperparameters.items():
        assert key.isidentifier()
        assert type(value) is float
        assert np.isfinite(value)


def test_same_seed_same_answer(again, posterior):
    repeated = again.posterior
    np.testing.assert_array_equal(repeated.mean, posterior.mean)
    np.testing.assert_array_equal(repeated.draws, posterior.draws)
    assert repeated.log_evidence == pytest.approx(posterior.log_evidence, rel=0, abs=0, nan_ok=True)
    assert repeated.held_out_chi2 == posterior.held_out_chi2


def test_leaves_all_else_alone(again, solver, model):
    settings, data, weights, state = again.before
    assert pickle.dumps(solver) == settings
    np.testing.assert_array_equal(model.data, data)
    np.testing.assert_array_equal(model.weights, weights)
    np.testing.assert_array_equal(global_state(), state)


def test_progress_goes_from_nothing_to_one(again):
    shares = [share for share, _ in again.reports]
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.3
    assert shares[-1] == 1
    assert all(isinstance(what, str) and what for _, what in again.reports)


def test_other_seed_other_draws(solver, posterior, model):
    other = solver.solve(model, rng=4)
    assert not np.array_equal(other.draws, posterior.draws)
    # and an estimate that depends on it through its hyper-parameters alone
    spread = np.sqrt(np.mean((other.mean - posterior.mean) ** 2))
    assert spread < 0.2 * np.sqrt(np.mean(posterior.mean**2))


@pytest.mark.parametrize("unit", [1e-20, 1e6])
def test_unit_of_the_data_does_not_matter(solver, posterior, mock, unit):
    scaled = solver.solve(model_of(mock, unit=unit), rng=3)
    peak = posterior.mean.max()
    # rounding takes the searches for hyper-parameters along other paths, to within what they are good for
    np.testing.assert_allclose(scaled.mean / unit, posterior.mean, rtol=0, atol=0.03 * peak)
    np.testing.assert_allclose(scaled.std / unit, posterior.std, rtol=0.3, atol=0.01 * peak)
    assert scaled.effective_modes == pytest.approx(posterior.effective_modes, rel=0.05)
    if np.isfinite(posterior.log_evidence):
        # a density in the unit of the data: it changes with the unit as a product over the pixels
        expected = posterior.log_evidence - 524 * np.log(unit)
        assert scaled.log_evidence == pytest.approx(expected, abs=0.5)


def test_kept_draws_and_fresh_ones(posterior):
    kept = posterior.samples(2)
    np.testing.assert_array_equal(kept, posterior.draws[:2])
    kept[...] = 0  # a copy
    assert posterior.draws[:2].any()
    n = len(posterior.draws) + 3
    fresh = posterior.samples(n, rng=1)
    assert fresh.shape == (n, *SHAPE)
    np.testing.assert_array_equal(posterior.samples(n, rng=1), fresh)
    assert not np.array_equal(fresh[:2], posterior.draws[:2])
    bright = posterior.mean > 0.3 * posterior.mean.max()
    spread = np.sqrt(np.mean((fresh - posterior.mean) ** 2, axis=0))
    assert np.median(spread[bright] / posterior.std[bright]) == pytest.approx(1, abs=0.4)


def test_posterior_travels(posterior):
    there = pickle.loads(pickle.dumps(posterior))
    np.testing.assert_array_equal(there.mean, posterior.mean)
    np.testing.assert_array_equal(there.samples(2, rng=1), posterior.samples(2, rng=1))
