"""
Variable projection: least squares where part of the parameters are amplitudes.

For given values of the other parameters the best amplitudes follow from a linear problem, so that only the
others are searched for (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.optimize import least_squares, nnls

from lenssuper.light.sersic.render import Renderer

__all__ = ["VarProResult", "fit", "solve_amplitudes"]


# Norm of a column, relative to the brightest, up to which it holds no light but rounding errors
_DARK = 1e-100


@dataclass(frozen=True, eq=False)
class VarProResult:
    """
    The best fit.

    Attributes
    ----------
    theta : array, shape (P,)
        The nonlinear parameters of all renderers, one renderer after the other.
    amplitudes : array, shape (A,)
        One for each column of each renderer.
    covariance : array, shape (P + A, P + A)
        Of ``theta`` and ``amplitudes`` together; zero for those that are fixed, at a bound or at zero.
    model : array, shape (ny, nx)
        The sum of all columns times their amplitudes.
    chi2 : float
        Sum of weights times squared residuals.
    n_evaluations : int
        Number of evaluations of the model.
    converged : bool
    message : str
        Why the search ended.
    """

    theta: np.ndarray
    amplitudes: np.ndarray
    covariance: np.ndarray
    model: np.ndarray
    chi2: float
    n_evaluations: int
    converged: bool
    message: str


def fit(
    renderers: Sequence[Renderer],
    theta0: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    data: np.ndarray,
    weights: np.ndarray,
    *,
    nonnegative: Sequence[bool] | np.ndarray | None = None,
    fixed: Sequence[bool] | np.ndarray | None = None,
    tolerance: float = 1e-8,
    max_iter: int = 100,
    report: Callable[[int, float], None] | None = None,
) -> VarProResult:
    """
    Fit a sum of images to an image.

    Parameters
    ----------
    renderers : sequence of Renderer
        The parts of the model, which may be of different kinds.
    theta0, lower, upper : array, shape (P,)
        Start and bounds of the search, for the parameters of all renderers one after the other.
    data, weights : array, shape (ny, nx)
        The image and one over its variance; 0 for pixels that are not used.
    nonnegative : sequence of bool, shape (A,), optional
        Which amplitudes must not be negative; by default all.
    fixed : sequence of bool, shape (P,), optional
        Which parameters stay as they are.
    tolerance : float, optional
        The search ends when the relative change of chi-square or of the parameters is smaller.
    max_iter : int, optional
        Most evaluations of the model.
    report : callable, optional
        Called with the number of evaluations and chi-square.

    Returns
    -------
    VarProResult

    Notes
    -----
    The Jacobian is that of the residual with the amplitudes eliminated, with both of its terms (Golub &
    Pereyra 1973, eq. 4.8; Kaufman 1975, BIT 15, 49, drops the second). Amplitudes that are zero because they
    must not be negative do not enter. The search is scipy's trust-region reflective algorithm.
    """
    theta0, lower, upper = (np.array(v, dtype=float) for v in (theta0, lower, upper))
    projected = _ProjectedResidual(renderers, data, weights, nonnegative)
    free = np.ones(theta0.size, dtype=bool) if fixed is None else ~np.asarray(fixed, dtype=bool)
    theta, done, message, count = theta0.copy(), True, "nothing to search for", 0
    if free.any():
        inside = np.clip(theta0, lower, upper)

        def full(z):
            theta = theta0.copy()
            theta[free] = z
            return theta

        @lru_cache(maxsize=1)  # the search asks for residual and Jacobian one after the other
        def compressed(z):
            theta = full(np.frombuffer(z))
            residual = projected.residual(theta)
            if report is not None:
                report(projected.count, float(residual @ residual))
            both = np.concatenate([projected.jacobian(theta)[:, free], residual[:, np.newaxis]], axis=1)
            triangle = np.linalg.qr(both, mode="r")
            return np.pad(triangle, ((0, both.shape[1] - len(triangle)), (0, 0)))

        # the search needs only products of residual and Jacobian, and those of the triangle are the same
        found = least_squares(
            lambda z: compressed(z.tobytes())[:, -1],
            inside[free],
            lambda z: compressed(z.tobytes())[:, :-1],
            bounds=(lower[free], upper[free]),
            method="trf",
            x_scale="jac",
            ftol=tolerance,
            xtol=tolerance,
            gtol=1e-12,
            max_nfev=max_iter,
        )
        theta, done, message, count = full(found.x), found.status > 0, found.message, projected.count
        # a parameter at its bound has no error
        free[free] &= found.active_mask == 0
    return projected.result(theta, free, count, bool(done), message)


def solve_amplitudes(columns: np.ndarray, target: np.ndarray, nonnegative: np.ndarray) -> np.ndarray:
    """
    Return the amplitudes (A,) for which columns (n, A) are closest to a target (n,), some not negative.

    Amplitudes of any sign are eliminated by a QR decomposition; scipy's nnls finds the others (Lawson &
    Hanson 1974, chapter 23).
    """
    scale = _norms(columns.T)
    r = np.asarray(np.linalg.qr(np.concatenate([columns / scale, target[:, np.newaxis]], axis=1), mode="r"))
    a, y = r[:, :-1], r[:, -1]
    amplitudes, *_ = np.linalg.lstsq(a, y, rcond=1e-12)
    if np.any(amplitudes[nonnegative] < 0):
        signed = a[:, ~nonnegative]
        basis, _ = np.linalg.qr(signed)
        rest = a[:, nonnegative] - basis @ (basis.T @ a[:, nonnegative])
        amplitudes = np.zeros(a.shape[1])
        amplitudes[nonnegative] = nnls(rest, y - basis @ (basis.T @ y))[0]
        left = y - a[:, nonnegative] @ amplitudes[nonnegative]
        amplitudes[~nonnegative] = np.linalg.lstsq(signed, left, rcond=1e-12)[0]
    return amplitudes / scale


def _norms(rows):
    """Return the norms of rows; infinite for one that is dark, which so gets no amplitude."""
    norms = np.linalg.norm(rows, axis=1)
    return np.where(norms <= _DARK * norms.max(initial=0.0), np.inf, norms)


class _ProjectedResidual:
    """The residual as a function of theta alone; the latest evaluation is kept for the Jacobian."""

    def __init__(self, renderers, data, weights, nonnegative):
        self._renderers = list(renderers)
        self._used = weights.ravel() > 0
        self._root = np.sqrt(weights.ravel()[self._used])
        self._target = data.ravel()[self._used] * self._root
        counts = [r.n_parameters for r in self._renderers]
        self._parts = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
        first = np.cumsum([0, *(r.n_columns for r in self._renderers)])
        self._columns = int(first[-1])
        pairs = zip(self._renderers, first[:-1], strict=True)
        self._column_of = np.concatenate([r.column_of + k for r, k in pairs]).astype(int)
        pairs = zip(self._renderers, self._parts, strict=True)
        self._parameter_of = np.concatenate([p[r.parameter_of] for r, p in pairs]).astype(int)
        every = np.ones(self._columns, dtype=bool)
        self._nonnegative = every if nonnegative is None else np.asarray(nonnegative, dtype=bool)
        self._theta = None
        self.count = 0

    def _evaluate(self, theta):
        if self._theta is not None and np.array_equal(theta, self._theta):
            return
        both = [
            r.columns_and_derivatives(theta[part])
            for r, part in zip(self._renderers, self._parts, strict=True)
        ]
        self._images = np.concatenate([c for c, _ in both])
        self._a = self._whiten(self._images)
        self._d = np.concatenate([self._whiten(d) for _, d in both])
        self._c = solve_amplitudes(self._a.T, self._target, self._nonnegative)
        self._theta = theta.copy()
        self.count += 1

    def _whiten(self, images):
        images = images.reshape(len(images), self._used.size)
        return (images if self._used.all() else images[:, self._used]) * self._root

    def residual(self, theta):
        """Return (model - data) / sigma with the best amplitudes."""
        self._evaluate(theta)
        return self._c @ self._a - self._target

    def jacobian(self, theta):
        """Return the derivatives (pixels, P) of `residual`."""
        residual = self.residual(theta)
        q, r, order = qr(self._a[self._active()].T, mode="economic", pivoting=True)
        rank = np.count_nonzero(np.abs(np.diag(r)) > 1e-12 * np.abs(r[0, 0])) if r.size else 0
        q, r = q[:, :rank], r[:rank, :rank]
        # dA c, without the part that a change of the amplitudes compensates
        moved = self._full_slopes()
        out = moved - (moved @ q) @ q.T
        # the change of the space of the columns: (A^+)^T dA^T (residual)
        change = np.zeros((self._columns, len(out)))
        np.add.at(change, (self._column_of, self._parameter_of), self._d @ residual)
        change = change[self._active()][order[:rank]]
        return (out - solve_triangular(r, change, trans="T").T @ q.T if rank else out).T

    def _active(self):
        return ~(self._nonnegative & (self._c == 0))

    def _full_slopes(self):
        """Return the derivatives (P, pixels) of the model at fixed amplitudes."""
        out = np.zeros((sum(p.size for p in self._parts), self._target.size))
        for image, column, parameter in zip(self._d, self._column_of, self._parameter_of, strict=True):
            out[parameter] += image * self._c[column]
        return out

    def result(self, theta, free, count, converged, message):
        residual = self.residual(theta)
        keep = np.concatenate([free, self._active()])
        jacobian = np.concatenate([self._full_slopes(), self._a])[keep]
        covariance = np.zeros((keep.size, keep.size))
        covariance[np.ix_(keep, keep)] = _inverse_of_square(jacobian)
        return VarProResult(
            theta=theta,
            amplitudes=self._c,
            covariance=covariance,
            model=np.tensordot(self._c, self._images, 1),
            chi2=float(residual @ residual),
            n_evaluations=count,
            converged=converged,
            message=message,
        )


def _inverse_of_square(slopes):
    """Return (S S^T)^-1, in which directions that the data do not constrain get a very large variance."""
    scale = _norms(slopes)
    slopes = slopes / scale[:, np.newaxis]
    values, vectors = np.linalg.eigh(slopes @ slopes.T)
    values = np.maximum(values, 1e-14 * max(values.max(initial=0.0), 1e-300))
    return (vectors / values) @ vectors.T / np.outer(scale, scale)
