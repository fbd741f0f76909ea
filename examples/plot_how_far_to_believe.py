"""
How far to believe it
=====================

A super-resolved image is partly what the data say and partly what was taken for granted: the lens, the PSF,
the sky, the noise. This example takes one simulated lens, gives the errors of all of these to the
super-resolution, asks which of them matters, and then makes one of them wrong without saying so.
"""

# sphinx_gallery_thumbnail_number = 1

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from lenssuper import (
    LensFitter,
    Observation,
    SuperResolver,
    Systematics,
    expected_resolution,
)
from lenssuper.plotting import label_axes, show_image
from lenssuper.simulate import Instrument, random_lens, random_mock
from lenssuper.superres import coherence

plt.rcParams["figure.dpi"] = 110

# %%
# What to expect
# --------------
#
# A lens of HST's pixels and sharpness, of which the radius is known to 10%. The lens is fitted first.

lens = random_lens(3, theta_E=(0.85, 0.85) * u.arcsec)
mock = random_mock(25, lens=lens, shape=(36, 36), peak_snr=(40, 40))
image = Observation.of(mock.observation)
fit = LensFitter(1.0 * u.arcsec, rng=1)(image)
print(fit.summary())

# %%
# How much finer than the data can the image be? This is asked before there is one:

expected = expected_resolution(image, fit.lens)
print(expected)

# %%
# The error budget
# ----------------
#
# The errors of the lens are those of its fit. Let the width of the PSF be known to 3%, the sky to a
# tenth of the noise of a pixel, and the noise to 5%. The table has the standard deviations in bright pixels.


def print_table(table):
    """Print a table with three digits."""
    for column in table.colnames[1:]:
        if table[column].dtype.kind == "f":
            table[column].info.format = ".3f"
    table.pprint(max_lines=-1, max_width=-1)


sigma = float(np.median(image.sigma)) * image.unit
errors = Systematics(lens=fit, psf=0.03, sky=0.1 * sigma, noise=0.05)
result = SuperResolver(fit.lens, systematics=errors, rng=1)(image)
print(result.verdict, *result.reasons)
print_table(
    result.budget.table["part", "image", "image_share", "source_share"]
)

# %%
# The map in the middle shows which part is the largest error of each pixel, and the bars what all of them
# are of the variance.

fig = result.budget.plot(
    figure=plt.figure(figsize=(13, 3.8), layout="constrained")
)

# %%
# And what do the data say of each? ``pull`` is where they want it, in units of the error that was given,
# ``error`` what is left of that error, and ``sigma`` how significant it is.

changes = result.budget.changes
print_table(changes[changes["part"] != "lens"])

# %%
# PSF and noise are where they should be. The sky is not, although it is right: a positive source glows
# faintly all over the field, and a darker sky makes room for that.

# %%
# Numbers with errors
# -------------------
#
# Flux, size and magnification are measured in each of the draws, lenses and PSFs of the budget among them.
# The simulation knows the truth, measured in the same pixels:

measured = result.measure()
truth = result.measure_sources(mock.source_image(result.source_grid))
for name in ("flux", "half_light_radius", "axis_ratio", "magnification"):
    low, middle, high = measured[name]
    error = (high - low) / 2
    print(
        f"{name:<18} {middle:.4g} ± {error:.2g}   truth {truth[name][0]:.4g}"
    )

# %%
# Was it right?
# -------------
#
# What was expected of the resolution, beside what came out; and the difference from the true image in
# units of the error bars.

true_image = mock.image()
frequencies, found = coherence(result.image.data, true_image, 2)


def show_deviation(ax, result, error, title):
    """Draw the difference from the truth in units of the error bars."""
    off = (result.image.data - true_image) / error
    bright = true_image > 0.1 * true_image.max()
    shown = np.where(bright, off, np.nan)
    drawn = show_image(ax, shown, result.fine_grid, cmap="RdBu_r")
    drawn.set_clim(-4, 4)
    plt.colorbar(drawn, ax=ax, label="(image − truth) / error")
    held = 100 * np.mean(np.abs(off[bright]) < 1)
    ax.set_title(f"{title}: {held:.0f}% within 1")
    label_axes(ax)


fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(frequencies, found, label="found")
wave = (expected.frequencies / expected.nyquist).value
left.plot(wave, expected.coherence, "--", label="expected")
left.axhline(0.5, color="grey", linewidth=1)
left.set(
    xlabel="spatial frequency (Nyquist of the data)",
    ylabel="coherence with the truth",
    ylim=(0, 1.05),
)
left.legend(frameon=False)
show_deviation(right, result, result.budget.std(), "bright pixels")

# %%
# A PSF that is wrong
# -------------------
#
# The same with a PSF that is an eighth too wide, when it is given to 3%.

wide = Instrument.gaussian(0.08 * u.arcsec, 0.18 * u.arcsec)
result = SuperResolver(fit.lens, systematics=errors, rng=1)(
    image.with_psf(wide.psf)
)
print(f"chi-square per pixel {result.chi2 / result.n_pixels:.2f}")
print(result.verdict, *result.reasons, sep="\n")
changes = result.budget.changes
print_table(changes[changes["part"] != "lens"])

# %%
# Chi-square does not say so. The verdict does, as the data ask for a narrower PSF, by twice the 3%, at
# nearly five sigma. The error bars are widened by as much. At the left, those that one would have had without
# a budget; at the right, those with it. Those of this lens were wide enough before.

fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
plain = np.hypot(
    *(result.budget.std(part) for part in result.budget.parts[:2])
)
show_deviation(axes[0], result, plain, "without a budget")
show_deviation(axes[1], result, result.budget.std(), "with the budget")
