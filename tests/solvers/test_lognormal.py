import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty
from scipy.optimize import minimize

from lenssuper import SIE, ExternalShear, ForwardModel, Observation, PixelGrid
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.simulate import Instrument, random_mock
from lenssuper.solvers import LogNormal, lognormal
from lenssuper.solvers.curvature import Curvature
from lenssuper.solvers.field import UNIFORM, FieldProblem
from lenssuper.solvers.lognormal import _laplace

arcsec = u.arcsec
LENS = SIE(theta_E=0.6 * arcsec, q=0.8, phi=30 * u.deg) + ExternalShear(gamma1=0.03, gamma2=0.02)
PSF = Instrument.gaussian(0.08 * arcsec, 0.16 * arcsec).psf
SOURCES = PixelGrid((28, 28), 0.025 * arcsec)  # all of it in the field
TRUE = np.array([0.75, 3.4])  # logarithm of the field's standard deviation, and slope
CHEAP = {"n_draws": 2, "max_evaluations": 3, "passes": 0}


def make_model(data, sigma, sources, mask=None):
    image = CCDData(
        data, unit="", uncertainty=StdDevUncertainty(np.broadcast_to(sigma, data.shape)), mask=mask, psf=PSF
    )
    observation = Observation.from_nddata(image, grid=PixelGrid(data.shape, 0.08 * arcsec))
    return ForwardModel(observation, LENS, source_grid=sources)


def simulate(seed, shape=(24, 24), sources=SOURCES, snr=40):
    """An observation of a source that is drawn from the prior, and that source."""
    rng = np.random.default_rng(seed)
    blank = make_model(np.ones(shape), 1.0, sources)
    problem = FieldProblem(blank, 1.0, None)
    peak = 0.0
    while not 2 / 3 < peak < 3 / 2:  # the prior is on the brightness relative to that of the image
        truth, _ = problem.link(problem.field(TRUE).apply(rng.normal(size=sources.shape)))
        clean = blank.forward(truth)
        peak = clean.max()
    sigma = peak / snr
    return make_model(clean + sigma * rng.normal(size=shape), sigma, sources), truth


@pytest.fixture(scope="module")
def tiny():
    """Few enough pixels to write all matrices down; the noise varies and some pixels are masked."""
    rng = np.random.default_rng(7)
    sources = PixelGrid((6, 7), 0.13 * arcsec)
    model, _ = simulate(7, (12, 10), sources)
    sigma = model.observation.sigma * rng.uniform(0.7, 1.5, model.out_shape)
    model = make_model(model.data, sigma, sources, rng.uniform(size=model.out_shape) < 0.1)
    return FieldProblem(model, float(model.data.max()), None)


@pytest.fixture(scope="module")
def solved():
    model, truth = simulate(1)
    steps = []
    posterior = LogNormal().solve(model, rng=5, report=lambda share, what: steps.append((share, what)))
    return model, truth, posterior, steps


def dense(apply, shape):
    """Write a linear map of arrays of a shape down as a matrix."""
    size = int(np.prod(shape))
    return np.stack([np.ravel(apply(unit.reshape(shape))) for unit in np.eye(size)], axis=1)


