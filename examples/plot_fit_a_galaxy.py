"""
Fitting a galaxy with Sersic profiles
=====================================

A few smooth ellipses describe a galaxy surprisingly well: a disc, a bulge, a bar. This example fits one in
three ways, by least squares, with a network that has learned to look for the next ellipse, and with an agent
that was rewarded for finding it, and shows what each is good for.
"""

# sphinx_gallery_thumbnail_number = 2

import time

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize

from lenssuper import SersicFitter
from lenssuper.plotting import (
    asinh_norm,
    label_axes,
    show_colorbar,
    show_image,
)
from lenssuper.simulate import (
    EUCLID_VIS,
    SersicSource,
    mock_galaxies,
    mock_galaxy,
)

plt.rcParams["figure.dpi"] = 130

# %%
# A galaxy
# --------
#
# The profile of Sersic (1968) has its light fall with the radius R like
#
# .. math:: I(R) = I_\mathrm{e} \exp\left(-b_n \left[(R / R_\mathrm{e})^{1/n} - 1\right]\right).
#
# Half of it comes from within :math:`R_\mathrm{e}`. The index n says how concentrated it is: 0.5 is a
# Gaussian, 1 the exponential disc of a spiral, 4 an elliptical galaxy. Ours has an exponential disc, a small
# bulge of n = 2 and a bar of n = 0.5, as seen by Euclid.

disc = SersicSource(0.9 * u.arcsec, n=1.0, q=0.75, phi=30 * u.deg)
bulge = SersicSource(
    0.16 * u.arcsec, n=2.0, q=0.9, phi=30 * u.deg, amplitude=6.0
)
bar = SersicSource(
    0.45 * u.arcsec, n=0.5, q=0.3, phi=85 * u.deg, amplitude=1.6
)
galaxy = mock_galaxy(disc + bulge + bar, EUCLID_VIS, peak_snr=150, rng=1)
sigma = float(np.median(galaxy.uncertainty.array))

# %%
# One profile
# -----------
#
# ``galaxy`` is a `~astropy.nddata.CCDData` with noise, PSF and WCS, like one read from a file. That is all
# that the fitter needs.

one = SersicFitter(n_components=1)(galaxy)
print(one.summary())

# %%
# The profile below is averaged over elliptical rings. One Sersic gets it almost right, and what it gets wrong
# is in the residual: a bar, with the disc on both sides of it too faint.

fig = one.plot(figure=plt.figure(figsize=(14, 8)))

# %%
# How many?
# ---------
#
# More profiles always fit better. Whether they are worth it is what the Bayesian information criterion says,
# chi-square plus the number of parameters times the logarithm of the number of pixels: it falls as long as a
# profile explains more than noise would let it. ``n_components=None`` adds profiles until it does not.

fits = {k: SersicFitter(n_components=k)(galaxy) for k in range(1, 5)}
best = SersicFitter(n_components=None)(galaxy)
print(
    f"{len(best.components)} profiles, reduced chi2 {best.reduced_chi2:.3f}"
)

fig, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), layout="constrained")
for ax, k in zip(axes, (1, 2, 3), strict=False):
    pulls = fits[k].residual.data / galaxy.uncertainty.array
    drawn = show_image(
        ax, pulls, best.observation.grid, norm=Normalize(-4, 4), cmap="RdBu_r"
    )
    ax.set_title(f"K = {k}: residual / σ")
    label_axes(ax)
for ax in axes[1:3]:
    ax.set_ylabel("")
show_colorbar(axes[2], drawn, "")
excess = [fits[k].bic - best.bic for k in fits]
axes[3].set(yscale="log", xlabel="K", xticks=list(fits), box_aspect=1)
axes[3].plot(list(fits), np.maximum(excess, 0.5), "o-", color="C1")
axes[3].set_title("BIC above its least")

# %%
# It stops at three, and the three are bar, disc and bulge, whatever their order. ``table`` has their
# parameters on the sky, with errors.

table = best.table[
    "R_e", "R_e_err", "n", "n_err", "q", "q_err", "phi", "phi_err", "flux"
]
for name in table.colnames:
    table[name].info.format = (
        ".2f" if name.startswith(("phi", "flux")) else ".3f"
    )
table.pprint(max_width=-1)

# %%
fig = best.plot(figure=plt.figure(figsize=(14, 8)))

# %%
# Do not forget the PSF
# ---------------------
#
# A PSF makes a galaxy's centre flatter. A fit that does not know of it finds an index that is too small;
# here, of a small galaxy with n = 2:

small = mock_galaxy(
    SersicSource(0.15 * u.arcsec, n=2.0, q=0.8),
    EUCLID_VIS,
    peak_snr=150,
    rng=2,
)
blind = small.copy()
blind.psf = None
for name, image in [("with the PSF", small), ("without", blind)]:
    row = SersicFitter()(image).table[0]
    n, R_e = (
        f"{row[key]:.4g} ± {row[key + '_err']:.1g}" for key in ("n", "R_e")
    )
    print(f"{name}: n = {n}, R_e = {R_e}")

