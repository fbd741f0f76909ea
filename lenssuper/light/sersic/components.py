"""
The parameters of several Sersics: which are free, within which bounds, and which are shared.

An array of parameters (K, 6) holds x, y, R_e in arcsec, n, q, and phi in radian for each component. A fit
varies a vector of the free values: x, y, log R_e, log n, and the shape. The shape is (e1, e2) = log(1/q) (cos
2 phi, sin 2 phi), which is regular at q = 1 and has no bounds; for components whose q or phi is fixed or
bounded it is (log q, phi).
"""

from __future__ import annotations

import numpy as np

from lenssuper.light.sersic.profile import averages_of_form, quadratic_form, slopes_of

__all__ = ["NAMES", "Components"]

NAMES = ("x", "y", "R_e", "n", "q", "phi")
# Default limits: q is not below exp(-3) = 0.05 along the axes of (e1, e2)
_N_LIMITS, _LARGEST_E = (0.2, 10.0), 3.0
_INFINITE = (-np.inf, np.inf)


class Components:
    """
    Conversion between the parameters of K Sersics and the vector of their free values.

    Parameters
    ----------
    n : int
        Number of components.
    center : (float, float)
        Middle of the field, in arcsec.
    size, pixel : float
        Diagonal of the field and side of a pixel, in arcsec. Centres are kept within ``size`` of the middle,
        and R_e between a fiftieth of a pixel and twice ``size``.
    fixed : sequence of dict, optional
        For each component, values by name that stay as they are.
    bounds : sequence of dict, optional
        For each component, (lowest, highest) by name.
    link_centers : bool, optional
        Whether all have the centre of the first.
    """

    def __init__(self, n, center, size, pixel, *, fixed=None, bounds=None, link_centers=False):
        self.n = n
        self._fixed = [dict(f) for f in fixed] if fixed else [{} for _ in range(n)]
        self._bounds = [dict(b) for b in bounds] if bounds else [{} for _ in range(n)]
        self._linked = bool(link_centers) and n > 1
        self._limits = {
            "x": (center[0] - size, center[0] + size),
            "y": (center[1] - size, center[1] + size),
            "R_e": (0.02 * pixel, 2 * size),
            "n": _N_LIMITS,
            "q": (np.exp(-_LARGEST_E), 1.0),
            "phi": _INFINITE,
        }
        self._plain = [
            any(name in given for name in ("q", "phi"))
            for given in ({**f, **b} for f, b in zip(self._fixed, self._bounds, strict=True))
        ]
        # a slot is (component, index of the parameter) of one free value; linked centres share one
        self._slots, self._values = [], np.full((n, 6), np.nan)
        for k in range(n):
            for i, name in enumerate(NAMES):
                if name in self._fixed[k]:
                    self._values[k, i] = self._fixed[k][name]
                elif not (self._linked and k > 0 and i < 2):
                    self._slots.append((k, i))

    @property
    def n_free(self):
        """Number of free values."""
        return len(self._slots)

    def names(self):
        """Return name and component of every free value."""
        shape = {4: "the shape", 5: "the shape"}
        return [(NAMES[i] if self._plain[k] else shape.get(i, NAMES[i]), k) for k, i in self._slots]

    def limits(self):
        """Return the lowest and the highest allowed values of all free values."""
        pairs = []
        for k, i in self._slots:
            if i >= 4 and not self._plain[k]:
                pairs.append((-_LARGEST_E, _LARGEST_E))
                continue
            name = NAMES[i]
            low, high = self._limits[name]
            given = self._bounds[k].get(name, _INFINITE)
            # bounds given by the user replace those of the field
            low, high = (g if np.isfinite(g) else v for g, v in zip(given, (low, high), strict=True))
            pairs.append((np.log(low), np.log(high)) if 2 <= i <= 4 else (low, high))
        low, high = np.array(pairs, dtype=float).reshape(-1, 2).T
        return low, high

    def pack(self, parameters):
        """Return the free values of parameters (K, 6), moved inside their limits."""
        parameters = np.asarray(parameters, dtype=float)
        internal = parameters.copy()
        internal[:, 2:5] = np.log(np.maximum(parameters[:, 2:5], 1e-300))
        for k in range(self.n):
            if not self._plain[k]:
                e = -internal[k, 4]
                angle = 2 * parameters[k, 5]
                internal[k, 4:] = e * np.cos(angle), e * np.sin(angle)
        low, high = self.limits()
        free = np.array([internal[slot] for slot in self._slots], dtype=float)
        margin = 1e-6 * np.where(np.isfinite(high - low), high - low, 0.0)
        return np.clip(free, low + margin, high - margin)

    def _internal(self, free):
        """Return the values (K, 6) as the fit varies them."""
        internal = self._values.copy()
        internal[:, 2:5] = np.log(internal[:, 2:5])
        for value, slot in zip(free, self._slots, strict=True):
            internal[slot] = value
        if self._linked:
            for i in range(2):
                if not np.isnan(internal[0, i]):
                    missing = np.isnan(internal[:, i])
                    internal[missing, i] = internal[0, i]
        return internal

    def unpack(self, free):
        """Return the parameters (K, 6) of free values; q is in (0, 1] and phi in [0, pi)."""
        parameters = self._internal(free)
        for k in range(self.n):
            if not self._plain[k]:
                e1, e2 = parameters[k, 4:]
                parameters[k, 4:] = -np.hypot(e1, e2), 0.5 * np.arctan2(e2, e1)
        parameters[:, 2:5] = np.exp(parameters[:, 2:5])
        parameters[:, 5] %= np.pi
        return parameters

    def jacobian(self, free):
        """Return the derivatives (6 K, n_free) of the parameters by the free values; NaN for phi at q = 1."""
        internal, parameters = self._internal(free), self.unpack(free)
        out = np.zeros((self.n, 6, self.n_free))
        for column, (k, i) in enumerate(self._slots):
            if i < 2:
                out[self._sharing(k, i), i, column] = 1
            elif i < 4:
                out[k, i, column] = parameters[k, i]
            elif self._plain[k]:
                out[k, i, column] = parameters[k, 4] if i == 4 else 1
            else:
                e = np.hypot(*internal[k, 4:])
                with np.errstate(invalid="ignore", divide="ignore"):
                    cos, sin = internal[k, 4:] / e
                    along, across = ((cos, -sin), (sin, cos))[i - 4]
                    out[k, 4, column] = -parameters[k, 4] * along
                    out[k, 5, column] = 0.5 * across / e
        return out.reshape(6 * self.n, self.n_free)

    def _sharing(self, k, i):
        """Return the components that have the centre of component ``k``."""
        if not self._linked:
            return [k]
        return [m for m in range(self.n) if m == k or NAMES[i] not in self._fixed[m]]

    def slopes(self):
        """Return component and index of the free value of each derivative image."""
        pairs = []
        for column, (k, i) in enumerate(self._slots):
            shared = self._sharing(k, i) if i < 2 else [k]
            pairs += [(m, column) for m in shared]
        return sorted(pairs)

    def profile(self, k, free, derivatives):
        """
        Return component ``k`` as a function of a lattice, and its centre.

        The function takes matrix, origin and shape of the lattice and returns images (1 + derivatives, ny,
        nx): the means over the pixels, and their derivatives by the free values, in the order of `slopes`.
        """
        x, y, log_R_e, log_n, s1, s2 = self._internal(free)[k]
        shape, shape_slopes = _plain_shape(s1, s2) if self._plain[k] else _regular_shape(s1, s2)
        scale = np.exp(-2 * log_R_e)
        form, slopes = scale * shape, []
        if derivatives:
            every = slopes_of(-2 * form, np.exp(log_n), [scale * slope for slope in shape_slopes])
            slopes = [every[self._slots[column][1]] for m, column in self.slopes() if m == k]

        def images(matrix, origin, shape, tol, border=0):
            options = {"tol": tol, "border": border}
            image, out = averages_of_form(
                matrix, origin, shape, (x, y), form, np.exp(log_n), slopes, **options
            )
            return np.concatenate([image[np.newaxis], out])

        return images, (x, y)


def _plain_shape(log_q, phi):
    """Return the quadratic form of R_e = 1, and its derivatives by log q and phi."""
    q = np.exp(log_q)
    form, (_, by_q, by_phi) = quadratic_form(1.0, q, phi)
    return form, (q * by_q, by_phi)


def _regular_shape(e1, e2):
    """
    Return the quadratic form of R_e = 1, and its derivatives by e1 and e2.

    It is exp(-E) with E = [[e1, e2], [e2, -e1]], which is cosh(e) - E sinh(e) / e with e^2 = e1^2 + e2^2.
    """
    e = np.hypot(e1, e2)
    matrix, one = np.array([[e1, e2], [e2, -e1]]), np.eye(2)
    if e > 1e-3:
        s = np.sinh(e) / e
        ds = (np.cosh(e) - s) / e**2
    else:
        s, ds = 1 + e**2 / 6, 1 / 3 + e**2 / 30
    parts = np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    slopes = [s * v * one - ds * v * matrix - s * part for v, part in zip((e1, e2), parts, strict=True)]
    return np.cosh(e) * one - s * matrix, slopes
