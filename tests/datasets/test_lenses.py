"""Reading of data sets: simulated ones, and directories of a user's lenses."""

from __future__ import annotations

import json
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import SIE, SIS, ExternalShear, ForwardModel, Observation, PixelGrid, write_observation
from lenssuper.datasets import LensDataset, read_dataset, write_dataset
from lenssuper.exceptions import FileFormatError, LensSuperWarning, ObservationError
from lenssuper.simulate import random_sersics

arcsec = u.arcsec
LENS = SIE(theta_E=1.1 * arcsec, q=0.7, phi=20 * u.deg) + ExternalShear(gamma1=0.02, gamma2=-0.01)
SMALL = {"shape": (16, 20), "sources": random_sersics, "progress": False}


@pytest.fixture(scope="module", params=["fits", "hdf5"])
def simulated(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    write_dataset(directory, 10, layout=request.param, **SMALL)
    return directory


def observe(path, shape=(12, 14), **changes):
    """Write an observation as a user has it, with its lens beside it."""
    rng = np.random.default_rng(len(path.name))
    given = {
        "uncertainty": StdDevUncertainty(np.full(shape, 0.1)),
        "unit": u.electron / u.s,
        "wcs": PixelGrid(shape, 0.1 * arcsec).wcs,
        "psf": np.ones((3, 3)) / 9,
    }
    CCDData(rng.normal(size=shape), **{**given, **changes}).write(path)
    LENS.write(path.with_name(path.name.removesuffix(".fits") + "_lens.json"), overwrite=True)


class TestSequence:
    def test_length_and_order(self, simulated):
        dataset = read_dataset(simulated)
        assert len(dataset) == len(dataset.names) == len(list(dataset)) == 10
        names = [read_dataset(simulated, part).names for part in ("train", "validation", "test")]
        assert dataset.names == [name for part in names for name in part]
        assert [len(part) for part in names] == [8, 1, 1]
        assert dataset[-1].name == dataset.names[-1]
        assert "10 lenses" in repr(dataset)

    def test_parts_read_nothing(self, simulated, monkeypatch):
        dataset = read_dataset(simulated)
        for method in ("fitsfiles.FitsMember.read", "hdf5files.Hdf5Member.read"):
            monkeypatch.setattr(f"lenssuper.datasets.{method}", None)
        part = dataset[2:6][[3, 0]]
        assert isinstance(part, LensDataset)
        assert part.names == [dataset.names[5], dataset.names[2]]
        assert part.settings == dataset.settings != {}
        mask = np.arange(10) % 4 == 1
        assert dataset[mask].names == dataset[mask.tolist()].names == dataset[np.array([1, 5, 9])].names
        assert dataset[[]].names == []
        assert dataset.shapes == [(16, 20)] * 10

    def test_sum(self, simulated):
        first, second = read_dataset(simulated, "train"), read_dataset(simulated, "test")
        both = first + second
        assert both.names == first.names + second.names
        assert both.settings == first.settings
        last = both[-1].observation.data
        np.testing.assert_array_equal(last, second[-1].observation.data)
        with pytest.raises(TypeError):
            _ = first + [1]  # noqa: RUF005

    def test_bad_places(self, simulated):
        dataset = read_dataset(simulated)
        with pytest.raises(IndexError, match="below 10"):
            dataset[10]
        with pytest.raises(TypeError, match="integer"):
            dataset["mock_000000"]
        for item in (1.0, [1.0], [[1]], None):
            with pytest.raises(TypeError, match="integer"):
                dataset[item]
        with pytest.raises(IndexError, match="one value for each of 10 lenses; got 2"):
            dataset[[True, False]]
        with pytest.raises(IndexError, match="below 10"):
            dataset[[0, -11]]

    def test_can_be_sent_to_other_processes(self, simulated):
        dataset = read_dataset(simulated)
        again = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(again[3].observation.data, dataset[3].observation.data)

    def test_an_item(self, simulated):
        item = read_dataset(simulated, "train")[0]
        assert item.name == "mock_000000"
        assert isinstance(item.observation, Observation)
        assert item.observation.unit == u.electron / u.s
        assert item.observation.meta["INSTRUME"] == "benchmark"
        assert (item.observation.psf_oversampling, item.observation.psf_includes_pixel) == (1, True)
        again = Observation.from_nddata(item.observation.to_nddata())
        np.testing.assert_allclose(again.grid.matrix, item.observation.grid.matrix, atol=1e-9)
        np.testing.assert_allclose(again.grid.origin, item.observation.grid.origin, atol=1e-9)
        assert item.observation is item.observation
        assert item.truth is item.truth
        assert "mock_000000" in repr(item)


def test_a_solver_takes_it(tmp_path):
    """The true source, on its grid, explains the data."""
    (item,) = write_dataset(tmp_path, 1, split=None, shape=(48, 48), progress=False)
    truth = item.truth
    model = ForwardModel(item.observation, item.lens, factor=2, source_grid=truth.source_grid)
    assert model.chi2(truth.source.astype(float)) / 48**2 == pytest.approx(1, abs=0.1)


def test_both_layouts_hold_the_same(tmp_path):
    given = {"split": None, **SMALL}
    one = write_dataset(tmp_path / "fits", 2, **given)
    two = write_dataset(tmp_path / "hdf5", 2, layout="hdf5", **given)
    for a, b in zip(one, two, strict=True):
        assert (a.name, a.lens) == (b.name, b.lens)
        assert a.truth.lens == b.truth.lens
        assert a.truth.source_grid == b.truth.source_grid
        for x, y in (
            (a.observation.data, b.observation.data),
            (a.observation.sigma, b.observation.sigma),
            (a.observation.mask, b.observation.mask),
            (a.observation.psf, b.observation.psf),
            (a.truth.image, b.truth.image),
            (a.truth.noiseless, b.truth.noiseless),
            (a.truth.source, b.truth.source),
        ):
            np.testing.assert_array_equal(x, y)
        np.testing.assert_allclose(a.observation.grid.matrix, b.observation.grid.matrix, atol=1e-9)
        np.testing.assert_allclose(a.observation.grid.origin, b.observation.grid.origin, atol=1e-9)
        assert a.observation.grid.reference.separation(b.observation.grid.reference) < 1e-6 * u.arcsec
    again = read_dataset(tmp_path / "hdf5" / "lenses.h5")
    assert again.names == two.names


class TestUsersLenses:
    def test_any_directory(self, tmp_path):
        for name in ("ring10.fits", "ring9.fits", "arc.fits"):
            observe(tmp_path / name)
        dataset = read_dataset(tmp_path)
        assert dataset.names == ["arc", "ring9", "ring10"]
        assert dataset.settings == {}
        item = dataset[0]
        assert item.lens == LENS
        assert item.truth is None
        assert item.observation.psf.shape == (3, 3)
        with pytest.raises(ValueError, match="it is not divided"):
            read_dataset(tmp_path, "train")

    def test_mixed_shapes_are_told(self, tmp_path):
        observe(tmp_path / "a.fits", shape=(12, 14))
        observe(tmp_path / "b.fits", shape=(20, 10))
        assert read_dataset(tmp_path).shapes == [(12, 14), (20, 10)]

    def test_optical_oversampled_psf(self, tmp_path):
        data = CCDData(
            np.ones((8, 8)),
            unit="adu",
            uncertainty=StdDevUncertainty(np.ones((8, 8))),
            psf=np.ones((5, 5)) / 25,
        )
        observation = Observation.from_nddata(
            data, grid=PixelGrid((8, 8), 0.1 * arcsec), psf_oversampling=3, psf_includes_pixel=False
        )
        write_observation(observation, tmp_path / "a.fits")
        LENS.write(tmp_path / "a_lens.json")
        (item,) = read_dataset(tmp_path)
        assert (item.observation.psf_oversampling, item.observation.psf_includes_pixel) == (3, False)

    def test_no_psf_is_for_the_solver_to_refuse(self, tmp_path):
        observe(tmp_path / "a.fits", psf=None)
        assert read_dataset(tmp_path)[0].observation.psf is None

    def test_a_part_of_a_simulated_set(self, tmp_path):
        write_dataset(tmp_path, 2, **SMALL)
        dataset = read_dataset(tmp_path / "train")
        assert dataset.names == ["mock_000000", "mock_000001"]
        assert dataset[1].truth is not None


class TestErrors:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read_dataset(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match="holds no lens"):
            read_dataset(tmp_path)
        (tmp_path / "ring.txt").write_text("")
        with pytest.raises(FileNotFoundError, match="path must be the directory or HDF5 file"):
            read_dataset(tmp_path / "ring.txt")

    def test_lens_missing(self, tmp_path):
        observe(tmp_path / "a.fits")
        observe(tmp_path / "b.fits")
        (tmp_path / "b_lens.json").unlink()
        with pytest.raises(FileNotFoundError, match=r"b\.fits has no lens: b_lens\.json must be beside it"):
            read_dataset(tmp_path)

    @pytest.mark.parametrize("text", ["", "{}", '{"format": "lenssuper lens", "version": 1}', "[1, 2]"])
    def test_lens_damaged(self, tmp_path, text):
        observe(tmp_path / "a.fits")
        (tmp_path / "a_lens.json").write_text(text)
        with pytest.raises(FileFormatError, match=r"a_lens\.json"):
            read_dataset(tmp_path)[0]

    def test_lens_without_sense(self, tmp_path):
        observe(tmp_path / "a.fits")
        content = SIS(theta_E=1 * arcsec).to_dict()
        content["components"][0]["theta_E"] = "-1 arcsec"
        (tmp_path / "a_lens.json").write_text(json.dumps(content))
        with pytest.raises(FileFormatError, match=r"a_lens\.json: component SIS: theta_E must be at least"):
            read_dataset(tmp_path)[0]

    def test_observation_damaged(self, tmp_path):
        observe(tmp_path / "a.fits")
        path = tmp_path / "a.fits"
        path.write_bytes(path.read_bytes()[:3000])
        dataset = read_dataset(tmp_path)
        with pytest.raises(FileFormatError, match=r"a\.fits"):
            dataset[0]
        path.write_bytes(b"no FITS at all")
        with pytest.raises(FileFormatError, match=r"a\.fits"):
            dataset[0]
        with pytest.raises(FileFormatError, match=r"a\.fits"):
            dataset.shapes  # noqa: B018

    def test_observation_without_noise(self, tmp_path):
        observe(tmp_path / "a.fits", uncertainty=None)
        with pytest.raises(ObservationError, match=r"a\.fits.*no uncertainty"):
            read_dataset(tmp_path)[0]

    def test_truth_damaged(self, tmp_path):
        (item,) = write_dataset(tmp_path, 1, split=None, **SMALL)
        path = tmp_path / "mock_000000_truth.fits"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        (item,) = read_dataset(tmp_path)
        assert item.observation.shape == (16, 20)  # of use without
        with pytest.raises(FileFormatError, match=r"truth\.fits is (corrupt|damaged)"):
            item.truth  # noqa: B018
        fits.writeto(path, np.ones((3, 3)), overwrite=True)
        with pytest.raises(FileFormatError, match="not the truth of a lens"):
            read_dataset(tmp_path)[0].truth  # noqa: B018

    @pytest.mark.parametrize("harm", ["cut", "change", "replace"])
    def test_stack_damaged(self, tmp_path, harm):
        write_dataset(tmp_path, 2, split=None, layout="hdf5", **SMALL)
        path = tmp_path / "lenses.h5"
        content = bytearray(path.read_bytes())
        if harm == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif harm == "replace":
            path.write_bytes(b"not HDF5")
        else:
            data = read_dataset(tmp_path)[1].observation.data.tobytes()
            content[content.index(data) + 10] ^= 255
            path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"lenses\.h5 cannot be read as an HDF5 file of lenses"):
            read_dataset(tmp_path)[1]

    def test_another_hdf5_file(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "galaxies.h5", "w") as file:
            file["data"] = np.ones((3, 4, 4))
        with pytest.raises(FileFormatError, match="not one of lenses"):
            read_dataset(tmp_path / "galaxies.h5")

    @pytest.mark.parametrize(
        "text", ["", "[]", '{"format": "other"}', '{"format": "lenssuper data set", "version": 9}']
    )
    def test_settings_damaged(self, tmp_path, text):
        write_dataset(tmp_path, 1, **SMALL)
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(FileFormatError, match=r"dataset\.json cannot be read as the description"):
            read_dataset(tmp_path)
        with pytest.raises(FileFormatError, match=r"dataset\.json cannot be read as the description"):
            write_dataset(tmp_path, 1, **SMALL)

    def test_no_such_part(self, tmp_path):
        write_dataset(tmp_path, 2, split=(0.5, 0.5, 0), **SMALL)
        with pytest.raises(ValueError, match="'training', and it has train, validation, test"):
            read_dataset(tmp_path, "training")
        with pytest.raises(FileNotFoundError, match="holds no lens in test"):
            read_dataset(tmp_path, "test")

    def test_an_unfinished_set_is_used_with_a_warning(self, tmp_path):
        write_dataset(tmp_path, 3, split=None, **SMALL)
        (tmp_path / "mock_000001.fits").unlink()
        with pytest.warns(LensSuperWarning, match="not finished: it has 2 of 3 lenses"):
            assert len(read_dataset(tmp_path)) == 2


