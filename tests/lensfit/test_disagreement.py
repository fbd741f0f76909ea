"""Two fits of the light of a galaxy that disagree."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from lenssuper import Observation
from lenssuper.lensfit.disagreement import with_disagreement
from lenssuper.lensfit.fit import FitImages

# By how much they do, in units of the first image of the errors
APART = 1.2


@dataclass(frozen=True)
class Fit:
    """What is used of a `LensFit`."""

    images: FitImages | None


@pytest.fixture
def scene(mock):
    """A galaxy, the image of its first error, and a fit."""
    observation = Observation.of(mock.observation)
    x, y = np.broadcast_arrays(*mock.grid.centers_arcsec())
    galaxy, arcs = 3 * np.exp(-np.hypot(x, y)), mock.noiseless
    exchange = arcs.max() * np.exp(-((np.hypot(x, y) - 1) ** 2))
    errors = np.stack([exchange, 0.1 * x])
    return galaxy, exchange, Fit(FitImages(observation, galaxy + arcs, arcs, arcs, mock.grid, galaxy, errors))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_share_of_the_difference_is_added_in_quadrature(scene, sign):
    galaxy, exchange, fit = scene
    found = with_disagreement(fit, galaxy + sign * APART * exchange).images
    np.testing.assert_allclose(found.light_errors[0], np.hypot(1, 0.3 * APART) * exchange)
    np.testing.assert_array_equal(found.light_errors[1:], fit.images.light_errors[1:])
    np.testing.assert_array_equal(found.foreground, galaxy)


def test_what_is_not_beneath_arcs_does_not_count(scene):
    galaxy, exchange, fit = scene
    arcs = fit.images.model - fit.images.foreground > 2 * fit.images.observation.sigma
    assert 20 < arcs.sum() < 0.9 * arcs.size
    beside = np.where(arcs, galaxy + APART * exchange, -50.0)
    beside[np.nonzero(arcs)[0][0], np.nonzero(arcs)[1][0]] = np.nan
    found = with_disagreement(fit, beside).images
    np.testing.assert_allclose(found.light_errors[0], np.hypot(1, 0.3 * APART) * exchange)


def test_a_difference_of_another_kind_does_not_count(scene):
    # what is not like the exchange of light with the source
    galaxy, exchange, fit = scene
    images = fit.images
    arcs = images.model - images.foreground > 2 * images.observation.sigma
    other = np.random.default_rng(1).standard_normal(galaxy.shape)
    scaled = images.observation.weights[arcs] * exchange[arcs]
    other -= exchange * (scaled @ other[arcs]) / (scaled @ exchange[arcs])
    np.testing.assert_allclose(with_disagreement(fit, galaxy + other).images.light_errors[0], exchange)


def test_without_errors_or_arcs_there_is_nothing_to_add_to(scene):
    galaxy, _, fit = scene
    bare = Fit(replace(fit.images, light_errors=None))
    assert with_disagreement(bare, galaxy) is bare
    dark = Fit(replace(fit.images, model=fit.images.foreground))
    assert with_disagreement(dark, galaxy) is dark
    assert with_disagreement(Fit(None), galaxy).images is None
