"""Shared by the tests of data sets: the comparison of two of them."""

from __future__ import annotations

import pytest
from astropy.io import fits


@pytest.fixture(scope="session")
def contents():
    """A function from a directory to all numbers and words in it, by the path of their file."""
    return contents_of


def contents_of(directory):
    return {
        str(path.relative_to(directory)): content_of(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def content_of(path):
    """What a file says, but for when it was written: in FITS's checksums, in groups of HDF5 before 2.0."""
    if path.suffix == ".fits":
        with fits.open(path, memmap=False) as hdus:
            return [(hdu.name, None if hdu.data is None else hdu.data.tobytes()) for hdu in hdus]
    if path.suffix == ".h5":
        return content_of_hdf5(path)
    return path.read_bytes()


def content_of_hdf5(path):
    h5py = pytest.importorskip("h5py")
    found = []
    with h5py.File(path) as file:
        found.append(("/", dict(file.attrs)))
        file.visititems(lambda name, node: found.append((name, dict(node.attrs), values_of(node))))
    return found


def values_of(node):
    """Values of a data set, with their kind; a group has none."""
    return (node.dtype.str, node.shape, node[()].tobytes()) if hasattr(node, "dtype") else None
