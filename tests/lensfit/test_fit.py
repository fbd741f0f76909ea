"""The result of a fit: draws, files, words and pictures."""

import json
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest

from lenssuper import ForwardModel, LensFit, LensModel, PixelGrid, SuperResolver, Systematics
from lenssuper.exceptions import FileFormatError
from lenssuper.forward.judgement import Verdict
from lenssuper.lensfit.judgement import judged
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.solvers import Gaussian


def test_draws_scatter_as_the_errors_say(fit):
    draws = fit.samples(400, rng=2)
    values = np.array([[lens.values()[name] for name in fit.names] for lens in draws])
    sigmas = [getattr(fit.errors[name], "value", fit.errors[name]) for name in fit.names]
    np.testing.assert_allclose(values.std(axis=0), sigmas, rtol=0.2)
    best = [fit.lens.values()[name] for name in fit.names]
    assert np.all(np.abs(values.mean(axis=0) - best) < 0.3 * np.array(sigmas))
    assert all(lens.parameters["ExternalShear.x"] == 0 * u.arcsec for lens in draws[:3])


def test_file_is_a_lens_and_a_fit(fit, tmp_path):
    path = tmp_path / "fit.json"
    fit.write(path)
    assert LensModel.read(path) == fit.lens
    again = LensFit.read(path)
    assert again.lens == fit.lens
    for name in fit.lens.parameters:
        assert again.errors[name] == fit.errors[name]
    for name in ("log_evidence", "chi2", "reduced_chi2", "n_pixels", "converged", "messages", "names"):
        assert getattr(again, name) == getattr(fit, name)
    assert again.samples(2, rng=1) == fit.samples(2, rng=1)
    with pytest.raises(FileExistsError):
        fit.write(path)
    with pytest.raises(ValueError, match="holds no images"):
        again.plot()


def test_file_holds_the_verdict(fit, tmp_path):
    assert fit.verdict == "trusted", fit.reasons
    odd = replace(fit, judgement=Verdict("look", ("odd",), {"a": 1.0}), optima=((fit.lens, -3.5),))
    odd.write(tmp_path / "fit.json")
    again = LensFit.read(tmp_path / "fit.json")
    assert (again.verdict, again.reasons, dict(again.measures)) == ("look", ("odd",), {"a": 1.0})
    assert again.optima == odd.optima
    content = json.loads((tmp_path / "fit.json").read_text())
    assert content["fit"]["verdict"] == "look"
    for name in ("verdict", "reasons", "measures", "optima"):  # as earlier versions wrote it
        del content["fit"][name]
    (tmp_path / "fit.json").write_text(json.dumps(content))
    old = LensFit.read(tmp_path / "fit.json")
    assert (old.verdict, old.reasons, dict(old.measures), old.optima) == (None, (), {}, ())
    assert "verdict" not in old.summary()


def test_fit_at_the_end_of_its_range_is_said(fit):
    parameters = FreeParameters(fit.lens, free=fit.names)
    flat = replace(fit, lens=fit.lens.replace(**{"SIE.q": 0.111112}))
    measures = judged(flat, parameters).measures
    assert measures["at_bounds"] > 0
    assert measures["prior_pull"] == pytest.approx(0.8 * np.max(np.abs(direction(flat))) / 0.35, rel=0.01)
    assert fit.measures["at_bounds"] == 0
    assert "a parameter" not in " ".join(fit.reasons)


def direction(fit):
    phi = 2 * fit.lens.values()["SIE.phi"]
    return np.array([np.cos(phi), np.sin(phi)])


def test_radius_unlike_the_one_given_is_said(fit):
    guess = fit.lens.replace(**{"SIE.theta_E": 0.5 * fit.lens.parameters["SIE.theta_E"]})
    again = judged(fit, FreeParameters(guess, free=fit.names))
    assert again.measures["radius_above"] == pytest.approx(2)
    assert any("2.00 times the one given" in reason for reason in again.reasons)


def test_runner_up_is_said(fit):
    other = fit.lens.replace(**{"SIE.theta_E": 0.7 * u.arcsec})
    parameters = FreeParameters(fit.lens, free=fit.names)
    close = judged(replace(fit, optima=((fit.lens, 10.0), (other, 8.5))), parameters)
    assert close.verdict == "look"
    assert close.measures["runner_up"] == 1.5
    assert any("theta_E = 0.700" in reason for reason in close.reasons)
    far = judged(replace(fit, optima=((fit.lens, 10.0), (other, -8.5))), parameters)
    assert far.verdict == "trusted"


