"""
A lens in doubt
===============

Massive galaxies, those that make the widest rings, outshine them, are no clean ellipses, and have
companions. From such an image and a rough radius, light and lens are fitted in turn, and the verdict says
whether to trust them. Here it has doubts, and says why; we look at what they are about.
The image is a simulated one, so that it can be held against the truth.
"""

# sphinx_gallery_thumbnail_number = 4

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from lenssuper import LensFitter, SuperResolver, prepare
from lenssuper.plotting import asinh_norm, label_axes, show_image
from lenssuper.simulate import Instrument, hard_lenses

plt.rcParams["figure.dpi"] = 110

# %%
# What the telescope sees
# -----------------------
#
# A lens as hard as those of SLACS, almost as sharp as HST sees it. We take its radius to be known to 10%.

camera = Instrument.gaussian(0.08 * u.arcsec, 0.12 * u.arcsec)
mock = list(hard_lenses(4, seed=5, shape=(71, 71), instrument=camera))[-1]
true = mock.lens.parameters
radius = 0.9 * true["EPL.theta_E"]

image = mock.observation
fig, ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
noise = float(np.median(image.uncertainty.array))
show_image(ax, image, norm=asinh_norm(image.data, sigma=noise))
ax.set_title("a ring behind a bright galaxy")
label_axes(ax)

# %%
# The galaxy hides the ring nearly everywhere. Two companions, upper right and lower left, are close to it.
#
# Light and lens in turn
# ----------------------
#
# Let us forget the companions.

fitter = LensFitter(radius, rng=1)
light, fit = fitter.with_light(image)
print(fit.summary())

# %%
# The residuals are small. But the verdict is "look at it", with reasons. The first lens that was found was
# wrong: as what has no counter-image is no arc, all was done again without such objects. Look at what was
# masked, hatched here:

fig = light.plot(figure=plt.figure(figsize=(13, 7.5)))

# %%
# These are the companions, which the galaxy and the source had shared between them. Without them the ring is
# seen, and lensed to one source:

fig = fit.plot(figure=plt.figure(figsize=(10, 8.4)))

# %%
# Masks
# -----
#
# `~lenssuper.prepare` masks neighbours, here those that lie beyond twice the rough radius. Where it leaves
# one, ``Observation.masked`` takes any mask, and ``lenssuper prepare --mask`` a region file of DS9.

ready = prepare(image, einstein_radius=radius)
light, fit = fitter.with_light(ready)
print(fit.summary())
fig = fit.plot(figure=plt.figure(figsize=(10, 8.4)))

# %%
# The ring lies bare, and one reason is left: a smaller lens is almost as credible, and the errors reach to it
# (:doc:`/user_guide/is_my_lens_right`). Only what else is known of the galaxy can tell: another band, or how
# fast its stars move. As this is a simulation, the lens can be held against the truth:

for name, error in fit.errors.items():
    if error > 0:
        unit = getattr(true[name], "unit", u.one)
        found = u.Quantity(fit.lens.parameters[name]).to_value(unit)
        print(
            f"{name:<22}{found:8.3f} ± {u.Quantity(error).to_value(unit):.3f}"
            f"   truth {u.Quantity(true[name]).to_value(unit):.3f}"
        )

# %%
# The angle of a lens that is nearly round is not known, nor must it be. With the lens goes its
# verdict: every result that is made with it carries its doubts on, if there are any.

result = SuperResolver(fit.lens, factor=2, rng=1)(
    light.subtracted
).judged_with(fit.judgement)
print(result.verdict, *result.reasons, sep="\n")
fig = result.plot(figure=plt.figure(figsize=(14, 8)))
