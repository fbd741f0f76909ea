"""Simulated observations that more than one benchmark uses."""

from __future__ import annotations

import astropy.units as u

from lenssuper import SIE, ExternalShear
from lenssuper.simulate import HST_ACS_F814W, MockLens, mock_lens, random_source


def large_field(n: int = 256) -> MockLens:
    """A field of n x n pixels of 0.05" with bright arcs around a lens of theta_E = 2.5"."""
    lens = SIE(theta_E=2.5 * u.arcsec, q=0.75, phi=35 * u.deg) + ExternalShear(gamma1=0.04, gamma2=-0.03)
    source = random_source(5, R_e=(0.4, 0.6) * u.arcsec, offset=(0.1, 0.3) * u.arcsec)
    return mock_lens(lens, source, HST_ACS_F814W, shape=(n, n), peak_snr=50, rng=5)