def test_light_that_was_judged_counts(fit):
    meta = {**fit.images.observation.meta, **Verdict("look", ("odd light",)).cards()}
    images = replace(fit.images, observation=replace(fit.images.observation, meta=meta))
    found = judged(replace(fit, images=images), FreeParameters(fit.lens, free=fit.names))
    assert (found.verdict, found.reasons) == ("look", ("lens light: odd light",))


def test_other_files_are_refused(fit, tmp_path):
    path = tmp_path / "lens.json"
    fit.lens.write(path)
    with pytest.raises(FileFormatError, match="holds a lens, but no fit"):
        LensFit.read(path)
    fit.write(path, overwrite=True)
    content = json.loads(path.read_text())
    content["fit"]["vector_covariance"] = [[1.0]]
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match="not of the parameters"):
        LensFit.read(path)


def test_images_agree_with_the_numbers(fit):
    assert np.nansum(fit.residuals**2) == pytest.approx(fit.chi2)
    observation = fit.observation
    expected = (observation.data - fit.model.data) / observation.sigma
    np.testing.assert_allclose(fit.residuals, expected)
    assert fit.source.data.shape == fit.source_grid.shape
    assert fit.source.data.max() > 0


@pytest.fixture(scope="module")
def resolver(fit):
    source_grid = PixelGrid((24, 24), 0.05 * u.arcsec, center=[0.02, 0.1] * u.arcsec)
    return SuperResolver(fit.lens, solver=Gaussian(n_draws=8), source_grid=source_grid, rng=1)


@pytest.fixture(scope="module")
def resolved(resolver, fit):
    return resolver(fit.observation)


def test_lens_explains_the_data_in_the_forward_model_too(fit, resolved):
    assert resolved.reduced_chi2 == pytest.approx(fit.reduced_chi2, abs=0.12)


def test_errors_of_the_lens_widen_those_of_the_image(fit, resolver, resolved):
    alone = resolved
    both = fit.propagate(fit.observation, resolver, n=3, rng=1)
    np.testing.assert_array_equal(both.image.data, alone.image.data)
    assert np.all(both.image.uncertainty.array >= alone.image.uncertainty.array)
    assert np.mean(both.image.uncertainty.array) > 1.003 * np.mean(alone.image.uncertainty.array)
    assert both.source.data.shape == alone.source.data.shape
    assert any("error of the lens" in message for message in both.messages)
    with pytest.raises(TypeError, match="resolver must be a SuperResolver"):
        fit.propagate(fit.observation, fit.lens)
    with pytest.raises(ValueError, match="n must be"):
        fit.propagate(fit.observation, resolver, n=1)


def test_principal_lenses_have_the_covariance(fit):
    """Outer products of steps along principal axes add up to the covariance."""

    def vector(lens):
        return FreeParameters(lens, free=fit.names).start

    steps = [(vector(plus) - vector(minus)) / 2 for plus, minus in fit.principal_lenses()]
    found = sum(np.outer(step, step) for step in steps)
    scale = np.sqrt(np.diag(fit.vector_covariance))
    np.testing.assert_allclose(
        found / np.outer(scale, scale), fit.vector_covariance / np.outer(scale, scale), atol=1e-3
    )


def test_budget_has_the_scatter_of_full_solutions(fit, resolver, resolved):
    """Linear responses beside the super-resolutions of lenses drawn from the fit."""
    given = {"solver": resolver.solver, "source_grid": resolver.source_grid, "rng": 1, "progress": False}
    result = SuperResolver(fit.lens, systematics=Systematics(lens=fit), **given)(fit.observation)
    assert result.budget.parts == ("noise", "prior of the source", "lens")
    np.testing.assert_allclose(result.budget.covariance, np.eye(len(fit.names)))  # what a fit says is final
    models = [
        ForwardModel(fit.observation, lens, factor=2, source_grid=resolver.source_grid)
        for lens in fit.samples(12, rng=3)
    ]
    images = [model.lensed_image(resolver.solver.solve(model, rng=1).mean) for model in models]
    bright = result.budget.bright[1]
    expected = np.sqrt(np.mean(np.var(images, axis=0, ddof=1)[bright]))
    found = np.sqrt(np.mean(result.budget.variances["lens"][1][bright]))
    assert found == pytest.approx(expected, rel=0.3)  # 12 draws know it to a fifth


def test_words_and_picture(fit):
    text = fit.summary()
    for name in fit.names:
        assert name in text
    assert "(fixed)" in text
    assert "reduced_chi2" in repr(fit)
    figure = fit.plot()
    titles = [ax.get_title() for ax in figure.axes]
    assert "Source and caustics" in titles
    assert "Residual" in titles
