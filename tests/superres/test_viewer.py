"""What the interactive page is given: images, rays and curves, each as the result has it."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from lenssuper import ForwardModel, Observation, SuperResolution
from lenssuper.cli import main
from lenssuper.plotting.pages.encoding import HIDDEN
from lenssuper.simulate import random_mock
from lenssuper.solvers import Posterior
from lenssuper.superres.figure import shared_norm
from lenssuper.superres.viewer import viewer_of


@pytest.fixture(scope="module")
def result():
    mock = random_mock(2, shape=(20, 24), factor=2)
    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    hidden = np.zeros(observation.shape, dtype=bool)
    hidden[:3, :4] = True
    model = ForwardModel(observation.masked(hidden), mock.lens, factor=2)
    mean = mock.source_image(model.source_grid)
    draws = mean + 0.1 * mean.max() * np.random.default_rng(3).standard_normal((8, *mean.shape))
    return SuperResolution.from_posterior(model, Posterior(mean=mean, std=draws.std(axis=0), draws=draws))


@pytest.fixture(scope="module")
def viewer(result):
    return json.loads(json.dumps(viewer_of(result)))


def levels(address):
    kind, _, content = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))[::-1]


def test_images_are_those_of_the_result(result, viewer):
    norm = shared_norm(result)
    for name, image in (("data", result.observation.data), ("resolved", result.lensed_image)):
        shown, mask = levels(viewer["image"][name]), result.observation.mask
        expected = np.clip(norm(image).filled(0), 0, 1) * (HIDDEN - 1)
        seen = np.ones(image.shape, dtype=bool) if name == "resolved" else ~mask
        assert np.abs(shown - expected)[seen].max() <= 0.5
        assert (shown[~seen] == HIDDEN).all()
    assert levels(viewer["source"]["source"]).shape == result.source_grid.shape


def test_rays_are_those_of_the_lens(result, viewer):
    rays = viewer["rays"]
    shape = (rays["ny"], rays["nx"])
    found = [
        np.frombuffer(base64.b64decode(rays[name]), "<i2").reshape(shape) / rays["steps"]
        for name in ("column", "row")
    ]
    ny, nx = result.fine_grid.shape
    corners = np.meshgrid(np.linspace(-0.5, nx - 0.5, shape[1]), np.linspace(-0.5, ny - 0.5, shape[0]))
    beta = result.source_grid.to_pixel(*result.lens.rays_arcsec(*result.fine_grid.to_offset(*corners)))
    np.testing.assert_allclose(found, beta, atol=0.51 / rays["steps"])


def test_grids_lead_to_offsets(result, viewer):
    grid = viewer["imageGrid"]
    assert (grid["ny"], grid["nx"]) == result.fine_grid.shape
    expected = result.fine_grid.to_offset(5.0, 7.0)
    np.testing.assert_allclose(np.array(grid["origin"]) + np.array(grid["matrix"]) @ [5.0, 7.0], expected)


def test_a_result_without_errors_has_no_map_of_them(result):
    nothing = np.full(result.source_grid.shape, np.nan)
    posterior = Posterior(mean=result.posterior.mean, std=nothing, draws=result.posterior.draws[:0])
    model = ForwardModel(result.observation, result.lens, factor=2, source_grid=result.source_grid)
    assert set(viewer_of(SuperResolution.from_posterior(model, posterior))["source"]) == {"source"}


def test_view_without_a_name_opens_the_browser(result, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    page = result.view()
    assert opened == [page.as_uri()]
    assert 'src="http' not in page.read_text(encoding="utf-8")


def test_command(result, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result.write("ring.fits")
    assert main(["view", "ring.fits"]) == 0
    assert "ring_view.html" in capsys.readouterr().out
    text = (tmp_path / "ring_view.html").read_text(encoding="utf-8")
    assert "super-resolved" in text
    assert main(["view", "ring.fits"]) == 1  # there already
    assert "--overwrite" in capsys.readouterr().err
    assert main(["view", "ring.fits", "--overwrite", "--quiet"]) == 0
    assert main(["view", "nothing.fits"]) == 1
