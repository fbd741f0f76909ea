r"""
How well a lens explains an observation, whatever the source: the source is integrated out.

With a Gaussian prior on the source, s = R^(-1/2) xi with xi white of variance 1 / lambda, and the whitened
operator G = W^(1/2) A R^(-1/2), what is left of the data z once the best source is taken out is

.. math:: -2 \ln Z = \min_\xi |z - G \xi|^2 + \lambda |\xi|^2 + \ln\det(1 + G^T G / \lambda) + \mathrm{const}

(Suyu et al. 2006, MNRAS 371, 983, eq. 19). Its derivatives with respect to the lens follow from those of the
operator applied to a few sources: the best one (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413; Kaufman
1975) and, for the determinant, random draws from what the data leave open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import make_interp_spline
from scipy.linalg import cho_solve, lapack, solve_triangular

from lenssuper.grid import PixelGrid
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.operators import BlurAndBin, OverlapOperator
from lenssuper.solvers._numerics import in_threads
from lenssuper.solvers.priors import sine_transform

__all__ = ["Camera", "Inversion", "SourceBasis", "SourcePrior", "invert"]

# Share of the PSF's flux, in its faintest weights, that is left out here
_WINGS = 0.003
# Image pixels are cut in that many squares per side: unlike cutting by need, the result is smooth in the lens
_SUBDIVIDE = 2
# Draws that stand for the trace of the determinant's derivative
_DRAWS = 24
# Random vectors beyond the modes asked for, and passes in which they turn towards these
_EXTRA, _POWERS = 30, 1
# Rows transformed at once
_CHUNK = 64


class SourcePrior:
    """
    A Gaussian prior on the source: a stationary field, times an envelope that tells where it may be bright.

    Parameters
    ----------
    precision : ndarray, shape (ny, nx)
        Eigenvalues of the field's inverse covariance on sine waves.
    envelope : ndarray, shape (ny, nx), optional
        Relative standard deviation of every pixel.
    """

    def __init__(self, precision: np.ndarray, envelope: np.ndarray | None = None) -> None:
        self.amplitude = precision**-0.5
        self.envelope = np.ones_like(precision) if envelope is None else envelope

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the source."""
        return self.amplitude.shape

    def source(self, xi: np.ndarray) -> np.ndarray:
        """Give the sources (n, pixels) of white coordinates (n, pixels)."""
        return self._flat(lambda x: self.envelope * sine_transform(self.amplitude * x), xi)

    def adjoint(self, source: np.ndarray) -> np.ndarray:
        """Give the adjoint of `source`."""
        return self._flat(lambda x: self.amplitude * sine_transform(self.envelope * x), source)

    def _flat(self, function, images):
        return function(images.reshape(-1, *self.shape)).reshape(images.shape)

    def whiten(self, normal: np.ndarray) -> np.ndarray:
        """Give R^(-1/2)' F R^(-1/2) of a symmetric matrix F (pixels, pixels), which is overwritten."""

        def rows(first):
            normal[first : first + _CHUNK] = self.adjoint(normal[first : first + _CHUNK])

        for _ in range(2):  # along the rows, and, as they change places, along the columns
            in_threads(rows, range(0, len(normal), _CHUNK))
            normal = np.ascontiguousarray(normal.T)
        return normal


class Camera:
    """
    From a lens to the matrix that takes its source to the data, in units of the noise.

    Parameters
    ----------
    observation : Observation
    weights : ndarray, shape (ny, nx)
        One over the variance.
    lit : ndarray of bool, shape (ny, nx)
        Pixels with light of the source.
    factor : int
        Lensed pixels along the side of an observed one.
    lens : LensModel
        The lens for which ``source_grid`` is.
    source_grid : PixelGrid

    Notes
    -----
    Most of what a small change of the lens does to the source plane is to shift, scale and shear it. The grid
    goes along: its pixels are those of ``source_grid`` after the affine map that takes the light of the arcs
    from where ``lens`` puts it to where another lens does. What is expected of the source by a first look at
    it then does not hold the lens in its place.
    """

    def __init__(
        self,
        observation: Observation,
        weights: np.ndarray,
        lit: np.ndarray,
        factor: int,
        lens: LensModel,
        source_grid: PixelGrid,
    ) -> None:
        blur = BlurAndBin(
            observation.psf,
            factor,
            observation.shape,
            oversampling=observation.psf_oversampling,
            includes_pixel=observation.psf_includes_pixel,
        )
        used = weights.ravel() > 0
        matrix = sharp_core(blur)[used]
        roots = np.sqrt(weights.ravel()[used])
        self._blur = (sparse.diags_array(roots) @ matrix).tocsr()
        self._image_grid = observation.grid.pad(blur.pad).refine(factor)
        self._grid = source_grid
        self._places = tuple(v[lit] for v in np.broadcast_arrays(*observation.grid._centers()))
        self._brightness = np.sqrt(np.maximum(observation.data[lit], 0.0))
        self._at_first = self._trace(lens)
        self.data = roots * observation.data.ravel()[used]
        self.used = used.reshape(weights.shape)
        self.constant = float(np.sum(np.log(weights.ravel()[used] / (2 * np.pi))))

    def source_grid(self, lens: LensModel) -> PixelGrid:
        """Give the pixels of the source plane behind a lens."""
        before = np.column_stack([self._at_first.T, np.ones(self._at_first.shape[1])])
        weights = self._brightness[:, None]
        change, *_ = np.linalg.lstsq(weights * before, weights * self._trace(lens).T, rcond=1e-10)
        matrix, shift = change[:2].T, change[2]
        grid = self._grid
        return PixelGrid._from_affine(
            grid.shape, matrix @ grid._matrix, matrix @ grid._origin + shift, grid._reference
        )

    def _trace(self, lens):
        x, y = self._places
        alpha_x, alpha_y = lens._deflection(x, y)
        return np.stack([x - alpha_x, y - alpha_y])

    def lensing(self, lens: LensModel) -> sparse.csr_array:
        """Give the matrix of the lens alone."""
        grid = self.source_grid(lens)
        return OverlapOperator(lens, self._image_grid, grid, subdivide=_SUBDIVIDE).matrix

    def expose(self, lensed):
        """Blur and weight lensed images (pixels, n), or a matrix."""
        return self._blur @ lensed


