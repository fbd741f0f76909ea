"""
Lensing forward and back
========================

Light moves between two planes. The lens equation says where a point of the image comes from; a telescope
has no points, it has pixels. This example follows pixels through a lens, forward and back, with the three
operators that lenssuper has for it, and shows what goes wrong when a pixel is taken for a point.

The lens is a singular isothermal sphere, because everything about it is known on paper.
"""

# sphinx_gallery_thumbnail_number = 2

import itertools

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import AsinhNorm, LogNorm, Normalize
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke

from lenssuper import (
    SIE,
    SIS,
    BilinearSampling,
    ExternalShear,
    OverlapOperator,
    PixelGrid,
    PixelScatter,
)
from lenssuper.operators import Binning
from lenssuper.plotting import (
    label_axes,
    show_colorbar,
    show_curves,
    show_image,
)
from lenssuper.simulate import ClumpySpiral

plt.rcParams["figure.dpi"] = 130

lens = SIS(theta_E=1.2 * u.arcsec)

# %%
# The hole at the origin
# ----------------------
#
# The lens equation is :math:`\beta = \theta - \alpha(\theta)`. For this lens the deflection has the same
# length :math:`\theta_\mathrm{E}` everywhere and points to the centre. So the map jumps there: just to the
# right of the centre we see :math:`\beta = -\theta_\mathrm{E}`, just to the left
# :math:`+\theta_\mathrm{E}`. At the centre itself the deflection has no direction; lenssuper sets it to
# zero, which plugs the hole for a single ray.
#
# A pixel is not a single ray. The pixel that holds the centre is opened into a thin ring, shown on the
# right: all the directions at the centre become a circle, the *cut*. The ring is what this pixel sees.
# Joining its four lensed corners by straight lines instead (dashed) fills the inside of the ring, which the
# pixel does not see at all.

theta = np.linspace(-3, 3, 1201)
beta, _ = lens.ray_shooting(theta * u.arcsec, 0 * u.arcsec)
beta = np.where(theta == 0, np.nan, beta.value)

pixel = 0.2  # arcsec
corners = pixel / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])


def lensed(points):
    """Where points (N, 2) of the image come from, in arcsec."""
    return np.column_stack(
        [b.value for b in lens.ray_shooting(*(points.T * u.arcsec))]
    )


def outline(points, n=50):
    """The same polygon with n points on every side, which can bend."""
    share = np.linspace(0, 1, n, endpoint=False)[:, np.newaxis]
    sides = [a + share * (b - a) for a, b in itertools.pairwise(points)]
    return np.vstack([*sides, points[-1:]])


fig, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.5), layout="constrained"
)
left.axhline(0.4, color="0.6", linewidth=0.8)
left.plot(theta, beta, color="C0")
left.plot([0, 0], [-1.2, 1.2], color="C0", linestyle=":")
left.plot(0, 0, "o", color="C0")
left.plot([1.6, -0.8], [0.4, 0.4], "o", color="C3")
left.annotate(
    "plugged:\nα(0) = 0",
    (0.0, 0.0),
    (0.35, 1.3),
    arrowprops={"arrowstyle": "->"},
)
left.annotate(
    "one source,\ntwo images",
    (-0.8, 0.4),
    (-2.8, 1.3),
    arrowprops={"arrowstyle": "->"},
    color="C3",
)
left.set(
    xlabel="image plane θ (arcsec)",
    ylabel="source plane β (arcsec)",
    xlim=(-3, 3),
    ylim=(-2, 2),
    title="where the light comes from",
)

(cut,) = lens.cuts()
inside = lensed(outline(corners))
right.fill(
    *cut.value.T, color="C1", alpha=0.6, linewidth=0, label="the lensed pixel"
)
right.fill(*inside.T, color="white", linewidth=0)
right.plot(
    *lensed(corners).T,
    "k--o",
    markersize=4,
    linewidth=1,
    label="its corners, joined",
)
right.add_patch(
    Polygon(
        corners,
        facecolor="none",
        edgecolor="C0",
        linewidth=1.5,
        label="the pixel itself",
    )
)
show_curves(right, lens.cuts(), color="C1", label="cut")
right.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
right.set_title("the pixel in the middle")
right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
label_axes(right, on_sky=False)