class TestEnergy:
    @pytest.mark.parametrize("turnover", [None, 0.3])
    def test_derivative_of_the_brightness(self, tiny, turnover):
        problem = FieldProblem(tiny.model, tiny.scale, turnover)
        u_ = np.linspace(-4, 8, 50)
        _, slope = problem.link(u_)
        up, down = problem.link(u_ + 1e-5)[0], problem.link(u_ - 1e-5)[0]
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-7)

    def test_turnover(self, tiny):
        """The exponential far below the turnover, a straight line far above."""
        plain, _ = tiny.link(np.array([-3.0, -2.0]))
        soft = FieldProblem(tiny.model, tiny.scale, 0.5)
        np.testing.assert_allclose(soft.link(np.array([-3.0, -2.0]))[0] / 0.5, plain, rtol=1e-3)
        high = soft.link(np.array([15.0, 16.0]))[0]
        assert np.diff(high)[0] == pytest.approx(0.5, rel=1e-4)

    @pytest.mark.parametrize("turnover", [None, 0.3])
    def test_gradient(self, tiny, turnover):
        problem = FieldProblem(tiny.model, tiny.scale, turnover)
        rng = np.random.default_rng(1)
        field = problem.field(TRUE)
        xi, prior = rng.normal(size=(2, *problem.shape))
        data = problem.data + np.where(problem.used, rng.normal(size=problem.data.shape), 0)

        def energy(x):
            return problem.state(field, x, data, prior).energy

        gradient = problem.gradient(field, problem.state(field, xi, data, prior), prior)
        for direction in rng.normal(size=(4, *problem.shape)):
            slope = (energy(xi + 1e-5 * direction) - energy(xi - 1e-5 * direction)) / 2e-5
            assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-6)

    def test_energy(self, tiny):
        """Chi-square of the data and of the white noise, halved."""
        field, xi = tiny.field(TRUE), np.random.default_rng(2).normal(size=tiny.shape)
        state = tiny.state(field, xi, tiny.data, 0.0)
        source = np.exp(field.apply(xi) + UNIFORM.mean)
        np.testing.assert_allclose(state.source, source)
        assert state.energy == pytest.approx(0.5 * (tiny.model.chi2(source * tiny.scale) + (xi**2).sum()))

    def test_curvature_is_that_of_gauss_and_newton(self, tiny):
        """One plus J'J, J being the derivative of the whitened image by finite differences."""
        field, xi = tiny.field(TRUE), np.random.default_rng(2).normal(size=tiny.shape)
        state = tiny.state(field, xi, tiny.data, 0.0)

        def jacobian(direction):
            ends = [tiny.state(field, xi + h * direction, tiny.data, 0.0).residuals for h in (1e-5, -1e-5)]
            return (ends[0] - ends[1]) / 2e-5

        j = dense(jacobian, tiny.shape)
        forward, adjoint = tiny.jacobian(field, state.slope)
        h = dense(lambda v: v + adjoint(forward(v)), tiny.shape)
        np.testing.assert_allclose(h, np.eye(len(h)) + j.T @ j, rtol=0, atol=1e-6 * np.abs(h).max())


class TestMode:
    def test_is_stationary(self, tiny):
        field = tiny.field(TRUE)
        start = tiny.gradient(field, tiny.state(field, np.zeros(tiny.shape), tiny.data, 0.0), 0.0)
        mode = tiny.mode(field, tolerance=1e-9)
        assert mode.converged
        # steps are exact to 3%, and the last one changed the energy by less than 1e-9
        assert np.linalg.norm(tiny.gradient(field, mode, 0.0)) < 1e-4 * np.linalg.norm(start)

    def test_is_the_minimum_that_another_method_finds(self, tiny):
        field = tiny.field(TRUE)

        def energy(flat):
            state = tiny.state(field, flat.reshape(tiny.shape), tiny.data, 0.0)
            return state.energy, tiny.gradient(field, state, 0.0).ravel()

        rng = np.random.default_rng(3)
        other = minimize(
            energy,
            0.1 * rng.normal(size=np.prod(tiny.shape)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 3000},
        )
        assert tiny.mode(field, tolerance=1e-6).energy == pytest.approx(other.fun, abs=1e-3)

    def test_does_not_depend_on_the_start(self, tiny):
        field = tiny.field(TRUE)
        one = tiny.mode(field, tolerance=1e-8)
        other = tiny.mode(field, 0.3 * np.random.default_rng(3).normal(size=tiny.shape), tolerance=1e-8)
        np.testing.assert_allclose(other.source, one.source, rtol=0, atol=1e-3 * one.source.max())


def test_pivot():
    """The logarithm of the amplitude of a wave of that wavenumber, as the field makes it."""
    mock = random_mock(1, shape=(24, 24))
    problem = FieldProblem(ForwardModel(mock.observation, mock.lens), 1.0, None)
    slope, log_std = 3.4, 0.7
    field = problem.field([log_std, slope])
    k = 2 * np.pi * 3 / problem.shape[1]
    wave = np.broadcast_to(np.cos(k * np.arange(problem.shape[1])), problem.shape)
    np.testing.assert_allclose(field.apply(wave), np.exp(field.log_amplitude(k)) * wave, atol=1e-12)
    amplitude = log_std + lognormal._at_pivot(problem, slope)
    assert amplitude == pytest.approx(field.log_amplitude(lognormal._PIVOT))
    np.testing.assert_allclose(lognormal._from_pivot(problem, [amplitude, slope]), [log_std, slope])


