"""
Training on observed lenses
===========================

No telescope has taken the image that a network for super-resolution would have to be shown. But each lens
shows its galaxy in its own way, and what a network makes of some pixels must foretell the others. That is
enough to learn from. This example trains a small network on a few small observations, in a minute or so; the
steps are those of a real training.
"""

# sphinx_gallery_thumbnail_number = 2

import tempfile
from pathlib import Path

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import Normalize

from lenssuper import SuperResolver
from lenssuper.networks import PlainUNet
from lenssuper.plotting import asinh_norm, show_image
from lenssuper.simulate import random_lens, random_mock, random_source
from lenssuper.solvers import NetworkSolver
from lenssuper.training import PixelSplitting, train

plt.rcParams["figure.dpi"] = 130

# %%
# What it learns from
# -------------------
#
# Any observations with their lens models: ``(NDData, LensModel)``, or a directory of FITS files that
# ``lenssuper simulate`` wrote, or that look like it. Each brings its own lens, PSF and noise. They must have
# one shape.


def draw(number):
    """Draw a lens that fills a small field, and observe it."""
    lens = random_lens(number, theta_E=(0.6, 0.9) * u.arcsec)
    source = random_source(
        number, R_e=(0.1, 0.25) * u.arcsec, offset=(0.03, 0.2) * u.arcsec
    )
    return random_mock(number, lens=lens, source=source, shape=(40, 40))


mocks = [draw(number) for number in range(18)]
observed = [(mock.observation, mock.lens) for mock in mocks]
fig, axes = plt.subplots(2, 9, figsize=(13, 3.1), layout="constrained")
for ax, mock in zip(axes.flat, mocks, strict=True):
    sigma = float(np.median(mock.observation.uncertainty.array))
    show_image(
        ax,
        mock.observation,
        norm=asinh_norm(mock.observation.data, sigma=sigma),
    )
    ax.set_axis_off()
fig.suptitle("eighteen observed lenses")

# %%
# A network and a loss
# --------------------
#
# A U-Net that corrects the linear solution learns fastest. The default network,
# :class:`~lenssuper.networks.Unrolled`, goes several times from what it has towards what the data say; it is
# better from the start, and takes thousands of steps to become better still. Neither holds a lens: that comes
# with each observation. Here the network is kept small.

torch.manual_seed(0)
network = PlainUNet(widths=(16, 32))
training = train(
    network,
    observed[:14],
    validation=observed[14:],
    losses=[PixelSplitting(share=0.15)],
    steps=120,
    batch_size=2,
    learning_rate=2e-3,
    source_pixels=48,
    check_every=30,
    seed=0,
    progress=False,
)
for check in training.history:
    print({name: round(value, 3) for name, value in check.items()})

# %%
# The loss is the mean of log(1 + chi-square per pixel) over pixels that were held out in that step, summed
# over stages; ``held_out_chi2`` is that of lenses that are never trained on. It can fall to one at best, the
# noise. See the user guide for other losses.

# %%
# The result
# ----------
#
# A network is a solver like any other. Fourteen lenses and 120 steps are few: compare before and after.

mock = draw(50)
before, after = (
    SuperResolver(mock.lens, solver=NetworkSolver(each), rng=1)(
        mock.observation
    )
    for each in (network, training.network)
)
truth = mock.image()
norm = asinh_norm(
    truth, sigma=float(np.median(mock.observation.uncertainty.array))
)
fig, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
show_image(axes[0], mock.observation, norm=norm)
show_image(axes[1], truth, mock.grid.refine(2), norm=norm)
for ax, answer in zip(axes[2:], (before, after), strict=True):
    show_image(ax, answer.image, norm=norm)
for ax, title in zip(
    axes, ("observed", "truth", "untrained", "trained"), strict=True
):
    ax.set_title(title)
    ax.set_axis_off()
for name, answer in (("untrained", before), ("trained", after)):
    error = np.sqrt(np.mean((answer.image.data - truth) ** 2)) / truth.max()
    print(
        f"{name:<10} {100 * error:.2f}% of the peak, "
        f"held-out chi-square {answer.held_out_chi2:.2f}"
    )

# %%
# Residuals of the trained network, in units of the noise: what is left should be noise.

fig, axes = plt.subplots(1, 2, figsize=(6.5, 3.1), layout="constrained")
for ax, answer, title in zip(
    axes, (before, after), ("untrained", "trained"), strict=True
):
    show_image(
        ax, answer.residuals, mock.grid, norm=Normalize(-4, 4), cmap="RdBu_r"
    )
    ax.set_title(title)
    ax.set_axis_off()

# %%
# Keeping it
# ----------
#
# With ``output=`` the weights are written when the training is done, as safetensors with a model card beside
# them, and a checkpoint while it runs: a training that was killed goes on with ``resume=True`` and ends with
# the same weights. In a shell, the whole of this page is
#
# .. code-block:: sh
#
#    lenssuper simulate --n 200 --output lenses
#    lenssuper train lenses --output network.safetensors
#    lenssuper run observation.fits --lens lens.json --network network.safetensors
#
# In Python, a network is written and read by

from lenssuper.networks.weights import write_network

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory) / "network.safetensors"
    write_network(path, training.network, training.card)
    print(path.with_suffix(".md").read_text(encoding="utf-8"))
    again = NetworkSolver.read(path)
