"""The result of a fit: draws, files, words and pictures."""

import json

import astropy.units as u
import numpy as np
import pytest

from lenssuper import LensFit, LensModel, PixelGrid, SuperResolver
from lenssuper.exceptions import FileFormatError
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
    source_grid = PixelGrid((30, 30), 0.04 * u.arcsec, center=[0.02, 0.1] * u.arcsec)
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
