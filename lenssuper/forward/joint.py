"""Several observations of one source: dithered or rotated exposures, other cameras."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lenssuper.forward.measurement import Measurement
from lenssuper.forward.model import ForwardModel
from lenssuper.observation.grid import PixelGrid

__all__ = ["JointForwardModel"]


class JointForwardModel(Measurement):
    """
    The linear map from one source to all pixels of several observations.

    Its images have one row, with the pixels of the first observation, row by row, followed by those of the
    second, and so on.

    Parameters
    ----------
    parts : sequence of ForwardModel
        One for each observation, with the same source grid. Their lens coordinates must have the same zero on
        the sky (`PixelGrid.reference`), or be registered to each other in another way.

    Raises
    ------
    TypeError
        If a part is not a ForwardModel.
    ValueError
        If there is none, or the source grids or units differ.

    Examples
    --------
    >>> from lenssuper import ForwardModel, JointForwardModel
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(1)
    >>> one = ForwardModel(mock.observation, mock.lens)
    >>> JointForwardModel([one, one]).out_shape
    (1, 8192)
    """

    def __init__(self, parts: Sequence[ForwardModel]) -> None:
        self._parts = tuple(parts)
        if not self._parts:
            raise ValueError("parts must hold at least one ForwardModel; got none")
        for part in self._parts:
            if not isinstance(part, ForwardModel):
                raise TypeError(f"parts must be ForwardModels; got {part!r:.80}")
            for name, value in (("source_grid", part.source_grid), ("unit", part.observation.unit)):
                first = getattr(self._parts[0].observation if name == "unit" else self._parts[0], name)
                if value != first:
                    raise ValueError(f"parts must have the same {name}; got {first!r} and {value!r}")
        sizes = [part.shape[0] for part in self._parts]
        self._ends = np.cumsum(sizes)[:-1].tolist()
        super().__init__(self._parts[0].in_shape, (1, sum(sizes)))

    @property
    def parts(self) -> tuple[ForwardModel, ...]:
        """The models of the single observations."""
        return self._parts

    @property
    def source_grid(self) -> PixelGrid:
        """Pixels in the source plane."""
        return self._parts[0].source_grid

    @property
    def data(self) -> np.ndarray:
        """All pixels; 0 where they are not used."""
        return self._row([part.data for part in self._parts])

    @property
    def weights(self) -> np.ndarray:
        """One over the variance of every pixel; 0 where it is not used."""
        return self._row([part.weights for part in self._parts])

    def with_weights(self, weights: np.ndarray) -> JointForwardModel:
        """Return the same model with other weights (1, N); see `ForwardModel.with_weights`."""
        pieces = self.split(self._checked_weights(weights))
        other = self._copy()
        other._parts = tuple(part.with_weights(w) for part, w in zip(self._parts, pieces, strict=True))
        return other

    def with_noise_covariance(self, covariance: np.ndarray | None) -> JointForwardModel:
        """Return the same model with this noise covariance in all of the `parts`."""
        return JointForwardModel([part.with_noise_covariance(covariance) for part in self._parts])

    def whiten(self, image):
        """Turn an image (..., 1, N) into one whose noise is white and of variance 1; 0 where not used."""
        return self._each("whiten", image)

    def whiten_adjoint(self, image):
        """Apply the adjoint of `whiten`."""
        return self._each("whiten_adjoint", image)

    @property
    def log_norm(self) -> float:
        """Logarithm of the noise's density at its peak, of all observations."""
        return sum(part.log_norm for part in self._parts)

    def with_source_grid(self, source_grid: PixelGrid) -> JointForwardModel:
        """Return the same model for other pixels in the source plane."""
        return JointForwardModel([part.with_source_grid(source_grid) for part in self._parts])

    def coarser(self) -> JointForwardModel | None:
        """Return a faster model of the same data, see `ForwardModel.coarser`; None if a part has none."""
        parts = [coarse for part in self._parts if (coarse := part.coarser()) is not None]
        return JointForwardModel(parts) if len(parts) == len(self._parts) else None

    def split(self, row):
        """Split a row (..., 1, N) into the images (..., ny, nx) of the observations."""
        ends = [0, *self._ends, self._out_shape[1]]
        return [
            row[..., 0, first:last].reshape(*row.shape[:-2], *part.out_shape)
            for part, first, last in zip(self._parts, ends[:-1], ends[1:], strict=True)
        ]

    def _each(self, method, row):
        images = self.split(row)
        return self._row(
            [getattr(part, method)(image) for part, image in zip(self._parts, images, strict=True)]
        )

    def _row(self, images):
        rows = [image.reshape(*image.shape[:-2], 1, -1) for image in images]
        if hasattr(rows[0], "new_tensor"):
            import torch

            return torch.cat(rows, dim=-1)
        return np.concatenate(rows, axis=-1)

    def _forward(self, x):
        return self._row([part._forward(x) for part in self._parts])

    def _adjoint(self, y):
        return sum(part._adjoint(image) for part, image in zip(self._parts, self.split(y), strict=True))

    def __repr__(self) -> str:
        shapes = ", ".join(str(part.out_shape) for part in self._parts)
        return f"<JointForwardModel: source {self._in_shape} -> images {shapes}>"
