"""The figure of a fit to a galaxy: images, profile and numbers are those of the fit."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lenssuper import Observation, PixelGrid
from lenssuper.light.figure import plot_light_fit
from lenssuper.light.fit import SersicFit
from lenssuper.simulate import Instrument, SersicSource, mock_galaxy

SKY = 0.02
PARAMETERS = [[0.1, 0.05, 0.6, 1.0, 0.7, 0.7, 1.0], [0.1, 0.05, 0.15, 2.0, 0.9, 0.7, 4.0]]


def make_fit(grid=None, covariance=None):
    sources = [
        SersicSource(
            R_e * u.arcsec, n, q=q, phi=phi * u.rad, x=x * u.arcsec, y=y * u.arcsec, amplitude=amplitude
        )
        for x, y, R_e, n, q, phi, amplitude in PARAMETERS
    ]
    instrument = Instrument.gaussian(0.1 * u.arcsec, 0.2 * u.arcsec)
    image = mock_galaxy(sources[0] + sources[1], instrument, shape=(40, 44), rng=1)
    image.data += SKY
    image.mask[3:6, 5:9] = True
    if grid is not None:
        image.wcs = None
    observation = Observation.from_nddata(image, grid=grid)
    return SersicFit.from_parameters(observation, PARAMETERS, SKY, covariance)


@pytest.fixture(scope="module")
def fit():
    return make_fit(covariance=1e-4 * np.eye(15))


@pytest.fixture(scope="module")
def figure(fit):
    figure = fit.plot()
    FigureCanvasAgg(figure).draw()
    return figure


def axes_of(figure):
    return {ax.get_title(): ax for ax in figure.axes if ax.get_title()}


def array_of(ax):
    return ax.images[0].get_array()


def test_images_are_those_of_the_fit(figure, fit):
    ax = axes_of(figure)
    assert list(ax) == ["Data less sky", "Model", "Residual", "Profile"]
    observation = fit.observation
    used = ~observation.mask
    assert np.array_equal(np.ma.getmaskarray(array_of(ax["Data less sky"])), observation.mask)
    np.testing.assert_allclose(array_of(ax["Data less sky"])[used], observation.data[used] - SKY)
    np.testing.assert_allclose(array_of(ax["Model"]), fit.model.data - SKY)
    pulls = (observation.data - fit.model.data) / observation.sigma
    np.testing.assert_allclose(array_of(ax["Residual"])[used], pulls[used])
    norms = [ax[name].images[0].norm for name in ("Data less sky", "Model")]
    assert norms[0] is norms[1]


def profile_of(figure):
    return axes_of(figure)["Profile"]


def test_profile_is_that_of_the_galaxy(figure, fit):
    """Outside of the PSF the disc is near its profile on paper, and the components add up to it."""
    lines = profile_of(figure).get_lines()
    components, model = lines[:2], lines[2]
    r, total = model.get_data()
    np.testing.assert_allclose(sum(line.get_ydata() for line in components), total, rtol=1e-6)
    disc = SersicSource(0.6 * u.arcsec, 1.0).surface_brightness(r, 0 * r)
    far = (r > 0.8) & (r < 1.8)
    assert np.count_nonzero(far) >= 4
    np.testing.assert_allclose(components[0].get_ydata()[far], disc[far], rtol=0.07)


def test_error_bars_are_those_of_means(figure, fit):
    """The data scatter about the model as their error bars say, and the bars shrink with the ring."""
    (bars,) = profile_of(figure).containers
    points, _, (segments,) = bars
    r, data = points.get_data()
    model = profile_of(figure).get_lines()[2].get_ydata()
    error = np.array([np.ptp(segment[:, 1]) / 2 for segment in segments.get_segments()])
    pulls = (data - model) / error
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.6
    pixels = 2 * np.pi * r[-3] * (r[-2] - r[-3]) / 0.1**2
    assert error[-3] == pytest.approx(np.median(fit.observation.sigma) / np.sqrt(pixels), rel=0.3)


def test_numbers_are_those_of_the_fit(figure, fit):
    texts = [text.get_text() for text in figure.axes[-1].texts]
    assert texts[0] == f"χ² {fit.chi2:.0f}    BIC {fit.bic:.0f}    R² {fit.r2:.4f}"
    assert texts[1].startswith("sky 0.02 (e⁻/s")
    assert texts.count("0.600") == 1
    assert texts.count("± 0.010") == 4  # R_e and q
    shares = [text for text in texts if text.endswith("%")]
    flux = fit.table["flux"].value
    assert shares == [f"{100 * share:.0f}%" for share in flux / flux.sum()]
    assert f"reduced χ² {fit.reduced_chi2:.2f}" in [t.get_text() for t in axes_of(figure)["Residual"].texts]


def test_labels_do_not_collide(figure):
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    profile, below = (i for i, ax in enumerate(figure.axes) if ax.get_xscale() == "log")
    for i, one in enumerate(boxes):
        assert one.x0 >= 0
        assert one.y0 >= 0
        assert one.x1 <= figure.bbox.x1
        assert one.y1 <= figure.bbox.y1
        for j, other in enumerate(boxes[:i]):
            assert {i, j} == {profile, below} or not one.overlaps(other)


def test_errors_that_are_not_known_are_not_shown(fit):
    texts = [text.get_text() for text in make_fit().plot().axes[-1].texts]
    assert not any("±" in text for text in texts)


def test_a_rotated_field_without_a_sky(tmp_path):
    grid = PixelGrid((40, 44), 0.1 * u.arcsec, rotation=20 * u.deg)
    figure = make_fit(grid).plot()
    figure.savefig(tmp_path / "out.png")
    ax = axes_of(figure)["Data less sky"]
    assert ax.get_xlabel() == "x (arcsec)"
    assert not any(text.get_text() == "N" for text in ax.texts)


def test_a_figure_may_be_given(fit):
    figure = Figure(figsize=(10, 6))
    assert plot_light_fit(fit, figure) is figure
