"""Data sets of lenses stacked in HDF5 files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lenssuper._utils.files import atomic_write, reading
from lenssuper.datasets.items import LensItem, SimulatedLens, unpack_truth
from lenssuper.exceptions import FileFormatError
from lenssuper.lens import LensModel
from lenssuper.observation.hdus import grid_info, observation_info, unpack

__all__ = ["Hdf5Files", "Hdf5Member", "hdf5_members", "load_h5py"]

_FORMAT, _VERSION = "lenssuper lenses", 1
_SUFFIX = ".h5"
# By how much compression makes data smaller at most.
_SMALLER = 1100
# Name of the file of a set that is not divided.
_UNDIVIDED = "lenses"

_IMAGES = {"DATA": "data", "UNCERT": "sigma", "MASK": "mask", "PSFIMAGE": "psf"}
_TRUTHS = {"IMAGE": "truth/image", "MODEL": "truth/noiseless", "SOURCE": "truth/source"}
_TEXTS = ("name", "lens", "info", "truth/info", "truth/dark_matter")


@dataclass(frozen=True)
class Hdf5Member:
    """A lens in an HDF5 file, not read yet."""

    path: Path
    index: int
    name: str

    def read(self) -> LensItem:
        """Read the lens; its truth is read when it is needed."""
        with _reading(self.path) as file:
            texts = self._texts(file, "lens", "info")
            images = {key: file[name][self.index] for key, name in _IMAGES.items()}
            images["MASK"] = images["MASK"].astype(bool)
            observation = unpack(images, texts["info"]["observation"], texts["info"]["grid"])
            return LensItem(self.name, observation, LensModel.from_dict(texts["lens"]), self._read_truth)

    def shape(self) -> tuple[int, int]:
        """Rows and columns of the observation."""
        with _reading(self.path) as file:
            return file["data"].shape[1:]

    def _read_truth(self):
        with _reading(self.path) as file:
            images = {key: file[name][self.index] for key, name in _TRUTHS.items()}
            return unpack_truth(images, self._texts(file, "truth/info")["truth/info"])

    def _texts(self, file, *names):
        return {name: json.loads(file[name][self.index]) for name in names}


def hdf5_members(path: Path) -> list[Hdf5Member]:
    """List the lenses in a file."""
    with _reading(path) as file:
        names = [name.decode() for name in file["name"][()]]
    return [Hdf5Member(path, index, name) for index, name in enumerate(names)]


@dataclass(frozen=True)
class Hdf5Files:
    """
    Write sets as one HDF5 file for each part.

    An HDF5 file that is open when the process is killed is lost. So each lens is first written to a file of
    its own, whole or not at all, and these are joined when all are there.
    """

    directory: Path

    # Its files, including incomplete ones of a killed process.
    pattern = rf"(\.[0-9a-f]{{12}}\.)?(mock_\d{{6}}|train|validation|test|{_UNDIVIDED})\.h5"

    def __post_init__(self) -> None:
        load_h5py()  # raises now if it is not installed

    def members(self, part: str) -> list[Hdf5Member]:
        """List the lenses of a part, joined in one file or not yet."""
        found = {member.name: member for member in self._stacked(part)}
        for path in self._single(part):
            for member in hdf5_members(path):
                found.setdefault(member.name, member)
        return [found[name] for name in sorted(found)]

    def is_complete(self, part: str, name: str) -> bool:
        """Return whether a lens is there and undamaged."""
        members = [Hdf5Member(self._folder(part) / f"{name}{_SUFFIX}", 0, name)]
        with suppress(FileFormatError):
            members += [member for member in self._stacked(part) if member.name == name]
        for member in members:
            with suppress(FileFormatError):
                if member.path.is_file() and member.read().truth is not None:
                    return True
        return False

    def least_bytes(self, shape: tuple[int, int], factor: int) -> int:
        """Size of a lens of which all but the noise of its image is compressed to nothing."""
        return shape[0] * shape[1] * 6  # the bits of a float that noise fills

    def write(self, part: str, simulated: SimulatedLens) -> None:
        """Write a lens to a file of its own."""
        path = self._folder(part) / f"{simulated.name}{_SUFFIX}"
        with atomic_write(path, overwrite=True) as beside:
            _write_stack(beside, 1, iter([_content_of(simulated)]))

    def finish(self, part: str) -> None:
        """Join the lenses of a part in one file."""
        single = self._single(part)
        if single:
            self._join(part, single)
        if part:
            with suppress(OSError):  # something else is in it
                self._folder(part).rmdir()

    def _join(self, part, single):
        sources = {}
        with suppress(FileFormatError):
            sources = {member.name: member for member in self._stacked(part)}
        # lenses that were written again replace damaged ones of the old file
        sources |= {member.name: member for path in single for member in hdf5_members(path)}
        members = [sources[name] for name in sorted(sources)]
        with atomic_write(self._file(part), overwrite=True) as beside:
            _write_stack(beside, len(members), (_content_in(member) for member in members))
        for path in single:
            path.unlink()

    def _folder(self, part):
        return self.directory / part

    def _file(self, part):
        return self.directory / f"{part or _UNDIVIDED}{_SUFFIX}"

    def _single(self, part):
        folder = self._folder(part)
        return sorted(
            path for path in folder.glob(f"mock_*{_SUFFIX}") if re.fullmatch(r"mock_\d{6}", path.stem)
        )

    def _stacked(self, part):
        path = self._file(part)
        return hdf5_members(path) if path.is_file() else []


def _content_of(simulated: SimulatedLens) -> dict[str, Any]:
    """Return the values of one lens by the names of the HDF5 datasets."""
    observation = simulated.observation
    images, info = simulated.truth()
    texts = {
        "name": simulated.name,
        "lens": json.dumps(simulated.lens.to_dict()),
        "info": json.dumps(
            {"grid": grid_info(observation.grid), "observation": observation_info(observation)}
        ),
        "truth/info": json.dumps(info),
        "truth/dark_matter": simulated.dark_matter,
    }
    return {
        "data": observation.data,
        "sigma": observation.sigma,
        "mask": observation.mask.astype(np.uint8),
        "psf": observation.psf,
        **{_TRUTHS[name]: image for name, (image, *_) in images.items()},
        **{name: text.encode() for name, text in texts.items()},
    }


def _content_in(member: Hdf5Member) -> dict[str, Any]:
    with _reading(member.path) as file:
        names = (*_IMAGES.values(), *_TRUTHS.values(), *_TEXTS)
        return {name: file[name][member.index] for name in names}


def _write_stack(path: Path, count: int, contents: Iterable[dict[str, Any]]) -> None:
    """
    Write lenses to a file, one after the other: they need not fit into memory together.

    Texts are padded to the length of the longest, because HDF5 has no checksum for texts of variable length.
    Compression removes the padding.
    """
    h5py = load_h5py()
    texts: dict[str, list[bytes]] = {name: [] for name in _TEXTS}
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["format"], file.attrs["version"] = _FORMAT, _VERSION
        for index, content in enumerate(contents):
            for name, value in content.items():
                if name in texts:
                    texts[name].append(bytes(value))
                    continue
                if index == 0:
                    shape, kind = (count, *value.shape), value.dtype
                    file.create_dataset(name, shape, kind, chunks=(1, *value.shape), fletcher32=True)
                file[name][index] = value
        for name, values in texts.items():
            file.create_dataset(name, data=np.array(values), chunks=(1,), fletcher32=True, compression="gzip")


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    h5py = load_h5py()
    with reading(path, "an HDF5 file of lenses"), h5py.File(path, "r") as file:
        if file.attrs.get("format") != _FORMAT:
            raise FileFormatError(f"{path} is an HDF5 file, but not one of lenses of lenssuper")
        version = file.attrs.get("version")
        if version != _VERSION:
            raise FileFormatError(
                f"{path} has layout {version}, and this version of lenssuper reads {_VERSION}"
            )
        _check_links(h5py, file)
        yield file


def _check_links(h5py, file):
    """Refuse data that are in other files, which a set never is, and more data than the file can hold."""
    held = os.path.getsize(file.filename)
    for name in ("truth", *_IMAGES.values(), *_TRUTHS.values(), *_TEXTS):
        if name not in file:
            continue
        item = None if isinstance(file.get(name, getlink=True), h5py.ExternalLink) else file[name]
        if item is None or (isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)):
            raise FileFormatError(f"{name} is in another file: a set has all of its data in its own")
        if isinstance(item, h5py.Dataset) and item.nbytes > _SMALLER * held:
            raise FileFormatError(f"{name} claims {item.nbytes:.3g} bytes, and the file has {held:.3g}")


def load_h5py():
    """Return the module h5py, or say how to install it."""
    try:
        import h5py
    except ImportError:
        raise ImportError('HDF5 files need h5py: pip install "lenssuper[galaxies]"') from None
    return h5py
