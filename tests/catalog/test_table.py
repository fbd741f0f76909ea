"""Catalogues: what they say of a lens, and what is wrong with them."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from lenssuper import SIE, ExternalShear, LensModel
from lenssuper.catalog import read_catalogue
from lenssuper.exceptions import FileFormatError


def test_parameters_make_a_lens():
    table = QTable(
        {
            "name": ["a", "b"],
            "file": ["a.fits", "/data/b.fits"],
            "theta_E": [0.02, 0.015] * u.arcmin,
            "q": [0.8, 0.9],
            "phi": [0.5, 1.0] * u.rad,
            "gamma1": [0.03, 0.0],
            "gamma2": [-0.01, 0.0],
        }
    )
    first, second = read_catalogue(table)
    assert first.name == "a"
    assert second.file == "/data/b.fits"
    expected = SIE(theta_E=1.2 * u.arcsec, q=0.8, phi=0.5 * u.rad) + ExternalShear(gamma1=0.03, gamma2=-0.01)
    ours = LensModel.from_dict(first.lens)
    assert ours.parameters.keys() == expected.parameters.keys()
    for name, value in expected.parameters.items():
        assert u.isclose(ours.parameters[name], value)
    assert isinstance(LensModel.from_dict(second.lens), SIE)


def test_a_radius_alone_is_no_lens_but_a_rough_guess(tmp_path):
    table = QTable({"file": ["a.fits"], "theta_E": [1.2] * u.arcsec})
    assert read_catalogue(table)[0].rough
    table["q"] = [0.8]
    assert not read_catalogue(table)[0].rough
    SIE(theta_E=1 * u.arcsec, q=0.9, phi=0 * u.deg).write(tmp_path / "x.json")
    assert not read_catalogue(Table({"file": ["a.fits"], "lens": [str(tmp_path / "x.json")]}))[0].rough


def test_cutouts_of_a_mosaic():
    table = QTable(
        {
            "name": ["a", "b"],
            "file": ["field.fits", "field.fits"],
            "theta_E": [1.2, 1.0] * u.arcsec,
            "ra": [10.0, 10.1] * u.hourangle,
            "dec": [2.0, 2.1] * u.deg,
            "size": [0.1, 0.2] * u.arcmin,
            "psf": ["psf.fits", "/data/psf.fits"],
            "exposure_time": [2000, 1000] * u.s,
        }
    )
    first, second = read_catalogue(table)
    assert u.isclose(first.position.ra, 150 * u.deg)
    assert u.isclose(first.position.dec, 2 * u.deg)
    assert u.isclose(second.size, 12 * u.arcsec)
    assert second.psf == "/data/psf.fits"
    assert dict(second.noise) == {"exposure_time": 1000 * u.s}


def test_files_are_relative_to_the_catalogue(tmp_path):
    SIE(theta_E=1 * u.arcsec, q=0.9, phi=0 * u.deg).write(tmp_path / "x.json")
    (tmp_path / "sub").mkdir()
    Table({"file": ["../x.fits.gz"], "lens": ["../x.json"]}).write(tmp_path / "sub" / "c.ecsv")
    (entry,) = read_catalogue(tmp_path / "sub" / "c.ecsv")
    assert entry.name == "x"
    assert not entry.problem
    assert entry.file.endswith("x.fits.gz")


def test_a_bad_line_is_reported_with_its_lens(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    table = Table({"file": ["a.fits", "b.fits"], "lens": ["none.json", "broken.json"]})
    table.write(tmp_path / "c.ecsv")
    first, second = read_catalogue(tmp_path / "c.ecsv")
    assert "none.json" in first.problem
    assert second.problem
    wrong = QTable({"file": ["a.fits"], "theta_E": [-1.0] * u.arcsec})
    assert "theta_E" in read_catalogue(wrong)[0].problem


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"lens": ["a"]}, "column 'file'"),
        ({"file": ["a.fits"]}, "column 'lens'"),
        ({"file": ["a.fits"], "theta_E": [1.0]}, "'theta_E' must have a unit"),
        ({"file": ["a.fits"], "theta_E": [1.0] * u.kg}, "'theta_E' must have a unit like arcsec"),
        ({"file": ["x/a.fits", "y/a.fits"], "lens": ["a", "b"]}, "unique"),
        ({"file": ["a.fits", "a_lens.fits"], "lens": ["a", "b"]}, "a and a_lens would share a file"),
        ({"file": ["a.fits"], "lens": ["b"], "ra": [1.0] * u.deg, "dec": [1.0] * u.deg}, "ra and dec"),
        ({"file": ["a.fits"], "lens": ["b"], "exposure_time": [100.0]}, "'exposure_time' must have a unit"),
    ],
)
def test_bad_tables(columns, message):
    with pytest.raises(ValueError, match=message):
        read_catalogue(QTable(columns))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../a", "letters, digits"),
        ("my ring", "letters, digits"),
        ("index", "a lens cannot be named index or settings"),
        ("n" * 230, "at most 200 characters; got 230"),
        ("", "letters, digits"),
    ],
)
def test_name_that_files_cannot_have_spoils_its_own_row_only(name, problem):
    shape = {"theta_E": [1.0, 1.0] * u.arcsec}
    bad, good = read_catalogue(QTable({"file": ["x.fits", "y.fits"], "name": [name, "y"], **shape}))
    assert problem in bad.problem
    assert "column 'name'" in bad.problem
    assert re.fullmatch(r"lens-[A-Za-z0-9_+-]{0,60}-[0-9a-f]{8}", bad.name)
    assert not good.problem


def test_file_with_a_space_can_be_named():
    shape = {"theta_E": [1.0] * u.arcsec}
    (entry,) = read_catalogue(QTable({"file": ["my ring.fits"], "name": ["ring"], **shape}))
    assert not entry.problem
    assert entry.file == "my ring.fits"


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (["10:00:28.6"], ["-02:12:21"]),
        (["10h00m28.6s"], ["-2d12m21s"]),
        (["150d07m09s"], ["-2 12 21"]),
        ([150.11916666666667] * u.deg, [-2.205833333333333] * u.deg),
        ([10.007944444444444] * u.hourangle, [-132.35] * u.arcmin),
    ],
)
def test_positions_in_any_writing(ra, dec):
    table = QTable({"file": ["a.fits"], "theta_E": [1.0] * u.arcsec, "size": [5.0] * u.arcsec})
    table["ra"], table["dec"] = ra, dec
    (entry,) = read_catalogue(table)
    assert not entry.problem
    assert entry.center == pytest.approx((150.11916666666667, -2.205833333333333), abs=1e-10)
    assert u.isclose(entry.position.dec, -(2 + 12 / 60 + 21 / 3600) * u.deg)


def test_declination_just_below_zero():
    table = QTable({"file": ["a.fits"], "theta_E": [1.0] * u.arcsec, "size": [5.0] * u.arcsec})
    table["ra"], table["dec"] = ["0:00:01"], ["-0:00:01"]
    assert read_catalogue(table)[0].center == pytest.approx((15 / 3600, -1 / 3600))


@pytest.mark.parametrize("dec", ["-2:72:21", "x", "150.1", "95:00:00", ""])
def test_positions_that_are_none_spoil_their_row(dec):
    table = QTable({"file": ["a.fits", "b.fits"], "theta_E": [1.0, 1.0] * u.arcsec})
    table["size"] = [5.0, 5.0] * u.arcsec
    table["ra"], table["dec"] = ["10:00:28.6", "10:00:28.6"], [dec, "-2:12:21"]
    first, second = read_catalogue(table)
    assert "dec" in first.problem
    assert not second.problem


def test_masked_values_spoil_their_row_or_are_left_out():
    table = QTable(
        {
            "file": ["a.fits", "b.fits"],
            "theta_E": Masked([1.0, 1.0] * u.arcsec, mask=[True, False]),
            "psf": MaskedColumn(["p.fits", "q.fits"], mask=[False, True]),
            "gain": Masked([1.0, 2.0] * u.electron / u.adu, mask=[False, True]),
        }
    )
    first, second = read_catalogue(table)
    assert "missing" in first.problem
    assert not second.problem
    assert second.psf == ""
    assert dict(second.noise) == {}


def test_entries_of_a_long_catalogue_are_quickly_made():
    n = 5000
    table = QTable({"file": ["f.fits"] * n, "name": [f"l{i}" for i in range(n)]})
    table["theta_E"], table["phi"] = np.linspace(1, 2, n) * u.arcsec, np.linspace(0, 180, n) * u.deg
    table["ra"], table["dec"] = np.linspace(0, 359, n) * u.deg, np.linspace(-80, 80, n) * u.deg
    table["size"], table["exposure_time"] = np.full(n, 5.0) * u.arcsec, np.full(n, 100.0) * u.s
    start = time.process_time()
    entries = read_catalogue(table)
    assert time.process_time() - start < 1.5  # 30 s for 100,000
    assert LensModel.from_dict(entries[-1].lens).parameters["theta_E"] == 2 * u.arcsec


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_catalogue(tmp_path / "no.ecsv")
    (tmp_path / "bad.ecsv").write_bytes(b"\x00\x01")
    with pytest.raises(FileFormatError, match=r"bad\.ecsv"):
        read_catalogue(tmp_path / "bad.ecsv")
    with pytest.raises(TypeError, match="catalogue must be"):
        read_catalogue(3)
