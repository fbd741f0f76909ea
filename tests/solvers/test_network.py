"""Networks as solvers: batches, refinement, error bars, and what comes with the package."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
import torch
from torch import nn

from lenssuper import ForwardModel, JointForwardModel, PixelGrid, SuperResolver, Systematics
from lenssuper.exceptions import FileFormatError, LensSuperError
from lenssuper.networks import SourceNetwork, SourceProblem, Unrolled, draws
from lenssuper.networks.pretrained import ALIASES, NAMES, path_of
from lenssuper.networks.weights import read_card, read_network
from lenssuper.simulate import random_mock
from lenssuper.solvers import LogNormal, NetworkSolver
from lenssuper.solvers.field import FieldPrior
from lenssuper.solvers.network import _problem
from lenssuper.solvers.numerics import ModulatedField, StationaryField, brightness_unit


@pytest.fixture(scope="module")
def mock():
    return random_mock(3, shape=(32, 34), peak_snr=(40, 40))


@pytest.fixture(scope="module")
def model(mock):
    grid = PixelGrid((40, 48), mock.grid.pixel_scale / 3, reference=mock.grid.reference)
    return ForwardModel(mock.observation, mock.lens, source_grid=grid)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Unrolled(n_stages=2, widths=(8, 8))


class Fixed(SourceNetwork):
    """Answers with the same source whatever is asked."""

    architecture = "fixed"
    config: dict = {}  # noqa: RUF012

    def __init__(self, source):
        super().__init__()
        self.source = nn.Parameter(torch.as_tensor(source, dtype=torch.float32))

    def stages(self, problem):
        return [self.source.expand(len(problem), -1, -1)]


class TestBatches:
    def test_many_at_once_are_what_each_is_alone(self, model):
        # Conjugate gradients amplify single-precision rounding at every step until they converge, to 2% of
        # the peak after 24 steps of an untrained network. Three steps show whether neighbours mix.
        torch.manual_seed(0)
        solver = NetworkSolver(Unrolled(n_stages=2, widths=(8, 8), cg_steps_used=3))
        self.compare(solver, model, 1e-3)

    def test_rounding_hardly_matters_to_a_trained_network(self, model):
        self.compare(NetworkSolver.pretrained("space"), model, 0.005)

    def compare(self, solver, model, tolerance):
        other = random_mock(4, shape=(32, 34))
        grid = PixelGrid((36, 32), model.source_grid.pixel_scale, reference=model.source_grid.reference)
        others = [
            model,
            ForwardModel(other.observation, other.lens, source_grid=model.source_grid),
            ForwardModel(other.observation, other.lens, source_grid=grid),  # of another shape
        ]
        together = solver.sources(others)
        for each, source in zip(others, together, strict=True):
            assert source.shape == each.in_shape
            alone = solver.sources([each])[0]
            np.testing.assert_allclose(source, alone, rtol=0, atol=tolerance * alone.max())

    def test_none(self, network):
        assert NetworkSolver(network).sources([]) == []

    def test_one_model_stands_for_many(self, network, model):
        """The repeated model of the draws is the model itself."""
        source = torch.rand(3, *model.in_shape)
        problem = _problem(model, 3, "cpu")
        expected = model.whiten(float(problem.scale[0]) * model.forward(source.numpy().astype(float)))
        np.testing.assert_allclose(
            problem.forward(source).numpy(), expected, rtol=0, atol=1e-4 * expected.max()
        )


def test_several_exposures_of_one_source(network, mock, model):
    """The same exposure twice asks of the source what one with half the variance asks."""
    pair, deeper = JointForwardModel([model, model]), model.with_weights(2 * model.weights)
    two, one = _problem(pair, 1, "cpu"), _problem(deeper, 1, "cpu")
    source = torch.rand(1, *model.in_shape)
    for found, expected in (
        (two.adjoint(two.forward(source)), one.adjoint(one.forward(source))),
        (two.adjoint(two.white), one.adjoint(one.white)),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    posterior = NetworkSolver(network, n_draws=2).solve(pair, rng=1)
    assert posterior.mean.shape == model.in_shape
    assert np.isfinite(posterior.held_out_chi2)


@pytest.fixture(scope="module")
def small():
    mock = random_mock(3, shape=(20, 22), peak_snr=(40, 40))
    grid = PixelGrid((16, 18), mock.grid.pixel_scale / 2, reference=mock.grid.reference)
    return ForwardModel(mock.observation, mock.lens, source_grid=grid)


@pytest.fixture(scope="module")
def answer(small):
    y, x = np.mgrid[:16, :18] - 8.0
    return np.exp(-(x**2 + y**2) / 20) + 0.01


@pytest.fixture(scope="module")
def matrices(small, answer):
    """Give a G and J of the default prior, with the field's eigenvalues written out."""
    ny, nx = small.in_shape
    k2 = (2 * np.pi * np.fft.fftfreq(ny))[:, None] ** 2 + (2 * np.pi * np.fft.fftfreq(nx)) ** 2
    power = (1 + k2 * (max(ny, nx) / 3) ** 2) ** (-3 / 2)
    root = np.sqrt(power / power.mean())
    unit = np.eye(ny * nx).reshape(-1, ny, nx)
    field = np.fft.ifft2(np.fft.fft2(unit) * root).real.reshape(ny * nx, -1).T
    scale = float(_problem(small, 1, "cpu").scale)
    bend = scale * small.whiten(small.forward(unit)).reshape(ny * nx, -1).T
    return field, (bend * answer.ravel()) @ field