# %%
# :class:`~lenssuper.OverlapOperator` opens the pixels that hold a centre. Of the light of this pixel,
# nothing comes from within 1 arcsec; joining the corners would take nearly all of it from there.

one_pixel = PixelGrid(shape=(1, 1), pixel_scale=pixel * u.arcsec)
around = PixelGrid(shape=(160, 160), pixel_scale=0.02 * u.arcsec)
shares = (
    OverlapOperator(lens, one_pixel, around)
    .matrix.toarray()
    .reshape(around.shape)
)
distance = np.hypot(*(c.value for c in around.centers))
for low, high in [(0, 1), (1, 1.1), (1.1, 1.2)]:
    share = shares[(low <= distance) & (distance < high)].sum()
    print(f"light from {low} to {high} arcsec: {share:.3f}")

# %%
# Two grids and their overlap
# ---------------------------
#
# Here is a coarse image grid, the θ grid, with a few pixels coloured, and where the lens sends it: the grey
# lines on the right. Outside of the Einstein ring a pixel stays on its side of the lens (blue). Inside it
# comes out on the other side, as the image there is mirrored: follow the corner with the dot (orange). This
# lens sends all of the ring to one point, so a pixel on the ring is pinched there, one part mirrored and
# the other not (green). There are more lensed pixels in the middle than anywhere else; that is
# magnification.
#
# The source has a grid of its own, the β grid, drawn in blue. The two do not fit.

image_grid = PixelGrid(shape=(12, 12), pixel_scale=0.4 * u.arcsec)
source_grid = PixelGrid(shape=(12, 12), pixel_scale=0.2 * u.arcsec)
overlap = OverlapOperator(lens, image_grid, source_grid)

chosen = {
    (8, 9): "C0",
    (4, 7): "C1",
    (8, 4): "C2",
}  # (row, column) and colour
vertex_x, vertex_y = (v.value for v in image_grid.vertices)


def square(row, column):
    """The corners of an image pixel, closed."""
    at = [
        (row, column),
        (row, column + 1),
        (row + 1, column + 1),
        (row + 1, column),
        (row, column),
    ]
    return np.array([(vertex_x[i], vertex_y[i]) for i in at])


fig, (left, right) = plt.subplots(
    1, 2, figsize=(8.5, 4.4), layout="constrained"
)
cell_x, cell_y = (v.value for v in source_grid.vertices)
for x, y in [(cell_x, cell_y), (cell_x.T, cell_y.T)]:
    right.plot(x, y, color="C0", alpha=0.35, linewidth=0.7)
for x, y in [(vertex_x, vertex_y), (vertex_x.T, vertex_y.T)]:
    left.plot(x, y, color="0.7", linewidth=0.7)
    for line in zip(x.T, y.T, strict=True):
        fine = outline(np.column_stack(line), n=40)
        fine = fine[
            np.hypot(*fine.T) > 1e-9
        ]  # the centre has no place in the source plane
        gap = (
            np.flatnonzero(np.hypot(*np.diff(lensed(fine), axis=0).T) > 1) + 1
        )
        right.plot(
            *np.insert(lensed(fine), gap, np.nan, axis=0).T,
            color="0.6",
            linewidth=0.7,
        )
for (row, column), color in chosen.items():
    corners = square(row, column)
    left.fill(*corners.T, color=color, alpha=0.7)
    right.fill(*lensed(outline(corners)).T, color=color, alpha=0.7)
    left.plot(*corners[0], "o", color=color, markeredgecolor="k")
    right.plot(*lensed(corners[:1])[0], "o", color=color, markeredgecolor="k")
show_curves(left, lens.critical_curves(image_grid.refine(8)), color="k")
show_curves(right, lens.cuts(), color="k", linestyle="--")
left.set(
    xlim=(-2.4, 2.4),
    ylim=(-2.4, 2.4),
    aspect="equal",
    title="θ grid and Einstein ring",
)
right.set(
    xlim=(-1.25, 1.25),
    ylim=(-1.25, 1.25),
    aspect="equal",
    title="β grid, lensed θ grid, and cut",
)
label_axes(left, on_sky=False)
label_axes(right, on_sky=False)