@pytest.mark.parametrize("how", ["external link", "external storage", "virtual"])
def test_hdf5_with_data_in_other_files_is_refused(tmp_path, how):
    """They would read whatever file of the user their name is, and are no part of a set."""
    h5py = pytest.importorskip("h5py")
    write_dataset(tmp_path / "set", 1, layout="hdf5", split=None, shape=(16, 16), progress=False)
    path = tmp_path / "set" / "lenses.h5"
    with h5py.File(path, "r+") as file:
        data = file["data"][()]
        del file["data"]
        if how == "external link":
            with h5py.File(tmp_path / "other.h5", "w") as other:
                other["data"] = data
            file["data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "data")
        elif how == "external storage":
            data.tofile(tmp_path / "raw")
            external = [(str(tmp_path / "raw"), 0, data.nbytes)]
            file.create_dataset("data", data.shape, data.dtype, external=external)
        else:
            layout = h5py.VirtualLayout(data.shape, data.dtype)
            layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "data", data.shape)
            file.create_virtual_dataset("data", layout)
    with pytest.raises(FileFormatError, match=r"lenses\.h5: data is in another file"):
        read_dataset(path)


def test_hdf5_is_checked_as_any_observation(tmp_path):
    h5py = pytest.importorskip("h5py")
    write_dataset(tmp_path / "set", 1, layout="hdf5", split=None, shape=(16, 16), progress=False)
    path = tmp_path / "set" / "lenses.h5"
    with h5py.File(path, "r+") as file:
        file["sigma"][0, 2, 3] = -1.0
    with pytest.raises(ObservationError, match=r"lenses\.h5.* negative in 1 pixels"):
        read_dataset(path)[0]
