"""Files in the layouts of surveys: what is read as science, noise, mask, unit and PSF."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS
from scipy import ndimage

from lenssuper import Observation, PixelGrid, prepare, read_observation, write_observation
from lenssuper.cli import _common
from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError
from lenssuper.observation.psffile import PsfOptions, read_psf
from lenssuper.observation.reader import Reading, open_image
from lenssuper.observation.units import read_unit
from lenssuper.preparation import cut_out

SHAPE = (40, 50)
SIGMA = np.where(np.arange(SHAPE[1]) < 30, 1.0, 2.0) * np.ones(SHAPE)
BAD = np.zeros(SHAPE, dtype=bool)
BAD[5:8, 10:20] = True
FOUND = np.zeros(SHAPE, dtype=bool)  # where a pipeline has detected something
FOUND[20:26, 20:26] = True


def science(seed=1):
    return np.random.default_rng(seed).normal(0, 1, SHAPE)


def header(**cards):
    made = PixelGrid(SHAPE, 0.1 * u.arcsec).wcs.to_header()
    made.update(cards)
    return made


def on_sky(**cards):
    """A header of an image on the sky, north up and east to the left."""
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    pixels = {"CRPIX1": 25.5, "CRPIX2": 20.5, "CD1_1": -0.1 / 3600, "CD2_2": 0.1 / 3600}
    return fits.Header(
        {**sky, "CUNIT1": "deg", "CUNIT2": "deg", **pixels, "CD1_2": 0.0, "CD2_1": 0.0, **cards}
    )


def image(values, name, version=None, **cards):
    hdu = fits.ImageHDU(values, header(**cards), name=name)
    if version is not None:
        hdu.ver = version
    return hdu


def hst():
    return [
        fits.PrimaryHDU(header=fits.Header({"TELESCOP": "HST", "INSTRUME": "ACS"})),
        image(science(), "SCI", 1, BUNIT="ELECTRONS"),
        image(SIGMA, "ERR", 1, BUNIT="ELECTRONS"),
        image((BAD * 4 + FOUND * 64).astype("i2"), "DQ", 1),
    ]


def hst_drizzled():
    return [
        fits.PrimaryHDU(header=fits.Header({"TELESCOP": "HST", "INSTRUME": "WFC3"})),
        image(science(), "SCI", 1, BUNIT="ELECTRONS/S"),
        image(np.where(BAD, 0, SIGMA**-2), "WHT", 1, BUNIT="UNITLESS"),
        image(np.ones(SHAPE, "i4"), "CTX", 1),
    ]


def jwst():
    return [
        fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "INSTRUME": "NIRCAM"})),
        image(science(), "SCI", BUNIT="MJy/sr"),
        image(np.where(BAD, 0, SIGMA), "ERR", BUNIT="MJy/sr"),
        image(np.ones(SHAPE, "i4"), "CON"),
        image(7 * np.ones(SHAPE), "WHT"),
        image(SIGMA**2 / 2, "VAR_POISSON"),
        image(SIGMA**2 / 2, "VAR_RNOISE"),
    ]


def jwst_calibrated():
    return [
        fits.PrimaryHDU(header=fits.Header({"TELESCOP": "JWST", "INSTRUME": "NIRCAM"})),
        image(science(), "SCI", 1, BUNIT="MJy/sr"),
        image(SIGMA, "ERR", 1, BUNIT="MJy/sr"),
        image((BAD * 1 + FOUND * 4).astype("u4"), "DQ", 1),
        image(np.ones(SHAPE), "AREA", 1),
        image(SIGMA**2 / 2, "VAR_POISSON", 1),
    ]


def euclid():
    return [
        fits.PrimaryHDU(),
        image(science(), "VIS_BGSUB"),
        image(SIGMA, "VIS_RMS"),
        image((BAD * 64).astype("i4"), "VIS_FLAG"),
    ]


def rubin():
    flags = image((BAD * 1 + FOUND * 32).astype("i4"), "MASK")
    for name, bit in {"BAD": 0, "SAT": 1, "DETECTED": 5}.items():
        flags.header[f"HIERARCH MP_{name}"] = bit
    return [fits.PrimaryHDU(), image(science(), "IMAGE", BUNIT="nJy"), flags, image(SIGMA**2, "VARIANCE")]


def des():
    return [
        fits.PrimaryHDU(),
        image(science(), "SCI", INSTRUME="DECam"),
        image((BAD * 1 + FOUND * 32).astype("i4"), "MSK"),
        image(SIGMA**-2, "WGT"),
    ]


def legacy():
    return [
        fits.PrimaryHDU(science(), header(IMTYPE="image", BUNIT="nanomaggies")),
        image(SIGMA**-2, "", IMTYPE="invvar"),
        image((BAD * 2 + FOUND * 4096).astype("i2"), "", IMTYPE="maskbits"),
    ]


def plain():
    psf = np.outer(*(np.exp(-(np.arange(-3, 4) ** 2) / 2.0),) * 2)
    return [
        fits.PrimaryHDU(science(), header(BUNIT="ADU")),
        image(SIGMA, "SIGMA"),
        image(BAD.astype("u1"), "MASK"),
        fits.ImageHDU(psf / psf.sum(), name="PSF"),
    ]


def kids():
    return [fits.PrimaryHDU(science(), header(INSTRUME="OMEGACAM", PRODCATG="SCIENCE.IMAGE"))]


def kids_maps():
    """Files of their own, beside the image."""
    flags = (BAD * 64 + FOUND * 32).astype("i2")
    return {
        "weight": fits.PrimaryHDU(SIGMA**-2, header(PRODCATG="ANCILLARY.WEIGHTMAP")),
        "mask": fits.PrimaryHDU(flags, header(INSTRUME="OMEGACAM", PRODCATG="ANCILLARY.MASK")),
    }


MAPS = {"KiDS": kids_maps}
SURVEYS = {
    "HST, one exposure (flt, flc)": (hst, u.electron),
    "HST, drizzled (drz, drc)": (hst_drizzled, u.electron / u.s),
    "JWST, one exposure (cal)": (jwst_calibrated, u.MJy / u.sr),
    "JWST, combined (i2d)": (jwst, u.MJy / u.sr),
    "Euclid, MER": (euclid, u.one),
    "Rubin, HSC": (rubin, u.nJy),
    "DES": (des, u.one),
    "KiDS": (kids, u.one),
    "Legacy Surveys": (legacy, u.Unit("nmgy")),
    "names in words": (plain, u.adu),
}


def write(survey, directory):
    """Write the files of a survey; return the options that name those beside the image."""
    fits.HDUList(SURVEYS[survey][0]()).writeto(directory / "image.fits")
    options = {}
    for name, hdu in MAPS.get(survey, dict)().items():
        options[name] = os.fspath(directory / f"{name}.fits")
        hdu.writeto(options[name])
    return options


@pytest.mark.parametrize("survey", SURVEYS)
def test_survey(survey, tmp_path):
    unit = SURVEYS[survey][1]
    ccd = cut_out(tmp_path / "image.fits", **write(survey, tmp_path))
    np.testing.assert_allclose(ccd.data, science())
    with np.errstate(divide="ignore"):  # a weight of 0
        sigma = ccd.uncertainty.represent_as(StdDevUncertainty).array
    np.testing.assert_allclose(sigma[~BAD], SIGMA[~BAD])
    np.testing.assert_array_equal(ccd.mask, BAD)
    assert ccd.unit == unit
    assert "lenssuper read: image from" in str(ccd.meta["HISTORY"])


def row(survey, directory):
    """A row of the table in the documentation."""
    options = write(survey, directory)
    with open_image(directory / "image.fits", Reading(**options)) as layers:
        found = layers.found

    def said(start):
        return next((text.removeprefix(start) for text in found if text.startswith(start)), "none")

    label, _, unit = said("image from ").partition(", in ")
    psf = said("PSF from ").replace("none", "``--psf``")
    noise, mask = (
        said(f"{what} from ").replace(f"{directory}{os.sep}{option}.fits", f"``--{option}``")
        for what, option in (("noise", "weight"), ("mask", "mask"))
    )
    cells = (survey, label, unit, noise, mask, psf, said("not used: "))
    return "   " + ", ".join(f'"{cell}"' for cell in cells)


@pytest.mark.parametrize("survey", SURVEYS)
def test_table_of_the_documentation(survey, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "user_guide" / "survey_files.rst"
    if not page.is_file():
        pytest.skip("the documentation is not here")
    assert row(survey, tmp_path) in page.read_text().splitlines()


def two_chips(path):
    """Two chips of one exposure, the second 10 arcsec north of the first."""
    hdus = [fits.PrimaryHDU(header=fits.Header({"TELESCOP": "HST", "INSTRUME": "ACS"}))]
    for chip in (1, 2):
        hdus += [
            image(science(chip), "SCI", chip, BUNIT="ELECTRONS"),
            image(SIGMA * chip, "ERR", chip, BUNIT="ELECTRONS"),
            image((BAD * 4 if chip == 2 else 0 * BAD).astype("i2"), "DQ", chip),
        ]
        for hdu in hdus[-3:]:
            for card in header():
                hdu.header.remove(card, ignore_missing=True)
            hdu.header.update(on_sky(CRVAL2=2.0 + 10 / 3600 * (chip - 1)))
    fits.HDUList(hdus).writeto(path)


def test_the_chip_with_the_lens_is_taken(tmp_path):
    path = tmp_path / "flc.fits"
    two_chips(path)
    with pytest.raises(FileFormatError, match=r"holds 2 images: .* SCI,1 \(40 x 50\), SCI,2 \(40 x 50\)"):
        cut_out(path)
    there = WCS(fits.getheader(path, "SCI", 2)).pixel_to_world(25, 20)
    cutout = cut_out(path, there, 1.1 * u.arcsec)
    window = np.s_[15:26, 20:31]
    np.testing.assert_allclose(cutout.data, science(2)[window])
    for whole in (cut_out(path, ext="SCI,2"), cut_out(path, ext=4)):
        np.testing.assert_allclose(whole.data, science(2))
        np.testing.assert_allclose(whole.uncertainty.array, 2 * SIGMA)
        np.testing.assert_array_equal(whole.mask, BAD)


@pytest.mark.parametrize("option", ["noise", "weight"])
def test_maps_in_files_of_their_own_are_cut_along(option, tmp_path):
    """As KiDS and many authors give them: an image, a weight and a mask, each a file."""
    fits.writeto(tmp_path / "sci.fits", science(), header(BUNIT="ADU"))
    fits.writeto(tmp_path / "map.fits", SIGMA if option == "noise" else SIGMA**-2, header())
    fits.writeto(tmp_path / "mask.fits", (BAD * 64).astype("i4"), header())
    maps = {option: tmp_path / "map.fits", "mask": tmp_path / "mask.fits"}
    ccd = cut_out(tmp_path / "sci.fits", (20, 10), 2.1 * u.arcsec, **maps)
    window = np.s_[0:21, 10:31]
    np.testing.assert_allclose(ccd.data, science()[window])
    sigma = ccd.uncertainty.represent_as(StdDevUncertainty).array
    np.testing.assert_allclose(sigma, SIGMA[window])
    np.testing.assert_array_equal(ccd.mask, BAD[window])


def test_a_plain_mask_has_no_flags_of_an_instrument(tmp_path):
    """Its 64 is no warm pixel, though the image is of HST."""
    hdus = hst()[:3]
    fits.HDUList(hdus).writeto(tmp_path / "image.fits")
    fits.writeto(tmp_path / "mask.fits", (BAD * 64).astype("i4"))
    np.testing.assert_array_equal(cut_out(tmp_path / "image.fits", mask=tmp_path / "mask.fits").mask, BAD)


def test_flags_are_chosen_by_name_and_value(tmp_path):
    fits.HDUList(hst()).writeto(tmp_path / "image.fits")
    for bits in ("WARMPIX", "64", 64, "~4"):
        np.testing.assert_array_equal(cut_out(tmp_path / "image.fits", mask_bits=bits).mask, FOUND)
    with pytest.raises(ValueError, match=r"mask_bits must be flags of the mask .*WARMPIX = 64"):
        cut_out(tmp_path / "image.fits", mask_bits="LUKEWARM")


def test_noise_of_zero_is_no_data(tmp_path):
    sigma = SIGMA.copy()
    sigma[:, :4] = 0
    fits.HDUList([fits.PrimaryHDU(), image(science(), "SCI"), image(sigma, "ERR")]).writeto(
        tmp_path / "image.fits"
    )
    mask = cut_out(tmp_path / "image.fits").mask
    assert mask[:, :4].all()
    assert not mask[:, 4:].any()


def test_an_image_with_a_third_axis_of_one(tmp_path):
    fits.writeto(tmp_path / "image.fits", science()[None].astype(">f4"), header())
    ccd = cut_out(tmp_path / "image.fits")
    np.testing.assert_allclose(ccd.data, science(), rtol=1e-6)
    assert ccd.wcs.naxis == 2


def test_distorted_cutout_has_one_wcs(tmp_path):
    """A TPV mosaic: an observation has no PV cards left, and the same positions for astropy."""
    cards = on_sky(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_0=0.003, PV1_1=1.01, PV1_2=0.007, PV2_1=1.01)
    fits.writeto(tmp_path / "tpv.fits", science(), cards)
    ccd = cut_out(tmp_path / "tpv.fits", (12, 20), 1.5 * u.arcsec, unit=u.adu)
    ccd.uncertainty = StdDevUncertainty(np.ones(ccd.shape))
    ccd.write(tmp_path / "cutout.fits")
    write_observation(Observation.from_nddata(ccd), tmp_path / "observation.fits")
    written = fits.getheader(tmp_path / "observation.fits")
    assert not [card for card in written if card.startswith(("PV", "CD1_", "A_", "B_"))]
    rows, columns = np.indices(ccd.shape)
    first = np.array([12, 20]) - np.array(ccd.shape[::-1]) // 2
    mosaic = WCS(cards).pixel_to_world(columns + first[0], rows + first[1])
    for name in ("cutout.fits", "observation.fits"):
        again = CCDData.read(tmp_path / name).wcs.pixel_to_world(columns, rows)
        assert np.all(mosaic.separation(again) < 1e-3 * u.arcsec)


def test_sip_cutout_is_the_sky_of_the_whole(tmp_path):
    """Bent by pixels over the image: a cutout at its edge is straight, and agrees to 1e-3 of a pixel."""
    whole = on_sky(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=3, B_ORDER=3, BUNIT="adu")
    whole.update({"A_2_0": 2e-4, "A_1_1": -1e-4, "A_0_3": 2e-6, "B_0_2": 3e-4, "B_2_1": 1e-6})
    shape = (200, 240)
    data = np.random.default_rng(1).normal(0, 1, shape)
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(data, whole, name="SCI"),
        fits.ImageHDU(np.ones(shape), name="ERR"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "sip.fits")
    truth = WCS(whole)
    undistorted = truth.deepcopy()
    undistorted.sip = None
    place = truth.pixel_to_world(215, 180)
    assert place.separation(undistorted.pixel_to_world(215, 180)) > 0.5 * u.arcsec
    ccd = cut_out(tmp_path / "sip.fits", place, 1.5 * u.arcsec)
    first = np.argwhere(data == ccd.data[0, 0])[0]
    np.testing.assert_array_equal(first + np.array(ccd.shape) // 2, [180, 215])
    rows, columns = np.indices(ccd.shape)
    apart = ccd.wcs.pixel_to_world(columns, rows).separation(
        truth.pixel_to_world(columns + first[1], rows + first[0])
    )
    assert apart.max() < 0.02 * u.arcsec  # what is bent within the cutout
    assert apart[ccd.shape[0] // 2, ccd.shape[1] // 2] < 1e-4 * u.arcsec
    write_observation(Observation.from_nddata(ccd), tmp_path / "observation.fits")
    written = fits.getheader(tmp_path / "observation.fits")
    assert not [card for card in written if card.startswith(("A_", "B_", "CD1_", "PV"))]
    again = CCDData.read(tmp_path / "observation.fits").wcs.pixel_to_world(columns, rows)
    assert again.separation(ccd.wcs.pixel_to_world(columns, rows)).max() < 1e-6 * u.arcsec


def test_gwcs_cutout_is_the_sky_of_the_whole():
    """A WCS as JWST's datamodels have it: a polynomial of pixels, a scale, a rotated tangent plane."""
    gwcs = pytest.importorskip("gwcs")
    from astropy import coordinates
    from astropy.modeling import models

    bent = models.Polynomial2D(2, c1_0=1, c2_0=1e-4) & models.Polynomial2D(2, c0_1=1, c1_1=-1e-4)
    scale = models.Scale(-0.1 / 3600) & models.Scale(0.1 / 3600)
    sky = models.Pix2Sky_TAN() | models.RotateNative2Celestial(150, 2, 180)
    shift = models.Shift(-24.5) & models.Shift(-19.5)
    detector = gwcs.coordinate_frames.Frame2D(name="detector", unit=(u.pix, u.pix))
    frame = gwcs.coordinate_frames.CelestialFrame(reference_frame=coordinates.ICRS(), unit=(u.deg, u.deg))
    wcs = gwcs.WCS([(detector, shift | models.Mapping((0, 1, 0, 1)) | bent | scale | sky), (frame, None)])
    image = NDData(science(), unit=u.nJy, wcs=wcs, uncertainty=StdDevUncertainty(SIGMA))
    ccd = cut_out(image, (38, 12), 1.1 * u.arcsec)
    np.testing.assert_array_equal(ccd.data, science()[7:18, 33:44])
    rows, columns = np.indices(ccd.shape)
    there = wcs.pixel_to_world(columns + 33, rows + 7)
    apart = ccd.wcs.pixel_to_world(columns, rows).separation(there)
    assert apart.max() < 2e-3 * u.arcsec
    assert apart[5, 5] < 1e-6 * u.arcsec
    grid = Observation.from_nddata(ccd).grid
    assert grid.offset_to_sky(0 * u.arcsec, 0 * u.arcsec).separation(there[5, 5]) < 1e-5 * u.arcsec


