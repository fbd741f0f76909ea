"""Fits that cannot be right say so, and no reduced chi-square is negative."""

from __future__ import annotations

import numpy as np
import pytest

from lenssuper import ForwardModel, SuperResolution
from lenssuper.exceptions import LensSuperWarning
from lenssuper.simulate import random_mock
from lenssuper.solvers import Posterior
from lenssuper.superres.doubts import doubts_about


def result_of(modes, hot=0.0):
    mock = random_mock(3, shape=(16, 18))
    image = mock.observation
    model = ForwardModel(image, mock.lens)
    mean = np.abs(model.lensing.delens(model.blur.adjoint(model.data)))
    image.data[5, 9] += hot
    model = ForwardModel(image, mock.lens)
    return SuperResolution.from_posterior(model, Posterior(mean, mean, mean[None], effective_modes=modes))


def test_hot_pixel_is_named():
    with pytest.warns(LensSuperWarning, match="in 1 of 288 pixels, .* in column 9, row 5"):
        result = result_of(20.0, hot=1e4)
    assert "hot or saturated" in result.messages[0]
    assert result.reduced_chi2 > 1000


@pytest.mark.parametrize("modes", [288.0, 300.0])
def test_without_degrees_of_freedom_there_is_no_reduced_chi2(modes):
    with pytest.warns(LensSuperWarning, match="not below the number of pixels used, 288"):
        result = result_of(modes)
    assert np.isnan(result.reduced_chi2)
    assert result.chi2 > 0


def test_good_fits_and_pixels_that_are_not_used_raise_no_doubt():
    assert doubts_about(np.array([[np.nan, 3.0], [-4.0, 1.0]]), 2.5) == []
    assert doubts_about(np.array([[np.nan, 3.0], [-4.0, 1.0]]), np.nan) == []
