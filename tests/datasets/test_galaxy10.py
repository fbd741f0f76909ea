"""Galaxy10: lazy, sliced by class, north up; and a clear word on every file that is not it."""

from __future__ import annotations

import hashlib
import pickle
import sys

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.config.paths import set_temp_cache
from astropy.utils.data import is_url_in_cache
from astropy.wcs.utils import pixel_to_skycoord

from lenssuper import Observation
from lenssuper.datasets import GALAXY10_CLASSES, Galaxy10, galaxy10
from lenssuper.exceptions import FileFormatError

N, SIDE = 12, 32


def contents():
    rng = np.random.default_rng(1)
    images = rng.normal(20, 4, (N, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    images[:, 12:20, 12:20] += np.arange(60, 60 + N, dtype=np.uint8)[:, None, None, None]
    return {
        "images": images,
        "ans": np.array([0, 5, 9, 5, 2, 3, 5, 7, 8, 9, 1, 0], dtype=np.uint8),
        "ra": np.linspace(10, 350, N),
        "dec": np.linspace(-20, 60, N),
        "redshift": np.append(np.linspace(0.01, 0.2, N - 1), np.nan),
        "pxscale": np.linspace(0.262, 0.524, N),
    }


def write(path, **changes):
    with h5py.File(path, "w") as file:
        for name, values in (contents() | changes).items():
            if values is not None:
                file[name] = values
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("galaxy10") / "Galaxy10_DECals.h5")


@pytest.fixture
def galaxies(path):
    return Galaxy10(path)


def test_a_galaxy_is_an_observation(galaxies):
    image = galaxies[3]
    assert len(galaxies) == N
    assert image.shape == (SIDE, SIDE)
    observation = Observation.from_nddata(image)
    assert observation.grid.pixel_scale.to_value(u.arcsec) == pytest.approx(contents()["pxscale"][3])
    assert observation.sigma[0, 0] == pytest.approx(4, rel=0.15)  # of the sky that was drawn
    assert image.meta["CLASS"] == 5
    assert image.meta["CLASSNAM"] == "Barred Spiral Galaxies"
    assert image.meta["REDSHIFT"] == pytest.approx(contents()["redshift"][3])
    assert image.meta["GALAXY10"] == 3


def test_north_is_up_and_east_to_the_left(galaxies):
    image = galaxies[3]
    center = pixel_to_skycoord(15.5, 15.5, image.wcs)
    assert center.ra.deg == pytest.approx(contents()["ra"][3])
    assert center.dec.deg == pytest.approx(contents()["dec"][3])
    assert pixel_to_skycoord(15.5, 25, image.wcs).dec > center.dec
    assert pixel_to_skycoord(5, 15.5, image.wcs).ra > center.ra
    # the first row of a JPEG is the top one
    np.testing.assert_array_equal(image.data, contents()["images"][3, ::-1, :, 1])


@pytest.mark.parametrize(("band", "channel"), [("g", 0), ("r", 1), ("z", 2)])
def test_each_band(path, band, channel):
    found = Galaxy10(path, band=band)[2]
    np.testing.assert_array_equal(found.data, contents()["images"][2, ::-1, :, channel])
    assert found.meta["BAND"] == band
    other_way_round = Galaxy10(path, band=band, bands=("z", "r", "g"))[2]
    np.testing.assert_array_equal(other_way_round.data, contents()["images"][2, ::-1, :, 2 - channel])


def test_mean_of_the_bands_and_the_picture(path):
    galaxies = Galaxy10(path, band="mean")[1:]
    np.testing.assert_allclose(galaxies[1].data, contents()["images"][2, ::-1].mean(axis=2))
    np.testing.assert_array_equal(galaxies.picture(1), contents()["images"][2])


def test_noise_only_when_wanted(path):
    assert Galaxy10(path, estimate_noise=False)[0].uncertainty is None


def test_slices_lists_and_masks_are_views(galaxies):
    assert [g.meta["GALAXY10"] for g in galaxies[2:8:2]] == [2, 4, 6]
    assert [g.meta["GALAXY10"] for g in galaxies[2:8][[3, -1]]] == [5, 7]
    assert [g.meta["GALAXY10"] for g in galaxies[galaxies.table["redshift"] > 0.17]] == [9, 10]
    assert galaxies[-1].meta["GALAXY10"] == N - 1
    assert len(galaxies[[]]) == 0
    assert len(galaxies) == N


def test_nothing_is_read_before_it_is_asked_for(galaxies, monkeypatch):
    read = []
    monkeypatch.setattr(Galaxy10, "_read", lambda self, member: read.append(member))
    part = galaxies.by_class(5)[1:]
    assert read == []
    part[0]
    assert read == [3]


@pytest.mark.parametrize("label", [5, "Barred Spiral Galaxies", "barred spiral galaxies", np.int64(5)])
def test_by_class(galaxies, label):
    chosen = galaxies.by_class(label)
    assert [g.meta["GALAXY10"] for g in chosen] == [1, 3, 6]
    assert [g.meta["GALAXY10"] for g in galaxies[2:].by_class(label)] == [3, 6]
    assert len(chosen.by_class(2)) == 0


def test_table(galaxies):
    table = galaxies.by_class(9).table
    assert table["index"].tolist() == [2, 9]
    assert set(table["class_name"]) == {"Edge-on Galaxies with Bulge"}
    assert table["pixel_scale"].unit == u.arcsec
    assert len(GALAXY10_CLASSES) == 10


def test_an_unknown_redshift_can_be_written(galaxies, tmp_path):
    image = galaxies[N - 1]
    assert image.meta["REDSHIFT"] is None
    image.write(tmp_path / "galaxy.fits")


def test_workers_can_have_it(galaxies):
    again = pickle.loads(pickle.dumps(galaxies.by_class(5)))
    np.testing.assert_array_equal(again[1].data, galaxies[3].data)


# What is refused


@pytest.mark.parametrize("wrong", ["x", 1.5, None, [[1]], ["a"], [0.5]])
def test_what_is_no_index(galaxies, wrong):
    with pytest.raises(TypeError, match="chosen by an integer, a slice"):
        galaxies[wrong]


@pytest.mark.parametrize("wrong", [N, -N - 1, [0, N]])
def test_an_index_too_far(galaxies, wrong):
    with pytest.raises(IndexError, match=f"below {N}"):
        galaxies[wrong]


def test_a_mask_of_another_length(galaxies):
    with pytest.raises(IndexError, match=f"each of {N} galaxies; got 3"):
        galaxies[[True, False, True]]


@pytest.mark.parametrize("label", [10, -1, "Spirals", None])
def test_a_class_that_is_not(galaxies, label):
    with pytest.raises(ValueError, match="label must be one of 0 'Disturbed Galaxies'"):
        galaxies.by_class(label)


def test_a_band_that_is_not(path):
    with pytest.raises(ValueError, match=r"band must be one of .*'mean'.*; got 'i'"):
        Galaxy10(path, band="i")
    with pytest.raises(ValueError, match="three different names"):
        Galaxy10(path, bands=("g", "g", "z"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ans": None, "pxscale": None}, "has no ans, pxscale; it has"),
        ({"images": np.zeros((N, 3, SIDE, SIDE), np.uint8)}, r"uint8 of shape \(N, ny, nx, 3\); got uint8"),
        ({"images": np.zeros((N, SIDE, SIDE, 3))}, "got float64"),
        ({"ra": np.zeros(N - 2)}, rf"{N} images, and the shape of ra is \({N - 2},\)"),
        ({"ans": np.full(N, 10)}, "classes must be 0 to 9; got 10 to 10"),
    ],
)
def test_another_layout(tmp_path, changes, words):
    with pytest.raises(FileFormatError, match=words):
        Galaxy10(write(tmp_path / "other.h5", **changes))


def test_a_pixel_scale_that_is_none(tmp_path):
    scales = contents()["pxscale"]
    scales[4] = 0.0
    galaxies = Galaxy10(write(tmp_path / "zero.h5", pxscale=scales))
    galaxies[3]
    with pytest.raises(FileFormatError, match="galaxy 4 has no valid position or pixel scale"):
        galaxies[4]


def test_a_truncated_file(path, tmp_path):
    short = tmp_path / "short.h5"
    short.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(FileFormatError, match=r"short\.h5 cannot be read as an HDF5 file: .*truncated"):
        Galaxy10(short)


def test_a_file_that_is_not_hdf5(tmp_path):
    (tmp_path / "text.h5").write_text("no galaxies")
    with pytest.raises(FileFormatError, match="cannot be read as an HDF5 file"):
        Galaxy10(tmp_path / "text.h5")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Galaxy10(tmp_path / "none.h5")


def test_checksum(path):
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(Galaxy10(path, sha256=right.upper())) == N
    with pytest.raises(FileFormatError, match=f"must have the SHA-256 {'0' * 64}; got {right}"):
        Galaxy10(path, sha256="0" * 64)


def test_without_h5py(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'pip install "lenssuper\[galaxies\]"'):
        Galaxy10(path)


# The download, from a file in place of the network


@pytest.fixture
def archive(path, monkeypatch, tmp_path):
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(galaxy10, "_URL", path.as_uri())
    monkeypatch.setattr(galaxy10, "_MIRROR", path.as_uri())
    monkeypatch.setattr(galaxy10, "_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with set_temp_cache(tmp_path / "cache"):
        yield path.as_uri()


def test_download_once(archive, monkeypatch):
    assert len(Galaxy10()) == N
    assert is_url_in_cache(archive)
    monkeypatch.setattr(galaxy10, "_SHA256", "0" * 64)  # checked when it came, and not again
    assert len(Galaxy10()) == N


def test_a_bad_download_is_not_kept(archive):
    with pytest.raises(FileFormatError, match="must have the SHA-256"):
        Galaxy10(sha256="f" * 64)
    assert not is_url_in_cache(archive)
