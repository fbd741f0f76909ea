"""
Super-resolving a lens
======================

A lens shows one galaxy several times, each time stretched in another direction. Together the images know
more about the galaxy than the pixels of any one of them. This example simulates an observation, as the
truth is then known, super-resolves it, and looks at the result the way one should look at it before using
it.
"""

# sphinx_gallery_thumbnail_number = 2

import tempfile
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from scipy.ndimage import zoom

from lenssuper import SIE, ExternalShear, SuperResolution, SuperResolver
from lenssuper.plotting import (
    asinh_norm,
    label_axes,
    show_colorbar,
    show_curves,
    show_image,
)
from lenssuper.simulate import EUCLID_VIS, ClumpySpiral, mock_lens

plt.rcParams["figure.dpi"] = 130

# %%
# An observation
# --------------
#
# A spiral galaxy with clumps of star formation, behind an elliptical lens with some shear, seen by Euclid:
# 64 x 64 pixels of 0.1 arcsec. The light of the lens galaxy is taken to be subtracted already.

lens = SIE(theta_E=1.3 * u.arcsec, q=0.75, phi=35 * u.deg, x=0.02 * u.arcsec)
lens += ExternalShear(gamma1=0.03, gamma2=-0.02)
galaxy = ClumpySpiral(
    0.3 * u.arcsec,
    q=0.7,
    phi=110 * u.deg,
    x=0.24 * u.arcsec,
    y=-0.1 * u.arcsec,
    clumps=14,
    rng=5,
)
mock = mock_lens(
    lens, galaxy, EUCLID_VIS, shape=(64, 64), peak_snr=40, factor=2, rng=1
)
obs = mock.observation

# %%
# ``obs`` is a `~astropy.nddata.CCDData` like one read from a file. Everything that is needed travels with
# it: the noise of every pixel, a mask, the WCS and the PSF. Look at each of them: most of what goes wrong
# later can be seen here.

sigma = obs.uncertainty.array
fig, axes = plt.subplots(1, 3, figsize=(9.8, 3.0), layout="constrained")
norm = asinh_norm(obs.data, sigma=float(np.median(sigma)))
show_colorbar(axes[0], show_image(axes[0], obs, norm=norm), "")
show_colorbar(
    axes[1],
    show_image(
        axes[1],
        obs.data / sigma,
        mock.grid,
        norm=Normalize(0, 40),
        cmap="magma",
    ),
    "",
)
drawn = axes[2].imshow(
    obs.psf, origin="lower", norm=LogNorm(1e-5, obs.psf.max()), cmap="inferno"
)
show_colorbar(axes[2], drawn, "")
for ax, title in zip(
    axes,
    [f"data ({obs.unit:unicode})", "signal to noise", "PSF (pixels)"],
    strict=True,
):
    ax.set_title(title)
for ax in axes[:2]:
    label_axes(ax)

# %%
# One call
# --------
#
# The lens model and the factor by which the pixels are to be finer go into the
# :class:`~lenssuper.SuperResolver`; observations go into what comes out.

sr = SuperResolver(lens, factor=2, rng=1)(obs)
print(sr.summary())

# %%
# Data, model and residual are above, what was behind them below: the lensed image as it would be without
# PSF and on finer pixels, the galaxy, and how certain it is. Solid lines are critical curves and caustics,
# the dashed one is the cut: outside of it the galaxy is seen only once.

fig = sr.plot(figure=plt.figure(figsize=(14, 8)))

# %%
# What the numbers mean
# ---------------------
#
# ``chi2``
#     The squared residuals, each in units of its noise, added up.
# ``effective_modes``
#     How many numbers about the source the data have fixed; the prior has filled in the others. There are far
#     fewer than source pixels, and that is as it should be.
# ``reduced_chi2``
#     ``chi2`` over the number of pixels less the effective modes: one, give or take
#     :math:`\sqrt{2 / n_\mathrm{pix}}`, if lens, PSF and noise map are right. More means that something is
#     missing, less that the noise is overestimated, or correlated.
# ``held_out_chi2``
#     The same per pixel, for pixels that were left out of a fit with the same prior: how well the model
#     foretells what it has not seen. Much more than ``reduced_chi2`` would mean that noise is fitted.
# ``log_evidence``
#     The probability of the data under the model, all sources considered. It is there to compare with: the
#     same data with another lens model or prior. By itself it says nothing.

