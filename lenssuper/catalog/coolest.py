"""COOLEST templates with their data: observations for a catalogue, and results of it (Galan et al. 2023)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import __version__
from lenssuper._utils.files import atomic_write, reading
from lenssuper._utils.jsonfile import read_json
from lenssuper.exceptions import FileFormatError
from lenssuper.lens.interop.coolest import posterior_of
from lenssuper.lensfit import LensFit
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.opening import open_fits
from lenssuper.observation.units import read_unit
from lenssuper.preparation import gaussian_psf
from lenssuper.superres.exports import source_profile
from lenssuper.superres.result import SuperResolution

__all__ = ["is_template", "read_template", "source_beside", "template_files", "write_template"]

# Pixels of the PSF in one of the data that are taken for a whole number of them.
_WHOLE = 1e-3


def is_template(path: str | os.PathLike) -> bool:
    """Whether a JSON file says of itself that it is a COOLEST template."""
    try:
        content = read_json(path)
    except (OSError, FileFormatError):
        return False
    return isinstance(content, Mapping) and content.get("standard") == "COOLEST"


def template_files(path: str | os.PathLike) -> list[Path]:
    """The template and the FITS files that its observation, instrument and likelihoods name."""
    content = _load(path)
    parts = [content.get(name) for name in ("observation", "instrument", "likelihoods")]
    return [Path(path), *(Path(path).parent / name for name in _named(parts))]


def read_template(path: str | os.PathLike) -> tuple[CCDData, dict[str, Any]]:
    """
    Read the observation of a COOLEST template.

    The data, the noise map (NoiseMap, or UniformGaussianNoise), the PSF (PixelatedPSF, GaussianPSF) and the
    mask of the likelihood are in FITS files named relative to the template. A PSF with more than one sample
    to a pixel is taken as optical, one with one as effective.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    image : CCDData
        Without uncertainty where the template has no map of the noise.
    options : dict
        Grid and kind of the PSF, for `Observation.from_nddata`.

    Raises
    ------
    FileFormatError
        If the template or one of its files is damaged or incomplete; the message names it.
    """
    path = Path(path)
    content = _load(path)
    try:
        observation, instrument = _part(content, "observation"), _part(content, "instrument")
        pixels = _part(observation, "pixels", "observation")
        data, unit = _image(path, pixels, "observation.pixels")
        grid = _grid(pixels, data.shape, instrument, content.get("coordinates_origin"))
        psf, oversampling = _psf(path, instrument, np.sqrt(grid.area_arcsec2))
        sigma = _noise(path, observation.get("noise"), data.shape)
        mask = _mask(path, content.get("likelihoods"), data.shape)
    except FileFormatError:
        raise
    except Exception as error:  # a template can have anything where something else is expected
        raise FileFormatError(f"{path}: the COOLEST template cannot be read: {error!r}") from error
    header = fits.Header({"LSGRID": True, "PSFOVERS": oversampling, "PSFPIXEL": oversampling == 1})
    image = CCDData(
        data,
        unit=unit,
        uncertainty=None if sigma is None else StdDevUncertainty(sigma),
        mask=mask | ~np.isfinite(data),
        psf=psf,
        wcs=grid.wcs,
        meta=header,
    )
    return image, {"grid": grid, "psf_oversampling": oversampling, "psf_includes_pixel": oversampling == 1}


def source_beside(path: Path) -> Path:
    """Name of the file with the source that belongs to a template."""
    return path.with_name(f"{path.stem}_source.fits")


def write_template(
    template: str | os.PathLike, result: SuperResolution, fit: LensFit | None, path: Path
) -> None:
    """
    Write a template with what was found: the lens, and the source as a PixelatedRegularGrid.

    Parameters
    ----------
    template : str or path-like
        The one that the observation came from; what is not changed is taken from it.
    result : SuperResolution
    fit : LensFit or None
        Where its errors come from; without, the lens is left as it is.
    path : Path
        Of the new template; the source is written to the file `source_beside` names.
    """
    content = _load(template)
    here = path.parent.absolute()
    for grid in _grids([content.get(name) for name in ("observation", "instrument", "likelihoods")]):
        named = Path(template).absolute().parent / grid["fits_file"]["path"]
        grid["fits_file"]["path"] = os.path.relpath(named, here)
    content["mode"] = "MAP"
    content["meta"] = {**(content.get("meta") or {}), "lenssuper": f"lenssuper {__version__}"}
    if fit is not None:
        profiles = [p for entity in content["lensing_entities"] for p in entity.get("mass_model") or []]
        for profile, part, errors in zip(profiles, fit.lens.components, _errors_of(fit), strict=True):
            profile["parameters"] = posterior_of(part, errors)
    _source_entity(content["lensing_entities"])["light_model"] = [source_profile(result, source_beside(path))]
    with atomic_write(path, overwrite=True) as beside:
        beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _load(path):
    content = read_json(path)
    if not isinstance(content, Mapping) or content.get("standard") != "COOLEST":
        raise FileFormatError(f'{path} is not a COOLEST template: it has no "standard": "COOLEST"')
    return content


def _grids(content: Any) -> Iterator[dict]:
    """Yield the grids of a template, or a part of one, that have a file."""
    if isinstance(content, dict):
        file = content.get("fits_file")
        if isinstance(file, dict) and isinstance(file.get("path"), str):
            yield content
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _grids(item)


def _named(content):
    return dict.fromkeys(grid["fits_file"]["path"] for grid in _grids(content))


def _part(content, name, within=""):
    part = content.get(name)
    if not isinstance(part, Mapping):
        raise ValueError(f'it has no "{within + "." if within else ""}{name}", which is needed')
    return part


def _image(template, grid, what):
    """Read the image that a grid names, and its unit."""
    name = (grid.get("fits_file") or {}).get("path")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} names no FITS file: fits_file.path is {name!r}")
    path = template.parent / name
    try:
        with reading(path, "a FITS image"), open_fits(path) as hdus:
            images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] == 2]
            if not images:
                raise FileFormatError(f"{path} holds no image with two axes")
            data = np.array(images[0].data, dtype=np.float64)
            unit = read_unit(images[0].header.get("BUNIT", "")) or u.dimensionless_unscaled
    except FileNotFoundError:
        raise FileFormatError(f"{template}: {what} is in {name}, and there is no such file") from None
    counted = {grid.get(f"num_pix_{axis}") or n for axis, n in zip("xy", data.shape[::-1], strict=True)}
    if counted != set(data.shape):  # as a set: the coolest library exchanges rows and columns
        raise FileFormatError(f"{template}: {what} has {counted} pixels along its sides, {name} {data.shape}")
    return data, unit


def _sides(grid, shape, pixel_size=None):
    """Start and step, in arcsec, of the pixels along x and y."""
    found = []
    for axis, n in zip("xy", shape[::-1], strict=True):
        first, last = (float(edge) for edge in grid.get(f"field_of_view_{axis}") or (0, 0))
        if first == last and pixel_size is not None:
            first, last = -n * pixel_size / 2, n * pixel_size / 2
        step = (last - first) / n
        if not (np.isfinite(step) and step != 0):
            raise ValueError(
                f"field_of_view_{axis} must be two different numbers of arcsec; got {first}, {last}"
            )
        found.append((first + step / 2, step))
    return found


def _grid(pixels, shape, instrument, origin):
    (x, dx), (y, dy) = _sides(pixels, shape, float(instrument.get("pixel_size") or 0) or None)
    if not np.isclose(abs(dx), abs(dy), rtol=1e-3):
        raise ValueError(
            f"pixels must be squares; those of the field of view have {dx:.6g} and {dy:.6g} arcsec"
        )
    reference = None
    if isinstance(origin, Mapping) and dx > 0 < dy:  # else x and y are not to the west and north
        sky = SkyCoord(str(origin.get("ra")), str(origin.get("dec")), frame="icrs")
        reference = (sky.ra.deg, sky.dec.deg) if sky.ra.deg or sky.dec.deg else None
    return PixelGrid.from_affine(shape, [[dx, 0.0], [0.0, dy]], [x, y], reference)


def _psf(template, instrument, side):
    """The PSF and its samples per pixel."""
    psf = instrument.get("psf") or {}
    kind = psf.get("type")
    if kind is None:
        return None, 1
    if kind == "GaussianPSF":
        return gaussian_psf(float(psf["fwhm"]) * side * u.arcsec, side * u.arcsec), 1
    if kind != "PixelatedPSF":
        raise ValueError(f"the PSF must be a PixelatedPSF or a GaussianPSF; got {kind!r}")
    values, _ = _image(template, psf["pixels"], "instrument.psf.pixels")
    (_, step), _ = _sides(psf["pixels"], values.shape, side)
    samples = side / abs(step)
    if abs(samples - round(samples)) > _WHOLE * samples or round(samples) < 1:
        raise ValueError(f"the PSF must have a whole number of samples to a pixel; it has {samples:.6g}")
    return values, round(samples)


def _noise(template, noise, shape):
    kind = (noise or {}).get("type")
    if kind == "UniformGaussianNoise":
        return np.full(shape, float(noise["std_dev"]))
    if kind == "NoiseMap":
        return _shaped(
            _image(template, noise["noise_map"], "observation.noise.noise_map")[0], shape, "noise map"
        )
    return None  # to be measured


def _mask(template, likelihoods, shape):
    """Pixels that no likelihood uses."""
    unused = np.zeros(shape, dtype=bool)
    for likelihood in likelihoods or []:
        if isinstance(likelihood.get("mask"), Mapping) and next(_grids(likelihood["mask"]), None):
            used, _ = _image(template, likelihood["mask"], "the mask of the likelihood")
            unused |= ~(_shaped(used, shape, "mask") > 0)
    return unused


def _shaped(values, shape, what):
    if values.shape != shape:
        raise ValueError(f"the {what} must have the shape of the data, {shape}; got {values.shape}")
    return values


def _errors_of(fit):
    """Yield the standard deviations of the parameters of each component by their names."""
    errors = iter(fit.errors.values())
    for part in fit.lens.components:
        yield dict(zip(part.parameters, errors, strict=False))


def _source_entity(entities):
    """The galaxy that is lensed: one without mass, the farthest; it is added if there is none."""
    galaxies = [e for e in entities if e.get("type") == "Galaxy" and not e.get("mass_model")]
    if galaxies:
        return max(galaxies, key=lambda entity: entity.get("redshift") or 0)
    entities.append({"type": "Galaxy", "name": "source", "redshift": None, "mass_model": []})
    return entities[-1]
