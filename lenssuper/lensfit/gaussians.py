"""Concentric Gaussians in the source plane, and the derivatives of their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PER_COMPONENT", "Gaussians"]

# Parameters of a component: x, y, logarithm of the size in arcsec, and two of ellipticity
PER_COMPONENT = 5
# Widths of the concentric Gaussians of a component, relative to its size
_WIDTHS = np.array([0.4, 1.0, 2.2])


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Elliptical Gaussians of one centre and one shape, of height 1."""

    x: np.ndarray  # source-plane positions of rays relative to the centre; y likewise
    y: np.ndarray
    shape: np.ndarray  # ellipticity (2,) as it was given, over all the plane
    ellipticity: np.ndarray  # (a^2 - b^2) / (a^2 + b^2) along the axes and the diagonals, below 1
    radii: np.ndarray  # squares of the elliptical radii of the rays
    reach: np.ndarray  # standard deviations (3,) as they were given
    widths: np.ndarray  # the same with the least width added in squares
    images: np.ndarray  # shape (3, ...)

    @classmethod
    def at(cls, x: np.ndarray, y: np.ndarray, component: np.ndarray, least: float) -> Gaussians:
        """
        Evaluate a component at source-plane positions x, y in arcsec.

        The component is x, y, logarithm of the size, two of ellipticity; the width ``least`` is added in
        quadrature.
        """
        x0, y0, log_size = component[:3]
        x, y, shape = x - x0, y - y0, np.array(component[3:])
        e1, e2 = ellipticity = shape * _shrink(shape)[0]
        radii = ((1 - e1) * x**2 + (1 + e1) * y**2 - 2 * e2 * x * y) / np.sqrt(1 - e1**2 - e2**2)
        reach = np.exp(np.clip(log_size, -12, 5)) * _WIDTHS
        widths = np.hypot(reach, least)
        images = np.exp(np.multiply.outer(-0.5 / widths**2, radii))
        return cls(x, y, shape, ellipticity, radii, reach, widths, images)

    def slopes(self, brightness: np.ndarray, along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
        """
        Return the derivatives (n + 5, ...) of the sum of the images, each times its ``brightness`` (3,).

        They are by n parameters, of which ``along_x`` and ``along_y`` (n, ...) are the derivatives of the
        positions of the rays, and then by those of the component.
        """
        e1, e2 = self.ellipticity
        minor = np.sqrt(1 - e1**2 - e2**2)
        falling = np.tensordot(-0.5 * brightness / self.widths**2, self.images, 1)
        slope_x = falling * (2 / minor) * ((1 - e1) * self.x - e2 * self.y)
        slope_y = falling * (2 / minor) * ((1 + e1) * self.y - e2 * self.x)
        wider = self.radii * np.tensordot(brightness * self.reach**2 / self.widths**4, self.images, 1)
        flatter = np.stack(
            [
                falling * ((self.y**2 - self.x**2) / minor + self.radii * (e1 / minor**2)),
                falling * (-2 * self.x * self.y / minor + self.radii * (e2 / minor**2)),
            ]
        )
        shrink, change = _shrink(self.shape)
        flatter = shrink * flatter + np.multiply.outer(change, np.tensordot(self.shape, flatter, 1))
        of_rays = slope_x * along_x + slope_y * along_y
        return np.concatenate([of_rays, [-slope_x, -slope_y, wider], flatter])


def _shrink(shape):
    """Return the factor tanh(e) / e that brings an ellipticity of any size below 1, and its derivatives."""
    e = np.hypot(*shape)
    if e < 1e-4:  # the first terms of the series
        return 1 - e**2 / 3, -2 / 3 * shape
    shrink = np.tanh(e) / e
    return shrink, (1 - np.tanh(e) ** 2 - shrink) / e**2 * shape
