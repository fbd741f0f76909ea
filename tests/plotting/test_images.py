"""Pictures: every pixel where it is on the sky, one stretch for what is comparable."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, NDData
from astropy.wcs import WCS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lenssuper import SIE, SIS, ForwardModel, PixelGrid, SuperResolution
from lenssuper.plotting import asinh_norm, label_axes, show_colorbar, show_curves, show_image
from lenssuper.plotting.marks import unit_label
from lenssuper.simulate import random_mock
from lenssuper.solvers import Posterior
from lenssuper.superres.figure import plot_result


@pytest.fixture(scope="module")
def result():
    mock = random_mock(5, shape=(24, 28))
    mock.observation.mask[2:5, 3:7] = True
    model = ForwardModel(mock.observation, mock.lens, factor=2)
    truth = mock.source_image(model.source_grid)
    draws = truth + 0.02 * np.random.default_rng(1).standard_normal((4, *truth.shape))
    posterior = Posterior(mean=truth, std=draws.std(axis=0), draws=draws, effective_modes=30.0)
    return SuperResolution.from_posterior(model, posterior)


@pytest.fixture(scope="module")
def figure(result):
    figure = result.plot()
    FigureCanvasAgg(figure).draw()
    return figure


def axes_of(figure):
    return {ax.get_title(): ax for ax in figure.axes if ax.get_title()}


def image_of(ax):
    (drawn,) = [*ax.images, *(c for c in ax.collections if c.get_array() is not None)]
    return drawn


# One image


def turned(angle, flip=1):
    """A celestial WCS turned by an angle, and mirrored."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [5.5, 4.5]
    wcs.wcs.cdelt = np.array([-flip, 1]) * 0.1 / 3600
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.pc = [[cos, -sin], [sin, cos]]
    return PixelGrid.from_wcs(wcs, (8, 10))


