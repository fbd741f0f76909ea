"""``lenssuper prepare`` on the command line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from matplotlib.figure import Figure

from lenssuper import Observation, PixelGrid, SuperResolution, read_observation, write_observation
from lenssuper.cli import main
from lenssuper.preparation import gaussian_psf
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian


@pytest.fixture(scope="module")
def mock():
    return random_mock(3, shape=(80, 80))


@pytest.fixture
def image(mock, tmp_path, monkeypatch):
    """A mosaic as an archive has it: an image, and nothing else."""
    monkeypatch.chdir(tmp_path)
    header = mock.observation.wcs.to_header()
    header["BUNIT"], header["EXPTIME"] = "electron / s", 2000.0
    sky = 0.01
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(mock.observation.data + sky, header=header, name="SCI")]
    fits.HDUList(hdus).writeto("mosaic.fits")
    fits.writeto("psf.fits", mock.observation.psf)
    return "mosaic.fits"


def test_prepared_image_goes_on_to_run(image, mock, monkeypatch, capsys):
    monkeypatch.setattr(
        "lenssuper.superres.superresolver.LogNormal", lambda: Gaussian(n_draws=2, dense_limit=0)
    )
    monkeypatch.setattr(SuperResolution, "plot", lambda self: Figure(figsize=(1, 1)))
    mock.lens.write("lens.json")
    options = ["--psf", "psf.fits", "--lens", "lens.json", "--exposure-time", "500", "--output", "ready.fits"]
    assert main(["prepare", image, *options]) == 0
    out = capsys.readouterr().out
    assert "subtracted a sky of 0.0" in out
    assert "measured the noise of the sky" in out
    ready = read_observation("ready.fits")
    truth = mock.observation.uncertainty.array
    dim = truth < 1.05 * truth.min()
    assert np.median(ready.sigma[dim] / truth[dim]) == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(ready.psf, mock.observation.psf, atol=1e-7)
    assert main(["run", "ready.fits", "--lens", "lens.json", "--factor", "1", "--quiet", "--seed", "1"]) == 0


def test_warnings_are_said_as_those_of_the_command(image):
    """In a process of its own: astropy takes the showing of warnings over when it is loaded."""
    fits.delval(image, "EXPTIME", extname="SCI")
    fits.writeto("wrong.fits", 0.9 * gaussian_psf(0.2 * u.arcsec, 0.1 * u.arcsec))
    command = [sys.executable, "-m", "lenssuper", "prepare", image, "--psf", "wrong.fits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "lenssuper: warning: the psf sums to 0.9; it is normalised to one" in done.stderr
    assert "LensSuperWarning" not in done.stderr
    # what was a warning is not said again with what was done
    assert (done.stdout + done.stderr).count("the photon noise of the light is not known") == 1


def test_cutout_by_pixel_and_by_sky_agree(image, mock):
    center = mock.observation.wcs.pixel_to_world(40, 38)
    size = ["--size", "3", "--psf", "psf.fits"]
    assert main(["prepare", image, "--pixel", "40", "38", *size, "--output", "a.fits", "--quiet"]) == 0
    sky = [f"{center.ra.deg:.9f}", f"{center.dec.deg:.9f}"]
    assert main(["prepare", image, "--sky", *sky, *size, "--output", "b.fits", "--quiet"]) == 0
    words = center.to_string("hmsdms", precision=6).split()
    assert main(["prepare", image, "--sky", *words, *size, "--output", "c.fits", "--quiet"]) == 0
    first = read_observation("a.fits")
    for name in ("b.fits", "c.fits"):
        np.testing.assert_allclose(read_observation(name).data, first.data)
    assert first.shape[0] % 2 == 1
    assert 0 <= first.shape[0] * mock.grid.pixel_scale.value - 3 < 2 * mock.grid.pixel_scale.value


def test_own_file_keeps_where_its_pixels_are_and_what_its_psf_is(image, mock):
    nddata = mock.observation.copy()
    nddata.psf = gaussian_psf(0.12 * u.arcsec, mock.grid.pixel_scale / 3)
    # offsets that are not counted from the middle
    corner = nddata.wcs.pixel_to_world(10, 20)
    grid = PixelGrid.from_wcs(nddata.wcs, nddata.shape, reference=corner)
    own = Observation.from_nddata(nddata, grid=grid, psf_oversampling=3, psf_includes_pixel=False)
    write_observation(own, "own.fits")
    assert main(["prepare", "own.fits", "--output", "a.fits", "--quiet"]) == 0
    ready = read_observation("a.fits")
    assert (ready.psf_oversampling, ready.psf_includes_pixel) == (3, False)
    np.testing.assert_allclose(ready.psf, own.psf)
    np.testing.assert_allclose(ready.grid.centers_arcsec(), grid.centers_arcsec(), rtol=0, atol=1e-9)
    # another PSF is an ordinary one, and offsets of a cutout are counted from its middle
    options = ["--psf", "psf.fits", "--pixel", "40", "40", "--size", "3", "--output", "b.fits", "--quiet"]
    assert main(["prepare", "own.fits", *options]) == 0
    ready = read_observation("b.fits")
    assert (ready.psf_oversampling, ready.psf_includes_pixel) == (1, True)
    assert abs(np.mean(ready.grid.centers_arcsec(), axis=(1, 2))).max() < 1e-6


def test_gaussian_psf(image):
    assert main(["prepare", image, "--gaussian", "0.2", "--quiet"]) == 0
    assert read_observation("mosaic_prepared.fits").psf.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "3"], "--size goes with"),
        (["--pixel", "4000", "4000", "--size", "1"], "outside of the image"),
        (["--rms", "-1"], "rms must be positive"),
        (["--arcs-only"], "needs --lens"),
        (["--psf", "nothing.fits"], "nothing.fits"),
        (["--sky", "here", "there", "--size", "1"], "error"),
        (["--exposure-time", "10", "--gain", "-1"], "gain must be positive"),
    ],
)
def test_errors_say_what_is_wrong_and_leave_nothing(image, options, message, capsys, tmp_path):
    assert main(["prepare", image, *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mosaic_prepared.fits").exists()


def test_files_are_not_replaced_unasked(image, capsys):
    (path := "mosaic_prepared.fits")
    with open(path, "w") as file:
        file.write("precious")
    assert main(["prepare", image, "--gaussian", "0.2"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    with open(path) as file:
        assert file.read() == "precious"


@pytest.mark.parametrize(
    "sky", [["3h32m24s", "-27d48m00s"], ["03:32:24", "-27:48:00"], ["5.31e1", "-2.78e1"]]
)
def test_declinations_below_zero(image, sky):
    with fits.open(image, mode="update") as hdus:
        hdus["SCI"].header.update(CRVAL1=53.1, CRVAL2=-27.8)
        hdus["SCI"].header["CRPIX1"] += 0.3  # not between two pixels, where rounding decides
        hdus["SCI"].header["CRPIX2"] += 0.3
    size = ["--size", "3", "--psf", "psf.fits", "--quiet"]
    assert main(["prepare", image, "--sky", "53.1", "-27.8", *size, "--output", "a.fits"]) == 0
    assert main(["prepare", image, "--sky", *sky, *size, "--output", "b.fits"]) == 0
    first, second = (read_observation(name) for name in ("a.fits", "b.fits"))
    np.testing.assert_array_equal(first.data, second.data)
    assert first.grid.reference.separation(second.grid.reference) < 1e-5 * u.arcsec
