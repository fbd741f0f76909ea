"""Overlap operators written and read: whole, or an error that names the file."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from lenssuper import SIE, ExternalShear, PixelGrid
from lenssuper.exceptions import FileFormatError
from lenssuper.operators import OverlapOperator

LENS = SIE(theta_E=1.1 * u.arcsec, q=0.8, phi=30 * u.deg) + ExternalShear(gamma1=0.03, gamma2=-0.02)


@pytest.fixture
def op():
    image_grid = PixelGrid(
        shape=(8, 9), pixel_scale=0.4 * u.arcsec, reference=SkyCoord(150.1 * u.deg, 2.2 * u.deg)
    )
    return OverlapOperator(LENS, image_grid, PixelGrid(shape=(7, 6), pixel_scale=0.3 * u.arcsec), tol=0.01)


@pytest.fixture
def path(tmp_path, op):
    op.save(tmp_path / "operator.npz")
    return tmp_path / "operator.npz"


def test_round_trip(op, path):
    read = OverlapOperator.load(path)
    for one, other in ((op, read), (op, OverlapOperator.load(str(path)))):
        np.testing.assert_array_equal(one.matrix.toarray(), other.matrix.toarray())
        np.testing.assert_array_equal(one.coverage, other.coverage)
        np.testing.assert_array_equal(one.magnification, other.magnification)
        assert (one.lens_model, one.image_grid, one.source_grid) == (
            other.lens_model, other.image_grid, other.source_grid
        )  # fmt: skip
        assert (one.tol, one.subdivide) == (other.tol, other.subdivide)
    assert read.matrix.indices.dtype == np.int32
    source = np.random.default_rng(0).normal(size=op.in_shape)
    np.testing.assert_array_equal(read.lens(source), op.lens(source))


def test_subdivide_is_kept(tmp_path, op):
    OverlapOperator(LENS, op.image_grid, op.source_grid, subdivide=2).save(tmp_path / "two")
    assert OverlapOperator.load(tmp_path / "two").subdivide == 2


@pytest.mark.parametrize("order", [1, 2])
def test_order_is_kept(tmp_path, op, order):
    smooth = OverlapOperator(LENS, op.image_grid, op.source_grid, order=order)
    smooth.save(tmp_path / "smooth")
    read = OverlapOperator.load(tmp_path / "smooth")
    assert (read.order, op.order) == (order, 0)
    np.testing.assert_array_equal(read.matrix.toarray(), smooth.matrix.toarray())
    np.testing.assert_array_equal(read.coverage, op.coverage)  # of the pixels, whatever the splines


def test_nothing_is_replaced_unasked(op, path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"operator\.npz"):
        op.save(path)
    assert path.read_bytes() == before
    op.save(path, overwrite=True)
    assert [p.name for p in path.parent.iterdir()] == ["operator.npz"]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        OverlapOperator.load(tmp_path / "none.npz")


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9, 0.999])
def test_truncated_file(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(FileFormatError, match=r"operator\.npz"):
        OverlapOperator.load(path)


def read_or_refuse(path):
    try:
        return OverlapOperator.load(path)
    except FileFormatError as error:
        return error


@pytest.mark.parametrize("place", np.linspace(0.02, 0.97, 25))
def test_changed_byte(op, path, place):
    """Every byte that carries content is looked after, by zip's checksum or by the digest."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x41
    path.write_bytes(content)
    found = read_or_refuse(path)
    if isinstance(found, FileFormatError):
        assert "operator.npz" in str(found)
    else:  # a byte of the archive's own bookkeeping, such as a date
        assert found.lens_model == LENS
        assert (found.matrix != op.matrix).nnz == 0


@pytest.mark.parametrize("content", [b"", b"SIMPLE  = T", b"PK\x03\x04 not much of an archive"])
def test_other_files(tmp_path, content):
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"other\.npz"):
        OverlapOperator.load(tmp_path / "other.npz")


def rewrite(path, **change):
    with np.load(path) as content:
        arrays = {**content, **change}
    np.savez(path, **arrays)


def test_arrays_of_something_else(path):
    np.savez(path, image=np.zeros(3))
    with pytest.raises(FileFormatError, match=r"operator\.npz"):
        OverlapOperator.load(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(FileFormatError, match=r"operator\.npy"):
        OverlapOperator.load(path.with_suffix(".npy"))


def test_tampered_values(path):
    with np.load(path) as content:
        data, header = content["data"], str(content["header"])
    rewrite(path, data=data * 1.0000001)
    with pytest.raises(FileFormatError, match=r"operator\.npz is damaged"):
        OverlapOperator.load(path)
    rewrite(path, data=data, header=np.array(header.replace("1.1", "1.2")))
    with pytest.raises(FileFormatError, match=r"operator\.npz is damaged"):
        OverlapOperator.load(path)
    rewrite(path, header=np.array(header))
    OverlapOperator.load(path)


def test_no_pickle_is_opened(path):
    rewrite(path, data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match=r"operator\.npz"):
        OverlapOperator.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 3'),
        ("lenssuper OverlapOperator", "another OverlapOperator"),
        ('"shape": [8, 9]', '"shape": [9, 9]'),
        ('"shape": [7, 6]', '"shape": [6, 7]'),
        ('"lens"', '"glass"'),
    ],
)
def test_a_header_that_does_not_fit(path, old, new):
    """Also with the right digest: written by another version, say."""
    from lenssuper.operators.overlap import file as _overlapfile

    with np.load(path) as content:
        arrays = dict(content)
    text = str(arrays["header"])
    assert old in text
    text = text.replace(old, new)
    rewrite(path, header=np.array(text), digest=np.array(_overlapfile._digest(text, arrays)))
    with pytest.raises(FileFormatError, match=r"operator\.npz cannot be read"):
        OverlapOperator.load(path)
