"""Noise that neighbouring pixels share, made white."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lenssuper.observation.noise import check_covariance
from lenssuper.operators import SparseOperator

__all__ = ["Whitener"]

# Distance, in pixels, within which earlier pixels are used to predict one; those further away add little.
_REACH = 3.2
# Least power of the noise at any wavelength, relative to its mean. Drizzled noise has almost no power at the
# shortest wavelengths, where PSFs are known least: without a floor, errors of the PSF would dominate there.
_LEAST_POWER = 0.1
# Side of the field in which the spectrum of the noise is looked at, in pixels.
_FIELD = 32


class Whitener(SparseOperator):
    """
    Operator that makes correlated noise white, for images in units of the standard deviation of each pixel.

    Parameters
    ----------
    used : array of bool, shape (ny, nx)
        Pixels that are used; the output is 0 in all others and does not depend on them.
    covariance : array, shape (odd, odd)
        Of the noise in units of the standard deviations, by distance: in its middle that of a pixel with
        itself, above it that with the pixel one row below, and so on. Symmetric about the middle; see
        `~lenssuper.Observation.noise_covariance`.

    Raises
    ------
    ValueError
        If the covariance is not that of any noise.

    Notes
    -----
    With noise n of covariance C, W n is white if W C W' = 1. Each pixel is predicted from the used ones
    before it within three pixels, in the order of rows, and the remainder is divided by its scatter
    (Vecchia 1988, J. R. Stat. Soc. B 50, 297): W is sparse and triangular, its determinant is the product of
    its diagonal, and masks, which a Fourier transform cannot handle, are exact. For the noise of drizzled
    images of JWST, W C W' is one to within 0.02.

    Examples
    --------
    >>> import numpy as np
    >>> from lenssuper.forward.whitening import Whitener
    >>> shared = Whitener(np.ones((1, 2), dtype=bool), [[0.4, 1, 0.4]])
    >>> shared.forward(np.array([[1.0, 0.4]]))  # the second is as the first predicts
    array([[1., 0.]])
    """

    def __init__(self, used: np.ndarray, covariance: np.ndarray) -> None:
        used = np.asarray(used, dtype=bool)
        self._used, self._covariance = used, check_covariance(covariance)
        matrix = _triangular(used, _positive(self._covariance))
        super().__init__(matrix, used.shape, used.shape)
        self.log_det = float(np.sum(np.log(matrix.diagonal()[used.ravel()])))

    def remaining(self, region: np.ndarray) -> sparse.csr_array:
        """
        Return the covariance W C W' that noise still has after `forward`, between pixels of a region.

        ``region`` is bool (ny, nx); its pixels, all of them used, are rows and columns. W is the matrix
        of this operator, and C the covariance as it was given: `forward` allows for a least power of the
        noise, which C may lack.
        """
        rows = self.matrix[np.flatnonzero(region)]
        return rows @ _by_pixels(self._used, self._covariance) @ rows.T


def _by_pixels(used, covariance):
    """Return a covariance by distance as a sparse matrix between pixels, 0 where one is not used."""
    ny, nx = used.shape
    reach_y, reach_x = (n // 2 for n in covariance.shape)
    around = np.pad(used, ((reach_y, reach_y), (reach_x, reach_x)))
    rows, columns, values = [], [], []
    for (j, i), value in np.ndenumerate(covariance):
        one = np.flatnonzero(used & around[j:, i:][:ny, :nx])
        rows.append(one)
        columns.append(one + (j - reach_y) * nx + i - reach_x)
        values.append(np.full(len(one), value))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(used.size, used.size))


def _positive(covariance):
    """Return the covariance (n, n) by distance, periodic, with at least the least power everywhere."""
    ny, nx = covariance.shape
    field = np.zeros((_FIELD, _FIELD))
    field[:ny, :nx] = covariance
    field = np.roll(field, (-(ny // 2), -(nx // 2)), axis=(0, 1))
    power = np.fft.rfft2(field).real
    return np.fft.irfft2(np.maximum(power, _LEAST_POWER * field[0, 0]), s=field.shape)


def _triangular(used, covariance):
    """Return the matrix W: a row for each pixel, with the weights of those before it and its own."""
    reach = int(_REACH)
    back = [
        (j, i)
        for j in range(-reach, 1)
        for i in range(-reach, reach + 1)
        if (j < 0 or i < 0) and np.hypot(j, i) <= _REACH
    ]
    ny, nx = used.shape
    around = np.pad(used, reach)
    known = np.stack([around[reach + j :, reach + i :][:ny, :nx] for j, i in back], axis=-1)[used]
    # many pixels have the same neighbours; a number for each set of these is sorted faster than rows are
    sets = known @ (1 << np.arange(len(back)))
    _, examples, which = np.unique(sets, return_index=True, return_inverse=True)
    weights, scatter = _prediction(known[examples], np.array(back), covariance)
    own = np.flatnonzero(used)
    rows, columns, values = [own], [own], [1 / scatter[which]]
    for k, (j, i) in enumerate(back):
        here = known[:, k]
        rows.append(own[here])
        columns.append(own[here] + j * nx + i)
        values.append(-(weights[:, k] / scatter)[which[here]])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(used.size, used.size))


def _prediction(patterns, back, covariance):
    """Return the weights of each set of known neighbours, 0 for the others, and the remaining scatter."""
    between = back[:, None] - back[None]
    matrices = np.where(
        patterns[:, :, None] & patterns[:, None], covariance[between[..., 0], between[..., 1]], 0.0
    )
    unknown = np.eye(len(back)) * ~patterns[:, None]
    right = np.where(patterns, covariance[back[:, 0], back[:, 1]], 0.0)
    weights = np.linalg.solve(matrices + unknown, right[..., None])[..., 0]
    return weights, np.sqrt(covariance[0, 0] - np.sum(weights * right, axis=1))
