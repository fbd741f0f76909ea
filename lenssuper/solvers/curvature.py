"""The curvature of a posterior in white noise: solutions, determinants and a preconditioner for them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh_tridiagonal

from lenssuper._utils.threads import in_threads, one_blas_thread
from lenssuper.solvers.numerics import batches, dot, ratio

__all__ = ["Curvature"]

# Square of a residual, relative to the right side, that single precision can reach at best
_ROUNDING = 1e-14


class Curvature:
    r"""
    The matrix :math:`H = 1 + J^T J` for a linear map J from white noise to data in units of their noise.

    That is the Hessian of the posterior of the white noise. :math:`C = 1 + J J^T` is smaller and has the same
    eigenvalues, but for ones: :math:`\ln\det H = \ln\det C` (Rasmussen & Williams 2006, eq. A.10), and with
    an eigenvector y of C, J'y is one of H.

    Parameters
    ----------
    forward, adjoint : callable
        J and its transpose, applied to several images (n, ny, nx) in their precision.
    start : array, shape (n, ny, nx), optional
        Random images of the data's shape, from which the largest eigenvectors of C are found for a
        preconditioner.
    steps : int, optional
        How many times C is applied to find them; n times as many are found.

    Notes
    -----
    The preconditioner of C is that of Ritz vectors y and values t of J J' in a Krylov space,
    :math:`M = 1 + \sum t y y^T`, and that of H the same with :math:`J^T y / \sqrt t` (limited-memory
    preconditioner: Gratton, Sartenaer & Tshimanga 2011, SIAM J. Optim. 21, 912). Block Lanczos finds them
    (Golub & Van Loan 2013, Matrix Computations, section 10.3.6). All is in single precision, for which the
    eigenvalues of H itself are too different.
    """

    def __init__(
        self, forward: Callable, adjoint: Callable, start: np.ndarray | None = None, steps: int = 32
    ) -> None:
        self.forward, self.adjoint = forward, adjoint
        self._vectors: np.ndarray | None = None
        self._modes: np.ndarray | None = None
        self._values, self._shape = np.zeros(0), ()
        if start is not None:
            with one_blas_thread():
                self._precondition(start.astype(np.float32), steps)

    def _precondition(self, start, steps):
        n, self._shape = len(start), start.shape[1:]
        steps = min(steps, np.count_nonzero(start[0]) // n)
        basis, white = np.empty((n * steps, start[0].size), dtype=np.float32), []
        matrix = np.empty((n * steps, n * steps))
        block = np.linalg.qr(start.reshape(n, -1).T)[0].T
        for k in range(steps):
            here, known = slice(n * k, n * (k + 1)), slice(n * (k + 1))
            basis[here] = block
            white.append(self.adjoint(block.reshape(n, *self._shape)))
            image = self.forward(white[-1]).reshape(n, -1)
            matrix[known, here] = inside = basis[known] @ image.T
            image -= inside.T @ basis[known]
            # what is left may be little more than rounding errors
            for _ in range(2):
                image -= (image @ basis[known].T) @ basis[known]
                image = block = np.ascontiguousarray(np.linalg.qr(image.T)[0].T)
        matrix = np.triu(matrix) + np.triu(matrix, 1).T
        self._keep(matrix, basis, np.reshape(white, (n * steps, -1)))

    def _keep(self, matrix, basis, white):
        """Keep Ritz values and vectors in the space of images Q (k, pixels), from Q J J'Q' and Q J."""
        self._values, turn = np.linalg.eigh(matrix)
        self._values = np.maximum(self._values, 0)
        turn = turn.T.astype(np.float32)
        self._vectors = turn @ basis
        self._modes = turn @ white
        length = np.sqrt(dot(self._modes[:, None], self._modes[:, None]))
        self._modes *= np.divide(1, length, out=np.zeros_like(length), where=length > 0)[:, None]

    def _apply(self, images):
        return images + self.forward(self.adjoint(images))

    def at(self, forward: Callable, adjoint: Callable) -> Curvature:
        """Return the matrix of another map, with the preconditioner of this one."""
        other = copy.copy(self)
        other.forward, other.adjoint = forward, adjoint
        return other

    def renewed(self, forward: Callable, adjoint: Callable) -> Curvature:
        """
        Return the matrix of another map, with a preconditioner that is made for it.

        Its Ritz values and vectors are those of the new matrix in the space of the old vectors (Golub & Van
        Loan 2013, section 8.1.3): half of the work of a space of its own, and nearly as good if the maps are
        alike.
        """
        other, space = self.at(forward, adjoint), self._vectors
        if space is not None:
            with one_blas_thread():
                parts = [adjoint(part) for part in batches(space.reshape(-1, *self._shape))]
                white = np.concatenate(parts).reshape(len(space), -1)
                other._keep((white @ white.T).astype(float), space, white)
        return other

    def __getstate__(self) -> dict:
        # functions of one problem are not kept in files; `at` gives others
        return self.__dict__ | {"forward": None, "adjoint": None}

    def solve(
        self, right: np.ndarray, *, least: float | np.ndarray = 0.0, share: float = _ROUNDING, steps: int
    ) -> tuple[np.ndarray, int]:
        r"""
        Solve H x = b for right sides b (n, ny, nx), by preconditioned conjugate gradients from x = 0.

        For the residual :math:`\rho = b - H x`, :math:`\rho^T M^{-1} \rho` is the squared error in units of
        the posterior's variance, as far as M is H. Each ends where this, and what the last step changed of
        it, is less than ``least`` or than a ``share`` of that of x = 0; all end after a number of steps.
        Returns x, in the precision of b, and the steps.

        Each step lowers :math:`x^T H x / 2 - b^T x`. With b = -g, g being a gradient, x is therefore a way
        downhill wherever it ends (Steihaug 1983, SIAM J. Numer. Anal. 20, 626, theorem 2.1), which a solution
        for C does not promise.
        """
        inverse = -self._values / (1 + self._values)
        found, residual = np.zeros_like(right), right.copy()
        image = _along(self._modes, residual, inverse)
        direction, norm = image, dot(residual, image)
        enough = np.maximum(least, share * norm)
        gain = norm
        for step in range(steps):
            # a step may leave nothing at all, and no direction to go on in; rounding may make a norm negative
            going = (norm != 0) & (np.maximum(norm, gain) > enough)
            if not going.any():
                return found, step
            image = direction + self.adjoint(self.forward(direction))
            size = ratio(norm, dot(direction, image), going)
            gain = size[:, 0, 0] * norm
            found += size * direction
            residual -= size * image
            image = _along(self._modes, residual, inverse)
            before, norm = norm, dot(residual, image)
            direction = image + ratio(norm, before, going) * direction
        return found, steps

    def log_det(self, vectors: np.ndarray, steps: int) -> float:
        """
        Estimate ln det C by stochastic Lanczos quadrature of the preconditioned matrix.

        Ubaru, Chen & Saad (2017, SIAM J. Matrix Anal. Appl. 38, 1075, algorithm 1). The vectors (n, ny, nx)
        hold random signs: with the same ones for two matrices, the difference is far more certain than either
        value. The determinant of the preconditioner is known (Gardner et al. 2018, NeurIPS, section 4).
        """
        root = 1 / np.sqrt(1 + self._values) - 1

        def matrix(images):
            return _along(self._vectors, self._apply(_along(self._vectors, images, root)), root)

        def quadrature(part):
            diagonals, besides = _lanczos(matrix, part, steps)
            sums = []
            for diagonal, beside, norm2 in zip(diagonals.T, besides.T, dot(part, part), strict=True):
                small = np.flatnonzero(beside <= 1e-10 * diagonal.max())
                n = small[0] + 1 if small.size else len(diagonal)
                nodes, inner = eigh_tridiagonal(diagonal[:n], beside[: n - 1], lapack_driver="stev")
                # rounding may turn the smallest eigenvalues negative
                nodes = np.maximum(nodes, np.finfo(np.float32).eps * nodes[-1])
                sums.append(norm2 * inner[0] ** 2 @ np.log(nodes))
            return sums

        estimates = np.concatenate(list(in_threads(quadrature, batches(vectors))))
        return float(np.mean(estimates) + np.sum(np.log1p(self._values)))

    def measured_modes(self, vectors: np.ndarray, steps: int) -> float:
        """
        Estimate the number of modes that the data measure, the trace of J H^-1 J', with random signs.

        MacKay (1992, Neural Computation 4, 415, section 4.4), by Hutchinson's estimate (1990).
        """
        counts = []
        for part in batches(vectors):
            right = self.adjoint(part)
            # an error of the solution changes the trace by its square only
            solved, _ = self.solve(right, least=1e-7 * dot(part, part), steps=steps)
            counts.append(dot(right, solved))
        return float(np.mean(np.concatenate(counts)))


def _along(vectors, images, factors):
    """Return images plus their parts along unit vectors (n, size), each multiplied by a factor."""
    if vectors is None:
        return images.copy()
    flat = images.reshape(len(images), -1)
    with one_blas_thread():
        parts = (flat @ vectors.T) * factors.astype(np.float32)
        return (flat + parts @ vectors).reshape(images.shape)


def _lanczos(matrix, vectors, steps):
    """
    Return diagonal and off-diagonal (steps, n) of the tridiagonal matrices of Lanczos.

    The vectors of the iteration are not made orthogonal to all before: rounding gives copies of large
    eigenvalues, which share one weight (Golub & Meurant 2010, Matrices, Moments and Quadrature, 4.2).
    """
    diagonal, beside = np.zeros((2, steps, len(vectors)))
    before, length = 0.0, np.sqrt(dot(vectors, vectors))
    current, length = vectors / length[:, None, None], 0 * length
    for k in range(steps):
        image = matrix(current) - length[:, None, None] * before
        along = dot(current, image)
        image -= along[:, None, None] * current
        length = np.sqrt(dot(image, image))
        diagonal[k], beside[k] = along, length
        scale = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
        before, current = current, image * scale[:, None, None]
    return diagonal, beside