def own_file(path):
    wcs = PixelGrid(SHAPE, 0.1 * u.arcsec).wcs
    ccd = CCDData(science(), unit="adu", wcs=wcs, uncertainty=StdDevUncertainty(SIGMA))
    write_observation(Observation.from_nddata(ccd), path)


def test_an_edited_file_is_read(tmp_path):
    own_file(tmp_path / "own.fits")
    edited = CCDData.read(tmp_path / "own.fits")
    edited.data = edited.data - 1
    edited.write(tmp_path / "edited.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)
        np.testing.assert_allclose(read_observation(tmp_path / "edited.fits").data, science() - 1)


def test_a_card_that_no_header_can_hold_is_refused(tmp_path):
    own_file(tmp_path / "own.fits")
    content = (tmp_path / "own.fits").read_bytes()
    card = content.index(b"PSFOVERS=")
    (tmp_path / "own.fits").write_bytes(content[: card + 10] + b"1E400".rjust(20) + content[card + 30 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LensSuperWarning)
        with pytest.raises(FileFormatError, match=r"own\.fits cannot be read as a FITS image: .*inf"):
            read_observation(tmp_path / "own.fits")


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "own.fits"
    own_file(path)
    with fits.open(path) as hdus:
        at = hdus[0].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[at + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"own\.fits is corrupt: the checksum of PRIMARY"):
        read_observation(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match=r"own\.fits"):
        read_observation(path)


def gaussian(side, width, at=(0, 0)):
    y, x = np.indices((side, side)) - side // 2
    psf = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 2 / width**2)
    return psf / psf.sum()


def test_psf_of_stpsf_is_found_by_name(tmp_path):
    """OVERDIST, not the first: four samples a pixel, without the pixel; DET_DIST has the pixels."""
    cards = {"OVERSAMP": 4, "DET_SAMP": 4, "PIXELSCL": 0.025}
    wrong, right, detector = gaussian(41, 3), gaussian(41, 4), gaussian(11, 1)
    hdus = [
        fits.PrimaryHDU(wrong, fits.Header({**cards, "EXTNAME": "OVERSAMP"})),
        fits.ImageHDU(detector, fits.Header({**cards, "PIXELSCL": 0.1}), name="DET_SAMP"),
        fits.ImageHDU(right, fits.Header(cards), name="OVERDIST"),
        fits.ImageHDU(detector, fits.Header({**cards, "PIXELSCL": 0.1}), name="DET_DIST"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "psf.fits")
    psf = read_psf(tmp_path / "psf.fits", 0.1)
    assert (psf.oversampling, psf.includes_pixel) == (4, False)
    np.testing.assert_allclose(psf.values, right, atol=1e-12)
    psf = read_psf(tmp_path / "psf.fits", 0.1, PsfOptions(ext="DET_DIST"))
    assert (psf.oversampling, psf.includes_pixel) == (1, True)
    np.testing.assert_allclose(psf.values, detector, atol=1e-12)


def psfex(path, **cards):
    """Write a PSF of PSFEx, of degree 2, and give its planes: those of 1, x, x^2, y, x y, y^2."""
    planes = np.array([gaussian(21, 2), *(0.05 * n * gaussian(21, 2 + 0.2 * n) for n in range(1, 6))])
    table = fits.BinTableHDU.from_columns(
        [fits.Column("PSF_MASK", f"{6 * 21 * 21}E", dim="(21,21,6)", array=planes[None])], name="PSF_DATA"
    )
    table.header.update({"PSF_SAMP": 0.5, "POLNAXIS": 2, "POLNGRP": 1, "POLDEG1": 2, "POLGRP1": 1})
    table.header.update({"POLNAME1": "X_IMAGE", "POLZERO1": 11.0, "POLSCAL1": 10.0, "POLGRP2": 1})
    table.header.update({"POLNAME2": "Y_IMAGE", "POLZERO2": 21.0, "POLSCAL2": 40.0, **cards})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return planes


def test_psf_of_psfex_is_that_of_the_position(tmp_path):
    """The column 30 is x = (31 - 11) / 10 = 2, and the row 40 is y = (41 - 21) / 40 = 0.5."""
    planes = psfex(tmp_path / "model.psf")
    expected = planes[0] + 2 * planes[1] + 4 * planes[2] + 0.5 * planes[3] + 1 * planes[4] + 0.25 * planes[5]
    expected /= expected.sum()
    psf = read_psf(tmp_path / "model.psf", 0.1, PsfOptions(position=(30.0, 40.0)))
    assert (psf.oversampling, psf.includes_pixel) == (2, True)
    np.testing.assert_allclose(psf.values / psf.values.sum(), expected, atol=1e-7)
    # where the lens is in the mosaic, and not in the cutout
    fits.writeto(tmp_path / "mosaic.fits", np.random.default_rng(1).normal(0, 1, (60, 60)), header())
    ready = prepare(
        tmp_path / "mosaic.fits",
        center=(30, 40),
        size=1.5 * u.arcsec,
        psf=tmp_path / "model.psf",
        rms=1.0,
        unit=u.electron,
    )
    np.testing.assert_allclose(ready.psf, expected, atol=1e-7)
    assert ready.meta["PSFOVERS"] == 2


def test_psf_of_psfex_that_varies_with_something_else_is_refused(tmp_path):
    psfex(tmp_path / "model.psf", POLNAME2="MAG_AUTO")
    with pytest.raises(
        FileFormatError, match=r"model\.psf.*in X_IMAGE and Y_IMAGE.*got X_IMAGE and MAG_AUTO"
    ):
        read_psf(tmp_path / "model.psf", 0.1, PsfOptions(position=(30.0, 40.0)))


def test_psf_with_even_sides_keeps_its_centre():
    """One that is centred between its four middle samples gets an odd side, and the centre in its middle."""
    x = np.arange(20) - 9.5
    side = np.exp(-(x**2) / 2 / 2.0**2)
    psf = read_psf(np.outer(side, side), 0.1)
    assert psf.values.shape == (21, 21)
    np.testing.assert_allclose(psf.values / psf.values.sum(), gaussian(21, 2), atol=2e-5)


def test_bands_of_euclid_are_chosen(tmp_path):
    hdus = [fits.PrimaryHDU()]
    for number, band in enumerate(("VIS", "NIR_Y")):
        hdus += [
            image(science(number), f"{band}_BGSUB"),
            image(SIGMA * (number + 1), f"{band}_RMS"),
            image(BAD.astype("i4"), f"{band}_FLAG"),
        ]
    path = tmp_path / "mer.fits"
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(FileFormatError, match=r"holds 2 images: .*ext=, of VIS_BGSUB .*, NIR_Y_BGSUB"):
        cut_out(path)
    for ext in ("NIR_Y", "NIR_Y_BGSUB", 4):
        ccd = cut_out(path, ext=ext)
        np.testing.assert_allclose(ccd.data, science(1))
        np.testing.assert_allclose(ccd.uncertainty.array, 2 * SIGMA)
        np.testing.assert_array_equal(ccd.mask, BAD)


def test_cube_says_how_to_choose(tmp_path):
    path = tmp_path / "cube.fits"
    fits.PrimaryHDU(np.stack([science(0), science(1)])).writeto(path)
    with pytest.raises(FileFormatError, match="cube in PRIMARY, of 2 planes"):
        cut_out(path)
    np.testing.assert_allclose(cut_out(path, ext="0:1", pixel_scale=0.1 * u.arcsec).data, science(1))


def test_uncertainty_of_a_variance_in_another_unit():
    ccd = CCDData(science(), unit=u.nJy, wcs=PixelGrid(SHAPE, 0.1 * u.arcsec).wcs)
    ccd.uncertainty = VarianceUncertainty(1e-6 * SIGMA**2, unit=u.uJy**2)
    np.testing.assert_allclose(cut_out(ccd).uncertainty.array, SIGMA**2)


def test_noise_in_a_unit_that_does_not_convert(tmp_path):
    path = tmp_path / "image.fits"
    hdus = [fits.PrimaryHDU(), image(science(), "SCI", BUNIT="ELECTRONS/S"), image(SIGMA, "ERR", BUNIT="s")]
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(ObservationError, match="does not convert"):
        cut_out(path)
    assert cut_out(path, noise="none").uncertainty is None


def test_holes_and_scaled_integers_are_masked(tmp_path):
    data = science()
    data[:6] = 0
    fits.PrimaryHDU(data, header()).writeto(tmp_path / "holes.fits")
    assert cut_out(tmp_path / "holes.fits").mask[:6].all()
    counts = (1000 + 10 * science()).astype("u2")
    counts[3, 4] = 7
    hdu = fits.PrimaryHDU(counts, header())
    hdu.header["BLANK"] = 7 - 32768
    hdu.writeto(tmp_path / "counts.fits")
    ccd = cut_out(tmp_path / "counts.fits")
    assert ccd.mask.sum() == 1
    assert ccd.data[3, 5] == counts[3, 5]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ELECTRONS/S", u.electron / u.s),
        ("e-/s", u.electron / u.s),
        ("COUNTS", u.ct),
        ("cps", u.ct / u.s),
        ("ADU", u.adu),
        ("UNITLESS", u.one),
        ("10*nanoJansky", u.Unit("10 nJy")),
        ("COUNTS/S", u.ct / u.s),
        ("DN/s", u.DN / u.s),
        ("nanomaggies", u.Unit("nmgy")),
        ("MJy/sr", u.MJy / u.sr),
        ("furlong per fortnight", None),
        ("1e-9 maggies", u.Unit("1e-9 mgy")),
    ],
)
def test_units_as_archives_write_them(text, unit):
    assert read_unit(text) == unit


