"""
From a cutout to a source
=========================

A survey hands out a mosaic: with sky, stars, neighbours, a noise map that need not be right, and the light of
the lens galaxy over the arcs. This example goes the whole way, from the mosaic to the galaxy behind the lens
and a page that shows it, with a rough Einstein radius as all that is known of the lens. The mosaic is a
simulated one, so that what comes out can be held against the truth.
"""

# sphinx_gallery_thumbnail_number = 4

import tempfile
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from scipy.ndimage import zoom

from lenssuper import (
    SIE,
    ExternalShear,
    LensFitter,
    PixelGrid,
    SuperResolver,
    prepare,
)
from lenssuper.light import subtract_foreground
from lenssuper.plotting import asinh_norm, label_axes, show_image
from lenssuper.plotting.pages import write_report
from lenssuper.preparation import cut_out, find_stars, star_psf
from lenssuper.simulate import (
    HST_ACS_F814W,
    ClumpySpiral,
    GaussianSource,
    SersicSource,
    mock_lens,
)

plt.rcParams["figure.dpi"] = 130

# %%
# The mosaic
# ----------
#
# 200 x 200 pixels of 0.05 arcsec. The lens is not in the middle; a dozen stars and two other galaxies are
# around it. The sky was not quite subtracted, and the noise map claims 1.4 times the noise that there is.

x, y = -0.82 * u.arcsec, 0.61 * u.arcsec
truth = SIE(theta_E=0.92 * u.arcsec, q=0.78, phi=35 * u.deg, x=x, y=y)
truth += ExternalShear(gamma1=0.03, gamma2=-0.02, x=x, y=y)
galaxy = ClumpySpiral(
    0.18 * u.arcsec,
    q=0.7,
    phi=110 * u.deg,
    x=x + 0.12 * u.arcsec,
    y=y - 0.05 * u.arcsec,
    clumps=10,
    rng=5,
)
light = SersicSource(
    0.35 * u.arcsec, 3.5, q=0.8, phi=35 * u.deg, x=x, y=y, amplitude=0.4
)
light += SersicSource(
    0.2 * u.arcsec,
    1,
    q=0.5,
    x=1.55 * u.arcsec,
    y=1.3 * u.arcsec,
    amplitude=0.25,
)
light += SersicSource(
    0.4 * u.arcsec,
    1,
    q=0.7,
    x=-2.6 * u.arcsec,
    y=-2.4 * u.arcsec,
    amplitude=0.15,
)
stars = [
    (3.12, 3.41),
    (3.43, -2.72),
    (-3.62, 3.31),
    (0.94, -3.63),
    (2.77, 0.08),
    (-4.13, 0.44),
]
stars += [
    (1.64, -1.27),
    (-1.71, 3.98),
    (0.86, 3.93),
    (-0.95, -4.21),
    (4.23, 1.52),
    (-0.59, -1.93),
]
for star_x, star_y in stars * u.arcsec:
    light += GaussianSource(
        0.01 * u.arcsec, x=star_x, y=star_y, amplitude=400
    )

mock = mock_lens(
    truth,
    galaxy,
    HST_ACS_F814W,
    shape=(200, 200),
    peak_snr=25,
    lens_light=light,
    rng=1,
)
mosaic = mock.observation.copy()
mosaic.data += 0.01
mosaic.uncertainty.array *= 1.4
mosaic.psf = None

# %%
# Where the lens is, an astronomer would read off the mosaic. With that, `~lenssuper.preparation.cut_out`
# gives a first look. A size of four to five Einstein radii leaves some blank sky around the arcs.

position = mock.grid.offset_to_sky(x, y)
first = cut_out(mosaic, position, 4.2 * u.arcsec)
stars = find_stars(mosaic, 0.1 * u.arcsec)

fig, axes = plt.subplots(1, 2, figsize=(8.6, 4.1), layout="constrained")
norm = asinh_norm(mosaic.data, sigma=0.01, highest=99.5)
show_image(axes[0], mosaic, norm=norm)
sx, sy = mock.grid.sky_to_offset(mosaic.wcs.pixel_to_world(*stars.T))
axes[0].plot(sx, sy, "o", markersize=14, markerfacecolor="none", color="w")
axes[0].set_title("mosaic, and its stars")
show_image(axes[1], first, norm=norm)
axes[1].set_title("cutout")
for ax in axes:
    label_axes(ax)

# %%
# The PSF
# -------
#
# Built from the stars, and held against the one that the simulation used.

psf = star_psf(mosaic, stars, size=25)
true_psf = mock.observation.psf
half = (true_psf.shape[0] - psf.shape[0]) // 2
inner = true_psf[half : half + 25, half : half + 25]
print(
    f"{len(stars)} stars; PSF: largest error "
    f"{np.abs(psf - inner).max() / inner.max():.1%} of its peak"
)

fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), layout="constrained")
for ax, image, title in [
    (axes[0], psf, "PSF from stars"),
    (axes[1], inner, "truth"),
]:
    ax.imshow(
        np.maximum(image, 1e-6),
        origin="lower",
        norm=LogNorm(1e-5, inner.max()),
        cmap="inferno",
    )
    ax.set_title(title)

# %%
# Everything else
# ---------------
#
# One call cuts out, subtracts the sky, holds the noise map against the scatter of the sky, takes the lens
# galaxy's light off and masks what else is in the field. What it did is in the header.

