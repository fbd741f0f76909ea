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
    """
    Elliptical Gaussians of one centre and one shape, of height 1.

    Attributes
    ----------
    x, y : ndarray
        Source-plane positions of rays, relative to the centre.
    shape : ndarray, shape (2,)
        Ellipticity as it was given, over all the plane.
    ellipticity : ndarray, shape (2,)
        (a^2 - b^2) / (a^2 + b^2) along the axes and the diagonals, below 1.
    radii : ndarray
        Squares of the elliptical radii of the rays.
    reach, widths : ndarray, shape (3,)
        Standard deviations as they were given, and with the least width added in squares.
    images : ndarray, shape (3, ...)
    """

    x: np.ndarray
    y: np.ndarray
    shape: np.ndarray
    ellipticity: np.ndarray
    radii: np.ndarray
    reach: np.ndarray
    widths: np.ndarray
    images: np.ndarray

    @classmethod
    def at(cls, x: np.ndarray, y: np.ndarray, component: np.ndarray, least: float) -> Gaussians:
        """
        Evaluate a component at source-plane positions.

        Parameters
        ----------
        x, y : ndarray
            In arcsec.
        component : ndarray, shape (5,)
            x, y, logarithm of the size, two of ellipticity.
        least : float
            Width that is added in quadrature.
        """
        x0, y0, log_size, *shape = component
        x, y, shape = x - x0, y - y0, np.array(shape)
        e1, e2 = ellipticity = shape * _shrink(shape)[0]
        radii = ((1 - e1) * x**2 + (1 + e1) * y**2 - 2 * e2 * x * y) / np.sqrt(1 - e1**2 - e2**2)
        reach = np.exp(np.clip(log_size, -12, 5)) * _WIDTHS
        widths = np.hypot(reach, least)
        images = np.exp(np.multiply.outer(-0.5 / widths**2, radii))
        return cls(x, y, shape, ellipticity, radii, reach, widths, images)

    def slopes(self, brightness: np.ndarray, along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
        """
        Return the derivatives of the sum of the images.

        Parameters
        ----------
        brightness : ndarray, shape (3,)
            Of each image.
        along_x, along_y : ndarray, shape (n, ...)
            Derivatives of the positions of the rays by n parameters.

        Returns
        -------
        ndarray, shape (n + 5, ...)
            By these parameters, and then by those of the component.
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
