import os
import stat
import threading

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty

from lenssuper._utils.files import atomic_write, check_output
from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError
from lenssuper.observation import Observation, read_observation, write_observation
from lenssuper.observation.grid import PixelGrid

SHAPE = (30, 40)


def make(unit=u.MJy / u.sr, grid=None, **change):
    rng = np.random.default_rng(0)
    parts = {
        "uncertainty": StdDevUncertainty(rng.uniform(0.5, 2, SHAPE)),
        "mask": rng.random(SHAPE) < 0.1,
        "psf": np.ones((3, 5)) / 15,
        "meta": {"FILTER": "F150W", "a long keyword": 3},
    }
    nddata = NDData(rng.normal(size=SHAPE), unit=unit, **(parts | change))
    reference = SkyCoord(150.123456789, 2.23456789, unit=u.deg)
    grid = grid or PixelGrid(
        SHAPE, (0.03, 0.04) * u.arcsec, rotation=37 * u.deg, center=(1, 2) * u.arcsec, reference=reference
    )
    return Observation.from_nddata(nddata, grid=grid, psf_oversampling=3, psf_includes_pixel=False)


def agree(one, other):
    assert np.array_equal(one.data, other.data)
    assert np.array_equal(one.mask, other.mask)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-14)
    if one.psf is None:
        assert other.psf is None
    else:
        np.testing.assert_allclose(one.psf, other.psf, rtol=1e-14)
    assert one.psf_oversampling == other.psf_oversampling
    assert one.psf_includes_pixel == other.psf_includes_pixel
    assert one.unit == other.unit
    np.testing.assert_allclose(one.grid.vertices_arcsec(), other.grid.vertices_arcsec(), atol=1e-9)
    if one.grid.reference is None:
        assert other.grid.reference is None
    else:
        assert one.grid.reference.separation(other.grid.reference) < 1e-7 * u.arcsec
    return True


# The whole file or none


