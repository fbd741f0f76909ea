"""Observed lenses that come with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

from lenssuper.datasets.items import LensItem
from lenssuper.lens import LensModel
from lenssuper.observation import read_observation
from lenssuper.observation.opening import open_fits
from lenssuper.observation.reader import Reading

__all__ = ["cosmos_web_ring"]


def cosmos_web_ring(*, lens_light: bool = False) -> LensItem:
    """
    Read the COSMOS-Web ring, a real lens that comes with the package, in NIRCam's F150W.

    The image has 101 x 101 pixels of 0.03", with its noise, its PSF and a WCS. The companion galaxy in the
    south-west and the core of the lens galaxy are masked.

    Parameters
    ----------
    lens_light : bool, optional
        Whether the image shows the lens galaxy, with its core unmasked. By default its light, as modelled by
        COWLS, is subtracted.

    Returns
    -------
    LensItem
        With the observation, and as its lens the published SIE with external shear of COWLS. There is no
        truth.

    Notes
    -----
    The ring (Mercier et al. 2024, A&A 687, A61; van Dokkum et al. 2024, Nature Astronomy 8, 119) is a galaxy
    at redshift 5.1 behind one at 2.0. The image is public data of COSMOS-Web (JWST programme 1727). The
    cutout, the PSF, the model of the lens galaxy's light and the lens model are those of the public release
    of the COSMOS-Web Lens Survey (COWLS), under the MIT licence: cite Nightingale et al. 2025 (MNRAS,
    doi:10.1093/mnras/staf1253), Mahler et al. 2025 (MNRAS Letters, doi:10.1093/mnrasl/slaf088) and Hogg et
    al. 2025 (MNRAS 544, 782) where you use them. The header says what was changed, and
    ``cosmos_web_ring.md`` beside the file holds the licence.

    Examples
    --------
    >>> from lenssuper.datasets import cosmos_web_ring
    >>> ring = cosmos_web_ring()
    >>> ring.observation.shape
    (101, 101)
    >>> ring.lens.components[0].parameters["theta_E"]
    <Quantity 0.7707 arcsec>
    """
    folder = files(__name__)
    with as_file(folder / "cosmos_web_ring_f150w.fits") as path:
        if lens_light:
            observation = read_observation(path, reading=Reading(mask_bits="1"))
            with open_fits(path) as hdus:
                observation = observation.with_data(observation.data + hdus["LENSLIGHT"].data)
        else:
            observation = read_observation(path)
    with as_file(folder / "cosmos_web_ring.json") as path:
        lens = LensModel.read(path)
    return LensItem("cosmos_web_ring", observation, lens, lambda: None)