# %%
# What counts is which share of the light of an image pixel comes from which source cell.
# :class:`~lenssuper.OverlapOperator` works it out from the areas: the number in each cell is the share of
# the pixel that lands in it. The shares of a pixel add up to one, so that surface brightness is conserved,
# also where a pixel is pinched. These numbers are all there is to the operator: a row of its sparse matrix
# for every image pixel.

fig, axes = plt.subplots(1, 3, figsize=(9, 3.5), layout="constrained")
titles = ["outside of the ring", "inside of it", "on the ring"]
for ax, ((row, column), color), title in zip(
    axes, chosen.items(), titles, strict=True
):
    shares = (
        overlap.matrix[[row * 12 + column]]
        .toarray()
        .reshape(source_grid.shape)
    )
    shape = lensed(outline(square(row, column)))
    for i, j in zip(*np.nonzero(shares > 1e-3), strict=True):
        x, y = cell_x[i, j], cell_y[i, j]
        ax.add_patch(
            Rectangle(
                (x, y),
                0.2,
                0.2,
                facecolor=color,
                alpha=0.1 + 0.4 * shares[i, j],
            )
        )
        number = ax.text(
            x + 0.1,
            y + 0.1,
            f"{shares[i, j]:.3f}",
            ha="center",
            va="center",
            zorder=3,
        )
        number.set_path_effects([withStroke(linewidth=3, foreground="white")])
    ax.plot(cell_x, cell_y, color="0.6", linewidth=0.8)
    ax.plot(cell_x.T, cell_y.T, color="0.6", linewidth=0.8)
    ax.plot(*shape.T, color=color, linewidth=2)
    middle = (shape.min(axis=0) + shape.max(axis=0)) / 2
    ax.set(
        xlim=middle[0] + [-0.45, 0.45],
        ylim=middle[1] + [-0.45, 0.45],
        aspect="equal",
    )
    ax.set_title(f"{title}: sum {shares.sum():.3f}")
    label_axes(ax, on_sky=False)
for ax in axes[1:]:
    ax.set_ylabel("")

# %%
# Forward
# -------
#
# Now a source worth looking at, a clumpy galaxy a little off the axis, on grids as they are used. Its image
# is made in three ways:
#
# * :class:`~lenssuper.OverlapOperator`: the average over all that a pixel sees;
# * :class:`~lenssuper.BilinearSampling`: one ray per pixel, the source interpolated where it lands;
# * :class:`~lenssuper.PixelScatter`: one ray per pixel, and the source pixel in which it lands.
#
# The truth for comparison comes from 16 x 16 rays per pixel (their own noise is what remains of the
# difference to :class:`~lenssuper.OverlapOperator`). One ray is not enough where the source has structure
# that a pixel cannot resolve: the clumps in the arcs come out too bright or too faint. And see the centre:
# the plugged hole shows up as a point of light that is not there.

image_grid = PixelGrid(shape=(61, 61), pixel_scale=0.1 * u.arcsec)
source_grid = PixelGrid(shape=(72, 72), pixel_scale=0.05 * u.arcsec)
x, y = (v.value for v in source_grid.centers)
galaxy = ClumpySpiral(
    0.4 * u.arcsec,
    q=0.7,
    phi=30 * u.deg,
    x=0.2 * u.arcsec,
    y=0.1 * u.arcsec,
    rng=3,
)
source = galaxy.surface_brightness(x, y)
source /= source.max()

operators = {
    "OverlapOperator": OverlapOperator(lens, image_grid, source_grid),
    "BilinearSampling": BilinearSampling(lens, image_grid, source_grid),
    "PixelScatter": PixelScatter(lens, image_grid, source_grid),
}
images = {name: operator.lens(source) for name, operator in operators.items()}
many_rays = PixelScatter(lens, image_grid.refine(16), source_grid)
truth = Binning(many_rays.out_shape, 16) @ many_rays.lens(source)

light = AsinhNorm(linear_width=0.05, vmin=0, vmax=1)
errors = Normalize(-0.2, 0.2)


