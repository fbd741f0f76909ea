"""Pictures of the real lens that comes with the package."""

from __future__ import annotations

from functools import cache

import astropy.units as u
import numpy as np
from matplotlib.figure import Figure

from lenssuper import SuperResolver
from lenssuper.datasets import cosmos_web_ring
from lenssuper.plotting.images import asinh_norm, label_axes, show_curves, show_image
from lenssuper.plotting.marks import beam, compass
from lenssuper.superres.comparison import plot_comparison


@cache
def result():
    """The ring, super-resolved with the published lens."""
    ring = cosmos_web_ring()
    return SuperResolver(ring.lens, rng=0, progress=False)(ring.observation)


def draw_ring():
    """Data, super-resolved image and source: the picture of the README and the front page."""
    found = result()
    observation = found.observation
    figure = Figure(figsize=(11, 3.9))
    data, image, source = figure.subplots(1, 3, gridspec_kw={"wspace": 0.3})
    norm = asinh_norm(observation.data, found.image.data, sigma=0.8 * float(np.median(observation.sigma)))
    shown = np.where(observation.mask, np.nan, observation.data)
    show_image(data, shown, observation.grid, norm=norm)
    show_image(image, found.image.data, found.fine_grid, norm=norm)
    show_image(source, found.source.data, found.source_grid, norm=norm)
    show_curves(source, found.lens.caustics(found.fine_grid))
    data.set_title("Data: JWST/NIRCam F150W")
    image.set_title("Super-resolved, without the PSF")
    source.set_title("The galaxy behind the lens")
    for ax in (data, image, source):
        label_axes(ax)
    for ax in (data, image):
        ax.set(xlim=(-1.25, 1.3), ylim=(-1.2, 1.35))
    x0, y0 = 0.04, 0.17
    source.set(xlim=(x0 - 0.32, x0 + 0.32), ylim=(y0 - 0.32, y0 + 0.32))
    beam(data, observation.psf_fwhm_arcsec)
    compass(data)
    return figure


def draw_ring_comparison():
    """The picture of ``lenssuper demo --real``."""
    return plot_comparison(result())


def draw_ring_result():
    """The picture of a result."""
    return result().plot()


def draw_ring_galaxy():
    """The lens galaxy in front of the ring, before and after it was subtracted."""
    whole, arcs = cosmos_web_ring(lens_light=True).observation, cosmos_web_ring().observation
    figure = Figure(figsize=(8, 3.9))
    norm = asinh_norm(whole.data, sigma=float(np.median(arcs.sigma)))
    for ax, observation, title in zip(
        figure.subplots(1, 2), (whole, arcs), ("As observed", "Lens galaxy subtracted"), strict=True
    ):
        drawn = show_image(
            ax, np.where(observation.mask, np.nan, observation.data), observation.grid, norm=norm
        )
        ax.set_title(title)
        label_axes(ax)
        assert drawn.norm is norm
    return figure


def draw_ring_rays():
    """Where the pixels of the ring come from: a chequered source plane, seen through the lens."""
    lens, grid = cosmos_web_ring().lens, cosmos_web_ring().observation.grid.refine(4)
    x, y = grid.centers_arcsec()
    beta_x, beta_y = lens.rays_arcsec(x, y)
    figure = Figure(figsize=(8, 3.9))
    sky, behind = figure.subplots(1, 2, gridspec_kw={"wspace": 0.3})
    for ax, where, title in (
        (sky, (beta_x, beta_y), "Seen through the lens"),
        (behind, (x, y), "Source plane"),
    ):
        cells = (np.floor(where[0] / 0.1) + np.floor(where[1] / 0.1)) % 2
        radius = np.hypot(*where)
        show_image(ax, np.where(radius < 0.6, 0.35 + 0.65 * cells * np.exp(-radius / 0.4), 0.1), grid)
        ax.set_title(title)
        label_axes(ax)
    show_curves(sky, lens.critical_curves(grid))
    show_curves(behind, lens.caustics(grid))
    show_curves(behind, lens.cuts(), linestyle="--")
    behind.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9))
    assert lens.einstein_radius() > 0.7 * u.arcsec
    return figure