class TestErrorBars:
    """Against the same Gaussian with matrices, for a network whose answer and prior are known."""

    def test_deviations_are_those_of_the_gaussian(self, small, answer, matrices, monkeypatch):
        monkeypatch.setattr(draws, "_STEPS", 200)
        field, jacobian = matrices
        problem = _problem(small, 3, "cpu")
        source = torch.as_tensor(answer[None], dtype=torch.float32)
        _, prior = Fixed(answer).answer(_problem(small, 1, "cpu"))
        torch.manual_seed(1)
        noise, white = torch.randn(problem.white.shape) * problem.used, torch.randn(3, *small.in_shape)
        with torch.no_grad():
            found = draws.LogPosterior(problem, source, prior).deviations(noise, white)
        found = found.reshape(3, -1).numpy()
        for one, n, w in zip(found, noise.reshape(3, -1).numpy(), white.reshape(3, -1).numpy(), strict=True):
            curvature = np.eye(w.size) + jacobian.T @ jacobian
            expected = field @ (w + np.linalg.solve(curvature, jacobian.T @ (n - jacobian @ w)))
            np.testing.assert_allclose(one, expected, rtol=0, atol=0.003 * np.abs(field @ w).max())

    def test_of_the_posterior(self, small, answer, matrices, monkeypatch):
        monkeypatch.setattr(draws, "_STEPS", 100)
        field, jacobian = matrices
        covariance = np.linalg.inv(np.eye(answer.size) + jacobian.T @ jacobian)
        posterior = NetworkSolver(Fixed(answer), n_draws=128).solve(small, rng=1)
        np.testing.assert_allclose(posterior.mean / posterior.mean.max(), answer / answer.max(), rtol=1e-5)
        trace = np.trace(jacobian @ covariance @ jacobian.T)
        assert posterior.effective_modes == pytest.approx(trace, rel=4 * np.sqrt(2 / trace / 64))
        steps = np.log(posterior.draws / posterior.mean)
        expected = 1.1 * np.sqrt(np.diag(field @ covariance @ field.T)).reshape(answer.shape)
        certain = expected < 0.3  # larger ones are limited
        assert certain.sum() > 50
        found = np.sqrt(np.mean(steps**2, axis=0))
        # 64 pairs: each standard deviation is known to 9%
        ratio = found[certain] / expected[certain]
        assert np.mean(ratio) == pytest.approx(1, abs=0.03)
        assert np.max(np.abs(ratio - 1)) < 0.4

    def test_the_steps_taken_are_enough(self, model, monkeypatch):
        solver = NetworkSolver.pretrained("space")
        few = solver.solve(model, rng=1)
        monkeypatch.setattr(draws, "_STEPS", 100)
        many = solver.solve(model, rng=1)
        bright = many.mean > 0.1 * many.mean.max()
        ratio = few.std[bright] / many.std[bright]
        assert np.mean(ratio) == pytest.approx(1, abs=0.03)
        assert np.std(ratio) < 0.1
        assert few.effective_modes == pytest.approx(many.effective_modes, rel=0.1)

    def test_come_in_pairs(self, network, model):
        posterior = NetworkSolver(network, n_draws=6).solve(model, rng=1)
        assert (posterior.draws > 0).all()
        half = (posterior.draws[::2] - posterior.draws[1::2]) / 2
        np.testing.assert_allclose(posterior.std, np.sqrt(np.mean(half**2, axis=0)), rtol=1e-12)
        more = posterior.samples(5, rng=2)
        assert more.shape == (5, *model.in_shape)
        np.testing.assert_array_equal(more, posterior.samples(5, rng=2))

    def test_what_noise_changes(self, small, answer, matrices, monkeypatch):
        monkeypatch.setattr(draws, "_STEPS", 100)
        field, jacobian = matrices
        towards_data = np.linalg.solve(np.eye(answer.size) + jacobian.T @ jacobian, jacobian.T)
        posterior = NetworkSolver(Fixed(answer), n_draws=2).solve(small, rng=1)
        found = posterior.changes_by_noise(small, 200, np.random.default_rng(1)) / posterior.mean
        expected = np.sqrt(np.sum((field @ towards_data) ** 2, axis=1)).reshape(answer.shape)
        ratio = np.sqrt(np.mean(found**2, axis=0)) / expected
        # 200 realisations: each standard deviation is known to 5%
        assert np.mean(ratio) == pytest.approx(1, abs=0.02)
        assert np.max(np.abs(ratio - 1)) < 0.25


