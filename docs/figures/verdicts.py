"""Pictures for "Is my lens right?": one lens, right, and made wrong in each way that a verdict speaks of."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import astropy.units as u
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lenssuper import SIE, ExternalShear, Observation
from lenssuper.forward.judgement import LENS_RULES, LensGalaxy, Scene, judge, measure_lens
from lenssuper.forward.judgement.positive import positive_fit
from lenssuper.operators.splines import spline_image
from lenssuper.plotting.images import SIGNED, asinh_norm, label_axes, show_curves, show_image
from lenssuper.plotting.marks import note
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens

LENS = SIE(theta_E=1.1 * u.arcsec, q=0.75, phi=35 * u.deg, x=0.04 * u.arcsec, y=-0.02 * u.arcsec)
LENS = LENS + ExternalShear(gamma1=0.03, gamma2=-0.02)
CENTER = np.array([0.05, -0.02])


@cache
def observation():
    """Data of the lens, in which a galaxy has been subtracted."""
    disc = SersicSource(0.2 * u.arcsec, 1.0, q=0.6, phi=70 * u.deg, x=0.13 * u.arcsec, y=0.05 * u.arcsec)
    knot = SersicSource(0.05 * u.arcsec, 1.0, x=-0.02 * u.arcsec, y=0.17 * u.arcsec, amplitude=1.5)
    mock = mock_lens(LENS, disc + knot, HST_ACS_F814W, shape=(72, 72), peak_snr=30, rng=3)
    found = Observation.of(mock.observation)
    cards = LensGalaxy(*CENTER.tolist(), 0.78, np.radians(30)).cards(found)
    return replace(found, meta={**found.meta, **cards})


def blob(x, y, size):
    """Return a Gaussian of peak one sigma of the noise."""
    here = observation()
    columns, rows = here.grid.centers_arcsec()
    shape = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * size**2))
    return float(np.median(here.sigma)) * shape


def picture(data, lens):
    """Draw data with critical curves, and residuals and source of the best source without negative light."""
    fit = positive_fit(data, lens)
    scene = Scene(data, lens, fit.model)
    source_grid = fit.grid.refine(4)
    source = spline_image(fit.source, fit.grid, source_grid)
    figure = Figure(figsize=(10, 3.1))
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"wspace": 0.3})
    norm = asinh_norm(observation().data, sigma=float(np.median(observation().sigma)))
    show_image(left, data.data, data.grid, norm=norm)
    show_curves(left, lens.critical_curves(data.grid.refine(2)))
    left.plot(*CENTER, "+", color="white")
    show_image(middle, scene.residuals, data.grid, norm=Normalize(-4, 4), cmap=SIGNED)
    show_image(right, source, source_grid, norm=norm)
    for ax, title in ((left, "Data, critical curve, galaxy"), (middle, "Residuals"), (right, "Source")):
        ax.set_title(title)
        label_axes(ax)
    right.locator_params(nbins=4)
    note(left, judge(measure_lens(scene, source=source), LENS_RULES).words)
    return figure


def draw_verdict_right():
    """The right lens."""
    return picture(observation(), LENS)


def draw_verdict_radius():
    """A radius that is 15% too large."""
    return picture(observation(), LENS.replace(**{"SIE.theta_E": 1.265 * u.arcsec}))


def draw_verdict_none():
    """A lens that images nothing twice."""
    return picture(observation(), LENS.replace(**{"SIE.theta_E": 0.12 * u.arcsec}))


def draw_verdict_centre():
    """A lens beside its galaxy."""
    return picture(observation(), LENS.replace(**{"SIE.x": 0.4 * u.arcsec}))


def draw_verdict_flat():
    """A lens that is too flat."""
    return picture(observation(), LENS.replace(**{"SIE.q": 0.2}))


def draw_verdict_neighbour():
    """A neighbour that is not masked."""
    here = observation()
    return picture(here.with_data(here.data + 40 * blob(-1.35, 1.35, 0.1)), LENS)


def draw_verdict_core():
    """Light of the galaxy that is left in the core."""
    here = observation()
    return picture(here.with_data(here.data + 25 * blob(*CENTER, 0.08)), LENS)


def draw_verdict_oversubtracted():
    """Light that was subtracted too much of."""
    here = observation()
    ring = 7 * blob(*CENTER, 0.45) - 22 * blob(*CENTER, 0.15)
    return picture(here.with_data(here.data - ring), LENS)


def draw_verdict_noise():
    """A noise map that is three times too small."""
    here = observation()
    return picture(here.with_weights(9 * here.weights), LENS)


def draw_verdict_psf():
    """A PSF that is twice as wide as it was."""
    y, x = np.mgrid[-10:11, -10:11]
    wide = np.exp(-(x**2 + y**2) / (2 * 2.0**2))
    return picture(observation().with_psf(wide / wide.sum()), LENS)


def draw_verdict_flipped():
    """Data that are flipped against the lens."""
    here = observation()
    return picture(here.with_data(here.data[:, ::-1]), LENS)


def draw_verdict_hot():
    """A hot pixel in an arc."""
    here = observation()
    data = here.data.copy()
    data[50, 60] += 3000 * here.sigma[50, 60]
    return picture(here.with_data(data), LENS)