def test_inverted_mask_is_said(tmp_path):
    data = science()
    data[10:20, 10:20] += 50
    hdus = [fits.PrimaryHDU(data, header()), image((~BAD).astype("u1"), "MASK")]
    fits.HDUList(hdus).writeto(tmp_path / "inverted.fits")
    with pytest.warns(LensSuperWarning, match="hides 100% of the bright pixels"):
        cut_out(tmp_path / "inverted.fits")


def test_psf_of_a_fraction_of_a_pixel_is_resampled(tmp_path):
    y, x = np.mgrid[-40:41, -40:41]
    wide = np.exp(-(x**2 + y**2) / 2 / 4.0**2)  # 4 samples of 0.075": 3 pixels of 0.1"
    fits.PrimaryHDU(wide, fits.Header({"PIXELSCL": 0.075})).writeto(tmp_path / "psf.fits")
    psf = read_psf(tmp_path / "psf.fits", 0.1)
    assert psf.oversampling == 2
    k = np.arange(psf.values.shape[0]) - psf.values.shape[0] // 2
    width = np.sqrt((psf.values.sum(0) * k**2).sum() / psf.values.sum()) / psf.oversampling
    assert width == pytest.approx(3.0, rel=0.01)


def test_psf_off_its_centre_is_said_and_moved():
    y, x = np.mgrid[-10:11, -10:11]
    psf = np.exp(-((x - 0.6) ** 2 + y**2) / 2 / 2.0**2)
    with pytest.warns(LensSuperWarning, match=r"\+0\.60 columns"):
        read_psf(psf, 0.1)
    moved = read_psf(psf, 0.1, PsfOptions(recentre=True))
    assert np.sum(moved.values * x) / moved.values.sum() == pytest.approx(0, abs=0.02)


