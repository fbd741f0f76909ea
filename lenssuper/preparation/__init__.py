"""Preparing an image: cutout, sky, noise, mask, PSF, and the light of the lens galaxy."""

from __future__ import annotations

from lenssuper.forward.arcs import arc_region
from lenssuper.preparation.cutout import cut_out
from lenssuper.preparation.noise import Sky, measure_sky, noise_map, rescale_noise
from lenssuper.preparation.prepare import prepare
from lenssuper.preparation.psf import find_stars, gaussian_psf, star_psf

__all__ = [
    "Sky",
    "arc_region",
    "cut_out",
    "find_stars",
    "gaussian_psf",
    "measure_sky",
    "noise_map",
    "prepare",
    "rescale_noise",
    "star_psf",
]
