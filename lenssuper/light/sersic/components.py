"""
The parameters of several Sersics: which are free, within which bounds, and which are shared.

An array of parameters (K, 6) holds x, y, R_e in arcsec, n, q, and phi in radian for each component. A fit
sees a vector of what is free: x, y, log R_e, log n, and the shape. The shape is (e1, e2) = log(1/q) (cos 2
phi, sin 2 phi), which is regular where q = 1 and has no bounds; of components whose q or phi is fixed or
bounded it is log q and phi.
"""

from __future__ import annotations

import numpy as np

from lenssuper.light.sersic.profile import averages_of_form

__all__ = ["NAMES", "Components"]

NAMES = ("x", "y", "R_e", "n", "q", "phi")
# Limits of what is not bounded otherwise: q is not below exp(-3) = 0.05 along the axes of (e1, e2)
_N_LIMITS, _LARGEST_E = (0.2, 10.0), 3.0
_INFINITE = (-np.inf, np.inf)


class Components:
    """
    Between parameters of K Sersics and the vector of what is free in them.

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
        # a slot is (component, place of the parameter); several slots may share one free value
        self._slots, self._values = [], np.full((n, 6), np.nan)
        for k in range(n):
            for place, name in enumerate(NAMES):
                if name in self._fixed[k]:
                    self._values[k, place] = self._fixed[k][name]
                elif not (self._linked and k > 0 and place < 2):
                    self._slots.append((k, place))

    @property
    def n_free(self):
        """Number of free values."""
        return len(self._slots)

    def names(self):
        """Name and component of every free value."""
        shape = {4: "the shape", 5: "the shape"}
        return [
            (NAMES[place] if self._plain[k] else shape.get(place, NAMES[place]), k)
            for k, place in self._slots
        ]

    def limits(self):
        """Lowest and highest of every free value."""
        pairs = []
        for k, place in self._slots:
            if place >= 4 and not self._plain[k]:
                pairs.append((-_LARGEST_E, _LARGEST_E))
                continue
            name = NAMES[place]
            low, high = self._limits[name]
            given = self._bounds[k].get(name, _INFINITE)
            # a bound that was given goes before those of the field
            low, high = (g if np.isfinite(g) else v for g, v in zip(given, (low, high), strict=True))
            pairs.append((np.log(low), np.log(high)) if 2 <= place <= 4 else (low, high))
        low, high = np.array(pairs, dtype=float).reshape(-1, 2).T
        return low, high

    def pack(self, parameters):
        """Give the free values of parameters (K, 6), moved within their limits."""
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
        """Values (K, 6) as the fit sees them."""
        internal = self._values.copy()
        internal[:, 2:5] = np.log(internal[:, 2:5])
        for value, slot in zip(free, self._slots, strict=True):
            internal[slot] = value
        if self._linked:
            for place in range(2):
                if not np.isnan(internal[0, place]):
                    missing = np.isnan(internal[:, place])
                    internal[missing, place] = internal[0, place]
        return internal

    def unpack(self, free):
        """Give the parameters (K, 6) of free values; q is in (0, 1] and phi in [0, pi)."""
        parameters = self._internal(free)
        for k in range(self.n):
            if not self._plain[k]:
                e1, e2 = parameters[k, 4:]
                parameters[k, 4:] = -np.hypot(e1, e2), 0.5 * np.arctan2(e2, e1)
        parameters[:, 2:5] = np.exp(parameters[:, 2:5])
        parameters[:, 5] %= np.pi
        return parameters

    def jacobian(self, free):
        """Derivatives (6 K, n_free) of the parameters by the free values; NaN for phi where q is one."""
        internal, parameters = self._internal(free), self.unpack(free)
        out = np.zeros((self.n, 6, self.n_free))
        for column, (k, place) in enumerate(self._slots):
            if place < 2:
                out[self._sharing(k, place), place, column] = 1
            elif place < 4:
                out[k, place, column] = parameters[k, place]
            elif self._plain[k]:
                out[k, place, column] = parameters[k, 4] if place == 4 else 1
            else:
                e = np.hypot(*internal[k, 4:])
                with np.errstate(invalid="ignore", divide="ignore"):
                    cos, sin = internal[k, 4:] / e
                    along, across = ((cos, -sin), (sin, cos))[place - 4]
                    out[k, 4, column] = -parameters[k, 4] * along
                    out[k, 5, column] = 0.5 * across / e
        return out.reshape(6 * self.n, self.n_free)

    def _sharing(self, k, place):
        """Components whose centre a free one of the first component is."""
        if not self._linked:
            return [k]
        return [m for m in range(self.n) if m == k or NAMES[place] not in self._fixed[m]]

    def slopes(self):
        """For each image of a derivative: its component, and the free value it belongs to."""
        pairs = []
        for column, (k, place) in enumerate(self._slots):
            shared = self._sharing(k, place) if place < 2 else [k]
            pairs += [(m, column) for m in shared]
        return sorted(pairs)

    def profile(self, k, free, derivatives):
        """
        Give component ``k`` as a function of matrix, origin and shape of a lattice.

        Returns
        -------
        function
            It returns images (1 + derivatives, ny, nx): the means over the pixels, and their derivatives by
            the free values, in the order of `slopes`.
        center : (float, float)
        """
        x, y, log_R_e, log_n, s1, s2 = self._internal(free)[k]
        shape, shape_slopes = _plain_shape(s1, s2) if self._plain[k] else _regular_shape(s1, s2)
        form = shape * np.exp(-2 * log_R_e)
        zero2, zero4 = np.zeros(2), np.zeros((2, 2))
        every = [
            (np.array([1.0, 0.0]), zero4, 0.0),
            (np.array([0.0, 1.0]), zero4, 0.0),
            (zero2, -2 * form, 0.0),
            (zero2, zero4, np.exp(log_n)),
            (zero2, shape_slopes[0] * np.exp(-2 * log_R_e), 0.0),
            (zero2, shape_slopes[1] * np.exp(-2 * log_R_e), 0.0),
        ]
        slopes = []
        if derivatives:
            slopes = [every[self._slots[column][1]] for m, column in self.slopes() if m == k]

        def images(matrix, origin, shape, tol, border=0):
            options = {"tol": tol, "border": border}
            image, out = averages_of_form(
                matrix, origin, shape, (x, y), form, np.exp(log_n), slopes, **options
            )
            return np.concatenate([image[np.newaxis], out])

        return images, (x, y)


def _plain_shape(log_q, phi):
    """Quadratic form of R_e = 1, and its derivatives by log q and phi."""
    q = np.exp(log_q)
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = np.outer((cos, sin), (cos, sin)), np.outer((-sin, cos), (-sin, cos))
    mixed = np.outer((cos, sin), (-sin, cos))
    return q * along + across / q, (q * along - across / q, (q - 1 / q) * (mixed + mixed.T))


def _regular_shape(e1, e2):
    """
    Quadratic form of R_e = 1, and its derivatives by e1 and e2.

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