def sharp_core(blur: BlurAndBin) -> sparse.csr_array:
    """Give the PSF as a matrix, without the faintest weights, which are many and hold next to no light."""
    kernel = blur.kernel
    order = np.argsort(np.abs(kernel), axis=None)[::-1]
    total = np.cumsum(np.abs(kernel).ravel()[order])
    kept = order[: int(np.searchsorted(total, (1 - _WINGS) * total[-1])) + 1]
    rows, columns = np.unravel_index(kept, kernel.shape)
    values = kernel[rows, columns] * (kernel.sum() / kernel[rows, columns].sum())
    (ny, nx), width = blur.out_shape, blur.in_shape[1]
    within = (kernel.shape[0] - 1 - rows) * width + (kernel.shape[1] - 1 - columns)
    first = ((np.arange(ny) * width)[:, None] + np.arange(nx)).ravel() * blur.factor
    indices = (first[:, None] + np.sort(within)).astype(np.int32)
    pointer = np.arange(ny * nx + 1, dtype=np.int64) * len(kept)
    data = np.broadcast_to(values[np.argsort(within)], indices.shape)
    return sparse.csr_array((data.ravel(), indices.ravel(), pointer), shape=blur.shape)


class SourceBasis:
    """
    The few shapes of a source that the data can tell from nothing, in units of the prior.

    Of the modes that the whitened operator G does not damp below the noise there are far fewer than pixels in
    the source. They are found for one lens (Halko, Martinsson & Tropp 2011, SIAM Review 53, 217, algorithms
    4.4 and 5.3) and serve for lenses that differ little.

    Parameters
    ----------
    shapes : ndarray, shape (pixels, n)
        Sources; the coefficients of a draw from the prior are white, of variance 1 / strength.
    """

    def __init__(self, shapes: np.ndarray) -> None:
        halves = np.array_split(np.arange(shapes.shape[1]), 2)  # a processor each
        self._blocks = [np.ascontiguousarray(shapes[:, half]) for half in halves]

    def combine(self, coefficients: np.ndarray) -> np.ndarray:
        """Give the sources (pixels, ...) of coefficients (n, ...)."""
        n = self._blocks[0].shape[1]
        return self._blocks[0] @ coefficients[:n] + self._blocks[1] @ coefficients[n:]

    def seen_by(self, matrix: sparse.csr_array) -> np.ndarray:
        """Give the product of a matrix and the shapes."""
        return np.concatenate(in_threads(lambda block: matrix @ block, self._blocks), axis=1)

    def refined(self, shape: tuple[int, int], factor: int) -> SourceBasis:
        """
        Give the same shapes on pixels ``factor`` times smaller, as smooth as cubic splines make them.

        Light that jumps from pixel to pixel does so in the image as well, at places that depend on the lens.
        """
        rows, columns = (_spline_matrix(n, factor) for n in shape)

        def finer(block):
            images = rows @ block.T.reshape(-1, *shape) @ columns.T
            return np.ascontiguousarray(images.reshape(len(images), -1).T)

        basis = SourceBasis.__new__(SourceBasis)
        basis._blocks = in_threads(finer, self._blocks)
        return basis

    @classmethod
    def of(cls, prior: SourcePrior, matrix: sparse.csr_array, size: int, rng) -> SourceBasis:
        """Find the leading modes for the matrix of one lens."""
        n = prior.amplitude.size
        size = min(size, n)
        found = rng.standard_normal((min(size + _EXTRA, n), n))
        transposed = matrix.T.tocsr()
        for _ in range(_POWERS):
            images = matrix @ np.ascontiguousarray(prior.source(found).T)
            found = _orthonormal(prior.adjoint(np.ascontiguousarray((transposed @ images).T)))
        images = matrix @ np.ascontiguousarray(prior.source(found).T)
        turn = np.linalg.eigh(images.T @ images)[1][:, ::-1][:, :size]
        return cls(np.ascontiguousarray(prior.source(turn.T @ found).T))