def test_what_is_asked_for_is_checked():
    with pytest.raises(ObservationError, match="unit must be one that astropy knows"):
        Reading(unit="furlong / fortnight")
    with pytest.raises(ValueError, match="pixel_scale must be positive"):
        Reading(pixel_scale=0 * u.arcsec)


def test_unit_that_is_not_understood_is_a_label(tmp_path):
    fits.writeto(tmp_path / "image.fits", science(), header(BUNIT="furlong per fortnight"))
    with pytest.warns(LensSuperWarning, match="the unit 'furlong per fortnight' is not understood"):
        ccd = cut_out(tmp_path / "image.fits")
    assert ccd.unit == u.one
    assert ccd.meta["ORIGUNIT"] == "furlong per fortnight"
    assert cut_out(tmp_path / "image.fits", unit="MJy/sr").unit == u.MJy / u.sr


@pytest.mark.parametrize("sky", [-10, 0, 3])
def test_noise_correlation_does_not_depend_on_a_constant_sky(sky):
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(0, 1, (90, 90)), 0.6)
    noise /= noise.std()

    def observed(data):
        wcs = PixelGrid(data.shape, 0.1 * u.arcsec).wcs
        sigma = StdDevUncertainty(np.ones(data.shape))
        return Observation.from_nddata(CCDData(data, unit="adu", wcs=wcs, uncertainty=sigma))

    expected = observed(noise).noise_correlation
    assert expected > 3
    assert observed(noise + sky).noise_correlation == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("given", [1.0, 2.5, "covariance"])
