"""Models for `~lenssuper.light.sersic.varpro.fit`: an image for every amplitude, and derivatives."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import numpy as np

from lenssuper.light.sersic.blur import CuspBlur
from lenssuper.light.sersic.components import Components

__all__ = ["ConstantRenderer", "Renderer", "SersicRenderer", "SkyRenderer"]

_FINE_TOL = 1e-3


class Renderer(ABC):
    """
    A part of a model that is linear in its amplitudes and nonlinear in its other parameters.

    Attributes
    ----------
    n_parameters : int
        Number of nonlinear parameters.
    n_columns : int
        Number of amplitudes.
    out_shape : (int, int)
        Shape of the observed image.
    column_of : array of int, shape (D,)
        The column of each derivative image.
    parameter_of : array of int, shape (D,)
        The parameter of each derivative image. By default there is one image for each parameter; a parameter
        that several columns share has one for each of them.
    """

    n_parameters: int
    n_columns: int
    out_shape: tuple[int, int]
    column_of: np.ndarray

    @property
    def parameter_of(self) -> np.ndarray:
        """The parameter of each derivative image."""
        return np.arange(self.n_parameters)

    @abstractmethod
    def columns(self, theta: np.ndarray) -> np.ndarray:
        """Return the images (n_columns, ny, nx) on the observed pixels, for amplitudes of one."""

    @abstractmethod
    def columns_and_derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return `columns`, and their derivatives (D, ny, nx)."""


class ConstantRenderer(Renderer):
    """The sky: the same brightness in all pixels."""

    def __init__(self, out_shape):
        self.n_parameters, self.n_columns = 0, 1
        self.out_shape = tuple(out_shape)
        self.column_of = np.zeros(0, dtype=int)

    def columns(self, theta):
        return np.ones((1, *self.out_shape))

    def columns_and_derivatives(self, theta):
        return self.columns(theta), np.zeros((0, *self.out_shape))


class SersicRenderer(Renderer):
    """Sersics as a part of a model; ``theta`` is the vector of what is free in their components."""

    def _take(self, components: Components) -> None:
        self._components = components
        self.n_parameters, self.n_columns = components.n_free, components.n
        pairs = np.array(components.slopes(), dtype=int).reshape(-1, 2)
        self.column_of, self._parameter_of = pairs.T

    @property
    def parameter_of(self):
        return self._parameter_of


class SkyRenderer(SersicRenderer):
    """
    Sersics on the sky, blurred by the PSF.

    Parameters
    ----------
    matrix, origin, shape
        The lattice of the observed pixels, as in `PixelGrid`.
    components : Components
    blur : CuspBlur
        The PSF.
    tol : float, optional
        Largest relative error of the mean over a pixel.
    """

    def __init__(self, matrix, origin, shape, components: Components, blur: CuspBlur, *, tol: float = 1e-6):
        self._matrix, self._origin = np.array(matrix), np.array(origin)
        self._inverse = np.linalg.inv(self._matrix)
        self._blur, self._tol = blur, tol
        self.out_shape = tuple(shape)
        self._take(components)

    def with_components(self, components: Components) -> SkyRenderer:
        """Return a renderer of other Sersics with the same pixels and PSF."""
        other = copy.copy(self)
        other._take(components)
        return other

    @classmethod
    def of(cls, observation, components: Components, *, tol: float = 1e-6, fine: bool = True) -> SkyRenderer:
        """Return the renderer for the pixels and PSF of an Observation; ``fine`` as in `CuspBlur`."""
        grid = observation.grid
        blur = CuspBlur(
            observation.psf,
            grid.shape,
            oversampling=observation.psf_oversampling,
            includes_pixel=observation.psf_includes_pixel,
            fine=fine,
        )
        return cls(grid.matrix, grid.origin, grid.shape, components, blur, tol=tol)

    def columns(self, theta):
        return np.array([self._render(k, theta, False)[0] for k in range(self.n_columns)])

    def columns_and_derivatives(self, theta):
        images = [self._render(k, theta, True) for k in range(self.n_columns)]
        return np.array([i[0] for i in images]), np.concatenate([i[1:] for i in images])

    def _render(self, k, theta, derivatives):
        images, center = self._components.profile(k, theta, derivatives)

        def on_lattice(first, factor, shape, border=0):
            origin = self._origin + self._matrix @ (np.asarray(first) + 0.5 / factor)
            # fine pixels only correct the coarse ones, so that they need less accuracy
            tol = self._tol if factor == 1 else max(self._tol, _FINE_TOL)
            return images(self._matrix / factor, origin, shape, tol, border)

        return self._blur(on_lattice, self._inverse @ (np.asarray(center) - self._origin))
