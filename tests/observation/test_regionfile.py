"""Masks that are regions: which pixels lie in them, on the sky and in pixels."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper.cli import main
from lenssuper.exceptions import ObservationError
from lenssuper.observation import read_observation
from lenssuper.observation.reader import Reading
from lenssuper.simulate import random_mock

pytest.importorskip("regions")
SHAPE = (30, 40)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "image.fits"
    grid = random_mock(3, shape=SHAPE).grid
    rng = np.random.default_rng(1)
    ccd = CCDData(
        rng.normal(size=SHAPE), uncertainty=StdDevUncertainty(np.ones(SHAPE)), unit="adu", wcs=grid.wcs
    )
    ccd.write(path)
    return path, grid


def masked(image, tmp_path, text):
    (tmp_path / "mask.reg").write_text(text)
    return read_observation(image[0], reading=Reading(mask=tmp_path / "mask.reg")).mask


def test_pixels(image, tmp_path):
    # DS9 counts pixels from 1
    mask = masked(image, tmp_path, "# Region file format: DS9\nimage\ncircle(11,8,3.2)\nbox(30,20,5,3,0)\n")
    row, column = np.indices(SHAPE)
    expected = (np.hypot(column - 10, row - 7) < 3.2) | ((abs(column - 29) < 2.5) & (abs(row - 19) < 1.5))
    np.testing.assert_array_equal(mask, expected)


def test_sky(image, tmp_path):
    _, grid = image
    place = grid.offset_to_sky(0.5 * u.arcsec, -0.3 * u.arcsec)
    circle = f'circle({place.ra.deg:.8f},{place.dec.deg:.8f},0.4")'
    mask = masked(image, tmp_path, f"# Region file format: DS9\nicrs\n{circle}\n")
    x, y = grid.centers_arcsec()
    np.testing.assert_array_equal(mask, np.hypot(x - 0.5, y + 0.3) < 0.4)


def test_an_excluded_region_is_used(image, tmp_path):
    text = "# Region file format: DS9\nimage\ncircle(11,8,4)\n-circle(11,8,2)\n"
    row, column = np.indices(SHAPE)
    radius = np.hypot(column - 10, row - 7)
    np.testing.assert_array_equal(masked(image, tmp_path, text), (radius < 4) & (radius >= 2))


def test_regions_on_the_sky_need_a_wcs(tmp_path):
    path = tmp_path / "plain.fits"
    hdus = [fits.PrimaryHDU(np.zeros(SHAPE)), fits.ImageHDU(np.ones(SHAPE), name="ERR")]
    hdus[0].header["BUNIT"] = "adu"
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(ObservationError, match="has no WCS; save them in image coordinates"):
        masked((path, None), tmp_path, '# Region file format: DS9\nicrs\ncircle(150,2,1")\n')


def test_prepare_takes_regions(image, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mask.reg").write_text("# Region file format: DS9\nimage\ncircle(11,8,3.2)\n")
    arguments = ["prepare", str(image[0]), "--mask", "mask.reg", "--no-rescale", "--output", "ready.fits"]
    assert main(arguments) == 0
    assert "mask from the regions in mask.reg" in capsys.readouterr().out
    row, column = np.indices(SHAPE)
    assert read_observation("ready.fits").mask[np.hypot(column - 10, row - 7) < 3.2].all()
    assert main([*arguments[:3], "no.reg", "--output", "other.fits"]) == 1
    assert "no.reg: No such file" in capsys.readouterr().err
