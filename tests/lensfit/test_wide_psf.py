"""A PSF that is larger than the field does not make a fit slower: its far wings are cut."""

import numpy as np
import pytest

from lenssuper.forward.model import blur_of
from lenssuper.lensfit.camera import Camera
from lenssuper.lensfit.exposure import Exposure
from lenssuper.observation import Observation


def gaussian(side, sigma):
    y, x = np.mgrid[:side, :side] - side // 2
    psf = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return psf / psf.sum()


@pytest.mark.parametrize("oversampling", [1, 3])
def test_the_data_are_those_of_the_whole_psf(mock, oversampling):
    side = 90 * oversampling + 1
    observation = Observation.of(mock.observation).with_psf(
        gaussian(side, 1.3 * oversampling), oversampling=oversampling
    )
    exposure = Exposure.of(observation, None).within((0.0, 0.0), 1.2)
    rows, columns = (s.stop - s.start for s in exposure.cut)
    assert exposure.part.psf.shape == (2 * oversampling * (max(rows, columns) // 2) + 1,) * 2
    assert exposure.observation.psf.shape == (side, side)
    camera, whole = Camera(exposure, 2), blur_of(observation.masked(~exposure.field)[exposure.cut], 2)
    assert camera.image_grid.shape[0] < whole.in_shape[0] - 40
    images = np.random.default_rng(0).random((2, *camera.image_grid.shape)).astype(np.float32)
    margin = (whole.in_shape[0] - camera.image_grid.shape[0]) // 2
    wide = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    expected = (whole.forward(wide) * np.sqrt(exposure.pixel_weights))[:, exposure.field[exposure.cut]]
    np.testing.assert_allclose(camera.observe(images), expected.T, rtol=2e-5)


def test_one_that_is_smaller_is_whole(mock):
    exposure = Exposure.of(Observation.of(mock.observation), None)
    assert exposure.part.psf.shape == mock.observation.psf.shape
    assert Exposure.of(exposure.observation.with_psf(np.ones((1, 1))), None).part.psf.shape == (1, 1)
