"""Sparse operators, lensing of NDData, and composition: what the contract does not cover."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from scipy import sparse

from lenssuper import SIS, PixelGrid
from lenssuper.operators import Binning, LensingOperator, LinearOperator, SparseOperator

IN_SHAPE, OUT_SHAPE = (3, 4), (2, 5)


def random_operator(seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.uniform(size=(10, 12)) * (rng.uniform(size=(10, 12)) < 0.4)
    return SparseOperator(sparse.csr_array(dense), IN_SHAPE, OUT_SHAPE)


class TestSparseOperator:
    def test_is_its_matrix(self):
        op = random_operator()
        x = np.random.default_rng(1).normal(size=IN_SHAPE)
        np.testing.assert_allclose((op @ x).ravel(), op.matrix.toarray() @ x.ravel(), rtol=1e-13)
        y = np.random.default_rng(2).normal(size=OUT_SHAPE)
        np.testing.assert_allclose(op.adjoint(y).ravel(), op.matrix.toarray().T @ y.ravel(), rtol=1e-13)

    @pytest.mark.parametrize("kind", [sparse.coo_array, sparse.csc_matrix, sparse.csr_matrix])
    def test_any_sparse_kind_becomes_csr(self, kind):
        dense = np.random.default_rng(3).integers(0, 3, size=(10, 12)).astype(np.float32)
        op = SparseOperator(kind(dense), IN_SHAPE, OUT_SHAPE)
        assert isinstance(op.matrix, sparse.csr_array)
        assert op.matrix.dtype == np.float64
        assert op.matrix.indices.dtype == op.matrix.indptr.dtype == np.int32
        np.testing.assert_array_equal(op.matrix.toarray(), dense)

    def test_repeated_entries_are_added_and_the_input_left_alone(self):
        parts = np.array([1.0, 2.0, 4.0]), np.array([3, 3, 1], np.int64), np.r_[0, 3, [3] * 9]
        given = sparse.csr_array(parts, shape=(10, 12))
        op = SparseOperator(given, IN_SHAPE, OUT_SHAPE)
        np.testing.assert_array_equal(op.matrix.indices, [1, 3])
        np.testing.assert_array_equal(op.matrix.data, [4, 3])
        np.testing.assert_array_equal(given.indices, [3, 3, 1])
        np.testing.assert_array_equal(given.data, [1, 2, 4])

    def test_nothing_is_copied_without_need(self):
        given = random_operator().matrix
        assert np.shares_memory(SparseOperator(given, IN_SHAPE, OUT_SHAPE).matrix.data, given.data)

    @pytest.mark.parametrize("n", [1, 4, 15, 16, 17, 40])
    def test_several_images_at_once(self, n):
        op = random_operator()
        images = np.random.default_rng(4).normal(size=(n, *IN_SHAPE)).astype(np.float32)
        expected = images.reshape(n, -1) @ op.matrix.toarray().T
        for found in (op @ images, op @ images.astype(float)):
            np.testing.assert_allclose(found.reshape(n, -1), expected, rtol=1e-5, atol=1e-6)
            assert found.shape == (n, *OUT_SHAPE)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_product_on_a_device(self, dtype):
        # what runs on a GPU, tried on the CPU, where scipy is used otherwise
        op = random_operator()
        for stored in (op._stored, op._transpose):
            images = torch.rand(3, 1, stored.csr.shape[1], dtype=dtype)
            result = stored._tensor_product(images)
            assert result.dtype == dtype
            expected = images.numpy().reshape(3, -1) @ stored.csr.toarray().T
            np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5)
            assert stored._on_device(dtype, images.device) is stored._on_device(dtype, images.device)

    def test_wrong_matrix(self):
        with pytest.raises(TypeError, match="matrix must be a scipy sparse array; got ndarray"):
            SparseOperator(np.ones((10, 12)), IN_SHAPE, OUT_SHAPE)
        with pytest.raises(ValueError, match=r"matrix must have shape \(12, 10\).*; got \(10, 12\)"):
            SparseOperator(random_operator().matrix, OUT_SHAPE, IN_SHAPE)

    @pytest.mark.parametrize(
        ("shape", "error"),
        [((3, 4, 1), ValueError), ((12,), ValueError), ((3, 4.0), TypeError), (12, TypeError)],
    )
    def test_wrong_shape(self, shape, error):
        with pytest.raises(error, match=r"in_shape must be (two integers|an integer)"):
            SparseOperator(random_operator().matrix, shape, OUT_SHAPE)
        with pytest.raises(ValueError, match="out_shape must be at least 1; got 0"):
            SparseOperator(random_operator().matrix, IN_SHAPE, (0, 5))


class TestComposition:
    def test_is_the_product_of_matrices(self):
        first, second = random_operator(4).H, random_operator(5)
        product = first @ second
        expected = random_operator(4).matrix.T @ second.matrix
        np.testing.assert_allclose(product.aslinearoperator() @ np.eye(12), expected.toarray(), rtol=1e-13)
        np.testing.assert_allclose(
            product.H.aslinearoperator() @ np.eye(12), expected.toarray().T, rtol=1e-13
        )

    def test_order_does_not_matter_where_brackets_are_put(self):
        a, b, c = random_operator(6), random_operator(7).H, random_operator(8)
        x = np.random.default_rng(9).normal(size=IN_SHAPE)
        np.testing.assert_array_equal(((a @ b) @ c) @ x, (a @ (b @ c)) @ x)

    def test_shapes_must_meet(self):
        with pytest.raises(ValueError, match=r"takes \(3, 4\), .* gives \(2, 5\)"):
            random_operator() @ random_operator()

    def test_an_array_has_no_operator_to_its_right(self):
        with pytest.raises(TypeError):
            np.ones(OUT_SHAPE) @ random_operator()


def test_a_subclass_gives_two_methods_and_gets_the_rest():
    class Flip(LinearOperator):
        def _forward(self, x):
            return x.flip(-1) if isinstance(x, torch.Tensor) else x[..., ::-1]

        _adjoint = _forward

    op = Flip((2, 3), (2, 3))
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(op @ x, x[:, ::-1])
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(op.forward, (tensor,))
    with pytest.raises(TypeError, match="abstract"):
        LinearOperator((2, 3), (2, 3))


def test_torch_is_not_imported_for_arrays():
    code = (
        "import sys, numpy as np; from lenssuper.operators import Binning, BlurAndBin, PixelScatter\n"
        "BlurAndBin(None, 2, (2, 2)) @ np.ones((4, 4)); Binning((4, 4), 2) @ np.ones((4, 4))\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


IMAGE_GRID = PixelGrid(shape=OUT_SHAPE, pixel_scale=0.1 * u.arcsec)
SOURCE_GRID = PixelGrid(
    shape=IN_SHAPE, pixel_scale=0.05 * u.arcsec, reference=SkyCoord(10 * u.deg, 20 * u.deg, frame="icrs")
)


@pytest.fixture
def op():
    """Give a lensing operator with a column and a row that are empty."""
    matrix = random_operator().matrix.toarray()
    matrix[:, 7] = 0
    matrix[4] = 0
    return LensingOperator(SIS(theta_E=1 * u.arcsec), IMAGE_GRID, SOURCE_GRID, sparse.csr_array(matrix))


class TestLensingOperator:
    def test_knows_what_it_was_made_of(self, op):
        assert op.lens_model == SIS(theta_E=1 * u.arcsec)
        assert op.image_grid == IMAGE_GRID
        assert op.source_grid == SOURCE_GRID
        assert (op.in_shape, op.out_shape) == (IN_SHAPE, OUT_SHAPE)

    def test_coverage_is_what_falls_in_each_source_pixel(self, op):
        np.testing.assert_allclose(op.coverage, op.adjoint(np.ones(OUT_SHAPE)), rtol=1e-14)
        op.coverage[:] = 0
        assert op.coverage.any()

    def test_lens_is_forward(self, op):
        source = np.random.default_rng(1).normal(size=(2, *IN_SHAPE))
        np.testing.assert_array_equal(op.lens(source), op @ source)

    def test_delens_is_the_weighted_mean(self, op):
        image = np.random.default_rng(2).normal(size=(3, *OUT_SHAPE))
        weights = op.matrix.toarray()
        expected = np.zeros((3, 12))
        for k in range(3):
            for q in np.flatnonzero(weights.any(axis=0)):
                expected[k, q] = np.average(image[k].ravel(), weights=weights[:, q])
        np.testing.assert_allclose(op.delens(image).reshape(3, 12), expected, rtol=1e-12)
        assert (op.delens(image)[:, 1, 3] == 0).all()

    def test_delens_of_a_constant(self, op):
        expected = np.where(op.coverage > 0, 7.0, 0.0)
        np.testing.assert_allclose(op.delens(np.full(OUT_SHAPE, 7.0)), expected, rtol=1e-13)
        result = op.delens(np.full(OUT_SHAPE, 7, np.float32))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-6)

    def test_tensors(self, op):
        image = torch.rand(2, *OUT_SHAPE, dtype=torch.float64, requires_grad=True)
        np.testing.assert_allclose(
            op.delens(image).detach().numpy(), op.delens(image.detach().numpy()), rtol=1e-13
        )
        assert torch.autograd.gradcheck(op.delens, (image,))
        source = torch.rand(2, *IN_SHAPE, dtype=torch.float32)
        assert op.lens(source).dtype == torch.float32

    def test_errors_name_the_argument(self, op):
        with pytest.raises(ValueError, match=r"source must have shape .* shape of source_grid; got \(2, 5\)"):
            op.lens(np.zeros(OUT_SHAPE))
        with pytest.raises(ValueError, match=r"image must have shape .* shape of image_grid; got \(3, 4\)"):
            op.delens(np.zeros(IN_SHAPE))
        with pytest.raises(TypeError, match="source must be an array without a unit or a mask; got Quantity"):
            op.lens(np.zeros(IN_SHAPE) * u.Jy)


class TestNDData:
    def test_lens(self, op):
        data = np.random.default_rng(3).normal(size=IN_SHAPE)
        source = NDData(data, unit="Jy", meta={"OBJECT": "ring"})
        image = op.lens(source)
        assert type(image) is NDData
        np.testing.assert_array_equal(image.data, op @ data)
        assert image.unit == u.Jy
        assert image.meta == {"OBJECT": "ring"}
        assert image.mask is None
        assert image.uncertainty is None
        pixel = image.wcs.wcs_world2pix([[0.0, 0.0]], 0)  # the grid's reference point is its centre
        np.testing.assert_allclose(pixel, [[2, 0.5]], atol=1e-9)

    def test_delens(self, op):
        data = np.random.default_rng(4).normal(size=OUT_SHAPE)
        source = op.delens(CCDData(data, unit="electron / s"))
        np.testing.assert_allclose(source.data, op.delens(data), rtol=1e-13)
        assert source.unit == u.electron / u.s
        np.testing.assert_array_equal(source.mask, op.coverage == 0)
        centre = source.wcs.pixel_to_world(1.5, 1.0)
        assert centre.separation(SOURCE_GRID.reference) < 1e-6 * u.arcsec

    def test_masked_pixels_do_not_enter_a_mean(self, op):
        data = np.random.default_rng(5).normal(size=OUT_SHAPE)
        mask = np.zeros(OUT_SHAPE, bool)
        mask[0, :3] = True
        data[mask] = np.nan
        source = op.delens(NDData(data, mask=mask))
        weights = op.matrix.toarray() * ~mask.ravel()[:, None]
        seen = weights.sum(axis=0) > 0
        np.testing.assert_array_equal(source.mask.ravel(), ~seen)
        expected = (weights.T @ np.nan_to_num(data).ravel())[seen] / weights.sum(axis=0)[seen]
        np.testing.assert_allclose(source.data.ravel()[seen], expected, rtol=1e-12)
        assert np.isfinite(source.data).all()

    def test_masked_source_pixels_mask_what_sees_them(self, op):
        mask = np.zeros(IN_SHAPE, bool)
        mask[0, 1] = True
        data = np.where(mask, np.inf, 1.0)
        image = op.lens(NDData(data, mask=mask))
        np.testing.assert_array_equal(image.mask.ravel(), op.matrix.toarray()[:, 1] > 0)
        assert np.isfinite(image.data).all()

    @pytest.mark.parametrize(
        ("kind", "power"), [(StdDevUncertainty, 1), (VarianceUncertainty, 2), (InverseVariance, -2)]
    )
    def test_uncertainty(self, op, kind, power):
        rng = np.random.default_rng(6)
        sigma = rng.uniform(0.5, 2, size=OUT_SHAPE)
        draws = op.delens(rng.normal(size=(20000, *OUT_SHAPE)) * sigma)
        source = op.delens(NDData(np.zeros(OUT_SHAPE), uncertainty=kind(sigma**power)))
        assert isinstance(source.uncertainty, StdDevUncertainty)
        np.testing.assert_allclose(source.uncertainty.array, draws.std(axis=0), rtol=0.03, atol=1e-12)

        sigma = rng.uniform(0.5, 2, size=IN_SHAPE)
        draws = op.lens(rng.normal(size=(20000, *IN_SHAPE)) * sigma)
        image = op.lens(NDData(np.zeros(IN_SHAPE), uncertainty=kind(sigma**power)))
        np.testing.assert_allclose(image.uncertainty.array, draws.std(axis=0), rtol=0.03, atol=1e-12)

    def test_wrong_nddata(self, op):
        with pytest.raises(
            ValueError, match=r"image must have the shape of image_grid, \(2, 5\); got \(3, 4\)"
        ):
            op.delens(NDData(np.zeros(IN_SHAPE)))
        with pytest.raises(TypeError, match="source must hold real numbers; got dtype complex128"):
            op.lens(NDData(np.zeros(IN_SHAPE, complex)))
        with pytest.raises(TypeError, match="x must be an array without a unit or a mask; got NDData"):
            Binning(OUT_SHAPE, 1) @ NDData(np.zeros(OUT_SHAPE))