def compare(source, images, differences, grid, curves, error_label):
    """Show the input left, what three operators give, and their errors."""
    fig = plt.figure(figsize=(9.8, 4.7), layout="constrained")
    panels = fig.subplot_mosaic(
        "SABC;Sabc", gridspec_kw={"width_ratios": [1.2, 1, 1, 1]}
    )
    (first, first_grid, title) = source
    drawn = show_image(panels["S"], first, first_grid, norm=light)
    panels["S"].set_title(title)
    for (upper, lower), name in zip(["Aa", "Bb", "Cc"], images, strict=True):
        drawn = show_image(panels[upper], images[name], grid, norm=light)
        wrong = show_image(
            panels[lower], differences[name], grid, norm=errors, cmap="RdBu_r"
        )
        show_curves(panels[upper], curves, linewidth=0.6)
        panels[upper].set_title(name)
    show_colorbar(panels["C"], drawn, "surface brightness")
    show_colorbar(panels["c"], wrong, error_label, extend="both")
    for ax in panels.values():
        label_axes(ax, on_sky=False)
    for name in "ABC":
        panels[name].set_xlabel("")
    for name in "BCbc":
        panels[name].set_ylabel("")
    return panels


ring = lens.critical_curves(image_grid)
differences = {name: image - truth for name, image in images.items()}
panels = compare(
    (source, source_grid, "Source"),
    images,
    differences,
    image_grid,
    ring,
    "image − truth",
)
for name, color in zip("Bb", ["w", "k"], strict=True):
    arrow = {"arrowstyle": "->", "color": color}
    panels[name].annotate(
        "the plugged hole",
        (0.0, 0.0),
        (-2.8, -2.7),
        color=color,
        arrowprops=arrow,
    )
for name, difference in differences.items():
    print(
        f"{name:17}largest error {np.abs(difference).max():.1e} of the peak"
    )

# %%
# Back
# ----
#
# ``delens`` takes an image to the source plane: every source pixel gets the mean of what falls in it. We
# take the true image back with each of the three. Grey pixels got nothing.
#
# With pixels that have an extent, the galaxy comes back a little smoothed: that is the size of an image
# pixel in the source plane, and all that a single look back can give. With :class:`~lenssuper.PixelScatter`
# the image pixels are points, and between them there is nothing.

delensed = {}
for name, operator in operators.items():
    delensed[name] = np.where(
        operator.coverage > 0, operator.delens(truth), np.nan
    )
differences = {name: back - source for name, back in delensed.items()}
panels = compare(
    (truth, image_grid, "Image"),
    delensed,
    differences,
    source_grid,
    lens.cuts(),
    "back − source",
)

# %%
# The flower
# ----------
#
# The holes are not random. To see their pattern alone, take a source that has no structure at all: a big
# Gaussian in the middle. Lensed exactly and brought back, it must come out as it went in, but for a little
# smoothing. The difference to the true source is all artefact. Empty pixels count as dark here, as they do
# in a scatter-add. The grids are finer, to see more of it.

image_grid = PixelGrid(shape=(96, 96), pixel_scale=0.0625 * u.arcsec)
source_grid = PixelGrid(shape=(90, 90), pixel_scale=0.04 * u.arcsec)
operators = [
    kind(lens, image_grid, source_grid)
    for kind in (OverlapOperator, BilinearSampling, PixelScatter)
]
x, y = (v.value for v in source_grid.centers)
gaussian = np.exp(-(x**2 + y**2) / (2 * 0.7**2))
lensed_gaussian = operators[0].lens(gaussian)

fig, axes = plt.subplots(1, 3, figsize=(9, 3.5), layout="constrained")
for ax, operator in zip(axes, operators, strict=True):
    difference = operator.delens(lensed_gaussian) - gaussian
    drawn = show_image(
        ax, difference, source_grid, norm=Normalize(-0.5, 0.5), cmap="RdBu_r"
    )
    show_curves(ax, lens.cuts(), color="k", linestyle="--", linewidth=0.8)
    middle = np.hypot(x, y) < 1.5
    ax.set_title(
        f"{type(operator).__name__}\n"
        f"rms inside 1.5″: {np.std(difference[middle]):.1e}",
        fontsize=11,
    )
    label_axes(ax, on_sky=False)
for ax in axes[1:]:
    ax.set_ylabel("")