def test_noise_correlation_is_kept_with_the_image(given, tmp_path):
    covariance = np.array([[0.1, 0.2, 0.05], [0.3, 1.0, 0.3], [0.05, 0.2, 0.1]])
    given = covariance if given == "covariance" else given
    wcs = PixelGrid(SHAPE, 0.1 * u.arcsec).wcs
    ccd = CCDData(science(), unit="adu", wcs=wcs, uncertainty=StdDevUncertainty(SIGMA), mask=BAD)
    write_observation(Observation.from_nddata(ccd, noise_correlation=given), tmp_path / "own.fits")
    np.testing.assert_allclose(read_observation(tmp_path / "own.fits").noise_given, given)
    assert read_observation(tmp_path / "own.fits", noise_correlation=1.5).noise_correlation == 1.5
    other = CCDData.read(tmp_path / "own.fits")
    other.uncertainty.array *= 2  # it is of other noise
    assert Observation.from_nddata(other).noise_given is None


if __name__ == "__main__":  # prints the table of the documentation
    import tempfile

    for survey in SURVEYS:
        with tempfile.TemporaryDirectory() as folder:
            print(row(survey, Path(folder)))


@pytest.mark.parametrize(
    ("extension", "card", "words"),
    [(0, "NAXIS", "4294967295 axes"), (1, "NAXIS", "4294967295 axes"), (1, "GCOUNT", "claims -16000 bytes")],
)
def test_a_header_that_astropy_would_not_come_to_an_end_with(tmp_path, extension, card, words):
    fits.HDUList([fits.PrimaryHDU(science(), header()), image(SIGMA, "ERR")]).writeto(tmp_path / "axes.fits")
    with fits.open(tmp_path / "axes.fits") as hdus:
        at = hdus[extension].fileinfo()["hdrLoc"]
    content = bytearray((tmp_path / "axes.fits").read_bytes())
    value = -1 if card == "GCOUNT" else 4294967295
    place = content.index(f"{card:<8}=".encode(), at)
    content[place : place + 30] = f"{card:<8}= {value:>20}".encode()
    (tmp_path / "axes.fits").write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"axes\.fits is damaged: a header of it .*{words}"):
        read_observation(tmp_path / "axes.fits")


