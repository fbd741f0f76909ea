"""A sparse matrix that multiplies images in either precision, with numpy or torch, on any device."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse

from lenssuper.operators import products
from lenssuper.operators.arrays import is_tensor

__all__ = ["StoredMatrix", "float64_csr"]

# Images that are multiplied at once, and the fewest for which bringing them side by side pays
_TOGETHER, _SEVERAL = 16, 4


def float64_csr(matrix) -> sparse.csr_array:
    """Return a scipy sparse matrix in canonical CSR form: float64, sorted, int32 indices where they suffice.

    A matrix that is canonical already is not copied, and the argument is never changed.
    """
    known = (
        isinstance(matrix, sparse.csr_array) and matrix.has_canonical_format
    )  # a new array would look again
    matrix = sparse.csr_array(matrix)
    if not known and not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    index = np.int32 if max(matrix.nnz, *matrix.shape) <= np.iinfo(np.int32).max else np.int64
    parts = (
        matrix.data.astype(np.float64, copy=False),
        matrix.indices.astype(index, copy=False),
        matrix.indptr.astype(index, copy=False),
    )
    canonical = sparse.csr_array(parts, shape=matrix.shape)
    canonical.has_canonical_format = True
    return canonical


class StoredMatrix:
    """A CSR matrix and its copies in other precisions and on other devices, which are made when needed.

    Parameters
    ----------
    matrix : scipy sparse array or matrix
    """

    def __init__(self, matrix) -> None:
        self.csr = float64_csr(matrix)
        self._copies: dict = {}

    def transpose(self) -> StoredMatrix:
        """Return the transpose, as CSR of its own.

        The lazily transposed (CSC) matrix scatters where CSR gathers: slower in scipy, 5-30 times in torch.
        """
        return StoredMatrix(self.csr.T)

    def multiply(self, x, shape: tuple[int, int]):
        """Multiply the images ``x`` (..., ny, nx), float32 or float64, to images of another shape."""
        batch = tuple(x.shape[:-2])
        if not is_tensor(x):
            return self._product(x).reshape(batch + shape)
        if x.device.type == "cpu":  # scipy is faster there, and torch has no CSR product on every platform
            import torch

            return torch.from_numpy(self._product(x.numpy()).reshape(batch + shape))
        return self._tensor_product(x).reshape(batch + shape)

    def _product(self, images: np.ndarray) -> np.ndarray:
        matrix = self._in_precision(images.dtype)
        flat = images.reshape(-1, matrix.shape[1])
        out = np.empty((len(flat), matrix.shape[0]), dtype=images.dtype)
        if images.dtype == np.float32 and len(flat) >= _SEVERAL and matrix.indices.dtype == np.int32:
            side = np.zeros((matrix.shape[1], _TOGETHER), dtype=np.float32)
            flat = np.ascontiguousarray(flat)
            products.products(matrix.indptr, matrix.indices, matrix.data, flat, side, out)
            return out
        # a few images at a time: with more, bringing them into the order that the product needs, and back,
        # costs more than it saves
        for first in range(0, len(flat), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            out[part] = (matrix @ flat[part].T).T
        return out

    def _tensor_product(self, images):
        matrix = self._on_device(images.dtype, images.device)
        return (matrix @ images.reshape(-1, matrix.shape[1]).T).T

    def _in_precision(self, dtype) -> sparse.csr_array:
        if dtype == self.csr.dtype:
            return self.csr
        if dtype not in self._copies:
            parts = self.csr.data.astype(dtype), self.csr.indices, self.csr.indptr
            self._copies[dtype] = sparse.csr_array(parts, shape=self.csr.shape)
        return self._copies[dtype]

    def _on_device(self, dtype, device):
        import torch

        key = dtype, device
        if key not in self._copies:
            rows = torch.as_tensor(self.csr.indptr, device=device)
            columns = torch.as_tensor(self.csr.indices, device=device)
            data = torch.as_tensor(self.csr.data, dtype=dtype, device=device)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
                self._copies[key] = torch.sparse_csr_tensor(
                    rows, columns, data, size=self.csr.shape, check_invariants=False
                )
        return self._copies[key]

    def __getstate__(self) -> dict:
        # the copies can be made again, and their device may not exist where this is read
        return {"csr": self.csr, "_copies": {}}
