"""Catalogues: what they say of a lens, and what is wrong with them."""

from __future__ import annotations

import pytest
from astropy import units as u
from astropy.table import QTable, Table

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
    assert u.isclose(first.center.ra, 150 * u.deg)
    assert u.isclose(first.center.dec, 2 * u.deg)
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
        ({"file": ["a.fits"], "name": ["../a"], "lens": ["b"]}, "letters, digits"),
        ({"file": ["a.fits"], "name": ["index"], "lens": ["b"]}, "a lens cannot be named index or settings"),
        ({"file": ["a.fits", "a_lens.fits"], "lens": ["a", "b"]}, "a and a_lens would share a file"),
        ({"file": ["a.fits"], "lens": ["b"], "ra": [1.0] * u.deg, "dec": [1.0] * u.deg}, "ra and dec"),
        ({"file": ["a.fits"], "lens": ["b"], "exposure_time": [100.0]}, "'exposure_time' must have a unit"),
    ],
)
def test_bad_tables(columns, message):
    with pytest.raises(ValueError, match=message):
        read_catalogue(QTable(columns))


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_catalogue(tmp_path / "no.ecsv")
    (tmp_path / "bad.ecsv").write_bytes(b"\x00\x01")
    with pytest.raises(FileFormatError, match=r"bad\.ecsv"):
        read_catalogue(tmp_path / "bad.ecsv")
    with pytest.raises(TypeError, match="catalogue must be"):
        read_catalogue(3)
