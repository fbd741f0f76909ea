"""Cutouts: the right part of the sky, with everything that belongs to it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty
from astropy.wcs import WCS

from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError
from lenssuper.preparation import cut_out

SHAPE = (90, 120)


@pytest.fixture
def mosaic():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.2
    wcs.wcs.crpix = 40.5, 33.0
    turn = np.deg2rad(25)
    wcs.wcs.cd = 0.05 / 3600 * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.array_shape = SHAPE
    data = np.arange(SHAPE[0] * SHAPE[1], dtype=float).reshape(SHAPE)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[30, 62] = True
    image = CCDData(data, unit="adu", uncertainty=StdDevUncertainty(data + 1), mask=mask, wcs=wcs)
    image.psf = np.full((3, 3), 1 / 9)
    return image


def test_cutout_is_the_same_sky(mosaic):
    center = mosaic.wcs.pixel_to_world(60, 30)
    cut = cut_out(mosaic, center, 0.5 * u.arcsec)
    assert cut.shape == (11, 11)
    np.testing.assert_array_equal(cut.data, mosaic.data[25:36, 55:66])
    np.testing.assert_array_equal(cut.uncertainty.array, mosaic.uncertainty.array[25:36, 55:66])
    assert cut.mask.sum() == 1
    assert cut.mask[5, 7]
    np.testing.assert_array_equal(cut.psf, mosaic.psf)
    assert cut.wcs.pixel_to_world(5, 5).separation(center) < 1e-6 * u.arcsec
    assert cut.wcs.pixel_to_world(0, 10).separation(mosaic.wcs.pixel_to_world(55, 35)) < 1e-6 * u.arcsec


def test_column_and_row_do_as_well(mosaic):
    cut = cut_out(mosaic, (60, 30), 0.52 * u.arcsec)
    assert cut.shape == (11, 11)
    assert cut.data[5, 5] == mosaic.data[30, 60]


@pytest.mark.parametrize("size", [12.1, 400])
def test_a_size_in_other_units_is_refused(mosaic, size):
    with pytest.raises(ObservationError, match=r"size, .* image of 6 x 4.5 arcsec .*give it in arcsec"):
        cut_out(mosaic, (60, 45), size * u.arcsec)


def test_a_cutout_as_large_as_the_image_needs_no_warning(mosaic, recwarn):
    assert cut_out(mosaic, (60, 45), 4.3 * u.arcsec).shape == (87, 87)
    assert not recwarn.list


def test_beyond_the_edge_is_masked(mosaic):
    with pytest.warns(LensSuperWarning, match=r"11 x 11 pixels .* image of 120 x 90: 54% of it is masked"):
        cut = cut_out(mosaic, (1, 2), 0.5 * u.arcsec)
    assert cut.mask[:3].all()
    assert cut.mask[:, :4].all()
    assert not cut.mask[3:, 4:].any()
    assert cut.data[3, 4] == mosaic.data[0, 0]


def test_original_is_not_touched(mosaic):
    cut = cut_out(mosaic, (60, 30), 0.5 * u.arcsec)
    cut.data[:] = -1
    cut.mask[:] = True
    cut.psf[:] = 0
    assert mosaic.data.min() == 0
    assert mosaic.mask.sum() == 1
    assert mosaic.psf.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["UNCERT", "ERR", "IVM"])
def test_file_gives_what_memory_gives(mosaic, tmp_path, name):
    sigma = mosaic.uncertainty.array
    science = fits.ImageHDU(mosaic.data, header=mosaic.wcs.to_header(), name="SCI")
    science.header["BUNIT"] = "adu"
    hdus = [
        fits.PrimaryHDU(),
        science,
        fits.ImageHDU(sigma**-2 if name == "IVM" else sigma, name=name),
        fits.ImageHDU(mosaic.mask.astype(np.uint8), name="MASK"),
        fits.ImageHDU(mosaic.psf, name="PSFIMAGE"),
    ]
    path = tmp_path / "mosaic.fits"
    fits.HDUList(hdus).writeto(path)
    ours = cut_out(path, (60, 30), 0.5 * u.arcsec)
    expected = cut_out(mosaic, (60, 30), 0.5 * u.arcsec)
    np.testing.assert_array_equal(ours.data, expected.data)
    assert isinstance(ours.uncertainty, InverseVariance if name == "IVM" else StdDevUncertainty)
    std = ours.uncertainty.represent_as(StdDevUncertainty)
    np.testing.assert_allclose(std.array, expected.uncertainty.array)
    np.testing.assert_array_equal(ours.mask, expected.mask)
    np.testing.assert_array_equal(ours.psf, expected.psf)
    assert ours.unit == u.adu


def test_errors_say_what_to_do(mosaic, tmp_path):
    ny, nx = mosaic.shape
    middle = mosaic.wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    said = rf"10.00000 2.00000 deg, is outside .* {middle.ra.deg:.5f} {middle.dec.deg:.5f} deg"
    with pytest.raises(ObservationError, match=said):
        cut_out(mosaic, SkyCoord(10 * u.deg, 2 * u.deg), 1 * u.arcsec)
    with pytest.raises(ObservationError, match=r"\(4000, 30\), is outside"):
        cut_out(mosaic, (4000, 30), 1 * u.arcsec)
    with pytest.raises(TypeError, match="size must be a Quantity"):
        cut_out(mosaic, (60, 30), 11)
    with pytest.raises(ValueError, match="size must be positive"):
        cut_out(mosaic, (60, 30), -1 * u.arcsec)
    with pytest.raises(ValueError, match="center must be"):
        cut_out(mosaic, (60, np.nan), 1 * u.arcsec)
    with pytest.raises(TypeError, match="image must be an NDData"):
        cut_out(mosaic.data, (60, 30), 1 * u.arcsec)
    with pytest.raises(ObservationError, match="must have a WCS"):
        cut_out(CCDData(mosaic.data, unit="adu"), (60, 30), 1 * u.arcsec)
    with pytest.raises(FileNotFoundError):
        cut_out(tmp_path / "no.fits", (60, 30), 1 * u.arcsec)
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"not a FITS file")
    with pytest.raises(FileFormatError, match=r"bad\.fits"):
        cut_out(bad, (60, 30), 1 * u.arcsec)