def _spline_matrix(n, factor):
    """Interpolation of n pixels, dark on both sides, at the centres of those they are divided in."""
    nodes = np.arange(-2, n + 2)
    centers = (np.arange(factor * n) + 0.5) / factor - 0.5
    return make_interp_spline(nodes, np.eye(n + 4)[:, 2:-2], k=3)(centers)


def _orthonormal(rows):
    """Give rows that span the same space and are orthonormal, twice by Cholesky decomposition."""
    for _ in range(2):
        gram = rows @ rows.T
        gram[np.diag_indices_from(gram)] += 1e-14 * np.trace(gram)
        rows = solve_triangular(np.linalg.cholesky(gram), rows, lower=True)
    return rows


@dataclass(frozen=True, eq=False)
class Inversion:
    """
    The source behind the data for one lens and one prior.

    Attributes
    ----------
    lens : LensModel
    coefficients : ndarray, shape (n,)
        Of the shapes of the basis.
    source : ndarray, shape (pixels,)
    residuals : ndarray
        Data less model, in units of the noise.
    cost : float
        Minus the logarithm of the evidence.
    strength : float
        The lambda of the prior.
    modes : float
        Modes of the source that the data measure.
    """

    camera: Camera
    basis: SourceBasis
    lens: LensModel
    operator: np.ndarray
    factor: np.ndarray
    coefficients: np.ndarray
    residuals: np.ndarray
    cost: float
    strength: float
    modes: float

    @property
    def source(self) -> np.ndarray:
        return self.basis.combine(self.coefficients)

    @property
    def chi2(self) -> float:
        return float(self.residuals @ self.residuals)

    def derivatives(self, lenses, rng) -> tuple[np.ndarray, np.ndarray]:
        """
        Give gradient and Gauss-Newton matrix of the cost with respect to the lens.

        Parameters
        ----------
        lenses : list of (LensModel, LensModel, float)
            For each direction a lens on either side, and the distance between the two.
        rng : `~numpy.random.Generator`
        """
        white = rng.standard_normal((len(self.coefficients), _DRAWS))
        open_ = solve_triangular(self.factor, white, lower=True, trans="T")
        sources = self.basis.combine(np.column_stack([self.coefficients, open_]))
        images = self.operator @ open_

        def moved(pair):
            low, high, distance = pair
            change = self.camera.lensing(high) @ sources - self.camera.lensing(low) @ sources
            return self.camera.expose(change / distance)

        slopes = in_threads(moved, lenses)
        jacobian = np.stack([s[:, 0] for s in slopes], axis=1)
        determinant = np.array([np.einsum("ij,ij->", images, s[:, 1:]) / _DRAWS for s in slopes])
        gradient = determinant - self.residuals @ jacobian
        half = solve_triangular(self.factor, self.operator.T @ jacobian, lower=True)
        return gradient, jacobian.T @ jacobian - half.T @ half


def invert(camera, basis, lens, strength, *, tune=0) -> Inversion:
    """Find the source; with ``tune``, after up to that many steps of the strength to the best evidence."""
    matrix = camera.expose(camera.lensing(lens))
    operator = basis.seen_by(matrix)
    gram = operator.T @ operator
    right = operator.T @ camera.data
    n = len(right)
    for step in range(tune + 1):
        system = gram.copy()
        system[np.diag_indices(n)] += strength
        factor = np.linalg.cholesky(system)
        coefficients = cho_solve((factor, True), right)
        inverse = lapack.dtrtri(factor, lower=1)[0]
        modes = n - strength * float(np.vdot(inverse, inverse))
        change = np.log(modes / (strength * float(coefficients @ coefficients)))
        if step == tune or abs(change) < 1e-3:
            break
        strength *= float(np.exp(np.clip(change, -3, 3)))
    log_det = 2 * float(np.sum(np.log(np.diag(factor)))) - n * np.log(strength)
    power = float(camera.data @ camera.data)
    cost = 0.5 * (power - float(right @ coefficients) + log_det - camera.constant)
    return Inversion(
        camera=camera,
        basis=basis,
        lens=lens,
        operator=operator,
        factor=factor,
        coefficients=coefficients,
        residuals=camera.data - operator @ coefficients,
        cost=cost,
        strength=strength,
        modes=modes,
    )
