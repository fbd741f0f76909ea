"""A super-resolution beside interpolation and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lenssuper import ForwardModel, Observation, SuperResolution
from lenssuper.simulate import random_mock
from lenssuper.solvers import Posterior
from lenssuper.superres.comparison import Truth, plot_comparison
from lenssuper.superres.figure import plot_result
from lenssuper.superres.interpolation import interpolated


@pytest.fixture(scope="module")
def mock():
    return random_mock(2, shape=(20, 24), factor=2)


@pytest.fixture(scope="module")
def result(mock):
    """The truth itself, with draws around it, as a solver might find it."""
    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    hidden = np.zeros(observation.shape, dtype=bool)
    hidden[:3, :4] = True
    model = ForwardModel(observation.masked(hidden), mock.lens, factor=2)
    mean = mock.source_image(model.source_grid)
    draws = mean + 0.1 * mean.max() * np.random.default_rng(3).standard_normal((8, *mean.shape))
    return SuperResolution.from_posterior(model, Posterior(mean=mean, std=draws.std(axis=0), draws=draws))


def slope(mock, factor, mask=None):
    """An observation of a tilted plane, and the plane on pixels finer by a factor."""
    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    x, y = observation.grid.centers_arcsec()
    fine_x, fine_y = observation.grid.refine(factor).centers_arcsec()
    observation = observation.with_data(2 * x - y)
    return observation if mask is None else observation.masked(mask), 2 * fine_x - fine_y


def test_interpolation_is_aligned(mock):
    """The competitor is not handicapped: a slope comes out as a slope at the fine pixels."""
    observation, plane = slope(mock, 3)
    inside = (slice(12, -12), slice(12, -12))
    np.testing.assert_allclose(interpolated(observation, 3)[inside], plane[inside], atol=5e-3)


def test_interpolation_does_not_see_what_is_masked(mock):
    mask = np.zeros((20, 24), dtype=bool)
    mask[8:11, 9:12] = True
    observation, plane = slope(mock, 2, mask)
    far_off = observation.with_data(np.where(mask, 1e6, observation.data))
    found = interpolated(far_off, 2)
    np.testing.assert_array_equal(found, interpolated(observation, 2))
    assert np.abs(found - plane)[16:22, 18:24].max() < 0.5  # of a slope of 0.2 a pixel


def titles_and_images(figure):
    return {ax.get_title(): ax for ax in figure.axes if ax.get_title()}


def test_the_figure_shows_the_truth_and_the_interpolation(mock, result):
    truth = Truth(mock.image(2), mock.source_image(result.source_grid))
    axes = titles_and_images(plot_comparison(result, truth))
    shown = {title: np.ma.getdata(ax.images[0].get_array()) for title, ax in axes.items()}
    np.testing.assert_array_equal(shown["Truth"], truth.image)
    np.testing.assert_array_equal(shown["True source"], truth.source)
    np.testing.assert_array_equal(shown["Super-resolved"], result.image.data)
    cubic = axes["Cubic interpolation"].images[0].get_array()
    seen = ~np.ma.getmaskarray(cubic)
    np.testing.assert_array_equal(cubic[seen], interpolated(result.observation, 2)[seen])
    assert not seen[:6, :8].any()
    assert seen[6:, 8:].all()
    # one colour scale for all that is surface brightness
    norms = [axes[title].images[0].norm for title in ("Data", "Cubic interpolation", "Truth", "True source")]
    assert all((norm.vmin, norm.vmax) == (norms[0].vmin, norms[0].vmax) for norm in norms)


def test_without_a_truth_there_is_none_in_the_figure(result):
    axes = titles_and_images(plot_comparison(result))
    assert set(axes) == {
        "Data",
        "Cubic interpolation",
        "Super-resolved",
        "Residual",
        "Source",
        "Uncertainty of the source (smoothed)",
    }


@pytest.mark.parametrize("draw", [plot_result, plot_comparison])
def test_panels_of_the_source_have_labels_of_their_own(draw, result):
    """Their axes are not those of the image beside them."""
    axes = titles_and_images(draw(result))
    for title, ax in axes.items():
        if "ource" in title:
            assert "arcsec" in ax.get_ylabel()


def test_the_uncertainty_is_smoothed_in_variance(result):
    """The mean variance stays, speckle goes; the numbers of the result are those of the draws."""
    ax = titles_and_images(plot_result(result))["Uncertainty of the source (smoothed)"]
    shown, std = np.ma.getdata(ax.images[0].get_array()), result.posterior.std
    inner = (slice(8, -8), slice(8, -8))
    assert np.mean(shown[inner] ** 2) == pytest.approx(np.mean(std[inner] ** 2), rel=0.02)
    assert np.std(shown[inner] ** 2) < 0.4 * np.std(std[inner] ** 2)


@pytest.mark.parametrize("with_truth", [False, True])
def test_labels_do_not_collide(mock, result, with_truth):
    truth = Truth(mock.image(2), mock.source_image(result.source_grid)) if with_truth else None
    figure = plot_comparison(result, truth)
    FigureCanvasAgg(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in titles_and_images(figure).values()]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