def test_atomic_write(tmp_path):
    path = tmp_path / "out.fits.gz"
    with atomic_write(path) as beside:
        assert beside.parent == tmp_path
        assert beside.name.endswith(".fits.gz")
        beside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["out.fits.gz"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_write_leaves_what_was(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def interrupted():
        with atomic_write(path, overwrite=True) as beside:
            beside.write_text("ha")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_write_refuses(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(FileExistsError, match=r"out\.txt exists; pass overwrite=True"), atomic_write(path):
        pytest.fail("the block is not to run")
    missing = tmp_path / "no" / "out.txt"
    with pytest.raises(FileNotFoundError, match=r"the directory .* does not exist"), atomic_write(missing):
        pytest.fail("the block is not to run")


def test_file_that_came_meanwhile_is_not_lost(tmp_path):
    path = tmp_path / "out.txt"

    def write():
        with atomic_write(path) as beside:
            beside.write_text("new")
            path.write_text("somebody else's")

    with pytest.raises(FileExistsError, match="exists"):
        write()
    assert path.read_text() == "somebody else's"


def test_symbolic_link_and_permissions(tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "out.txt"
    link.symlink_to(tmp_path / "store" / "real.txt")
    with atomic_write(link) as beside:
        beside.write_text("new")
    assert link.is_symlink()
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    real = tmp_path / "store" / "real.txt"
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_pipe_is_never_replaced(tmp_path):
    """Text goes through it; what needs a file of its own is refused."""
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"), atomic_write(pipe, overwrite=True):
        pytest.fail("the block is not to run")
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    with atomic_write(pipe, stream=True) as beside:
        beside.write_text("through")
    reader.join(10)
    assert found == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_device_is_never_replaced():
    with atomic_write(os.devnull, stream=True) as beside:
        beside.write_text("away")
    with pytest.raises(OSError, match="not a regular file"), atomic_write(os.devnull, overwrite=True):
        pytest.fail("the block is not to run")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_pipe_that_appears_meanwhile_stays(tmp_path):
    path = tmp_path / "out.txt"

    def write():
        with atomic_write(path, overwrite=True) as beside:
            beside.write_text("new")
            os.mkfifo(path)

    with pytest.raises(OSError, match="not a regular file"):
        write()
    assert os.listdir(tmp_path) == ["out.txt"]


def test_longest_name_that_the_disk_takes(tmp_path):
    path = tmp_path / f"{'n' * 250}.fits"
    with atomic_write(path) as beside:
        beside.write_text("whole")
    assert path.read_text() == "whole"


def test_outputs_are_checked_before_the_work(tmp_path, monkeypatch):
    there = tmp_path / "there.fits"
    there.write_text("data")
    link = tmp_path / "link.fits"
    link.symlink_to(there)
    check_output(tmp_path / "new.fits", inputs=[there, tmp_path / "no.fits"])
    for path in (there, link):
        with pytest.raises(ValueError, match="is an input"):
            check_output(path, overwrite=True, inputs=[there])
    with pytest.raises(FileExistsError, match="add --overwrite"):
        check_output(there)
    with pytest.raises(FileNotFoundError, match="the directory"):
        check_output(tmp_path / "no" / "a.fits")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        check_output(tmp_path, overwrite=True)
    with pytest.raises(OSError, match="too long"):
        check_output(tmp_path / ("n" * 300))
    with pytest.raises(OSError, match="not a regular file"):
        check_output(os.devnull, overwrite=True)
    check_output(os.devnull, stream=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_output(tmp_path / "new.fits")
    monkeypatch.undo()
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Full())
    with pytest.raises(OSError, match="disk is full"):
        check_output(tmp_path / "new.fits")


class _Full:
    free = 10


# Observations


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"psf": None},
        {"mask": None},
        {"unit": None},
        {"unit": u.adu},
        {"grid": PixelGrid(SHAPE, 0.1 * u.arcsec, center=(3, -4) * u.arcsec, rotation=12 * u.deg)},
        {"meta": fits.Header([("FILTER", "F150W"), ("EQUINOX", 2000.0), ("COMMENT", "as it came")])},
    ],
)
def test_round_trip(tmp_path, change):
    obs = make(**change)
    path = tmp_path / "obs.fits"
    write_observation(obs, path)
    again = read_observation(path)
    assert agree(obs, again)
    assert again.meta["FILTER"] == "F150W"
    # Again from what was read.
    write_observation(again, path, overwrite=True)
    assert agree(obs, read_observation(path))


def test_layout_is_that_of_ccddata(tmp_path):
    obs = make()
    path = tmp_path / "obs.fits"
    write_observation(obs, path)
    with fits.open(path) as hdus:
        assert {hdu.name for hdu in hdus} == {"PRIMARY", "UNCERT", "MASK", "PSFIMAGE"}
        assert hdus["MASK"].data.sum() == obs.mask.sum()
    ccd = CCDData.read(path)
    plain = Observation.from_nddata(
        ccd, psf_oversampling=3, psf_includes_pixel=False,
        grid=PixelGrid.from_nddata(ccd, reference=obs.grid.reference),
    )  # fmt: skip
    np.testing.assert_allclose(plain.grid.vertices_arcsec(), obs.grid.vertices_arcsec(), atol=1e-7)
    assert np.array_equal(plain.data, obs.data)


def test_options_of_the_reader(tmp_path):
    path = tmp_path / "obs.fits"
    write_observation(make(), path)
    grid = PixelGrid(SHAPE, 1 * u.arcsec)
    with pytest.warns(LensSuperWarning, match="5 samples per pixel, as given; its file says 3"):
        obs = read_observation(path, unit="adu", grid=grid, psf_oversampling=5, psf_includes_pixel=True)
    assert obs.grid is grid
    assert obs.unit == u.adu
    assert obs.psf_oversampling == 5
    assert obs.psf_includes_pixel is True
    assert not {"LSNEXT", "LSGRID", "PSFOVERS", "PSFPIXEL", "CHECKSUM", "DATASUM"} & set(obs.meta)


def test_meta_that_does_not_fit(tmp_path):
    path = tmp_path / "obs.fits"
    obs = make(meta={"FILTER": "F150W", "table": {"a": 1}, "limit": np.nan})
    with pytest.warns(LensSuperWarning, match=r"not written: \['table', 'limit'\]"):
        write_observation(obs, path)
    assert agree(obs, read_observation(path))


def test_write_errors(tmp_path, monkeypatch):
    path = tmp_path / "obs.fits"
    write_observation(make(), path)
    with pytest.raises(FileExistsError, match=r"obs\.fits exists; pass overwrite=True"):
        write_observation(make(), path)
    with pytest.raises(TypeError, match="observation must be an Observation; got"):
        write_observation(make().to_nddata(), path)

    def half(hdus, name, **_):
        with open(name, "wb") as file:
            file.write(b"SIMPLE")
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(fits.HDUList, "writeto", half)
    with pytest.raises(KeyboardInterrupt):
        write_observation(make(), path, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["obs.fits"]


@pytest.mark.parametrize("own", [True, False])
def test_truncated_file(tmp_path, own):
    path = tmp_path / "obs.fits"
    if own:
        write_observation(make(), path)
    else:
        make(meta={"FILTER": "F150W"}).to_nddata().write(path)
    whole = path.read_bytes()
    with fits.open(path) as hdus:
        ends = {hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus}
    for size in range(0, len(whole), 720):
        if size in ends and not own:
            continue  # nothing tells that more was to follow
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=r"obs\.fits"):
            read_observation(path)


def test_damaged_file(tmp_path):
    path = tmp_path / "obs.fits"
    write_observation(make(), path)
    whole = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        places = [hdu.fileinfo()["datLoc"] + 40 for hdu in hdus]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 16
        path.write_bytes(damaged)
        with pytest.raises(
            FileFormatError, match=r"is corrupt: the checksum of (PRIMARY|MASK|UNCERT|PSFIMAGE) is"
        ):
            read_observation(path)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "obs.fits"
    with pytest.raises(FileNotFoundError):
        read_observation(path)
    path.write_text("not a FITS file at all\n" * 500)
    with pytest.raises(FileFormatError, match=r"obs\.fits cannot be read as a FITS image: .*SIMPLE"):
        read_observation(path)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]).writeto(path, overwrite=True)
    with pytest.raises(FileFormatError, match=r"obs\.fits holds no image"):
        read_observation(path)