class TestEvidence:
    def by_hand(self, problem, theta):
        """Laplace's approximation, with all matrices written down."""
        field = problem.field(theta)
        mode = problem.mode(field)
        a = dense(problem.model.forward, problem.shape)[problem.used.ravel()]
        sigma = problem.model.observation.sigma[problem.used]
        j = a / sigma[:, None] * (mode.source * problem.scale).ravel() @ dense(field.apply, problem.shape)
        hessian = np.eye(j.shape[1]) + j.T @ j
        chi2 = problem.model.chi2(mode.source * problem.scale)
        log_det = np.linalg.slogdet(hessian)[1]
        evidence = -0.5 * (chi2 + (mode.xi**2).sum() + log_det) - np.log(np.sqrt(2 * np.pi) * sigma).sum()
        return evidence, np.trace(np.eye(len(hessian)) - np.linalg.inv(hessian))

    @pytest.mark.parametrize("theta", [TRUE, (0.0, 5.0)])
    def test_exact_with_every_unit_vector(self, tiny, theta):
        """Quadrature with all unit vectors and all Lanczos steps is no estimate any more."""
        size, steps = tiny.used.size, 50  # of 42 unknowns: rounding repeats some
        # the mean over vectors of length one is the sum over the unit vectors
        units = np.sqrt(size) * np.eye(size).reshape(size, *tiny.used.shape)
        field = tiny.field(theta)
        mode = tiny.mode(field)
        curvature = Curvature(*tiny.jacobian(field, mode.slope))  # in the precision of the vectors
        evidence, modes = self.by_hand(tiny, theta)
        assert _laplace(tiny, mode, curvature, units, steps) == pytest.approx(evidence, abs=1e-4)
        assert curvature.measured_modes(units, steps) == pytest.approx(modes, abs=1e-4)

    def test_changes_by_noise(self, tiny):
        """They are those of H^-1 J' n for a noise n, by dense algebra."""
        field = tiny.field(TRUE)
        mode = tiny.mode(field)
        forward, _ = tiny.jacobian(field, mode.slope)
        j = dense(forward, tiny.shape)
        step = np.linalg.solve(np.eye(j.shape[1]) + j.T @ j, j.T)
        rng = np.random.default_rng(3)
        noise = [tiny.noise(each) for each in np.random.default_rng(3).spawn(5)]
        found = lognormal._by_noise(tiny, field, mode, 5, rng) / tiny.scale
        for change, own in zip(found, noise, strict=True):
            expected = mode.slope * field.apply((step @ own.ravel()).reshape(tiny.shape))
            np.testing.assert_allclose(change, expected, atol=0.02 * np.abs(expected).max())

    def test_random_vectors_come_close(self, tiny):
        solver = LogNormal()
        rng = np.random.default_rng(1)
        field = tiny.field(TRUE)
        state, curvature = tiny.find(field)
        estimates = []
        for _ in range(10):
            vectors = tiny.used * lognormal.probes(solver.n_probes, tiny.used.shape, rng).astype(np.float32)
            evidence = _laplace(tiny, state, curvature, vectors, 2 * solver.lanczos_steps)
            estimates.append((evidence, curvature.measured_modes(vectors, 60)))
        evidence, modes = self.by_hand(tiny, TRUE)
        evidences, measured = np.transpose(estimates)
        assert np.mean(evidences) == pytest.approx(evidence, abs=max(np.std(evidences), 0.5))
        assert np.mean(measured) == pytest.approx(modes, rel=0.1)

    def test_more_data_measure_more_modes(self):
        counts = [LogNormal(**CHEAP).solve(simulate(2, snr=snr)[0], rng=1).effective_modes for snr in (5, 50)]
        assert 1 < counts[0] < 0.7 * counts[1]
        assert counts[1] < 24 * 24


