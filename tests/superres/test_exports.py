"""Results in other codes: the same lens and the same source there."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest

from lenssuper import LensModel, Observation, PixelGrid, SuperResolver
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian


@pytest.fixture(scope="module")
def mock():
    return random_mock(3, shape=(20, 26))


@pytest.fixture(scope="module")
def result(mock):
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, 20)
    solver = Gaussian(n_draws=2)
    return SuperResolver(mock.lens, solver=solver, source_grid=grid, rng=1, progress=False)(mock.observation)


@pytest.mark.parametrize("rotation", [0, 25] * u.deg)
def test_lenstronomy_shows_the_same_source_and_lens(mock, rotation):
    light = pytest.importorskip("lenstronomy.LightModel.light_model")
    model = pytest.importorskip("lenstronomy.LensModel.lens_model")
    grid = PixelGrid((18, 22), 0.05 * u.arcsec, rotation=rotation, reference=mock.grid.reference)
    resolver = SuperResolver(
        mock.lens, solver=Gaussian(n_draws=2), source_grid=grid, rng=1, progress=False, order=0
    )
    result = resolver(mock.observation)
    given = result.to_lenstronomy()
    source = light.LightModel(given["source_light_model_list"])
    # inside: at its border lenstronomy's interpolation is dark
    x, y = (values[1:-1, 1:-1] for values in grid.centers_arcsec())
    found = source.surface_brightness(x.ravel(), y.ravel(), given["kwargs_source"]).reshape(x.shape)
    np.testing.assert_allclose(found, result.source.data[1:-1, 1:-1], atol=1e-6 * np.abs(found).max())
    theirs = model.LensModel(given["lens_model_list"]).alpha(0.7, -0.4, given["kwargs_lens"])
    ours = mock.lens.deflection(0.7 * u.arcsec, -0.4 * u.arcsec)
    np.testing.assert_allclose(theirs, u.Quantity(ours).to_value(u.arcsec), atol=1e-9)


def test_the_coolest_library_loads_lens_and_source(result, tmp_path):
    json_module = pytest.importorskip("coolest.template.json")
    result.write_coolest(tmp_path / "lens.json", z_lens=0.5, z_source=1.5)
    loader = json_module.JSONSerializer(str(tmp_path / "lens"), check_external_files=False)
    loaded = loader.load(skip_jsonpickle=True, verbose=False)
    *_, galaxy = loaded.lensing_entities
    assert (galaxy.name, galaxy.redshift) == ("source", 1.5)
    pixels = galaxy.light_model[0].parameters["pixels"]
    ny, nx = result.posterior.mean.shape
    np.testing.assert_array_equal(pixels.get_pixels()[:ny, :nx], result.posterior.mean)
    side = result.source_grid.side_arcsec
    x, y = (values.min() - side / 2 for values in result.source_grid.centers_arcsec())
    assert pixels.field_of_view_x[0] == pytest.approx(x)
    assert pixels.field_of_view_y[0] == pytest.approx(y)
    assert np.diff(pixels.field_of_view_x) == pytest.approx(side * pixels.num_pix_x)
    again = LensModel.read(tmp_path / "lens.json")
    here = 0.7 * u.arcsec, -0.4 * u.arcsec
    assert u.allclose(again.deflection(*here), result.lens.deflection(*here), atol=1e-9 * u.arcsec)


def test_nothing_is_overwritten_unasked(result, tmp_path):
    (tmp_path / "lens_source.fits").write_text("mine")
    with pytest.raises(FileExistsError, match=r"lens_source\.fits"):
        result.write_coolest(tmp_path / "lens.json")
    assert not (tmp_path / "lens.json").exists()
    result.write_coolest(tmp_path / "lens.json", overwrite=True)
    with pytest.raises(ValueError, match=r"must end in \.json"):
        result.write_coolest(tmp_path / "lens.txt")


def test_a_rotated_source_grid_cannot_be_written(mock, tmp_path):
    grid = PixelGrid((18, 22), 0.05 * u.arcsec, rotation=20 * u.deg, reference=mock.grid.reference)
    resolver = SuperResolver(mock.lens, solver=Gaussian(n_draws=2), source_grid=grid, rng=1, progress=False)
    result = resolver(mock.observation)
    with pytest.raises(ValueError, match="source_grid must not be rotated"):
        result.write_coolest(tmp_path / "lens.json")
    assert not list(tmp_path.iterdir())