ready = prepare(
    mosaic,
    center=position,
    size=4.2 * u.arcsec,
    psf=psf,
    foreground=subtract_foreground,
    arc_radius=1.5 * u.arcsec,
)
for sentence in "".join(
    f"{line:<72}" for line in ready.meta["HISTORY"]
).split("lenssuper prepare: ")[1:]:
    print(sentence.strip())

# %%
# The noise map can be checked here:

ratio = (
    ready.uncertainty.array
    / cut_out(mock.observation, position, 4.2 * u.arcsec).uncertainty.array
)
print(f"noise map over the truth: {np.median(ratio[~ready.mask]):.3f}")

# %%
# Look at what is left before going on: bright and dark rims around the middle would be a wrong PSF, and light
# at the edge of the mask a mask that is too small.

fig, axes = plt.subplots(1, 3, figsize=(10.6, 3.7), layout="constrained")
norm = asinh_norm(
    ready.data, sigma=float(np.median(ready.uncertainty.array)), highest=99.8
)
show_image(axes[0], first, norm=norm)
show_image(axes[1], ready, norm=norm)
show_image(
    axes[2],
    ready.uncertainty.array,
    PixelGrid.from_nddata(ready),
    cmap="viridis",
)
for ax, title in zip(
    axes, ["cutout", "prepared", "standard deviation"], strict=True
):
    ax.set_title(title)
    label_axes(ax)

# %%
# The lens
# --------
#
# All that goes in is a radius, read off the cutout to a tenth or two. The source is integrated out.

fit = LensFitter(1.0 * u.arcsec, rng=1)(ready)
print(fit.summary())

# %%
# Against the truth; the offsets of the fit are counted from the middle of the cutout.

center = PixelGrid.from_nddata(ready).sky_to_offset(position)
true = truth.replace(**{"SIE.x": center[0], "SIE.y": center[1]}).parameters
for name, error in fit.errors.items():
    if error > 0:
        unit = getattr(true[name], "unit", u.one)
        found = u.Quantity(fit.lens.parameters[name]).to_value(unit)
        print(
            f"{name:<22}{found:8.3f} ± {u.Quantity(error).to_value(unit):.3f}"
            f"   truth {true[name]:.3f}"
        )

# %%
# The source
# ----------

result = SuperResolver(fit.lens, factor=2, rng=1)(ready)
fig = result.plot(figure=plt.figure(figsize=(14, 8)))

# %%
# And what is it worth? The truth, on the mosaic's pixels halved, is cut to the same field. Cubic
# interpolation of what `prepare` gave is what everyone has at hand.

column, row = (
    int(np.rint(c))
    for c in mosaic.wcs.world_to_pixel(ready.wcs.pixel_to_world(0, 0))
)
ny, nx = ready.shape
true_image = mock.image(2)[
    2 * row : 2 * (row + ny), 2 * column : 2 * (column + nx)
]
cubic = zoom(ready.data, 2, order=3, mode="nearest", grid_mode=True)


around = np.hypot(*result.fine_grid.centers) < 1.5 * u.arcsec


def psnr(image):
    """Peak of the truth over the rms error of the arcs in an image, in dB."""
    return 20 * np.log10(
        true_image.max() / np.sqrt(np.mean((image - true_image)[around] ** 2))
    )


print(
    f"super-resolved {psnr(result.image.data):.1f} dB, "
    f"cubic interpolation {psnr(cubic):.1f} dB"
)

# %%
# The galaxy itself, in the coordinates of the mosaic, in which the truth is known:

grid = result.source_grid
middle = u.Quantity(
    [
        c.mean() - shift + at
        for c, shift, at in zip(grid.centers, center, (x, y), strict=True)
    ]
)
true_source = mock.source_image(
    PixelGrid(grid.shape, grid.pixel_scale, center=middle)
)

fig, axes = plt.subplots(1, 3, figsize=(10.6, 3.7), layout="constrained")
norm = asinh_norm(
    true_source, sigma=float(np.median(ready.uncertainty.array))
)
show_image(axes[0], result.source.data, grid, norm=norm)
show_image(axes[1], true_source, grid, norm=norm)
show_image(axes[2], result.source.uncertainty.array, grid, cmap="viridis")
for ax, title in zip(
    axes, ["source", "truth", "standard deviation"], strict=True
):
    ax.set(title=title, xlim=(-0.4, 0.65), ylim=(-0.55, 0.5))
    label_axes(ax)

# %%
# Files
# -----
#
# The result is a FITS file, and the page is for a browser: it holds its pictures itself.

with tempfile.TemporaryDirectory() as folder:
    result.write(Path(folder) / "lens.fits")
    write_report(result, Path(folder) / "lens.html", title="A simulated lens")
    print(
        {
            path.name: f"{path.stat().st_size / 1e6:.1f} MB"
            for path in sorted(Path(folder).iterdir())
        }
    )

# %%
# The same on the command line, with a mosaic in a file:
#
# .. code-block:: bash
#
#     lenssuper prepare mosaic.fits --sky 150.12 2.206 --size 4.2 --stars 0.1 --output cut.fits
#     lenssuper fit-light cut.fits --output arcs.fits
#     lenssuper fit-lens arcs.fits --einstein-radius 1.0 --output lens.json
#     lenssuper run arcs.fits --lens lens.json --output lens.fits --html lens.html