class TestRecovery:
    def test_its_own_prior_is_recovered(self):
        """Bright pixels within their error bars, hyper-parameters near the truth; over sources and noise."""
        within, far, thetas = [], [], []
        for seed in range(5):
            model, truth = simulate(100 + seed)
            posterior = LogNormal(n_draws=12, max_evaluations=10).solve(model, rng=seed)
            bright = posterior.mean > 0.1 * posterior.mean.max()
            z = (np.abs(posterior.mean - truth) / posterior.std)[bright]
            within.append(np.mean(z < 1))
            far.append(np.mean(z > 3))
            thetas.append((np.log(posterior.hyperparameters["std"]), posterior.hyperparameters["slope"]))
        # 0.68 less what the error of the hyper-parameters adds, which the error bars do not know of
        assert 0.5 < np.mean(within) < 0.78
        assert np.mean(far) < 0.1
        assert (np.abs(np.mean(thetas, axis=0) - TRUE) < (0.4, 0.6)).all()

    def test_error_bars_at_the_true_hyper_parameters(self):
        within = []
        for seed in range(5):
            model, truth = simulate(200 + seed)
            problem = FieldProblem(model, float(model.data.max()), None)
            field = problem.field(TRUE)
            mode = problem.mode(field)
            draws = lognormal._draws(problem, field, mode, 32, np.random.default_rng(seed))
            mean = mode.source * problem.scale
            bright = mean > 0.1 * mean.max()
            within.append(np.mean((np.abs(mean - truth) < draws.std(axis=0))[bright]))
        assert 0.58 < np.mean(within) < 0.78

    def test_fits_the_data(self, solved):
        model, truth, posterior, _ = solved
        used = np.count_nonzero(model.weights)
        assert model.chi2(posterior.mean) / (used - posterior.effective_modes) == pytest.approx(1, abs=0.15)
        error = np.sqrt(np.mean((posterior.mean - truth) ** 2)) / truth.max()
        assert error < 0.08

    def test_pixels_held_out_are_foretold(self, solved):
        """To their own noise and a bit; 57 of them scatter by 0.19."""
        assert 0.6 < solved[2].held_out_chi2 < 1.7

    def test_draws_scatter_as_the_error_bars_say(self, solved):
        posterior = solved[2]
        bright = posterior.mean > 0.1 * posterior.mean.max()
        deviations = (posterior.draws - posterior.mean)[:, bright] / posterior.std[bright]
        assert np.sqrt(np.mean(deviations**2)) == pytest.approx(1, abs=0.15)
        assert len(posterior.draws) == 16

    def test_pairs_of_draws_are_opposite(self, solved):
        posterior = solved[2]
        bright = posterior.mean > 0.3 * posterior.mean.max()
        one, other = ((posterior.draws[i::2] - posterior.mean)[:, bright].ravel() for i in (0, 1))
        assert np.corrcoef(one, other)[0, 1] < -0.5

    def test_draws_deviate_as_much_as_noise_allows(self, solved):
        """The data change by one for every mode that is measured, and by no skewness besides."""
        model, _, posterior, _ = solved
        changes = model.whiten(model.forward(posterior.draws - posterior.mean))
        rise = np.mean(np.sum(changes**2, axis=(1, 2)))
        assert rise == pytest.approx(posterior.effective_modes, rel=0.2)

    def test_draws_hold_the_light_that_the_data_show(self, solved):
        """The flux of the draws is that of the mode to its error; the exponential of Gaussians has more."""
        model, _, posterior, _ = solved
        draws = posterior.samples(64, 4)
        fluxes = model.forward(draws).sum(axis=(1, 2))
        seen = model.forward(posterior.mean).sum()
        noise = np.sqrt(np.sum(model.observation.sigma**2))
        assert abs(fluxes.mean() - seen) < 0.5 * min(fluxes.std(), noise)

    def test_draws_of_a_weakly_curved_problem_are_those_of_the_linear_one(self, solved):
        """Small deviations are not changed; the source of larger ones is bent by their square."""
        model, _, posterior, _ = solved
        problem = FieldProblem(model, float(model.data.max()), None)
        field = problem.field([np.log(posterior.hyperparameters["std"]), posterior.hyperparameters["slope"]])
        mode = problem.mode(field, tolerance=1e-4)
        curvature = problem.curvature(field, mode.slope)
        step = np.random.default_rng(0).standard_normal((1, *problem.shape)).astype(np.float32)
        solve = lognormal.partial(curvature.solve, least=1e-8, steps=100)
        changes = []
        for size in (0.02, 0.04):
            linear = mode.source * (1 + size * field.apply(step)[0])
            changes.append(np.std(lognormal._bent(problem, field, mode, solve, size * step)[0] - linear))
        assert changes[1] < 0.2 * np.std(0.04 * mode.source * field.apply(step)[0])
        assert 3 < changes[1] / changes[0] < 5

    def test_positive(self, solved):
        posterior = solved[2]
        assert (posterior.mean > 0).all()
        assert (posterior.draws > 0).all()

    def test_fresh_draws(self, solved):
        posterior = solved[2]
        fresh = posterior.samples(5, rng=3)
        assert fresh.shape == (5, *posterior.mean.shape)
        np.testing.assert_array_equal(posterior.samples(5, rng=3), fresh)
        assert not np.allclose(fresh, posterior.draws[:5])
        bright = posterior.mean > 0.1 * posterior.mean.max()
        deviations = (fresh - posterior.mean)[:, bright] / posterior.std[bright]
        assert np.sqrt(np.mean(deviations**2)) == pytest.approx(1, abs=0.35)

    def test_progress(self, solved):
        shares = [share for share, _ in solved[3]]
        assert shares == sorted(shares)
        assert shares[0] >= 0
        assert shares[-1] == 1
        assert len(shares) > 5
        assert all(isinstance(what, str) and what for _, what in solved[3])


