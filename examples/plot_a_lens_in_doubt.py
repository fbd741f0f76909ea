"""
A lens in doubt
===============

Massive galaxies, those that make the widest rings, outshine them, are no clean ellipses, and have
companions. From such an image and a rough radius, light and lens are fitted in turn, and the verdict says
whether to trust them. Here it does not, and says why; a minute's work by hand then leads to the right lens.
The image is a simulated one, so that it can be held against the truth.
"""

# sphinx_gallery_thumbnail_number = 4

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from lenssuper import LensFitter, Observation, SuperResolver, prepare
from lenssuper.lens import SIS
from lenssuper.plotting import asinh_norm, label_axes, show_image
from lenssuper.simulate import hard_lenses

plt.rcParams["figure.dpi"] = 110

# %%
# What the telescope sees
# -----------------------
#
# Lenses as hard as those of SLACS, at HST's resolution. Of this one we take its radius to be known to 10%.

mock = list(hard_lenses(4, seed=5))[-1]
true = mock.lens.parameters
radius = 0.9 * true["EPL.theta_E"]

ready = Observation.from_nddata(
    prepare(mock.observation, lens=SIS(theta_E=radius), arc_radius=2 * radius)
)
fig, ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
norm = asinh_norm(ready.data, sigma=float(np.median(ready.sigma)))
show_image(ax, ready.to_nddata(), norm=norm)
ax.set_title("image, with what was masked")
label_axes(ax)

# %%
# The galaxy hides the ring nearly everywhere. Two companions, upper right and lower left, are close to
# it. `~lenssuper.prepare` has masked them, but not all of each: so near the ring it cannot know what is
# a neighbour and what an arc.
#
# Light and lens in turn
# ----------------------

fitter = LensFitter(radius, rng=1)
light, fit = fitter.with_light(ready)
print(fit.summary())

# %%
# The residuals are small, and the errors are. And still the verdict is "look at it", with reasons. The most
# telling one: part of the light has no counter-image. Look at it:

fig = light.plot(figure=plt.figure(figsize=(13, 7.5)))

# %%
# The model of the galaxy has taken the uncovered rim of one companion for its own, with a dark
# hole beside it, and the rest of the rim counts as an arc:

fig = fit.plot(figure=plt.figure(figsize=(10, 8.4)))

# %%
# Masks by hand
# -------------
#
# Two circles, read off the picture, in arcsec from its middle. (At the command line, a region file of DS9:
# ``lenssuper prepare --mask companions.reg``.)

x, y = ready.grid.centers
companions = [(1.1, 1.05), (-0.8, -1.4)] * u.arcsec
masked = ready.masked(
    np.any(
        [
            np.hypot(x - at[0], y - at[1]) < 0.6 * u.arcsec
            for at in companions
        ],
        axis=0,
    )
)
light, fit = fitter.with_light(masked)
print(fit.summary())
fig = fit.plot(figure=plt.figure(figsize=(10, 8.4)))

# %%
# The ring lies bare. All but one of the reasons are gone: that another lens was almost as credible is
# still said. Its radius is a sixth less than that of the lens:

measures = fit.measures
print(
    f"another lens: {measures['search.runner_up_radius']:.3f} arcsec, "
    f"ln Z lower by {measures['search.runner_up']:.0f}"
)

# %%
# Which of them is right, the data of this image say by that much only, as every smaller radius leaves
# more freedom to the source. What helps is what is known besides: a better radius from a spectrum's velocity
# dispersion, a second band, or, here, the truth:

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
# verdict: every result that is made with it carries the doubt on.

result = SuperResolver(fit.lens, factor=2, rng=1)(
    light.subtracted
).judged_with(fit.judgement)
print(result.verdict, *result.reasons, sep="\n")
fig = result.plot(figure=plt.figure(figsize=(14, 8)))
