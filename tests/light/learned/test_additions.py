"""Components for an observation: where they lie on the sky, what the network sees, and what is refused."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.nddata import NDData, StdDevUncertainty

from lenssuper import Observation, PixelGrid
from lenssuper._utils.weightfile import write_weights
from lenssuper.exceptions import FileFormatError, ObservationError
from lenssuper.light.learned import additions
from lenssuper.light.learned.actions import shapes_of
from lenssuper.light.learned.additions import add_components, load_network
from lenssuper.light.learned.frame import Frame, sky_level
from lenssuper.light.learned.network import PolicyNetwork, SersicNetwork
from lenssuper.light.learned.torchsersic import render_shapes
from lenssuper.light.sersic.profile import sersic_averages

# Two Sersics, of which one is far from the middle, flat and turned.
ACTIONS = torch.tensor([[0.1, -0.2, 0.3, 0.0, 0.5, 0.4, 0.4], [-0.4, 0.5, 0.1, -0.5, -0.6, 0.3, 0.0]])


class Known(torch.nn.Module):
    """A network that answers with the two, in turn."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, residual, model):
        self.asked.append((residual, model))
        return ACTIONS[(len(self.asked) - 1) % 2][None]


@pytest.fixture
def known(monkeypatch):
    network = Known()
    monkeypatch.setattr(additions, "load_network", lambda method, weights: network)
    return network


def observe(data, grid=None, mask=None, **options):
    psf = options.pop("psf", None)
    uncertainty = StdDevUncertainty(np.full(np.shape(data), 0.01))
    nddata = NDData(np.array(data), uncertainty=uncertainty, mask=mask, psf=psf)
    grid = grid or PixelGrid(np.shape(data), 0.05 * u.arcsec)
    return Observation.from_nddata(nddata, grid=grid, **options)


def picture():
    return render_shapes(shapes_of(ACTIONS), (64, 64)).sum(0).double().numpy()


def drawn(parameters, grid):
    return sum(p[6] * sersic_averages(grid.matrix, grid.origin, grid.shape, p[:6]) for p in parameters)


def grids(shape):
    upright = PixelGrid(shape, 0.05 * u.arcsec, center=(3, -2) * u.arcsec)
    turned = PixelGrid(shape, 0.05 * u.arcsec, rotation=37 * u.deg)
    flipped = PixelGrid.from_affine(shape, turned.matrix @ np.diag([-1.0, 1.0]), [0.4, 0.1])
    oblong = PixelGrid(shape, (0.05, 0.08) * u.arcsec, rotation=-20 * u.deg)
    return {"upright": upright, "turned": turned, "turned and flipped": flipped, "oblong": oblong}


@pytest.mark.parametrize("kind", ["upright", "turned", "turned and flipped", "oblong"])
def test_components_lie_on_the_image_whatever_the_orientation(known, kind):
    grid = grids((64, 64))[kind]
    image = picture()
    data = 5 + 20 * image
    parameters = add_components(observe(data, grid), 2)
    assert len(parameters) == 2
    assert all(p.shape == (7,) and 0 < p[4] <= 1 for p in parameters)
    scale = Frame.of(data).scale
    np.testing.assert_allclose(drawn(parameters, grid), scale * image, atol=2e-3 * scale)


