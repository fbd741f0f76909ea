"""The FITS file of a search for substructure."""

from __future__ import annotations

import os

import numpy as np
from astropy.io import fits
from astropy.time import Time

from lenssuper._utils.files import atomic_write
from lenssuper._utils.version import __version__
from lenssuper.observation.hdus import image_hdu, info_hdu

__all__ = ["write_substructure"]

_VERSION = 1


def write_substructure(result, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a `SubstructureResult`: its maps, the candidates, and the lenses in the table INFO."""
    primary = fits.PrimaryHDU()
    primary.header["LSSUBMAP"] = (_VERSION, "layout of a lenssuper search for substructure")
    primary.header["CREATOR"] = (f"lenssuper {__version__}", "who wrote this file")
    primary.header["DATE"] = (Time.now().isot, "when (UTC)")
    maps, grid = result.maps, result.grid
    masses = (
        ("MASS", maps.mass, "mass that fits best to first order, Msun"),
        ("SENSITIV", maps.sensitivity(5.0), "mass seen at 5 sigma, Msun"),
    )
    images = (
        ("SIGNIF", maps.significance, "amplitude over error"),
        ("AMPLITUD", maps.amplitude, "in units of the perturber"),
        ("SIGMA", maps.sigma, "error of AMPLITUD"),
        *(masses if result.profile.has_mass else ()),
        ("KAPPA", result.correction.convergence, "free correction of the convergence"),
        ("REMAINS", result.rescan.significance, "SIGNIF with the detected clumps in the lens"),
    )
    hdus = [primary, *(image_hdu(name, values, grid, None, comment) for name, values, comment in images)]
    hdus.append(image_hdu("RESIDUAL", result.residuals, result.observation.grid, None, "of the smooth lens"))
    table = fits.table_to_hdu(result.table)
    table.name = "CANDIDAT"
    info = {
        "perturber": result.profile.described(),
        "smooth_lens": result.smooth_lens.to_dict(),
        "lens": result.lens.to_dict(),
        "reduced_chi2": [float(each) for each in result.reduced_chi2],
        "levels": {name: float(value) for name, value in vars(maps.levels).items()},
        "correction": {name: getattr(result.correction, name) for name in ("gain", "length", "std")},
        "masses": np.asarray(maps.masses).tolist(),
        "messages": list(result.messages),
        **({} if result.judgement is None else result.judgement.to_dict()),
    }
    hdus += [table, info_hdu(info)]
    hdus[0].header["LSNEXT"] = (len(hdus) - 1, "number of extensions of this file")
    with atomic_write(path, overwrite=overwrite) as beside:
        fits.HDUList(hdus).writeto(beside, checksum=True)
