"""Writing of simulated sets: what they hold, and that interruptions leave no trace."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest

from lenssuper.datasets import read_dataset, write_dataset
from lenssuper.datasets.fitsfiles import FitsFiles
from lenssuper.datasets.hdf5files import Hdf5Files
from lenssuper.datasets.lenses import split_of
from lenssuper.datasets.processes import share
from lenssuper.simulate import (
    EUCLID_VIS,
    AxionVortex,
    ColdSubhaloes,
    Instrument,
    NoSubstructure,
    benchmark_set,
    random_lens,
    random_sersics,
)

SMALL = {"shape": (16, 16), "sources": random_sersics, "progress": False}
LAYOUTS = pytest.mark.parametrize("layout", ["fits", "hdf5"])


def same(a, b):
    """Whether two lenses are the same to the last bit."""
    images = [
        (item.observation.data, item.truth.image, item.truth.source, item.truth.noiseless) for item in (a, b)
    ]
    return (a.name, a.lens, a.truth.lens, a.truth.substructure) == (
        b.name,
        b.lens,
        b.truth.lens,
        b.truth.substructure,
    ) and all(np.array_equal(one, other) for one, other in zip(*images, strict=True))


SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


class TestSplit:
    def test_shares_are_right_whatever_the_number(self):
        for n in (1, 7, 10, 101, 1000):
            parts = split_of(n, SHARES)
            for name, share_ in SHARES.items():
                assert abs(parts.count(name) - share_ * n) < 1.001

    def test_a_lens_does_not_change_its_part(self):
        assert split_of(1000, SHARES)[:77] == split_of(77, SHARES)

    def test_without_a_share(self):
        assert set(split_of(50, {"train": 1.0, "validation": 0.0, "test": 0.0})) == {"train"}


@LAYOUTS
def test_what_is_written(tmp_path, layout):
    dark_matter = [NoSubstructure(), ColdSubhaloes(mean_number=3, point_masses=True), AxionVortex(points=5)]
    dataset = write_dataset(
        tmp_path / "set", 10, layout=layout, dark_matter=dark_matter, seed=2, peak_snr=(30, 31), **SMALL
    )
    assert [len(read_dataset(tmp_path / "set", part)) for part in ("train", "validation", "test")] == [
        8,
        1,
        1,
    ]
    assert len(dataset) == 10
    assert sorted(dataset.names) == [f"mock_{i:06d}" for i in range(10)]
    assert {item.truth.dark_matter for item in dataset} == {"none", "cdm", "vortex"}
    for item in dataset:
        truth = item.truth
        # the lens beside the observation is the smooth one, what bent the light is in the truth
        assert [type(part).__name__ for part in item.lens.components] == ["SIE", "ExternalShear"]
        assert truth.lens.components[:2] == item.lens.components
        more = len(truth.lens.components) - 2
        if truth.dark_matter == "none":
            assert more == 0
        elif truth.dark_matter == "cdm":
            assert more == len(truth.substructure["masses"])
        else:
            assert (more, truth.substructure["mass"]) == (5, 1e10)
        sigma = item.observation.sigma
        assert 29 < (truth.noiseless / sigma).max() < 32
        chi2 = ((item.observation.data - truth.noiseless) / sigma) ** 2
        assert 0.6 < chi2.mean() < 1.4
        assert truth.image.shape == (32, 32)
        assert truth.image.dtype == np.float32
        assert truth.source.shape == truth.source_grid.shape == (40, 40)
        assert item.observation.psf.sum() == pytest.approx(1)


def test_smooth_lenses_are_those_of_the_benchmark_set(tmp_path):
    dataset = write_dataset(tmp_path, 2, split=None, seed=4, shape=(16, 16), progress=False)
    for item, mock in zip(dataset, benchmark_set(2, seed=4, shape=(16, 16)), strict=True):
        np.testing.assert_array_equal(item.observation.data, mock.observation.data)
        assert item.lens == mock.lens
        np.testing.assert_allclose(item.truth.image, mock.image(), rtol=1e-6)
        assert item.truth.source_grid.pixel_scale.to_value(u.arcsec) == pytest.approx(0.02)
        np.testing.assert_allclose(item.truth.source, mock.source_image(item.truth.source_grid), rtol=1e-6)


def test_galaxy_and_smooth_lens_are_the_same_in_all_classes(tmp_path):
    sets = [
        write_dataset(tmp_path / one.label, 2, dark_matter=one, **SMALL)
        for one in (NoSubstructure(), AxionVortex(points=9))
    ]
    for none, vortex in zip(*sets, strict=True):
        assert none.lens == vortex.lens
        ratio = none.truth.source / vortex.truth.source  # but for the peak S/N
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        assert not np.allclose(none.truth.image, ratio[0, 0] * vortex.truth.image, rtol=1e-3)


@LAYOUTS
def test_a_lens_depends_on_its_number_only(tmp_path, layout, contents):
    once = write_dataset(tmp_path / "once", 5, layout=layout, seed=1, **SMALL)
    write_dataset(tmp_path / "grown", 2, layout=layout, seed=1, **SMALL)
    write_dataset(tmp_path / "grown", 3, layout=layout, seed=1, **SMALL)
    grown = write_dataset(tmp_path / "grown", 5, layout=layout, seed=1, **SMALL)
    assert contents(tmp_path / "once") == contents(tmp_path / "grown")
    other = write_dataset(tmp_path / "other", 1, layout=layout, seed=2, **SMALL)
    assert same(once[0], grown[0])
    assert not same(once[0], other[0])


@LAYOUTS
def test_what_is_there_is_left_alone(tmp_path, layout, monkeypatch):
    write_dataset(tmp_path, 3, layout=layout, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr("lenssuper.datasets.recipe.random_mock", None)  # no lens is made
    write_dataset(tmp_path, 3, layout=layout, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == {
        path: when for path, when in before.items() if path.is_file()
    }


@pytest.mark.parametrize("layout", ["fits", "hdf5"])
def test_disk_without_room_is_refused_before_the_work(tmp_path, layout, monkeypatch):
    monkeypatch.setattr("lenssuper.datasets.recipe.random_mock", None)  # no lens is made
    with pytest.raises(OSError, match=r"lenses need .* GB or more, and .* GB are free in "):
        write_dataset(tmp_path, 10**5, layout=layout, split=None, shape=(40_000, 40_000), progress=False)


@pytest.mark.parametrize(("layout", "files"), [("fits", FitsFiles), ("hdf5", Hdf5Files)])
def test_least_size_of_a_set_is_no_more_than_its_size(tmp_path, layout, files):
    write_dataset(tmp_path, 2, layout=layout, split=None, **{**SMALL, "shape": (48, 48)})
    held = (
        sum(file.stat().st_size for file in tmp_path.rglob("mock_*"))
        if layout == "fits"
        else (tmp_path / "lenses.h5").stat().st_size
    )
    least = 2 * files(tmp_path).least_bytes((48, 48), 2)
    assert 0.05 * held < least <= held


@pytest.mark.parametrize("ending", [".fits", "_lens.json", "_truth.fits"])
@pytest.mark.parametrize("harm", ["remove", "cut", "change"])
def test_damaged_files_are_made_anew(tmp_path, ending, harm, contents):
    write_dataset(tmp_path, 2, split=None, **SMALL)
    before = contents(tmp_path)
    damage(tmp_path / f"mock_000001{ending}", harm)
    write_dataset(tmp_path, 2, split=None, **SMALL)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("harm", ["remove", "cut", "change"])
def test_damaged_stacks_are_made_anew(tmp_path, harm, contents):
    write_dataset(tmp_path, 3, split=None, layout="hdf5", **SMALL)
    before = contents(tmp_path)
    damage(tmp_path / "lenses.h5", harm)
    write_dataset(tmp_path, 3, split=None, layout="hdf5", **SMALL)
    assert contents(tmp_path) == before


def damage(path, harm):
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
        path.write_bytes(content)


def test_killed_while_lenses_are_put_together(tmp_path, monkeypatch, contents):
    """Before the stack has its name, and before the single lenses are removed."""
    write_dataset(tmp_path / "whole", 3, split=None, layout="hdf5", **SMALL)
    join, unlink = Hdf5Files._join, Path.unlink
    for method in ("replace", "unlink"):
        directory = tmp_path / method
        with monkeypatch.context() as patch:
            if method == "replace":
                patch.setattr(Hdf5Files, "_join", lambda self, part, single: (_ for _ in ()).throw(Killed))
            else:
                patch.setattr(
                    Hdf5Files, "_join", lambda *given: (patch.setattr(Path, "unlink", die), join(*given))
                )
            with pytest.raises(Killed):
                write_dataset(directory, 3, split=None, layout="hdf5", **SMALL)
            patch.setattr(Path, "unlink", unlink)
        assert len(list(directory.glob("mock_*.h5"))) == 3
        assert len(read_dataset(directory)) == 3  # none twice
        (directory / ".0123456789ab.lenses.h5").write_bytes(b"half")
        write_dataset(directory, 3, split=None, layout="hdf5", **SMALL)
        assert contents(directory) == contents(tmp_path / "whole")


class Killed(BaseException):
    """In place of a signal."""


def die(path, missing_ok=False):
    raise Killed


def test_a_failing_lens_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="some light into the field"):
        write_dataset(
            tmp_path, 2, **{**SMALL, "lenses": functools.partial(random_lens), "sources": dark_source}
        )


def dark_source(rng):
    return 0.0 * random_sersics(rng)


def test_work_of_one_process_is_done_in_order():
    assert list(share(abs, [-3, 2, -1], 1)) == [3, 2, 1]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    directory = tmp_path_factory.mktemp("begun")
    write_dataset(directory, 2, **SMALL)
    return directory


class TestSettings:
    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"seed": 1}, "seed was 0 and is now 1"),
            ({"shape": (16, 17)}, r"shape was \[16, 16\] and is now \[16, 17\]"),
            ({"split": None}, "split was"),
            ({"split": (0.9, 0.1, 0.0)}, "split was"),
            ({"peak_snr": (20, 50)}, "peak_snr was"),
            ({"factor": 3}, "factor was 2 and is now 3"),
            ({"layout": "hdf5"}, "layout was fits and is now hdf5"),
            ({"instrument": EUCLID_VIS}, "instrument was"),
            ({"sources": functools.partial(random_sersics, R_e=(0.1, 0.2) * u.arcsec)}, "sources was"),
            (
                {"lenses": functools.partial(random_lens, q=(0.9, 0.9))},
                r"lenses was .* and is now .*random_lens\(q=",
            ),
            ({"dark_matter": AxionVortex()}, "dark_matter was"),
        ],
    )
    def test_other_settings_are_refused(self, begun, change, name, contents):
        before = contents(begun)
        with pytest.raises(ValueError, match=f"has other settings: {name}"):
            write_dataset(begun, 2, **{**SMALL, **change})
        assert contents(begun) == before

    def test_a_set_does_not_shrink(self, begun):
        with pytest.raises(ValueError, match=r"n must be at least 2, .*; got 1"):
            write_dataset(begun, 1, **SMALL)

    def test_overwritten(self, begun, tmp_path, contents):
        directory = tmp_path / "set"
        write_dataset(directory, 4, split=None, **SMALL)
        (directory / "mine.fits").write_text("mine")
        write_dataset(directory, 2, overwrite=True, **SMALL)
        assert (directory / "mine.fits").read_text() == "mine"
        (directory / "mine.fits").unlink()
        assert contents(directory) == contents(begun)

    def test_a_set_without_lenses_may_begin_with_others(self, tmp_path):
        with pytest.raises(ValueError, match="some light into the field"):
            write_dataset(tmp_path, 2, **{**SMALL, "sources": dark_source})
        assert len(write_dataset(tmp_path, 2, **SMALL)) == 2

    def test_files_of_unknown_origin_are_kept(self, tmp_path):
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "mock_000000.fits").write_text("mine")
        with pytest.raises(FileExistsError, match=r"mock_000000\.fits exists"):
            write_dataset(tmp_path, 2, **SMALL)
        assert [path.name for path in tmp_path.rglob("*.*")] == ["mock_000000.fits"]

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        write_dataset(tmp_path, 2, **SMALL)
        left = tmp_path / "train" / ".0123456789ab.mock_000001.fits"
        left.write_text("half")
        (tmp_path / "train" / ".hidden").write_text("mine")
        write_dataset(tmp_path, 2, **SMALL)
        assert not left.exists()
        assert (tmp_path / "train" / ".hidden").exists()

    def test_they_are_written_down(self, begun):
        content = json.loads((begun / "dataset.json").read_text())
        assert content["n"] == 2
        assert content["settings"]["sources"] == "lenssuper.simulate.random.random_sersics"
        assert read_dataset(begun).settings == content["settings"]

    def test_an_object_without_words_of_its_own(self, tmp_path):
        """Its address would be another one the next time."""
        given = {**SMALL, "sources": Sersics()}
        write_dataset(tmp_path, 1, **given)
        write_dataset(tmp_path, 1, **{**given, "sources": Sersics()})


class Sersics:
    def __call__(self, rng):
        return random_sersics(rng)


@pytest.mark.parametrize(
    ("change", "error", "name"),
    [
        ({"n": 0}, ValueError, "n must"),
        ({"n": 1.5}, (TypeError, ValueError), "n must"),
        ({"seed": -1}, ValueError, "seed must"),
        ({"split": (0.8, 0.1)}, ValueError, "split must"),
        ({"split": (0.8, 0.1, 0.3)}, ValueError, "split must"),
        ({"split": (1.2, -0.1, -0.1)}, ValueError, "split must"),
        ({"shape": (16,)}, ValueError, "shape must"),
        ({"shape": (16, 0)}, ValueError, "shape must"),
        ({"peak_snr": (60, 20)}, ValueError, "peak_snr must"),
        ({"peak_snr": (0, 20)}, ValueError, "peak_snr must"),
        ({"factor": 0}, ValueError, "factor must"),
        ({"layout": "zarr"}, ValueError, "layout must"),
        ({"instrument": "hst"}, TypeError, "instrument must"),
        ({"lenses": random_lens(1)}, TypeError, "lenses must"),
        ({"sources": 3}, TypeError, "sources must"),
        ({"dark_matter": "cdm"}, TypeError, "dark_matter must"),
        ({"dark_matter": []}, TypeError, "dark_matter must"),
        ({"workers": 0}, ValueError, "workers must"),
    ],
)
def test_errors_name_the_argument(tmp_path, change, error, name):
    with pytest.raises(error, match=name):
        write_dataset(tmp_path / "set", **{"n": 2, **SMALL, **change})
    assert not (tmp_path / "set").exists()


def test_one_process_at_a_time(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError, match="another process is writing"):
        write_dataset(tmp_path, 1, **SMALL)
    assert list(tmp_path.iterdir()) == []
    os.close(descriptor)
    write_dataset(tmp_path, 1, **SMALL)


def test_another_instrument(tmp_path):
    instrument = Instrument.gaussian(0.05 * u.arcsec, 0.1 * u.arcsec)
    (item,) = write_dataset(tmp_path, 1, instrument=instrument, **{**SMALL, "shape": (12, 20)})
    assert item.observation.shape == (12, 20)
    assert item.observation.grid.pixel_scale.to_value(u.arcsec) == pytest.approx(0.05)
