"""
A real lens
===========

The COSMOS-Web ring comes with the package: a galaxy at redshift 5.1 behind
another one at 2.0, as JWST's NIRCam saw it in F150W (Mercier et al. 2024,
van Dokkum et al. 2024; data of COWLS, Nightingale et al. 2025).
"""

import matplotlib.pyplot as plt
import numpy as np

from lenssuper import SuperResolver
from lenssuper.datasets import cosmos_web_ring
from lenssuper.superres.comparison import plot_comparison

# %%
# It comes with its noise, its PSF, a mask and the published lens. The light
# of the lens galaxy is subtracted, and its core masked.

ring = cosmos_web_ring()
print(ring.observation)
print(ring.lens)

# %%
# Neighbouring pixels of this drizzled image share noise. Its covariance was
# measured in the sky of a larger cutout, and the fit will use it:

print(ring.observation.noise_covariance.round(2))

# %%
# The lens is taken as given, and the source is found.

result = SuperResolver(ring.lens, factor=2, rng=0)(ring.observation)
print(result.summary())

# %%
# Data, their interpolation and the super-resolved image share one colour
# scale. The thin arcs are images of knots of the source.

figure = plot_comparison(result, figure=plt.figure(figsize=(14, 8), dpi=130))

# %%
# Are the residuals noise? Their scatter says so; within the ring it would be
# larger where the lens is not quite right.

x, y = (axis.value for axis in ring.observation.grid.centers)
radius = np.hypot(x - 0.05, y - 0.019)
for inner, outer in ((0.3, 0.6), (0.6, 1.0), (1.0, 1.4)):
    there = (radius > inner) & (radius < outer)
    scatter = np.nanstd(result.residuals[there])
    print(f'{inner} to {outer}": {scatter:.3f}')

# %%
# The published lens was fitted to all four bands with another code. A lens
# fitted to this image alone, ``LensFitter(ring.lens)(ring.observation)``,
# lowers chi-square further, with a flatter mass and another shear: such
# differences exceed the error bars, which contain the noise alone.
#
# ``result.view()`` opens a page to explore: point at a knot of the source,
# and see its images.
