"""
Finding a subhalo of dark matter
================================

A subhalo that holds no stars is seen only by what it does to the arcs. Here one is put into a simulated lens,
looked for on a map, and fitted; a map of the sensitivity then says what else could have been found.
"""

# sphinx_gallery_thumbnail_number = 2

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from lenssuper import SIE, ExternalShear, SubstructureMap
from lenssuper.plotting import asinh_norm, show_image
from lenssuper.simulate import Instrument, SersicSource, mock_lens
from lenssuper.substructure import JaffeClump

plt.rcParams["figure.dpi"] = 130

# %%
# A lens with a subhalo
# ---------------------
#
# The subhalo, a pseudo-Jaffe clump of 10\ :sup:`9.5` solar masses, stands beside an arc. The second image is
# the difference that it makes: a change of where the light is, not a new image.

lens = SIE(theta_E=1.0 * u.arcsec, q=0.8, phi=40 * u.deg) + ExternalShear(
    gamma1=0.03, gamma2=0.02
)
kind = JaffeClump(0.2, 0.6, theta_E=1.0 * u.arcsec)
subhalo = kind.lens(10**9.5, -0.85, 0.55)
disk = SersicSource(
    0.16 * u.arcsec,
    n=1.2,
    q=0.7,
    phi=20 * u.deg,
    x=0.1 * u.arcsec,
    y=-0.08 * u.arcsec,
)
knot = SersicSource(
    0.06 * u.arcsec, n=1.0, x=-0.05 * u.arcsec, y=0.1 * u.arcsec
)
galaxy = disk + knot
camera = Instrument.gaussian(
    0.12 * u.arcsec,
    0.15 * u.arcsec,
    background=0.5 * u.electron / u.s,
    exposure=4000 * u.s,
)
mock = mock_lens(
    lens + subhalo, galaxy, camera, shape=(28, 28), peak_snr=60, rng=1
)
smooth = mock_lens(lens, galaxy, camera, shape=(28, 28), peak_snr=60, rng=1)

sigma = float(np.median(mock.observation.uncertainty.array))
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
show_image(
    axes[0],
    mock.observation,
    norm=asinh_norm(mock.observation.data, sigma=sigma),
)
difference = (mock.noiseless - smooth.noiseless) / sigma
show_image(
    axes[1], difference, mock.grid, cmap="RdBu_r", norm=plt.Normalize(-20, 20)
)
axes[0].set_title("observation")
axes[1].set_title("what the subhalo changes, in sigma")

# %%
# The map and the fit
# -------------------
#
# The search begins with the smooth lens, which would come from `~lenssuper.LensFitter` for a real one. The
# residuals of the smooth lens are small: source and lens have changed to make up for most of what the subhalo
# does. That shows in the map, which is highest at the subhalo, but has negative mass elsewhere, which no
# subhalo has. The fit, started from the peaks, decides: Delta ln Z is the evidence for the clump. On a
# map made with the clump, hardly anything is left. One candidate is asked for here, which is quicker; the
# default is three.

search = SubstructureMap(lens, kind, candidates=1, rng=1)
result = search(mock.observation)
print(result.summary())
figure = plt.figure(figsize=(12, 7.2))
result.plot(figure=figure)

# %%
# Injected were 10\ :sup:`9.5` solar masses at (-0.85, 0.55).

result.table

# %%
# What could have been found
# --------------------------
#
# The least mass with an amplitude of 5 sigma, source and smooth lens marginalised, at some positions: on the
# arcs it is far less than where there is no light.

for x, y in [(-0.85, 0.55), (0.9, -0.5), (0.2, 0.1)]:
    seen = result.at(x * u.arcsec, y * u.arcsec)["sensitivity"]
    print(f"({x:+.2f}, {y:+.2f}): 10^{np.log10(seen.value):.1f} Msun")