n = sr.n_pixels
print(
    f"reduced chi2 {sr.reduced_chi2:.3f}, expected 1 ± {np.sqrt(2 / n):.3f}"
)
print(
    f"{sr.effective_modes:.0f} modes measured, "
    f"{np.prod(sr.source_grid.shape)} source pixels"
)

# %%
# Compared with the truth
# -----------------------
#
# The mock knows the image without PSF and noise. What everyone has at hand is cubic interpolation, so that
# is the mark to beat. The peak signal-to-noise ratio is that of the truth's peak over the rms error, in
# decibels: 6 dB are a factor of two in the error.

truth = mock.image()
cubic = zoom(obs.data, 2, order=3, mode="nearest", grid_mode=True)


def psnr(image):
    """Peak of the truth over the rms error of an image, in dB."""
    return 20 * np.log10(truth.max() / np.sqrt(np.mean((image - truth) ** 2)))


fig, axes = plt.subplots(2, 3, figsize=(9.8, 6.1), layout="constrained")
found = sr.image.data
panels = {
    f"cubic interpolation: {psnr(cubic):.1f} dB": cubic,
    f"super-resolved: {psnr(found):.1f} dB": found,
    "truth": truth,
}
norm = asinh_norm(truth, sigma=float(np.median(sigma)))
errors = Normalize(-0.3 * truth.max(), 0.3 * truth.max())
for (above, below), (title, image) in zip(
    axes.T, panels.items(), strict=True
):
    drawn = show_image(above, image, sr.fine_grid, norm=norm)
    above.set(title=title, xlim=(-2, 2.2), ylim=(-2.2, 2))
    label_axes(above)
    if image is not truth:
        show_image(
            below, image - truth, sr.fine_grid, norm=errors, cmap="RdBu_r"
        )
        below.set(
            title="error (± 30% of the peak)", xlim=(-2, 2.2), ylim=(-2.2, 2)
        )
        label_axes(below)
show_colorbar(axes[0, 2], drawn, "surface brightness", extend="max")

cut = axes[1, 2]
x, y = sr.fine_grid.centers
row = np.abs(y[:, 0] + 0.55 * u.arcsec).argmin()
sd = sr.image.uncertainty.array[row]
cut.fill_between(
    x[row].value,
    found[row] - sd,
    found[row] + sd,
    color="C1",
    alpha=0.3,
    linewidth=0,
)
for image, style, label in [
    (truth, "k", "truth"),
    (found, "C1", "super-resolved"),
    (cubic, "C0--", "cubic"),
]:
    cut.plot(x[row].value, image[row], style, linewidth=1, label=label)
cut.set(
    title="along y = −0.55″",
    xlabel="x west (arcsec)",
    xlim=(-2, 2.2),
    box_aspect=1,
)
cut.legend()
for ax in axes[:, 1]:
    ax.set_ylabel("")

# %%
# And the galaxy behind the lens. It is seen best where the magnification is high: ``resolution`` is the
# width of the PSF when it is taken to the source plane. Structure finer than that comes from the prior, or
# from noise.

true_source = mock.source_image(sr.source_grid)
fig, axes = plt.subplots(1, 3, figsize=(9.8, 3.3), layout="constrained")
norm = asinh_norm(true_source, sigma=float(np.median(sigma)))
show_image(axes[0], sr.source.data, sr.source_grid, norm=norm)
drawn = show_image(axes[1], true_source, sr.source_grid, norm=norm)
show_colorbar(axes[1], drawn, "")
drawn = show_image(
    axes[2], sr.resolution.value, sr.source_grid, cmap="viridis_r"
)
show_colorbar(axes[2], drawn, "")
for ax, title in zip(
    axes, ["source", "truth", "resolution (FWHM in arcsec)"], strict=True
):
    show_curves(ax, lens.caustics(sr.fine_grid))
    show_curves(ax, lens.cuts(), linestyle="--")
    ax.set(title=title, xlim=(-0.7, 1.2), ylim=(-1.0, 0.9))
    label_axes(ax)
for ax in axes[1:]:
    ax.set_ylabel("")

# %%
# Error bars
# ----------
#
# The result is not one image but many that fit the data equally well. ``samples`` gives draws of the
# source, ``image_samples`` of the lensed image. What differs between them is not known; what is in all of
# them is.

