"""Averaging blocks of pixels, and picking single ones."""

from __future__ import annotations

import numpy as np
import pytest

from lenssuper.operators import Binning, Sampling


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_binning_is_the_mean_of_blocks(factor):
    fine = np.random.default_rng(0).normal(size=(4 * factor, 5 * factor))
    op = Binning(fine.shape, factor)
    binned = op @ fine
    assert op.factor == factor
    assert binned.shape == op.out_shape == (4, 5)
    for j, i in np.ndindex(4, 5):
        block = fine[j * factor : (j + 1) * factor, i * factor : (i + 1) * factor]
        assert binned[j, i] == pytest.approx(block.mean(), abs=1e-15)


def test_binning_spreads_back_what_it_averaged():
    coarse = np.array([[4.0, 8.0]])
    np.testing.assert_array_equal(Binning((2, 4), 2).adjoint(coarse), [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_binning_needs_whole_blocks():
    with pytest.raises(ValueError, match=r"in_shape must be a multiple of factor, 3; got \(6, 8\)"):
        Binning((6, 8), 3)


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_sampling_is_a_slice(offset):
    fine = np.random.default_rng(1).normal(size=(8, 11))
    op = Sampling(fine.shape, 3, offset=offset)
    np.testing.assert_array_equal(op @ fine, fine[offset::3, offset::3])
    back = op.adjoint(op @ fine)
    np.testing.assert_array_equal(back[offset::3, offset::3], fine[offset::3, offset::3])
    assert np.count_nonzero(back) == np.prod(op.out_shape)


@pytest.mark.parametrize("offset", [-1, 8])
def test_sampling_starts_inside(offset):
    with pytest.raises(ValueError, match=rf"offset must be a row and a column .*; got {offset}"):
        Sampling((8, 11), 3, offset=offset)


@pytest.mark.parametrize("operator", [Binning, Sampling])
def test_factor_is_a_whole_number(operator):
    with pytest.raises(TypeError, match=r"factor must be an integer; got 2\.0"):
        operator((4, 4), 2.0)
    with pytest.raises(ValueError, match="factor must be at least 1; got 0"):
        operator((4, 4), 0)
