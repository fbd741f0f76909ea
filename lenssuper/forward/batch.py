"""Many observations as one operator: each has its own lens, PSF and noise, and all are computed together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from lenssuper.forward.model import ForwardModel
from lenssuper.operators import SparseOperator
from lenssuper.operators.arrays import float_images, is_tensor
from lenssuper.operators.convolution import StridedConvolution

__all__ = ["ForwardModelBatch"]


class ForwardModelBatch:
    """
    The linear map from a stack of sources to the images of as many observations.

    Source i goes through the lens, the PSF and the pixels of model i. All are computed in one sparse product
    and one batched FFT, which keeps a GPU busy with images that are each too small for it. Works on numpy
    arrays and torch tensors on any device, with gradients; float32 stays float32.

    Parameters
    ----------
    models : iterable of ForwardModel
        With observations of one shape, source grids of one shape (at any position and scale) and one factor.
        Lenses, PSFs, their sizes and the noise are free.

    Raises
    ------
    TypeError
        If an item is not a ForwardModel.
    ValueError
        If there are none, or their shapes or factors differ.

    Notes
    -----
    The matrices of the models are copied into one, as blocks on its diagonal (12 bytes for a nonzero, and the
    same again for the transpose).

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from lenssuper import ForwardModel, ForwardModelBatch, PixelGrid
    >>> from lenssuper.simulate import benchmark_set
    >>> grid = PixelGrid((48, 48), 0.04 * u.arcsec)
    >>> mocks = benchmark_set(3)
    >>> batch = ForwardModelBatch(ForwardModel(m.observation, m.lens, source_grid=grid) for m in mocks)
    >>> batch
    <ForwardModelBatch: 3 sources (48, 48) -> images (64, 64), factor 2>
    >>> sources = np.stack([m.source_image(grid) for m in mocks])
    >>> batch.residuals(sources).shape
    (3, 64, 64)
    """

    def __init__(self, models: Iterable[ForwardModel]) -> None:
        self._models = models = _checked(models)
        self._factor = models[0].factor
        self._pad = max(model.blur.pad for model in models)
        self._blur = _stacked_blurs(models, self._pad)
        matrices = [_padded_matrix(model, self._pad) for model in models]
        (source_rows, source_columns), (rows, columns) = models[0].in_shape, self._blur.in_shape
        n = len(models)
        # n images one below the other are one tall image
        self._lensing = SparseOperator(
            sparse.block_diag(matrices, format="csr"),
            in_shape=(n * source_rows, source_columns),
            out_shape=(n * rows, columns),
        )
        self._data = _read_only([model.data for model in models])
        self._weights = _read_only([model.weights for model in models])
        root = np.sqrt(self._weights)
        self._white: dict = {"root": root, "data": root * self._data}

    @property
    def models(self) -> tuple[ForwardModel, ...]:
        """The models, in the order of the stacks."""
        return self._models

    @property
    def factor(self) -> int:
        """Number of fine pixels along the side of an observed one."""
        return self._factor

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """Shape (n, ny, nx) of a stack of sources."""
        return len(self._models), *self._models[0].in_shape

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Shape (n, ny, nx) of a stack of observed images."""
        return len(self._models), *self._models[0].out_shape

    @property
    def data(self) -> np.ndarray:
        """The observed images, a stack; 0 where a pixel is not used. Read-only."""
        return self._data

    @property
    def weights(self) -> np.ndarray:
        """One over the variance of every pixel, a stack; 0 where it is not used. Read-only."""
        return self._weights

    def forward(self, sources):
        """
        Return the images of the sources as they would be observed.

        Parameters
        ----------
        sources : array or tensor, shape (..., n, ny, nx) of the source grids

        Returns
        -------
        array or tensor, shape (..., n, ny, nx) of the observations

        Raises
        ------
        ValueError
            If the trailing shape of ``sources`` is not `in_shape`.
        """
        return self._blur.forward(self._lens(sources))

    def adjoint(self, images):
        """
        Apply the adjoint (the transpose) of `forward`.

        Parameters
        ----------
        images : array or tensor, shape (..., n, ny, nx) of the observations

        Returns
        -------
        array or tensor, shape (..., n, ny, nx) of the source grids

        Raises
        ------
        ValueError
            If the trailing shape of ``images`` is not `out_shape`.
        """
        images = float_images(images, self.out_shape, "images", "batch's out_shape")
        tall = _tall(self._blur.adjoint(images))
        return _stacked(self._lensing.adjoint(tall), len(self._models))

    def lensed_image(self, sources):
        """
        Lens the sources onto the fine grids, without PSF.

        Parameters
        ----------
        sources : array or tensor, shape (..., n, ny, nx) of the source grids

        Returns
        -------
        array or tensor, shape (..., n, factor ny, factor nx)
        """
        images = self._lens(sources)
        edge = self._pad * self._factor
        ny, nx = images.shape[-2:]
        return images[..., edge : ny - edge, edge : nx - edge]

    def whiten(self, images):
        """Multiply images (..., n, ny, nx) by one over the noise's standard deviation; 0 where not used."""
        images = float_images(images, self.out_shape, "images", "batch's out_shape")
        return images * self._like(images, "root")

    def residuals(self, sources):
        """Return (y - A s) / sigma for every source, shaped like the images; 0 where a pixel is not used."""
        images = self.forward(sources)
        return self._like(images, "data") - self.whiten(images)

    def _lens(self, sources):
        """Lens onto fine images that extend beyond the observed ones by `_pad` observed pixels."""
        sources = float_images(sources, self.in_shape, "sources", "batch's in_shape")
        return _stacked(self._lensing.forward(_tall(sources)), len(self._models))

    def _like(self, images, name):
        """Return one over sigma ("root") or the data over sigma ("data"), of the kind of ``images``."""
        if not is_tensor(images):
            return self._white[name].astype(images.dtype, copy=False)
        key = name, images.dtype, images.device
        if key not in self._white:  # kept, as copying it to a GPU takes longer than using it
            self._white[key] = images.new_tensor(self._white[name])
        return self._white[key]

    def __len__(self) -> int:
        return len(self._models)

    def __getstate__(self) -> dict:
        # tensors are made again where they are needed, as their device may not exist there
        return self.__dict__ | {"_white": {name: self._white[name] for name in ("root", "data")}}

    def __repr__(self) -> str:
        n, *in_shape = self.in_shape
        return (
            f"<ForwardModelBatch: {n} sources {tuple(in_shape)} -> images {self.out_shape[1:]}, "
            f"factor {self._factor}>"
        )


