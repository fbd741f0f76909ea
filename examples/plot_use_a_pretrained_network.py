"""
Using a pretrained network
==========================

The default solver tunes its prior anew for every lens, which takes seconds. A network that has seen hundreds
of lenses knows what to expect, and answers in a fraction of a second. One comes with the package. It was
trained on simulated observations alone: no image of higher resolution was ever shown to it, only whether what
it said, lensed and blurred again, foretells pixels that were kept from it.
"""

# sphinx_gallery_thumbnail_number = 2

import time

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from lenssuper import ForwardModel, SuperResolver
from lenssuper.plotting import asinh_norm, label_axes, show_image
from lenssuper.simulate import EUCLID_VIS, random_lens, random_mock
from lenssuper.solvers import NetworkSolver

plt.rcParams["figure.dpi"] = 130

# %%
# One lens
# --------
#
# An observation by Euclid, 64 x 64 pixels of 0.1 arcsec, of a lens that the network has not seen.

lens = random_lens(21, theta_E=(1.3, 1.3) * u.arcsec)
mock = random_mock(22, lens=lens, instrument=EUCLID_VIS, peak_snr=(40, 40))
resolver = SuperResolver.from_pretrained("space", lens, rng=1)
sr = resolver(mock.observation)
print(sr.summary())

# %%
# It is the same call with the same result as with any other solver, error bars included.

fig = sr.plot(figure=plt.figure(figsize=(14, 8)))

# %%
# What the default says
# ---------------------
#
# Never trust one method with a discovery. The default solver has no network in it; what the two have in
# common, the data ask for. A refined network goes on from what it expects of the source until it fits this
# observation best, and is as slow.

answers = {
    "network": sr,
    "network, refined": SuperResolver.from_pretrained(
        "space", lens, rng=1, refine=True
    )(mock.observation),
    "log-normal": SuperResolver(lens, rng=1)(mock.observation),
}
truth = mock.image()
norm = asinh_norm(
    truth, sigma=float(np.median(mock.observation.uncertainty.array))
)
fig, axes = plt.subplots(2, 4, figsize=(12, 6.2), layout="constrained")
fine = mock.grid.refine(2)
show_image(axes[0, 0], truth, fine, norm=norm)
axes[0, 0].set_title("truth")
axes[1, 0].axis("off")
error = 0.15 * truth.max()
for ax, (name, answer) in zip(axes[:, 1:].T, answers.items(), strict=True):
    show_image(ax[0], answer.image.data, fine, norm=norm)
    ax[0].set_title(name)
    show_image(
        ax[1],
        answer.image.data - truth,
        fine,
        norm=plt.Normalize(-error, error),
        cmap="RdBu_r",
    )
    rms = np.sqrt(np.mean((answer.image.data - truth) ** 2)) / truth.max()
    ax[1].set_title(f"error, rms {100 * rms:.2f}% of the peak")
for ax in axes.flat[[0, 1, 2, 3, 5, 6, 7]]:
    label_axes(ax)

# %%
# Many lenses
# -----------
#
# Where error bars are not needed, :meth:`~lenssuper.solvers.NetworkSolver.sources` takes many forward models
# at once. Making these, the overlaps of pixels in particular, takes longer than the network.

mocks = [random_mock(100 + i, instrument=EUCLID_VIS) for i in range(6)]
start = time.perf_counter()
models = [ForwardModel(each.observation, each.lens) for each in mocks]
built = time.perf_counter()
sources = NetworkSolver.pretrained("space").sources(models)
done = time.perf_counter()
print(
    f"{(built - start) / 6:.2f} s a lens for the operators, "
    f"{(done - built) / 6:.2f} s for the network"
)

# %%
# On the command line that is ``lenssuper run --network euclid`` and ``lenssuper batch --network euclid``. To
# train a network on lenses of your own, see :doc:`plot_train_on_observed_lenses`.
