"""The tangent plane and the linear part of a WCS, in plain floats.

Offsets are gnomonic: a direction on the sky is projected from the centre of the sphere on the plane that
touches it at the reference point (Calabretta & Greisen 2002, A&A 395, 1077, section 5.1.3). East and north
are those of ICRS at the reference point, whatever the frame of the coordinates that come in.
"""

from __future__ import annotations

import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, FITSFixedWarning

from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError

__all__ = ["is_own_wcs", "linearise", "make_wcs", "offset_to_sky", "read_own_wcs", "sky_to_offset", "to_icrs"]

ARCSEC_PER_RADIAN = 180 / np.pi * 3600

# Deviation of a WCS from straight at a corner of the grid, in pixels, above which there is a warning.
_BENT = 0.1

# Sides of a pixel, in arcsec, beyond which a WCS is damaged.
_SMALLEST, _LARGEST = 1e-5, 300.0

_CENTRE = "the centre of the image by its wcs"


def to_icrs(coord, name):
    """Return (ra, dec) in degrees of a scalar SkyCoord."""
    if not isinstance(coord, SkyCoord):
        raise TypeError(f"{name} must be a SkyCoord; got {coord!r}")
    if not coord.isscalar:
        raise ValueError(f"{name} must be a single position; got {coord.size} positions")
    icrs = coord.icrs
    ra, dec = float(icrs.ra.deg), float(icrs.dec.deg)
    if not np.isfinite([ra, dec]).all():
        raise ValueError(f"{name} must be a finite position; got {coord!r}")
    return ra, dec


def sky_to_offset(coord, reference):
    """Return offsets (x west, y north) in arcsec of a SkyCoord from ``reference`` = (ra, dec) in degrees."""
    radial, east, north = _triad(reference)
    icrs = coord.icrs
    ra, dec = icrs.ra.rad, icrs.dec.rad
    towards = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    depth = np.tensordot(radial, towards, 1)
    if np.any(depth <= 0):
        raise ValueError("coord must be less than 90 degrees from the reference of the grid")
    return (
        -np.tensordot(east, towards, 1) / depth * ARCSEC_PER_RADIAN,
        np.tensordot(north, towards, 1) / depth * ARCSEC_PER_RADIAN,
    )


def offset_to_sky(x, y, reference):
    """Return the SkyCoord (ICRS) at tangent-plane offsets in arcsec from (ra, dec) in degrees."""
    radial, east, north = _triad(reference)
    xi, eta = np.broadcast_arrays(-np.asarray(x) / ARCSEC_PER_RADIAN, np.asarray(y) / ARCSEC_PER_RADIAN)
    px, py, pz = (radial[i] + xi * east[i] + eta * north[i] for i in range(3))
    ra, dec = np.arctan2(py, px), np.arctan2(pz, np.hypot(px, py))
    return SkyCoord(ra % (2 * np.pi), dec, unit=u.rad, frame="icrs")


def _triad(reference):
    """Return unit vectors from the centre of the sphere to the reference, and there to the east and north."""
    ra, dec = np.radians(reference)
    radial = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    return radial, east, north


def linearise(wcs, shape, reference):
    """
    Return the affine map from pixels to offsets that touches a WCS at the centre of an image (ny, nx).

    The zero of the offsets, ``reference``, is a SkyCoord, a Quantity of two world coordinates of a linear
    WCS, or by default the centre of the image. The map is a matrix (2, 2) in arcsec per pixel, with columns
    for the x and the y pixel axis, and the offset (2,) of pixel (0, 0); with them comes the reference as
    right ascension and declination in degrees, None without a celestial WCS.
    """
    wcs = _two_dimensional(wcs)
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    sky = _world(wcs, *centre)
    if isinstance(sky, SkyCoord):
        known = to_icrs(sky, _CENTRE) if reference is None else to_icrs(reference, "reference")

        def project(px, py):
            return np.stack(sky_to_offset(_world(wcs, px, py), known))
    else:
        known = None
        zero = _linear_zero(sky, reference)

        def project(px, py):
            return _world(wcs, px, py) - zero[:, np.newaxis]

    # Central differences of fourth order, exact for SIP up to its fourth power. A wide step keeps the
    # rounding of sky coordinates (1e-10 arcsec) out of the result; it stays within the image.
    steps = np.array([-2.0, -1.0, 1.0, 2.0])
    weights = np.array([1.0, -8.0, 8.0, -1.0]) / 12
    sizes = [min(32.0, max(1.0, n / 4)) for n in shape[::-1]]
    points = np.repeat(centre[:, np.newaxis], 9, axis=1)
    points[0, :4] += sizes[0] * steps
    points[1, 4:8] += sizes[1] * steps
    offsets = project(*points)  # all at once, as astropy takes a millisecond for any number of them
    matrix = np.stack([offsets[:, :4] @ weights / sizes[0], offsets[:, 4:8] @ weights / sizes[1]], axis=1)
    middle = offsets[:, 8]
    if reference is None:
        middle = np.zeros(2)  # by definition, without the rounding of sky coordinates
    if not (np.isfinite([*matrix.flat, *middle]).all() and np.linalg.det(matrix) != 0):
        raise ValueError(f"{_CENTRE} must be a finite position with a pixel of finite size")
    sides = np.linalg.norm(matrix, axis=0)
    if not np.all((sides > _SMALLEST) & (sides < _LARGEST)):
        # where a row of the matrix is 0 wcslib makes one degree per pixel
        shown = " x ".join(f"{side:.6g}" for side in sides)
        raise ObservationError(f"the pixel scale of the wcs cannot be: it gives pixels of {shown} arcsec")
    origin = middle - matrix @ centre
    _warn_if_bent(project, matrix, origin, shape)
    return matrix, origin, known