show_colorbar(axes[-1], drawn, "back − source", extend="both")

# %%
# The petals lie along the rows and columns of the image grid. This lens squeezes a ring of pixels into a
# smaller circle, but leaves their distances along the radius as they are. Along rows and columns the pixels
# stand in line, so whole rows of them land on the same arc, and nothing lands between the arcs; in other
# directions they are staggered and fill more cells. The flower has nothing to do with the source, and a
# network that is shown such maps learns it. What cures it is to give the pixels their area.
#
# How often is a source pixel seen?
# ---------------------------------
#
# The overlaps give two maps of the source plane that are easily confused.
#
# * ``coverage`` is the lensed area over a source pixel, in units of its own: the *number of images*. An SIS
#   has two inside the cut and one outside.
# * ``magnification`` is the area in the image plane of all that comes from the pixel, in units of its own:
#   how much *brighter* it appears. On paper it is :math:`2 \theta_\mathrm{E} / \beta` inside and :math:`1 +
#   \theta_\mathrm{E} / \beta` outside.
#
# The crosses are the pixels of the two maps, the lines the formulas.


def show_maps(one, two, operator):
    """Draw the two maps of an overlap operator."""
    drawn = show_image(
        one,
        operator.coverage,
        operator.source_grid,
        norm=Normalize(0, 4),
        cmap="viridis",
    )
    show_colorbar(one, drawn, "")
    one.set_title("coverage: number of images")
    drawn = show_image(
        two,
        operator.magnification,
        operator.source_grid,
        norm=LogNorm(1, 50),
        cmap="magma",
    )
    show_colorbar(two, drawn, "", extend="max")
    two.set_title("magnification")
    for ax in (one, two):
        label_axes(ax, on_sky=False)


overlap = operators[0]
radius = np.hypot(x, y)
on_paper = np.linspace(0.02, 1.8, 400)

fig, (one, two, three) = plt.subplots(
    1, 3, figsize=(9.8, 3.1), layout="constrained"
)
show_maps(one, two, overlap)
for ax in (one, two):
    show_curves(ax, lens.cuts(), color="w", linestyle="--")
    ax.plot(0, 0, "w+")  # the caustic of an SIS is a point
three.plot(
    radius.ravel(),
    overlap.magnification.ravel(),
    "x",
    color="C1",
    markersize=3,
    label="magnification",
)
three.plot(
    radius.ravel(),
    overlap.coverage.ravel(),
    "x",
    color="C0",
    markersize=3,
    label="coverage",
)
jump = on_paper < 1.2
three.plot(
    on_paper,
    np.where(jump, 2 * 1.2 / on_paper, 1 + 1.2 / on_paper),
    "k",
    linewidth=0.8,
    label="on paper",
)
three.plot(on_paper, np.where(jump, 2, 1), "k", linewidth=0.8)
three.set(
    xlabel="β (arcsec)",
    yscale="log",
    ylim=(0.8, 100),
    xlim=(0, 1.8),
    box_aspect=1,
)
three.legend()

# %%
# An elliptical lens with shear makes the picture richer. Its caustic is the diamond: inside of it there are
# two more images, four in all. The magnification is largest along its edges, and there the source is seen
# best.

galaxy = SIE(theta_E=1.2 * u.arcsec, q=0.7, phi=30 * u.deg) + ExternalShear(
    gamma1=0.04, gamma2=-0.03
)
field = PixelGrid(shape=(70, 70), pixel_scale=0.1 * u.arcsec)
source_grid = PixelGrid(shape=(144, 144), pixel_scale=0.025 * u.arcsec)
overlap = OverlapOperator(galaxy, field, source_grid)

fig, (one, two) = plt.subplots(1, 2, figsize=(8.6, 3.7), layout="constrained")
show_maps(one, two, overlap)
for ax in (one, two):
    show_curves(ax, galaxy.caustics(field.refine(4)), color="w")
    show_curves(ax, galaxy.cuts(), color="w", linestyle="--")

# %%
# The same operator, with the PSF and the binning behind it, is the forward model that
# :class:`~lenssuper.SuperResolver` inverts: see :doc:`/gallery/plot_super_resolve_a_lens`.