@pytest.fixture(scope="module")
def solver():
    return NetworkSolver.pretrained("space", n_draws=2)


class TestChangesOfTheModel:
    def test_the_same_model_has_the_same_source(self, solver, model):
        posterior = solver.solve(model, rng=1)
        np.testing.assert_allclose(posterior.refit(model), posterior.mean, rtol=1e-6)

    def test_a_change_of_the_data_is_that_of_the_gaussian(self, small, answer, matrices, monkeypatch):
        monkeypatch.setattr(draws, "_STEPS", 100)
        field, jacobian = matrices
        posterior = NetworkSolver(Fixed(answer), n_draws=2).solve(small, rng=1)
        change = 0.1 * small.data.max() * np.exp(-((np.mgrid[:20, :22] - 9.0) ** 2).sum(axis=0) / 8)
        found = np.log(posterior.refit(small.with_data(small.data + change)) / posterior.mean)
        curvature = np.eye(answer.size) + jacobian.T @ jacobian
        expected = field @ np.linalg.solve(curvature, jacobian.T @ small.whiten(change).ravel())
        expected = expected.reshape(answer.shape)
        # larger ones are limited, at 1.5 upwards
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * np.abs(expected).max())

    def test_a_wrong_radius_changes_what_the_network_answers_to_it(self, solver, mock, model):
        radius = mock.lens.parameters["SIE.theta_E"]
        posterior, models = solver.solve(model, rng=1), []
        for factor in (0.997, 1.003):
            lens = mock.lens.replace(**{"SIE.theta_E": factor * radius})
            models.append(ForwardModel(mock.observation, lens, source_grid=model.source_grid))
        below, above = solver.sources(models)
        found = posterior.refit(models[1]) - posterior.refit(models[0])
        bright = posterior.mean > 0.1 * posterior.mean.max()
        assert np.corrcoef(found[bright], (above - below)[bright])[0, 1] > 0.95
        assert np.std(found[bright]) == pytest.approx(np.std((above - below)[bright]), rel=0.2)

    def test_the_budget_of_a_result(self, mock):
        solver = NetworkSolver.pretrained("space", n_draws=64)
        resolver = SuperResolver(mock.lens, solver=solver, rng=1, progress=False)
        known = resolver(mock.observation)
        resolver.systematics = Systematics(lens={"SIE.theta_E": 0.01 * u.arcsec}, psf=0.03)
        result = resolver(mock.observation)
        assert result.budget.parts == ("noise", "prior of the source", "lens", "PSF")
        assert np.mean(result.lensed_std**2) > 1.02 * np.mean(known.lensed_std**2)
        # what the data ask for is not told
        assert np.isnan(result.budget.changes["sigma"]).all()
        np.testing.assert_array_equal(result.budget.changes["error"], 1.0)
        np.testing.assert_array_equal(result.budget.changes["pull"], 0.0)
        assert "psf_sigma" not in result.judgement.measures

    def test_torch_keeps_its_threads(self, solver, model):
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            solver.solve(model, rng=1)
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)