def _two_dimensional(wcs):
    if not hasattr(wcs, "pixel_to_world") or not hasattr(wcs, "pixel_n_dim"):
        raise TypeError(f"wcs must be an astropy WCS; got {wcs!r}")
    if wcs.pixel_n_dim != 2 and isinstance(wcs, WCS) and wcs.has_celestial:
        wcs = wcs.celestial
    if wcs.pixel_n_dim != 2 or wcs.world_n_dim != 2:
        raise ValueError(
            f"wcs must have two pixel and two world axes; got {wcs.pixel_n_dim} and {wcs.world_n_dim}: "
            "slice the data to an image first"
        )
    return wcs


def _world(wcs, px, py):
    """Return a SkyCoord, or an array (2, ...) in arcsec for a WCS without a sky."""
    world = wcs.pixel_to_world(px, py)
    if isinstance(world, SkyCoord):
        return world
    if not isinstance(world, (list, tuple)) or len(world) != 2:
        got = type(world).__name__
        raise ValueError(f"wcs must be celestial or have two axes in angular units; got a {got}")
    try:
        return np.stack([u.Quantity(axis).to_value(u.arcsec) for axis in world])
    except (u.UnitConversionError, TypeError):
        units = " and ".join(repr(str(getattr(axis, "unit", type(axis).__name__))) for axis in world)
        raise ValueError(
            f"wcs must be celestial or have two axes in angular units; got units {units}: "
            "say where the pixels are with Observation.from_nddata(nddata, grid=PixelGrid(shape, scale))"
        ) from None


def _linear_zero(centre, reference):
    if reference is None:
        return centre
    if isinstance(reference, SkyCoord):
        raise ValueError("reference is a SkyCoord, but the wcs is not celestial")
    if not isinstance(reference, u.Quantity) or reference.shape != (2,):
        raise TypeError(
            "reference of a linear wcs must be a Quantity of its two world coordinates, "
            f"e.g. (0, 0) * u.arcsec; got {reference!r}"
        )
    return reference.to_value(u.arcsec)


def _warn_if_bent(project, matrix, origin, shape):
    ny, nx = shape
    px = np.array([-0.5, nx - 0.5, -0.5, nx - 0.5])
    py = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
    misfit = np.linalg.solve(matrix, project(px, py) - (matrix @ np.stack([px, py]) + origin[:, np.newaxis]))
    worst = np.hypot(*misfit).max()
    if not worst < _BENT:
        warn(
            f"the wcs is not straight: at a corner of the {ny} x {nx} image it is {worst:.2g} pixels from "
            "the affine map that touches it at the centre; cut out the lens before its grid is made"
        )


def make_wcs(shape, matrix, origin, reference):
    """Return the astropy WCS of an affine grid: TAN about the reference, or linear in arcsec without one."""
    wcs = WCS(naxis=2)
    scale = np.linalg.norm(matrix, axis=1)
    wcs.wcs.pc = matrix / scale[:, np.newaxis]
    wcs.wcs.crpix = np.linalg.solve(matrix, -origin) + 1  # FITS counts pixels from one
    if reference is None:
        wcs.wcs.ctype = ["XOFFSET", "YOFFSET"]
        wcs.wcs.cunit = ["arcsec", "arcsec"]
        wcs.wcs.cdelt = scale
        wcs.wcs.crval = [0.0, 0.0]
    else:
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.cdelt = scale * [-1, 1] / 3600  # x is to the west
        wcs.wcs.crval = reference
        wcs.wcs.radesys = "ICRS"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs.wcs.set()
    wcs.array_shape = shape
    return wcs


def is_own_wcs(wcs):
    """Whether a WCS is one of `make_wcs` by its kind: TAN, or linear in arcsec, and without distortion."""
    if not isinstance(wcs, WCS) or wcs.naxis != 2 or wcs.has_distortion:
        return False
    return list(wcs.wcs.ctype) in (["RA---TAN", "DEC--TAN"], ["XOFFSET", "YOFFSET"])


def read_own_wcs(wcs):
    """Return matrix, origin and reference of a WCS that `make_wcs` made, also if it was in a file since."""
    celestial = wcs.has_celestial
    # A file may hold the linear axes in another unit, and the scale in either of the two factors.
    to_arcsec = np.array([u.Unit(unit).to(u.arcsec) for unit in wcs.wcs.cunit])
    signs = np.array([-1, 1]) if celestial else np.array([1, 1])
    matrix = (to_arcsec * signs)[:, np.newaxis] * wcs.pixel_scale_matrix
    shift = np.zeros(2) if celestial else to_arcsec * wcs.wcs.crval
    return matrix, shift - matrix @ (wcs.wcs.crpix - 1), tuple(wcs.wcs.crval) if celestial else None