def test_a_unit_that_nobody_knows_is_a_label(tmp_path):
    path = tmp_path / "obs.fits"
    write_observation(make(), path)
    fits.setval(path, "BUNIT", value="furlong / fortnight")
    for number in range(len(fits.info(path, output=False))):
        for key in ("CHECKSUM", "DATASUM"):
            fits.delval(path, key, ext=number)
    with pytest.warns(LensSuperWarning, match="the unit 'furlong / fortnight' is not understood"):
        obs = read_observation(path)
    assert obs.unit == u.dimensionless_unscaled
    np.testing.assert_array_equal(obs.data, make().data)


def test_what_a_file_lacks_is_named_with_the_file(tmp_path):
    path = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.ones(SHAPE)).writeto(path)
    with pytest.raises(ObservationError, match=r"plain\.fits: .*has no WCS"):
        read_observation(path)
    with pytest.raises(ObservationError, match=r"plain\.fits: .*has no uncertainty"):
        read_observation(path, grid=PixelGrid(SHAPE, 1 * u.arcsec))


def test_image_in_an_extension_without_unit(tmp_path):
    path = tmp_path / "sci.fits"
    sci = fits.ImageHDU(np.ones(SHAPE, ">f4"), name="SCI")
    noise = fits.ImageHDU(np.full(SHAPE, 2.0), name="UNCERT")
    fits.HDUList([fits.PrimaryHDU(), sci, noise]).writeto(path)
    obs = read_observation(path, grid=PixelGrid(SHAPE, 1 * u.arcsec))
    assert obs.unit == u.dimensionless_unscaled
    assert np.array_equal(obs.weights, np.full(SHAPE, 0.25))
    assert obs.psf_includes_pixel is True
