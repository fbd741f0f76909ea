"""A folder of cutouts, and the noise of images that have none."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from lenssuper import Observation, PixelGrid, write_observation
from lenssuper.datasets import CutoutFolder, with_noise
from lenssuper.exceptions import FileFormatError, ObservationError
from lenssuper.simulate import mock_galaxies


@pytest.fixture(scope="module")
def galaxies():
    return mock_galaxies(3, 1, shape=(32, 36))


@pytest.fixture
def folder(tmp_path, galaxies):
    """Two galaxies with everything, and one that is nothing but an image with a WCS."""
    write_observation(Observation.from_nddata(galaxies[0]), tmp_path / "a.fits")
    galaxies[1].write(tmp_path / "b.fits")
    fits.writeto(tmp_path / "c.fits", galaxies[2].data, galaxies[2].wcs.to_header())
    (tmp_path / "readme.txt").write_text("not a galaxy")
    return tmp_path


def test_galaxies_come_in_the_order_of_their_names(folder, galaxies):
    cutouts = CutoutFolder(folder)
    assert len(cutouts) == 3
    assert [file.name for file in cutouts.files] == ["a.fits", "b.fits", "c.fits"]
    for found, true in zip(cutouts[:2], galaxies, strict=False):
        np.testing.assert_allclose(found.data, true.data)
        np.testing.assert_allclose(found.uncertainty.array, true.uncertainty.array)
        np.testing.assert_allclose(found.psf, true.psf)
    assert [file.name for file in cutouts[1:].files] == ["b.fits", "c.fits"]
    assert [file.name for file in CutoutFolder(folder, "[bc].fits").files] == ["b.fits", "c.fits"]


def test_an_image_without_noise(folder, galaxies):
    with pytest.raises(ObservationError, match=r"c\.fits: the observation has no uncertainty"):
        CutoutFolder(folder)[2]
    found = CutoutFolder(folder, estimate_noise=True)[2]
    assert found.uncertainty.array[0, 0] == pytest.approx(galaxies[2].uncertainty.array.min(), rel=0.15)
    np.testing.assert_array_equal(found.data, galaxies[2].data)
    grid = Observation.from_nddata(found).grid
    assert grid.pixel_scale.to_value(u.arcsec) == pytest.approx(0.1)


def test_noise_of_the_file_is_kept(folder, galaxies):
    found = CutoutFolder(folder, estimate_noise=True)[0]
    np.testing.assert_allclose(found.uncertainty.array, galaxies[0].uncertainty.array)


def test_an_image_without_wcs(tmp_path, galaxies):
    fits.writeto(tmp_path / "plain.fits", galaxies[0].data)
    galaxies[1].write(tmp_path / "sky.fits")
    with pytest.raises(ObservationError, match="no WCS"):
        Observation.from_nddata(CutoutFolder(tmp_path, estimate_noise=True)[0])
    cutouts = CutoutFolder(tmp_path, estimate_noise=True, pixel_scale=0.2 * u.arcsec)
    scales = [Observation.from_nddata(image).grid.pixel_scale.to_value(u.arcsec) for image in cutouts]
    np.testing.assert_allclose(scales, [0.2, 0.1])  # the file that has a WCS knows better


def test_bad_files_are_named(folder):
    (folder / "b.fits").write_bytes((folder / "b.fits").read_bytes()[:7000])
    (folder / "c.fits").write_text("no FITS")
    for estimate in (False, True):
        cutouts = CutoutFolder(folder, estimate_noise=estimate)
        cutouts[0]
        for i, name in ((1, "b.fits"), (2, "c.fits")):
            with pytest.raises(FileFormatError, match=name):
                cutouts[i]


def test_what_is_no_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="path must be a folder"):
        CutoutFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no file in .* matches '\*\.fits'"):
        CutoutFolder(tmp_path)
    fits.writeto(tmp_path / "a.fits", np.zeros((3, 3)))
    with pytest.raises(TypeError, match="pixel_scale must be a Quantity"):
        CutoutFolder(tmp_path, pixel_scale=0.1)


# Noise from the sky


def sky(seed, sigma=2.0, shape=(60, 60)):
    return CCDData(np.random.default_rng(seed).normal(5.0, sigma, shape), unit="adu")


def test_noise_of_empty_sky():
    assert with_noise(sky(1)).uncertainty.array[3, 3] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(("radius", "error"), [(4, 0.08), (9, 0.08), (60, 0.25)])
def test_light_is_left_out(radius, error):
    """Also where there is hardly any sky beside it, and where there is none."""
    image = sky(2)
    y, x = np.mgrid[:60, :60] - 29.5
    image.data += 200 * np.exp(-np.hypot(x, y) / radius)
    assert with_noise(image).uncertainty.array[0, 0] == pytest.approx(2.0, rel=error)


def test_bad_pixels_are_left_out_and_kept():
    image = sky(3)
    image.data[10:30, 10:30] = 1e4
    image.mask = image.data > 1e3
    image.data[50, 50], image.data[51, 51] = np.nan, np.inf
    image.psf = np.ones((3, 3)) / 9
    found = with_noise(image)
    assert found.uncertainty.array[0, 0] == pytest.approx(2.0, rel=0.06)
    np.testing.assert_array_equal(found.mask, image.mask)
    np.testing.assert_array_equal(found.psf, image.psf)
    assert image.uncertainty is None
    assert found.unit == image.unit


def test_integers_are_rounded():
    flat = CCDData(np.full((30, 30), 7, dtype=np.uint8), unit="")
    assert with_noise(flat).uncertainty.array[0, 0] == pytest.approx(12**-0.5)


def test_noise_that_cannot_be_measured():
    with pytest.raises(ObservationError, match="sky of the image is constant"):
        with_noise(CCDData(np.ones((20, 20)), unit="adu"))
    with pytest.raises(ObservationError, match="no pixel of the image can be used"):
        with_noise(CCDData(np.full((20, 20), np.nan), unit="adu"))
    with pytest.raises(ObservationError, match="two-dimensional"):
        with_noise(CCDData(np.ones((2, 20, 20)), unit="adu"))
    with pytest.raises(TypeError, match="image must be an astropy NDData"):
        with_noise(np.ones((20, 20)))


def test_a_fitter_can_use_it():
    image = sky(4)
    image.wcs = PixelGrid((60, 60), 0.1 * u.arcsec).wcs
    assert Observation.from_nddata(with_noise(image)).sigma.max() < 3