@pytest.mark.parametrize("shape", [(128, 128), (128, 96), (40, 32), (57, 101)])
def test_components_lie_on_images_of_any_shape(known, shape):
    # The image is the middle of a square; what the network sees is of that square.
    side, grid = max(shape), PixelGrid(shape, 0.1 * u.arcsec)
    square = render_shapes(shapes_of(ACTIONS), (side, side)).sum(0).double().numpy()
    top, left = ((side - n) // 2 for n in shape)
    image = square[top : top + shape[0], left : left + shape[1]]
    parameters = add_components(observe(1 + image, grid), 2)
    assert len(parameters) == 2
    scale = Frame.of(1 + image).scale
    np.testing.assert_allclose(drawn(parameters, grid), scale * image, atol=3e-3 * image.max())


def test_the_network_sees_what_is_left(known):
    data = 3 + 10 * picture()
    add_components(observe(data), 2)
    frame = Frame.of(data)
    (first, empty), (second, model) = known.asked
    np.testing.assert_allclose(first[0], frame.image, atol=1e-6)
    assert not empty.any()
    torch.testing.assert_close(model[0], render_shapes(shapes_of(ACTIONS[0]), (64, 64)))
    torch.testing.assert_close(second, first - model)


def test_none_is_added_that_makes_it_worse(known):
    # The third answer is the first again, which is gone from the image by then.
    data = picture()
    scale = Frame.of(data).scale
    assert len(add_components(observe(data / scale), 6)) == 2


def test_the_size_of_the_psf_is_taken_off(known):
    y, x = np.mgrid[-15:16, -15:16]
    psf = np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    psf /= psf.sum()
    data = picture()
    plain = add_components(observe(data), 2)
    sharp = add_components(observe(data, psf=psf, psf_includes_pixel=False), 2)
    for before, after in zip(plain, sharp, strict=True):
        major = np.array([before[2] ** 2 / before[4], after[2] ** 2 / after[4]]) / 0.05**2
        assert major[0] - major[1] == pytest.approx(2 * np.log(2) * 9, rel=0.05)
        # the same flux: amplitude times area
        assert after[6] * after[2] ** 2 == pytest.approx(before[6] * before[2] ** 2)
        np.testing.assert_allclose(after[[0, 1, 3, 5]], before[[0, 1, 3, 5]])
    twice = add_components(observe(data, psf=psf, psf_oversampling=2, psf_includes_pixel=False), 1)[0]
    assert twice[2] > sharp[0][2]


class TestFrame:
    def test_sky_and_scale_are_taken_off(self):
        image = picture()
        frame = Frame.of(7 + 3 * image)
        other = Frame.of(image)
        np.testing.assert_allclose(frame.image, other.image, atol=1e-5)
        assert frame.sky == pytest.approx(7 + 3 * other.sky)
        assert frame.scale == pytest.approx(3 * other.scale)
        assert frame.image.dtype == np.float32

    def test_averages_are_over_areas(self):
        fine = np.random.default_rng(0).normal(size=(192, 192)) + np.pad(np.full((64, 64), 20.0), 64)
        frame = Frame.of(fine)
        coarse = fine.reshape(64, 3, 64, 3).mean((1, 3))
        np.testing.assert_allclose(frame.image * frame.scale + frame.sky, coarse, atol=1e-4)

    def test_light_is_kept_when_pixels_do_not_fit(self):
        image = np.pad(np.random.default_rng(1).uniform(1, 2, size=(30, 50)), 10)
        frame = Frame.of(image)
        assert frame.image.sum() * frame.scale * (70 / 64) ** 2 == pytest.approx(image.sum(), rel=1e-5)

    def test_masked_and_bad_pixels_are_filled_from_their_neighbours(self):
        data = 1 + 10 * picture()
        plain = Frame.of(data)
        mask = np.zeros(data.shape, bool)
        mask[20:24, 30:33] = True
        spoilt = np.where(mask, 1e8, data)
        spoilt[40, 40] = np.nan
        frame = Frame.of(spoilt, mask)
        np.testing.assert_allclose(frame.image, plain.image, atol=0.06)

    def test_beside_a_narrow_image_there_is_nothing(self):
        frame = Frame.of(1 + 10 * picture()[:, 16:48])
        assert not frame.image[:, :16].any()
        assert not frame.image[:, 48:].any()

    def test_negative_images_and_noise_are_no_trouble(self):
        rng = np.random.default_rng(3)
        frame = Frame.of(-50 + 10 * picture() + rng.normal(size=(64, 64)))
        assert frame.sky == pytest.approx(-50, abs=0.5)

    def test_the_sky_is_not_fooled_by_a_galaxy_on_the_edge(self):
        data = np.full((60, 60), 4.0)
        data[:30] += 10
        assert sky_level(data) == 4.0

    @pytest.mark.parametrize(
        ("data", "mask", "words"),
        [
            (np.ones((20, 20)), None, "no light above its sky"),
            (np.zeros((20, 20)), None, "no light above its sky"),
            (np.full((20, 20), np.nan), None, "no pixel of the image can be used"),
            (picture(), np.ones((64, 64), bool), "no pixel of the image can be used"),
            (np.ones(20), None, r"two-dimensional; got shape \(20,\)"),
        ],
    )
    def test_images_without_a_galaxy_are_refused(self, data, mask, words):
        with pytest.raises(ObservationError, match=words):
            Frame.of(data, mask)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((0,), ValueError, "n_components must be at least 1; got 0"),
        ((1.5,), TypeError, r"n_components must be an integer; got 1\.5"),
        ((True,), TypeError, "n_components must be an integer; got True"),
        ((1, "magic"), ValueError, "method must be one of 'cnn', 'ppo'; got 'magic'"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        add_components(observe(picture()), *arguments)


def test_weights_of_the_other_method_are_refused(tmp_path):
    path = tmp_path / "w"
    write_weights(path, SersicNetwork().state_dict(), {"architecture": "cnn-1"})
    assert isinstance(load_network("cnn", path), SersicNetwork)
    with pytest.raises(FileFormatError, match="for 'cnn-1', not for the method 'ppo'"):
        load_network("ppo", path)
    network = PolicyNetwork(5)
    metadata = {"architecture": network.architecture, "bins": 5}
    write_weights(path, network.state_dict(), metadata, overwrite=True)
    assert load_network("ppo", path).bins == 5
    with pytest.raises(FileFormatError, match="not for the method 'cnn'"):
        load_network("cnn", path)
    write_weights(path, network.state_dict(), {**metadata, "bins": -1}, overwrite=True)
    with pytest.raises(FileFormatError, match="-1 bins"):
        load_network("ppo", path)
    with pytest.raises(FileNotFoundError):
        load_network("cnn", tmp_path / "missing")