GRIDS = {
    "upright": turned(0),
    "east to the right": turned(0, flip=-1),
    "rotated": turned(30),
    "rotated and mirrored": turned(-50, flip=-1),
    "upside down": turned(180),
    "on its side": turned(90),
    "without a sky": PixelGrid((8, 10), (0.1, 0.2) * u.arcsec, center=(1, 2) * u.arcsec),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_pixel_is_drawn_where_it_is(name):
    grid = GRIDS[name]
    image = np.zeros(grid.shape)
    image[6, 2] = 1.0
    figure = Figure(figsize=(5, 5), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    show_image(ax, image, grid, cmap="gray")
    ax.set_axis_off()
    figure.set_facecolor("black")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    bright = np.asarray(canvas.buffer_rgba())[::-1, :, 0] > 128
    rows, columns = np.nonzero(bright)
    x, y = ax.transData.inverted().transform([columns.mean() + 0.5, rows.mean() + 0.5])
    centre_x, centre_y = (c.to_value(u.arcsec)[6, 2] for c in grid.centers)
    assert x == pytest.approx(centre_x, abs=0.02)
    assert y == pytest.approx(centre_y, abs=0.02)
    # x grows to the right and y up, whatever the detector does
    assert ax.get_xlim()[0] < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert ax.get_aspect() == 1.0


def test_the_field_fills_the_axes():
    ax = Figure().add_subplot()
    show_image(ax, np.ones((8, 10)), GRIDS["without a sky"])
    np.testing.assert_allclose([*ax.get_xlim(), *ax.get_ylim()], [0.5, 1.5, 1.2, 2.8])


def test_unused_pixels_are_hatched():
    image = NDData(np.arange(80.0).reshape(8, 10), wcs=GRIDS["upright"].wcs, mask=np.zeros((8, 10), bool))
    image.mask[0, 0] = True
    image.data[7, 9] = np.nan
    ax = Figure().add_subplot()
    drawn = show_image(ax, image)
    assert np.argwhere(np.ma.getmaskarray(drawn.get_array())).tolist() == [[0, 0], [7, 9]]
    assert [patch.get_hatch() for patch in ax.patches] == ["////"]
    assert drawn.cmap(np.ma.masked)[3] == 0  # see-through, or the hatching is hidden


def test_an_image_without_gaps_is_not_hatched():
    ax = Figure().add_subplot()
    show_image(ax, np.ones((8, 10)), GRIDS["rotated"])
    assert not ax.patches


def test_what_cannot_be_drawn_is_named():
    ax = Figure().add_subplot()
    with pytest.raises(TypeError, match="grid must be a PixelGrid; got None"):
        show_image(ax, np.ones((8, 10)))
    with pytest.raises(ValueError, match=r"shape of the grid, \(8, 10\); got \(10, 8\)"):
        show_image(ax, np.ones((10, 8)), GRIDS["upright"])


def test_an_image_is_not_changed():
    image = CCDData(np.array([[1.0, np.nan], [2.0, 3.0]]), unit="adu")
    show_image(Figure().add_subplot(), image, PixelGrid((2, 2), 1 * u.arcsec))
    assert image.mask is None
    assert np.isnan(image.data[0, 1])


# Stretch, curves, labels


def test_stretch_is_linear_in_the_noise_and_logarithmic_above():
    norm = asinh_norm(np.linspace(0, 1000, 2001), sigma=1.0, highest=100)
    assert norm.vmax == 1000
    assert norm.vmin < 0
    steps = np.diff(norm([0.0, 0.5, 1.0]))
    assert steps[1] == pytest.approx(steps[0], rel=0.05)
    decades = np.diff(norm([10.0, 100.0, 1000.0]))
    assert decades[1] == pytest.approx(decades[0], rel=0.05)


def test_stretch_covers_the_brightest_of_the_images():
    images = [np.full(100, 5.0), np.full(100, 50.0), np.append(np.zeros(99), np.nan)]
    assert asinh_norm(*images, sigma=0.1).vmax == 50.0
    # no light at all: the noise is seen
    assert asinh_norm(np.zeros(10), sigma=2.0).vmax > 4.0


@pytest.mark.parametrize(("sigma", "top"), [(0.01, 1.0), (1e-9, 3e-8), (3.0, 5e6), (0.2, 0.3)])
def test_colour_bar_has_round_numbers(sigma, top):
    figure = Figure()
    ax = figure.add_subplot()
    norm = asinh_norm(np.array([top]), sigma=sigma)
    drawn = show_image(ax, np.zeros((8, 10)), GRIDS["upright"], norm=norm)
    show_colorbar(ax, drawn, "flux", extend="max")
    figure.draw_without_rendering()
    (bar,) = ax.child_axes
    labels = [label.get_text() for label in bar.get_yticklabels()]
    ticks = bar.get_yticks()
    np.testing.assert_allclose([float(label) for label in labels], ticks)
    assert labels[0] == "0"
    assert 2 <= len(labels) <= 9
    assert norm.vmin < ticks[0] <= ticks[-1] <= norm.vmax
    assert bar.get_ylabel() == "flux"


def test_curves_are_drawn_in_arcsec_and_do_not_move_the_axes():
    ax = Figure().add_subplot()
    grid = PixelGrid((20, 20), 0.1 * u.arcsec)
    show_image(ax, np.ones((20, 20)), grid)
    limits = ax.axis()
    lens = SIS(theta_E=3 * u.arcsec)
    lines = show_curves(ax, [curve.to(u.arcmin) for curve in lens.cuts()], color="red", label="cut")
    x, y = lines[0].get_data()
    np.testing.assert_allclose(np.hypot(x, y), 3.0)
    assert ax.axis() == limits
    assert (lines[0].get_color(), lines[0].get_label()) == ("red", "cut")


def test_only_the_first_curve_is_in_the_legend():
    ax = Figure().add_subplot()
    circle = np.ones((5, 2)) * u.arcsec
    show_curves(ax, [circle, 2 * circle], label="caustic")
    assert ax.get_legend_handles_labels()[1] == ["caustic"]


def test_labels_say_where_west_is():
    ax = Figure().add_subplot()
    label_axes(ax)
    assert ("west" in ax.get_xlabel(), "north" in ax.get_ylabel()) == (True, True)
    label_axes(ax, on_sky=False)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (arcsec)", "y (arcsec)")


# The picture of a result


def test_the_picture_has_six_panels(figure):
    assert list(axes_of(figure)) == [
        "Data",
        "Model",
        "Residual",
        "Super-resolved image",
        "Source and caustics",
        "Uncertainty of the source (smoothed)",
    ]
    assert [len(ax.child_axes) for ax in axes_of(figure).values()] == [1] * 6


def test_panels_show_what_their_titles_say(figure, result):
    ax = axes_of(figure)
    observed = image_of(ax["Data"]).get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(observed), result.observation.mask)
    np.testing.assert_array_equal(observed.compressed(), result.observation.data[~result.observation.mask])
    np.testing.assert_array_equal(image_of(ax["Model"]).get_array(), result.model.data)
    np.testing.assert_array_equal(image_of(ax["Super-resolved image"]).get_array(), result.image.data)
    np.testing.assert_array_equal(image_of(ax["Source and caustics"]).get_array(), result.source.data)
    std = image_of(ax["Uncertainty of the source (smoothed)"]).get_array()
    # smoothed: the mean variance is kept (test_comparison looks closer)
    variance = result.source.uncertainty.array**2
    assert np.mean(std**2) == pytest.approx(np.mean(variance), rel=0.05)
    residual = image_of(ax["Residual"])
    np.testing.assert_array_equal(np.ma.filled(residual.get_array(), np.nan), result.residuals)
    assert (residual.norm.vmin, residual.norm.vmax) == (-4, 4)


def test_surface_brightness_has_one_stretch(figure):
    names = ("Data", "Model", "Super-resolved image", "Source and caustics")
    norms = [image_of(axes_of(figure)[name]).norm for name in names]
    assert len({(norm.vmin, norm.vmax, norm.linear_width) for norm in norms}) == 1


def test_image_and_data_show_the_same_field(figure):
    ax = axes_of(figure)
    np.testing.assert_allclose(ax["Data"].axis(), ax["Super-resolved image"].axis())
    spread = ax["Uncertainty of the source (smoothed)"]
    np.testing.assert_allclose(ax["Source and caustics"].axis(), spread.axis())


def test_curves_are_those_of_the_lens(figure, result):
    ax = axes_of(figure)
    drawn = np.concatenate([line.get_xydata() for line in ax["Super-resolved image"].lines])
    mu = result.lens.magnification(*(drawn.T * u.arcsec))
    assert np.all(np.abs(mu) > 1e6)
    solid, dashed = (
        [line for line in ax["Source and caustics"].lines if line.get_linestyle() == style]
        for style in ("-", "--")
    )
    caustic, cut = result.lens.caustics(result.fine_grid)[0], result.lens.cuts()[0]
    np.testing.assert_allclose(solid[0].get_xydata(), caustic.to_value(u.arcsec))
    np.testing.assert_allclose(dashed[0].get_xydata(), cut.to_value(u.arcsec))


def test_the_fit_is_in_the_picture(figure, result):
    texts = [text.get_text() for text in axes_of(figure)["Residual"].texts]
    assert texts == [f"reduced χ² {result.reduced_chi2:.2f}"]


def test_labels_do_not_collide(figure):
    """No label of a panel lies on another panel, its labels or its colour bar, nor off the page."""
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in axes_of(figure).values()]
    for i, one in enumerate(boxes):
        assert one.x0 >= 0
        assert one.y0 >= 0
        assert one.x1 <= figure.bbox.x1
        assert one.y1 <= figure.bbox.y1
        for other in boxes[i + 1 :]:
            assert not one.overlaps(other)


