"""Pictures on lensing: curves, images, operators, the way of the light."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from lenssuper import EPL, SIE, SIS, ExternalShear, OverlapOperator, PixelGrid
from lenssuper.operators import BilinearSampling, PixelScatter
from lenssuper.plotting.images import CURVES, asinh_norm, label_axes, show_curves, show_image
from lenssuper.simulate import EUCLID_VIS, ClumpySpiral, mock_lens

LENS = SIE(theta_E=1.2 * u.arcsec, q=0.7, phi=30 * u.deg) + ExternalShear(gamma1=0.03, gamma2=-0.02)


def draw_lens_curves():
    """A lens: convergence and critical curve, caustic and cut, and the images of three points."""
    lens = EPL(theta_E=1.2 * u.arcsec, gamma=2.0, q=0.7, phi=30 * u.deg) + ExternalShear(
        gamma1=0.03, gamma2=-0.02
    )
    grid = PixelGrid(shape=(160, 160), pixel_scale=0.025 * u.arcsec)
    figure = Figure(figsize=(8.6, 4))
    sky, behind = figure.subplots(1, 2, gridspec_kw={"wspace": 0.3})
    x, y = grid.centers
    kappa = lens.convergence(x, y)
    show_image(sky, np.log10(np.minimum(kappa, 8)), grid, cmap="Greys")
    behind.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    for ax, curves in ((sky, lens.critical_curves(grid)), (behind, lens.caustics(grid))):
        show_curves(ax, curves, color="tab:blue", linewidth=1.5)
    show_curves(behind, LENS.cuts(), color="tab:blue", linestyle="--")
    for beta, colour, mark in (
        ((0.03, 0.05), "tab:red", "o"),
        ((0.3, 0.35), "tab:orange", "s"),
        ((-0.9, 0.9), "tab:green", "^"),
    ):
        behind.plot(*beta, mark, color=colour)
        found = lens.image_positions(beta[0] * u.arcsec, beta[1] * u.arcsec)
        sky.plot(found[0].value, found[1].value, mark, color=colour)
    sky.set_title("Sky: mass, critical curve, images")
    behind.set_title("Source plane: caustic, cut, sources")
    for ax in (sky, behind):
        label_axes(ax)
    return figure


def draw_overlap():
    """A pixel of the image, lensed onto the cells of the source: near the critical curve and away from it."""
    cells = np.arange(-0.6, 1.0, 0.1)
    figure = Figure(figsize=(8.6, 4))
    sky, behind = figure.subplots(1, 2, gridspec_kw={"wspace": 0.3})
    for colour, (x0, y0) in zip(
        ("tab:red", "tab:orange", "tab:green"), ((1.5, 0.3), (0.95, 0.85), (-0.75, -0.5)), strict=True
    ):
        side = np.linspace(0, 0.2, 25)
        x = np.concatenate([x0 + side, np.full(25, x0 + 0.2), x0 + side[::-1], np.full(25, x0)])
        y = np.concatenate([np.full(25, y0), y0 + side, np.full(25, y0 + 0.2), y0 + side[::-1]])
        sky.add_patch(Polygon(np.stack([x, y], 1), facecolor=colour, alpha=0.5, edgecolor=colour))
        behind.add_patch(
            Polygon(np.stack(LENS.rays_arcsec(x, y), 1), facecolor=colour, alpha=0.5, edgecolor=colour)
        )
    show_curves(
        sky, LENS.critical_curves(PixelGrid(shape=(160, 160), pixel_scale=0.025 * u.arcsec)), color="tab:blue"
    )
    show_curves(
        behind, LENS.caustics(PixelGrid(shape=(160, 160), pixel_scale=0.025 * u.arcsec)), color="tab:blue"
    )
    for edge in np.arange(-2, 2.01, 0.2):
        sky.axhline(edge + 0.1, color="0.85", linewidth=0.6)
        sky.axvline(edge + 0.1, color="0.85", linewidth=0.6)
    for edge in cells:
        behind.axhline(edge - 0.15, color="0.75", linewidth=0.6)
        behind.axvline(edge - 0.15, color="0.75", linewidth=0.6)
    sky.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", title="Pixels of the image")
    behind.set(
        xlim=(-0.65, 0.7), ylim=(-0.65, 0.7), aspect="equal", title="Lensed onto the cells of the source"
    )
    for ax in (sky, behind):
        label_axes(ax)
    return figure


def draw_orders():
    """The same coefficients as sources of order 0, 1 and 2, and how fast a pixel changes with the lens."""
    import torch

    from lenssuper.operators.overlap.differentiable import lens_differentiable

    pixel = PixelGrid(shape=(1, 1), pixel_scale=0.08 * u.arcsec, center=(1.55, 0.55) * u.arcsec)
    grid = PixelGrid(shape=(8, 8), pixel_scale=0.12 * u.arcsec, center=(0.2, 0.2) * u.arcsec)
    x, y = grid.centers_arcsec()
    source = np.exp(-(((x - 0.1) / 0.2) ** 2) - ((y - 0.2 - 0.5 * x) / 0.12) ** 2)
    side = np.linspace(-0.5, 0.5, 25)
    edge = np.full(25, 0.5)
    border = pixel.to_offset(
        *(np.concatenate(v) for v in ((side, edge, -side, -edge), (-edge, side, edge, -side)))
    )
    figure = Figure(figsize=(13, 3.1))
    *maps, slopes = figure.subplots(1, 4, gridspec_kw={"wspace": 0.35})
    radii = np.linspace(1.0, 1.4, 401)
    for order, (ax, colour) in enumerate(zip(maps, ("0.6", "tab:orange", "tab:blue"), strict=True)):
        operator = OverlapOperator(LENS, pixel, grid, order=order)
        show_image(
            ax, operator.source_averages(source, 16), grid.refine(16), cmap="Greys_r", norm=Normalize(0, 1)
        )
        ax.add_patch(
            Polygon(np.stack(LENS.rays_arcsec(*border), 1), fill=False, edgecolor="tab:red", linewidth=1.5)
        )
        ax.set_title(f"order={order}")
        label_axes(ax)
        found = []
        for radius in radii:
            theta_E = torch.tensor(radius, requires_grad=True)
            image = lens_differentiable(
                torch.from_numpy(source), LENS, pixel, grid, {"SIE.theta_E": theta_E}, order=order
            )
            image.sum().backward()
            found.append(float(theta_E.grad))
        slopes.plot(radii, found, color=colour, label=f"order={order}")
    slopes.set(xlabel="Einstein radius (arcsec)", title="Derivative of the pixel")
    slopes.legend(frameon=False)
    return figure


def draw_operators():
    """An image of ones taken back to the source by three operators."""
    image_grid = PixelGrid(shape=(64, 64), pixel_scale=0.06 * u.arcsec)
    source_grid = PixelGrid(shape=(96, 96), pixel_scale=0.02 * u.arcsec)
    lens = SIS(theta_E=1.2 * u.arcsec)
    figure = Figure(figsize=(10.5, 3.5))
    kinds = (OverlapOperator, BilinearSampling, PixelScatter)
    for ax, kind in zip(figure.subplots(1, 3, gridspec_kw={"wspace": 0.3}), kinds, strict=True):
        back = kind(lens, image_grid, source_grid).delens(np.ones(image_grid.shape))
        show_image(ax, back, source_grid, cmap="Greys_r", norm=Normalize(0, 1))
        ax.set_title(f"{kind.__name__}: {np.mean(back == 0):.0%} empty")
        label_axes(ax)
    return figure


def draw_forward():
    """The way of the light: source, lensed image, blurred, binned, and with noise."""
    galaxy = ClumpySpiral(0.3 * u.arcsec, q=0.6, x=0.12 * u.arcsec, y=0.05 * u.arcsec, clumps=15, rng=1)
    mock = mock_lens(LENS, galaxy, EUCLID_VIS, shape=(44, 44), peak_snr=40, factor=4, rng=2)
    source_grid = PixelGrid(shape=(110, 110), pixel_scale=0.014 * u.arcsec)
    source = mock.source_image(source_grid)
    sigma = float(np.median(mock.observation.uncertainty.array))
    norm = asinh_norm(mock.noiseless, source, sigma=sigma)
    panels = (
        ("Source  s", source, source_grid),
        ("Lensed  L s", mock.image(4), mock.grid.refine(4)),
        ("Blurred, binned  D P L s", mock.noiseless, mock.grid),
        ("Observed  y", mock.observation.data, mock.grid),
    )
    figure = Figure(figsize=(13, 3.3))
    for ax, (title, image, grid) in zip(
        figure.subplots(1, 4, gridspec_kw={"wspace": 0.3}), panels, strict=True
    ):
        show_image(ax, image, grid, norm=norm)
        ax.set_title(title)
        label_axes(ax)
        if ax is not figure.axes[0]:
            ax.set_ylabel("")
    show_curves(figure.axes[0], LENS.caustics(mock.grid.refine(4)), color=CURVES)
    return figure
