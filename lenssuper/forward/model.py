"""
The forward model A = D P L, from a source to its image in an observation.

L lenses the source onto an image finer than the observed one, P blurs it by the PSF, and D averages it over
the observed pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np
from astropy.nddata import NDData

from lenssuper._utils.checks import check_count
from lenssuper.forward.measurement import Measurement
from lenssuper.forward.sourcegrid import default_source_grid
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators import BlurAndBin, LensingOperator, LinearOperator, OverlapOperator
from lenssuper.operators.boxed import product_in_box

__all__ = ["ForwardModel", "blur_of"]

# Pixels whose positions differ by less, in units of a pixel, are the same.
_SAME = 1e-6


class ForwardModel(Measurement):
    """
    The linear map from a source to the observed image, for one observation and one lens.

    As a linear operator it takes sources (..., ny, nx) on `source_grid` to images of the observation's shape,
    numpy arrays or torch tensors on any device, both in surface brightness in the observation's unit per
    observed pixel.

    Parameters
    ----------
    observation : `~astropy.nddata.NDData` or Observation
        Image with uncertainty and, where there are any, mask, PSF and WCS.
    lens : LensModel
        The deflector; its coordinates are offsets from the reference point of the observation's grid.
    factor : int, optional
        Number of pixels of the lensed image along the side of an observed one.
    source_grid : PixelGrid, optional
        Pixels in the source plane; by default `~lenssuper.forward.sourcegrid.default_source_grid`.
    tol : float, optional
        Accuracy of the overlap fractions, see `~lenssuper.OverlapOperator`.
    order : {0, 1, 2}, optional
        What sources consist of, see `~lenssuper.OverlapOperator`: pixels of constant brightness, bilinear
        hats, or quadratic B-splines, of which they are the coefficients.
    lensing : callable, optional
        Makes another `~lenssuper.operators.LensingOperator` from the lens, the image grid and the source grid
        in place of `~lenssuper.OverlapOperator` with ``tol`` and ``order``: with
        `~lenssuper.operators.SplineSampling`, sources are the coefficients of cubic B-splines.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ObservationError
        If the observation cannot be used; the message says what to do.
    ValueError
        If no pixel that is used sees the source grid.

    Notes
    -----
    The lensed image extends beyond the observed one as far as the PSF reaches, so that light from outside the
    field is scattered in and nothing wraps round.

    Examples
    --------
    >>> import astropy.units as u
    >>> from lenssuper import ForwardModel
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(1)
    >>> model = ForwardModel(mock.observation, mock.lens, factor=2)
    >>> model.out_shape
    (64, 64)
    >>> bool(0.8 < model.chi2(mock.source_image(model.source_grid)) / 64**2 < 1.2)
    True
    """

    def __init__(
        self,
        observation: NDData | Observation,
        lens: LensModel,
        *,
        factor: int = 2,
        source_grid: PixelGrid | None = None,
        tol: float = 1e-3,
        order: int = 0,
        lensing: Callable[[LensModel, PixelGrid, PixelGrid], LensingOperator] | None = None,
    ) -> None:
        observation = Observation.of(observation)
        if not isinstance(lens, LensModel):
            raise TypeError(f"lens must be a LensModel; got {type(lens).__name__}")
        factor = check_count(factor, "factor", 1)
        if source_grid is None:
            source_grid = default_source_grid(observation, lens, factor)
        elif not isinstance(source_grid, PixelGrid):
            raise TypeError(f"source_grid must be a PixelGrid; got {type(source_grid).__name__}")
        self._observation = observation
        self._factor, self._order = factor, order
        self._blur = blur_of(observation, factor)
        padded = observation.grid.pad(self._blur.pad).refine(factor)
        self._make_lensing = partial(OverlapOperator, tol=tol, order=order) if lensing is None else lensing
        self._lensing = self._make_lensing(lens, padded, source_grid)
        self._weights = observation.weights
        super().__init__(source_grid.shape, observation.shape)
        if not np.any(self.adjoint(self._weights) > 0):
            raise ValueError(
                f"no pixel of the observation that is used sees the source grid, {source_grid!r}: "
                "check the units and centre of the lens, or leave source_grid out"
            )

    @property
    def observation(self) -> Observation:
        """What was observed."""
        return self._observation

    @property
    def lens(self) -> LensModel:
        """The lens model."""
        return self._lensing.lens_model

    @property
    def factor(self) -> int:
        """Number of fine pixels along the side of an observed one."""
        return self._factor

    @property
    def order(self) -> int:
        """Order of the B-splines that sources consist of, unless another ``lensing`` was given."""
        return self._order

    @property
    def source_grid(self) -> PixelGrid:
        """Pixels in the source plane."""
        return self._lensing.source_grid

    @property
    def fine_grid(self) -> PixelGrid:
        """Pixels of the super-resolved image: the observed ones, each divided in factor x factor."""
        return self._observation.grid.refine(self._factor)

    @property
    def lensing(self) -> LensingOperator:
        """L: from the source to the fine image, which extends beyond the observed one."""
        return self._lensing

    @property
    def blur(self) -> BlurAndBin:
        """D P: from the extended fine image to the observed pixels."""
        return self._blur

    @property
    def parts(self) -> tuple[ForwardModel, ...]:
        """The models of single observations that this one consists of: only itself."""
        return (self,)

    @property
    def data(self) -> np.ndarray:
        """The observed image; 0 where it is not used."""
        return self._observation.data

    @property
    def weights(self) -> np.ndarray:
        """One over the variance of every pixel; 0 where it is not used."""
        return self._weights

    def with_weights(self, weights: np.ndarray) -> ForwardModel:
        """
        Return the same model with other weights, e.g. with some pixels held out.

        Parameters
        ----------
        weights : array, shape (ny, nx) of the observation
            Not negative; pixels that the observation does not use stay unused.

        Returns
        -------
        ForwardModel
            With the operators of this one.
        """
        weights = self._checked_weights(weights)
        other = self._copy()
        other._weights = np.where(self._observation.mask, 0.0, weights)
        return other

    def with_observation(self, observation: Observation) -> ForwardModel:
        """
        Return the same model for another image with the same lens, pixels and PSF.

        Parameters
        ----------
        observation : Observation
            With the grid and the PSF of this one; data, mask, noise and reference point may be others.

        Returns
        -------
        ForwardModel
            With the operators of this one.

        Raises
        ------
        ValueError
            If its pixels or its PSF differ.
        """
        if not same_optics(self._observation, observation):
            raise ValueError(
                "observation must have the grid and the PSF of the one that the model was made for"
            )
        other = self._copy()
        other._covariance = None
        other._observation = observation
        other._weights = observation.weights
        return other

    def with_source_grid(self, source_grid: PixelGrid) -> ForwardModel:
        """
        Return the same model for other pixels in the source plane.

        Parameters
        ----------
        source_grid : PixelGrid

        Returns
        -------
        ForwardModel
            With the weights and the noise covariance of this one.
        """
        return self._remade(source_grid=source_grid)

    def coarser(self) -> ForwardModel | None:
        """
        Return a faster model from the same source to the same data, with a lensed image of larger pixels.

        Returns
        -------
        ForwardModel or None
            With half the factor, and the weights and the noise covariance of this one; None if the pixels of
            the lensed image are those of the data.
        """
        if self._factor == 1:
            return None
        return self._remade(factor=self._factor // 2)

    def _remade(self, *, factor=None, source_grid=None):
        other = ForwardModel(
            self._observation,
            self.lens,
            factor=self._factor if factor is None else factor,
            source_grid=self.source_grid if source_grid is None else source_grid,
            order=self._order,
            lensing=self._make_lensing,
        )
        return other.with_weights(self._weights).with_noise_covariance(self._covariance)

    def with_lens(self, lens: LensModel) -> ForwardModel:
        """Return the same model for another lens, with the weights and the noise covariance of this one."""
        lensing = self._make_lensing(lens, self._lensing.image_grid, self.source_grid)
        return self._with_optics(lensing, self._blur)

    def with_data(self, data: np.ndarray) -> ForwardModel:
        """Return the same model for other data, with the weights and the noise covariance of this one."""
        other = self._copy()
        other._observation = self._observation.with_data(data)
        return other

    def with_psf(self, psf: np.ndarray) -> ForwardModel:
        """
        Return the same model with another PSF, with the weights and the noise covariance of this one.

        Parameters
        ----------
        psf : array
            With the shape and the sampling of that of the observation.

        Raises
        ------
        ValueError
            If its shape is another one.
        """
        own = self._observation
        if own.psf is None or np.shape(psf) != own.psf.shape:
            shape = None if own.psf is None else own.psf.shape
            raise ValueError(
                f"psf must have the shape of that of the observation, {shape}; got {np.shape(psf)}"
            )
        observation = own.with_psf(
            psf, oversampling=own.psf_oversampling, includes_pixel=own.psf_includes_pixel
        )
        blur, lensing = blur_of(observation, self._factor), self._lensing
        if blur.pad != self._blur.pad:  # samples at the edge that are 0 are left out
            padded = own.grid.pad(blur.pad).refine(self._factor)
            lensing = self._make_lensing(self.lens, padded, self.source_grid)
        other = self._with_optics(lensing, blur)
        other._observation = observation
        return other

    def lensed_image(self, source):
        """
        Lens a source onto the fine grid, without PSF.

        Parameters
        ----------
        source : array or tensor, shape (..., ny, nx) of the source grid

        Returns
        -------
        array or tensor, shape (..., factor ny, factor nx)
            On `fine_grid`, in surface brightness (per observed pixel, like the data).
        """
        edge = self._blur.pad * self._factor
        ny, nx = self._lensing.out_shape
        return self._lensing.forward(source)[..., edge : ny - edge, edge : nx - edge]

    def _forward(self, x):
        return self._product._forward(x)

    def _adjoint(self, y):
        return self._product._adjoint(y)

    @cached_property
    def _product(self) -> LinearOperator:
        """D P L, as small operators as there can be."""
        return product_in_box(self._blur, self._lensing) or self._blur @ self._lensing

    def _with_optics(self, lensing, blur) -> ForwardModel:
        other = self._copy()
        other._lensing, other._blur = lensing, blur
        other.__dict__.pop("_product", None)
        return other

    def __getstate__(self) -> dict:
        # it can be made again
        return {name: value for name, value in self.__dict__.items() if name != "_product"}

    def __repr__(self) -> str:
        return f"<ForwardModel: source {self._in_shape} -> image {self._out_shape}, factor {self._factor}>"


def blur_of(observation: Observation, factor: int) -> BlurAndBin:
    """
    Return D P of an observation: the PSF, and the mean over factor x factor fine pixels.

    It is a function, and not a method of `~lenssuper.Observation`, because operators come after observations
    in the order of the package.
    """
    return BlurAndBin(
        observation.psf,
        factor,
        observation.shape,
        oversampling=observation.psf_oversampling,
        includes_pixel=observation.psf_includes_pixel,
    )


def same_optics(first: Observation, second: Observation) -> bool:
    """Check whether two observations have the same pixels and the same PSF."""
    if first.psf_oversampling != second.psf_oversampling or (first.psf is None) != (second.psf is None):
        return False
    if first.psf_includes_pixel != second.psf_includes_pixel or first.shape != second.shape:
        return False
    # images elsewhere on the sky have the same offsets only up to rounding
    one, other = (
        np.stack([axis[:: axis.shape[0] - 1] for axis in each.grid.vertices_arcsec()])
        for each in (first, second)
    )
    same_pixels = np.allclose(one, other, rtol=0, atol=_SAME * first.grid.side_arcsec)
    if first.psf is None or second.psf is None:
        return same_pixels and first.psf is None
    return same_pixels and np.array_equal(first.psf, second.psf)
