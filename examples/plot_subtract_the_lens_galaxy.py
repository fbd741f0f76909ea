"""
Take the lens galaxy off an image
=================================

The light of the galaxy in front has to go before the arcs behind it can be super-resolved.
"""

# %%
# A bright elliptical galaxy in front of a small one, on a sky that was not quite subtracted.
import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from lenssuper import SIE, ForwardModel
from lenssuper.light import ForegroundFitter
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens

lens = SIE(theta_E=1.1 * u.arcsec, q=0.8, phi=40 * u.deg)
source = SersicSource(
    0.15 * u.arcsec, 1, q=0.6, x=0.15 * u.arcsec, y=0.05 * u.arcsec
)
bulge = SersicSource(0.4 * u.arcsec, 3, q=0.8, phi=40 * u.deg, amplitude=0.8)
halo = SersicSource(1.2 * u.arcsec, 1, q=0.7, phi=60 * u.deg, amplitude=0.15)
mock = mock_lens(
    lens,
    source,
    HST_ACS_F814W,
    shape=(96, 96),
    peak_snr=25,
    lens_light=bulge + halo,
    rng=1,
)
image = mock.observation
image.data += 0.01

# %%
# The arcs are found and left out; the number of Sersic profiles is up to the data.
fit = ForegroundFitter()(image)
print(fit.summary())
figure = fit.plot(figure=plt.figure(figsize=(14, 8)))

# %%
# Hatched below on the left is what was left out of the fit, and on the right the galaxy is gone. As this is a
# simulation, the arcs are known, and what is left of the galaxy can be told in units of the noise:
model = ForwardModel(image, lens)
arcs = model.forward(mock.source_image(model.source_grid))
left = (fit.subtracted.data - arcs) / fit.subtracted.sigma
print(f"standard deviation of what is left: {np.std(left):.2f} sigma")

# %%
# ``fit.subtracted`` goes to :class:`~lenssuper.SuperResolver` as it is. Where the lens is known already, the
# source can be fitted together with the galaxy, and nothing is left out:
joint = ForegroundFitter(2, lens=lens)(image)
print(joint.summary())