class TestReproducible:
    def test_a_seed_gives_the_same_answer(self, solved):
        model, _, posterior, _ = solved
        again = LogNormal().solve(model, rng=5)
        for name in ("mean", "std", "draws"):
            np.testing.assert_array_equal(getattr(again, name), getattr(posterior, name))
        assert again.log_evidence == posterior.log_evidence
        assert again.held_out_chi2 == posterior.held_out_chi2

    def test_another_seed_gives_other_draws_of_the_same_posterior(self, solved):
        model, _, posterior, _ = solved
        other = LogNormal(n_draws=2).solve(model, rng=6)
        assert not np.array_equal(other.draws, posterior.draws[:2])
        np.testing.assert_array_equal(other.mean, posterior.mean)
        assert other.log_evidence == posterior.log_evidence
        assert other.held_out_chi2 != posterior.held_out_chi2

    def test_other_signs_change_little_between_two_lenses(self, solved, monkeypatch):
        """They change the evidence of each, but by the same."""
        model = solved[0]
        lens = LENS.replace(**{"SIE.theta_E": 0.605 * arcsec})
        models = model, ForwardModel(model.observation, lens, source_grid=model.source_grid)
        found = []
        for seed in (0, 1, 2):
            monkeypatch.setattr(lognormal, "_SIGNS", seed)
            found.append([LogNormal(**CHEAP).solve(each, rng=5).log_evidence for each in models])
        alone, between = np.ptp(found, axis=0)[0], np.ptp(np.diff(found, axis=1))
        assert between < 0.5 * alone

    @pytest.mark.parametrize("factor", [2.0**-66, 2.0**20])  # powers of two: nothing is rounded differently
    def test_unit_does_not_matter(self, solved, factor):
        model, _, _, _ = solved
        solver = LogNormal(**CHEAP)
        posterior = solver.solve(model, rng=5)
        scaled = make_model(model.data * factor, model.observation.sigma * factor, model.source_grid)
        found = solver.solve(scaled, rng=5)
        peak = posterior.mean.max()
        np.testing.assert_allclose(found.mean / factor, posterior.mean, rtol=0, atol=1e-9 * peak)
        np.testing.assert_allclose(found.std / factor, posterior.std, rtol=0, atol=1e-9 * peak)
        assert found.hyperparameters == pytest.approx(posterior.hyperparameters)
        # a density changes by the size of its unit
        expected = posterior.log_evidence - model.data.size * np.log(factor)
        assert found.log_evidence == pytest.approx(expected, abs=0.05)

    def test_solver_keeps_nothing(self, solved):
        solver = LogNormal(**CHEAP)
        before = dict(vars(solver))
        solver.solve(solved[0], rng=1)
        assert vars(solver) == before

    def test_model_is_not_changed(self, solved):
        model = solved[0]
        data, weights = model.data.copy(), model.weights.copy()
        LogNormal(**CHEAP).solve(model, rng=1)
        np.testing.assert_array_equal(model.data, data)
        np.testing.assert_array_equal(model.weights, weights)


def test_warns_if_it_did_not_converge(solved, monkeypatch):
    monkeypatch.setattr(FieldProblem, "find", one_step(FieldProblem.find))
    with pytest.warns(ConvergenceWarning, match="has not settled"):
        posterior = LogNormal(**CHEAP).solve(solved[0], rng=1)
    assert not posterior.converged


def one_step(find):
    def stopped(*args, **options):
        return find(*args, **options | {"max_newton": 1, "tolerance": 0})

    return stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turnover": 0}, "turnover must be positive"),
        ({"n_draws": 1}, "n_draws must be at least 2; got 1"),
        ({"n_draws": 7}, "n_draws must be even"),
        ({"max_evaluations": 2}, "max_evaluations must be at least 3"),
        ({"passes": -1}, "passes must be at least 0; got -1"),
        ({"n_probes": 0}, "n_probes"),
        ({"lanczos_steps": 1}, "lanczos_steps"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        LogNormal(**options)