def _checked(models) -> tuple[ForwardModel, ...]:
    if isinstance(models, ForwardModel) or not isinstance(models, Iterable):
        raise TypeError(f"models must be a list of ForwardModel; got {models!r:.80}")
    models = tuple(models)
    if not models:
        raise ValueError("models must hold at least one ForwardModel; got none")
    for i, model in enumerate(models):
        if not isinstance(model, ForwardModel):
            raise TypeError(f"models must be a list of ForwardModel; got {model!r:.80} at index {i}")
        for name, what in (
            ("in_shape", "shape of the source grid"),
            ("out_shape", "shape of the observation"),
            ("factor", "factor"),
        ):
            first, this = getattr(models[0], name), getattr(model, name)
            if this != first:
                hint = "; give every ForwardModel a source_grid of one shape" if name == "in_shape" else ""
                raise ValueError(
                    f"models must agree in the {what}; got {first} at index 0 and {this} at index {i}{hint}"
                )
    return models


def _padded_matrix(model: ForwardModel, pad: int) -> sparse.csr_array:
    """Return the lensing matrix with empty rows for a wider border, which no PSF of the model reaches."""
    matrix = model.lensing.matrix
    more = (pad - model.blur.pad) * model.factor
    if not more:
        return matrix
    ny, nx = model.lensing.out_shape
    inside = np.pad(np.ones((ny, nx), dtype=bool), more).ravel()
    counts = np.zeros(inside.size, dtype=matrix.indptr.dtype)
    counts[inside] = np.diff(matrix.indptr)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_array((matrix.data, matrix.indices, starts), shape=(inside.size, matrix.shape[1]))


def _stacked_blurs(models, pad: int) -> StridedConvolution:
    """Return the PSFs and pixels of all models as one operator, with kernels padded to the largest."""
    factor = models[0].factor
    more = [(pad - model.blur.pad) * factor for model in models]
    kernels = [np.pad(model.blur.kernel, m) for model, m in zip(models, more, strict=True)]
    return StridedConvolution(np.stack(kernels), factor, models[0].out_shape)


def _read_only(images) -> np.ndarray:
    stack = np.stack(images)
    stack.flags.writeable = False
    return stack


def _tall(stack):
    """Stack n images (..., n, ny, nx) on top of each other, (..., n ny, nx)."""
    *batch, n, ny, nx = stack.shape
    return stack.reshape(*batch, n * ny, nx)


def _stacked(tall, n: int):
    """Split a tall image (..., n ny, nx) into n images (..., n, ny, nx)."""
    *batch, rows, nx = tall.shape
    return tall.reshape(*batch, n, rows // n, nx)