def test_a_figure_may_be_given(result):
    figure = Figure(figsize=(10, 6))
    assert plot_result(result, figure) is figure
    assert result.plot(figure=Figure()) is not figure


def test_a_rotated_field_without_a_sky_can_be_drawn(result, tmp_path):
    grid = PixelGrid((24, 28), 0.08 * u.arcsec, rotation=20 * u.deg)
    mock = random_mock(5, shape=(24, 28))
    lens = SIE(theta_E=0.8 * u.arcsec, q=0.8)
    observation = mock.observation
    observation.wcs = None
    from lenssuper import Observation

    model = ForwardModel(Observation.from_nddata(observation, grid=grid), lens, factor=1)
    mean = np.ones(model.in_shape)
    blank = SuperResolution.from_posterior(model, Posterior(mean=mean, std=0 * mean, draws=mean[np.newaxis]))
    figure = blank.plot()
    figure.savefig(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000
    ax = axes_of(figure)["Data"]
    assert ax.get_xlabel() == "x (arcsec)"
    assert not any(text.get_text() == "N" for text in ax.texts)
    assert "χ² per pixel" in axes_of(figure)["Residual"].texts[0].get_text()


def test_north_and_east_are_marked_on_the_sky(figure, result):
    marks = {text.get_text(): text.get_position() for text in axes_of(figure)["Data"].texts}
    foot = (0.93, 0.07)
    assert marks["N"][1] > foot[1]
    assert marks["E"][0] < foot[0]
    # and that is where they are
    grid = result.observation.grid
    zero = 0 * u.arcsec
    here = grid.offset_to_sky(zero, zero)
    assert grid.offset_to_sky(zero, 1 * u.arcsec).dec > here.dec
    assert grid.offset_to_sky(-1 * u.arcsec, zero).ra > here.ra
    assert isinstance(here, SkyCoord)


def test_a_masked_border_is_left_out():
    mock = random_mock(5, shape=(24, 28))
    mock.observation.mask[:] = True
    mock.observation.mask[9:15, 8:20] = False
    model = ForwardModel(mock.observation, mock.lens, factor=2)
    mean = np.ones(model.in_shape)
    posterior = Posterior(mean=mean, std=mean, draws=mean[np.newaxis])
    figure = SuperResolution.from_posterior(model, posterior).plot()
    x, y = (c.to_value(u.arcsec)[9:15, 8:20] for c in model.observation.grid.centers)
    for name in ("Data", "Model", "Residual", "Super-resolved image"):
        left, right, bottom, top = axes_of(figure)[name].axis()
        assert x.min() - 0.3 < left < x.min() - 0.04
        assert x.max() + 0.04 < right < x.max() + 0.3
        assert y.min() - 0.3 < bottom < y.min() - 0.04
        assert y.max() + 0.04 < top < y.max() + 0.3


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("electron / s", "(e⁻/s per data pixel)"),
        ("MJy / sr", "(MJy/sr)"),
        ("nJy", "(nJy per data pixel)"),
        ("mJy / arcsec2", "(mJy/arcsec²)"),
        ("", ""),
    ],
)
def test_units_say_what_they_are_per(unit, words):
    assert unit_label(u.Unit(unit)).strip() == words


def test_a_norm_of_ones_own():
    ax = Figure().add_subplot()
    drawn = show_image(ax, np.ones((8, 10)), GRIDS["upright"], norm=Normalize(-1, 2), cmap="gray")
    assert (drawn.norm.vmin, drawn.norm.vmax, drawn.cmap.name) == (-1, 2, "gray")