fig, axes = plt.subplots(1, 4, figsize=(10.5, 3.0), layout="constrained")
for ax, draw, title in zip(
    axes, sr.samples(3), ["one draw", "another", "and another"], strict=False
):
    show_image(ax, draw.value, sr.source_grid, norm=norm)
    ax.set_title(title)
spread = show_image(
    axes[3], sr.source.uncertainty.array, sr.source_grid, cmap="viridis"
)
axes[3].set_title("standard deviation")
show_colorbar(axes[3], spread, "")
for ax in axes:
    ax.set(xlim=(-0.7, 1.2), ylim=(-1.0, 0.9))
    label_axes(ax)
for ax in axes[1:]:
    ax.set_ylabel("")

# %%
# As the truth is known here, the error bars can be checked: about 68% of the bright pixels should be within
# one standard deviation.

bright = true_source > 0.2 * true_source.max()
within = np.abs(sr.source.data - true_source) < sr.source.uncertainty.array
print(
    f"{np.mean(within[bright]):.0%} of {bright.sum()} bright source pixels "
    "within one sigma"
)

# %%
# Errors of neighbouring pixels are correlated, so that they do not add up in squares. For whatever you
# measure, measure it in every draw, and take the scatter. The flux of the counter-image, for example:

image_x, image_y = lens.image_positions(0.24 * u.arcsec, -0.1 * u.arcsec)
x, y = sr.fine_grid.centers
counter = np.hypot(
    image_x, image_y
).argmin()  # it is the one closest to the lens
aperture = (
    np.hypot(x - image_x[counter], y - image_y[counter]) < 0.4 * u.arcsec
)


def flux(image):
    """Flux in the aperture; a fine pixel is a quarter of an observed one."""
    return image[..., aperture].sum(axis=-1) / sr.factor**2


draws = flux(sr.image_samples(16))
print(f"counter-image: {flux(sr.image.data):.2f} ± {draws.std(ddof=1):.2f}")
print(f"truth:         {flux(truth):.2f}")

# %%
# Before you trust it
# -------------------
#
# A sigma map tells what data and prior leave open if the lens and the PSF are right. It does not know that
# they may be wrong. The residuals do. Here is the same observation with an Einstein radius that is too
# large by three percent:

wrong_lens = lens.replace(**{"SIE.theta_E": 1.34 * u.arcsec})
wrong = SuperResolver(wrong_lens, factor=2, rng=1)(obs)
print(
    f"right lens: reduced chi2 {sr.reduced_chi2:.2f}, "
    f"log evidence {sr.log_evidence:.0f}"
)
print(
    f"wrong lens: reduced chi2 {wrong.reduced_chi2:.2f}, "
    f"log evidence {wrong.log_evidence:.0f}"
)

fig, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), layout="constrained")
for pair, result, title in [
    (axes[:2], sr, "right lens"),
    (axes[2:], wrong, "wrong lens"),
]:
    drawn = show_image(
        pair[0],
        result.residuals,
        mock.grid,
        norm=Normalize(-4, 4),
        cmap="RdBu_r",
    )
    show_image(pair[1], result.source.data, result.source_grid, norm=norm)
    pair[0].set_title(f"{title}: residuals")
    pair[1].set(title=f"{title}: source", xlim=(-0.7, 1.2), ylim=(-1.0, 0.9))
for ax in axes:
    label_axes(ax)
    ax.set_ylabel("")

# %%
# So look
#
# * at the residuals: they should look like noise. An arc in them is a wrong lens, a dipole at a bright knot
#   a wrong PSF or WCS, a patch in the middle what is left of the lens galaxy;
# * at ``reduced_chi2``, and whether the noise map is right in blank sky before you blame the model;
# * at the source: a galaxy with doubled arms or with a pattern that follows the caustics is a wrong lens;
# * at ``coverage``: where it is one there is a single image, and nothing cross-checks it;
# * at the draws: believe what is in all of them;
# * at ``messages``, which say what came up on the way.
#
# Files
# -----
#
# One FITS file holds the result with its draws, the observation and the lens, and gives all of it back.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "result.fits"
    sr.write(path)
    again = SuperResolution.read(path)
print(again)
print(np.array_equal(again.image.data, sr.image.data))