# %%
# A network
# ---------
#
# Least squares starts from the moments of the image and searches. The second method does not search. A
# convolutional network looks at what the profiles so far have left over, and answers with the parameters of
# the next. It was trained on simulated galaxies whose parameters it was never told: its profiles were drawn,
# and the drawing compared with the image. ``polish=True`` takes its answer as the start of a fit by least
# squares.


def timed(**options):
    """A fit and the seconds of processor time that it took."""
    start = time.process_time()
    fit = SersicFitter(mask_neighbors=False, **options)(galaxy)
    return fit, time.process_time() - start


timed(n_components=1, method="cnn")  # reads the weights
results = {
    "least squares": timed(n_components=3),
    "network": timed(n_components=3, method="cnn"),
    "network, polished": timed(n_components=3, method="cnn", polish=True),
}

# %%
# A policy
# --------
#
# The third method is the same game with other rules. An agent sees the residual image, its action is a
# profile, and its reward is by how much the profile reduced the mean squared error; proximal policy
# optimisation (PPO) makes it likelier to do what was rewarded more than expected. It is told neither the
# parameters nor which way to change them, so that it has to try. It learns what a galaxy looks like, but more
# slowly than the network, and less exactly.

results["policy"] = timed(n_components=3, method="ppo")

# %%
# Side by side
# ------------


def error(fit):
    """Mean difference of image and model, in percent of the image's range."""
    return (
        100
        * np.mean(np.abs(fit.residual.data))
        / np.ptp(fit.observation.data)
    )


fig, axes = plt.subplots(
    2, len(results), figsize=(10.5, 5.4), layout="constrained"
)
norm = asinh_norm(galaxy.data, sigma=sigma)
for (above, below), (name, (fit, seconds)) in zip(
    axes.T, results.items(), strict=True
):
    model = show_image(
        above, fit.model.data, best.observation.grid, norm=norm
    )
    pulls = fit.residual.data / galaxy.uncertainty.array
    drawn = show_image(
        below,
        pulls,
        best.observation.grid,
        norm=Normalize(-10, 10),
        cmap="RdBu_r",
    )
    above.set_title(f"{name}\n{1000 * seconds:.0f} ms")
    below.set_title(f"error {error(fit):.2f}%")
    for ax in (above, below):
        label_axes(ax)
        if ax not in axes[:, 0]:
            ax.set_ylabel("")
    above.set_xlabel("")
show_colorbar(axes[0, -1], model, "model")
show_colorbar(axes[1, -1], drawn, "residual / σ", extend="both")

# %%
# A galaxy that is not made of ellipses
# -------------------------------------
#
# Real galaxies have arms and knots. No sum of a few ellipses is right, and chi-square says so. But the sum
# takes out the bulk of the light, and what it leaves is what is worth looking at: the residual of two
# profiles, on the right, shows the arms better than the image does.

spiral = mock_galaxies(6, 1)[5]
smooth = SersicFitter(n_components=2, mask_neighbors=False)(spiral)
many = SersicFitter(n_components=4, mask_neighbors=False)(spiral)

fig, axes = plt.subplots(1, 4, figsize=(10.5, 3.0), layout="constrained")
norm = asinh_norm(
    spiral.data, sigma=float(np.median(spiral.uncertainty.array))
)
panels = {
    "a spiral": spiral.data,
    f"two profiles, error {error(smooth):.2f}%": smooth.model.data,
    f"four profiles, error {error(many):.2f}%": many.model.data,
}
for ax, (title, image) in zip(axes, panels.items(), strict=False):
    drawn = show_image(ax, image, smooth.observation.grid, norm=norm)
    ax.set_title(title, fontsize="medium")
    label_axes(ax)
show_image(
    axes[3],
    smooth.residual.data,
    smooth.observation.grid,
    cmap="RdBu_r",
    norm=Normalize(-0.3, 0.3),
)
axes[3].set_title("the spiral less two profiles", fontsize="medium")
label_axes(axes[3])
for ax in axes[1:]:
    ax.set_ylabel("")

# %%
# Which one, then?
# ----------------
#
# * **Least squares**, unless there is a reason: it has errors, it knows the PSF and the noise, it takes
#   linked centres and fixed and bounded parameters, and it stops by itself.
# * **The network** for very many galaxies, or where milliseconds matter, and as a start for least squares.
# * **The policy** to see what reward alone can teach. ``lenssuper.training.light.environment`` is there for
#   agents of your own.
#
# How the three compare on many galaxies is in :doc:`/validation`. A fit is written as one FITS file with
# ``fit.write``, and ``fit.components`` are astropy models, functions of the pixel coordinates:

x, y = np.meshgrid(np.arange(64), np.arange(64))
best.components[0]