@pytest.mark.parametrize("side", [400_000, 2_000_000])
def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path, side):
    """432 GiB and more are asked for by a few changed digits: no memory may be asked for."""
    path = tmp_path / "large.fits"
    fits.PrimaryHDU(np.zeros((40, 50), dtype=np.float32)).writeto(path)
    header = path.read_bytes()
    for axis, n in ((1, 50), (2, 40)):
        card = f"NAXIS{axis}  = {n:>20}".encode()
        assert card in header
        header = header.replace(card, f"NAXIS{axis}  = {side:>20}".encode())
    path.write_bytes(header)
    with pytest.raises(FileFormatError, match=r"large\.fits is (damaged|truncated or damaged)"):
        read_observation(path)
    with pytest.raises(FileFormatError, match=r"large\.fits is (damaged|truncated or damaged)"):
        _common.read_image(path)


def test_an_uncertainty_of_another_shape_is_named(tmp_path):
    image, header = np.ones((6, 7)), fits.Header({"BUNIT": "adu"})
    hdus = [fits.PrimaryHDU(image, header), fits.ImageHDU(np.ones((5, 7)), name="UNCERT")]
    fits.HDUList(hdus).writeto(tmp_path / "odd.fits")
    with pytest.raises(ObservationError, match=r"UNCERT.* has 5 x 7 pixels and the image 6 x 7"):
        cut_out(tmp_path / "odd.fits")
    assert cut_out(tmp_path / "odd.fits", noise="none").uncertainty is None
