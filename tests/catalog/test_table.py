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