class TestRefinement:
    def test_a_prior_that_knows_nothing_is_the_log_normal(self, model):
        """With the default's own maps, refinement is the default."""
        ours = LogNormal(max_evaluations=4, n_draws=2)
        maps = FieldPrior(np.full(model.in_shape, -5.0), np.ones(model.in_shape))
        found = ours.solve_with(maps, model, brightness_unit(model), rng=1)
        expected = ours.solve(model, rng=1)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-9)
        assert found.log_evidence == pytest.approx(expected.log_evidence)

    def test_modulated_field_and_its_transpose(self):
        rng = np.random.default_rng(0)
        std, roughness = rng.uniform(0.5, 2, (2, 9, 12))
        field = ModulatedField(
            StationaryField((9, 12), length=4, slope=3, std=2), std=std, roughness=roughness
        )
        x, y = rng.normal(size=(2, 9, 12))
        assert np.vdot(field.apply(x), y) == pytest.approx(np.vdot(x, field.transposed(y)))
        np.testing.assert_allclose(field.invert(field.apply(x)), x, atol=1e-9)
        expected = std * StationaryField((9, 12), length=4, slope=3, std=2).apply(roughness * x)
        np.testing.assert_allclose(field.apply(x), expected)

    def test_keeps_what_foretells_better(self, mock, model):
        """From a wrong answer it goes away; a right one, of a network that knows the truth, it keeps."""
        truth = mock.source_image(model.source_grid)
        scale = float(_problem(model, 1, "cpu").scale)
        wrong = NetworkSolver(Fixed(np.full(model.in_shape, 0.05)), refine=True, n_draws=2)
        refined = wrong.solve(model, rng=1)
        assert refined.hyperparameters["refined"] == 1
        assert np.corrcoef(refined.mean.ravel(), truth.ravel())[0, 1] > 0.9
        right = NetworkSolver(Fixed(truth / scale), refine=True, n_draws=2)
        assert model.chi2(right.solve(model, rng=1).mean) < 1.1 * model.chi2(truth)

    def test_gives_no_evidence(self, network, model):
        """Its prior has seen the data."""
        assert np.isnan(NetworkSolver(network, refine=True, n_draws=2).solve(model, rng=1).log_evidence)


class TestPretrained:
    @pytest.mark.parametrize("name", [*NAMES, *ALIASES])
    def test_comes_with_the_package(self, name):
        assert path_of(name).stat().st_size < 3e6
        card = read_card(path_of(name))
        assert {"data", "loss", "training", "versions", "scores"} <= card.keys()
        assert path_of(name).with_suffix(".md").is_file()

    def test_beats_interpolation(self, mock):
        resolver = SuperResolver.from_pretrained("space", mock.lens, rng=1)
        resolver.solver.n_draws = 2
        result = resolver(mock.observation)
        truth = mock.image()
        coarse = np.kron(mock.observation.data, np.ones((2, 2)))
        gain = np.mean((coarse - truth) ** 2) / np.mean((result.image.data - truth) ** 2)
        assert gain > 4
        assert 0.85 < result.reduced_chi2 < 1.15

    def test_other_names_and_factors(self, mock):
        with pytest.raises(ValueError, match=r"space \(also known as euclid, hst, jwst\); got 'gemini'"):
            SuperResolver.from_pretrained("gemini", mock.lens)
        with pytest.raises(ValueError, match="factor must be 2, for which 'space' was trained; got 3"):
            SuperResolver.from_pretrained("space", mock.lens, factor=3)

    def test_fingerprint_tells_weights_apart(self):
        network = read_network(path_of("space"))
        before = network.fingerprint
        assert before in repr(network)
        with torch.no_grad():
            next(network.parameters()).add_(1e-6)
        assert network.fingerprint != before


class TestBadInput:
    def test_no_network(self):
        with pytest.raises(TypeError, match="network must be a SourceNetwork"):
            NetworkSolver("hst")

    @pytest.mark.parametrize(("n", "rule"), [(0, "at least 2; got 0"), (3, "even; got 3")])
    def test_number_of_draws(self, network, n, rule):
        with pytest.raises(ValueError, match=f"n_draws must be {rule}"):
            NetworkSolver(network, n_draws=n)

    def test_file_that_is_none(self, tmp_path):
        path = tmp_path / "net.safetensors"
        path.write_bytes(b"not weights at all")
        with pytest.raises(FileFormatError, match=r"net\.safetensors"):
            NetworkSolver.read(path)

    def test_answer_that_is_not_finite(self, model):
        with pytest.raises(LensSuperError, match="not finite"):
            NetworkSolver(Fixed(np.full(model.in_shape, np.inf))).solve(model)

    def test_training_needs_a_network(self, mock):
        with pytest.raises(TypeError, match="solver must be a NetworkSolver"):
            SuperResolver(mock.lens).fit([mock.observation])


def test_problem_of_a_batch_and_of_a_model_agree(model):
    from lenssuper import ForwardModelBatch

    source = torch.rand(1, *model.in_shape)
    one, many = _problem(model, 1, "cpu"), SourceProblem.of(ForwardModelBatch([model]))
    np.testing.assert_allclose(one.forward(source), many.forward(source), rtol=0, atol=1e-3)
    np.testing.assert_allclose(one.scale, many.scale)
