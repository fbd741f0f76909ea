"""The result of a fit of a lens: the lens, its errors, images, a file and a figure."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, NDData

from lenssuper._utils.checks import check_count, check_kind, check_rng
from lenssuper._utils.text import as_text
from lenssuper._utils.units import arcsec
from lenssuper.forward.judgement import Judged, Verdict
from lenssuper.lens import LensModel
from lenssuper.lensfit.file import read_fields, write_fit
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.text import parameter_rows, rows
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.plotting.notebook import Pictured
from lenssuper.superres.result import SuperResolution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lenssuper.superres.superresolver import SuperResolver

__all__ = ["FitImages", "LensCovariance", "LensFit"]


@dataclass(frozen=True, eq=False)
class LensCovariance:
    """
    The covariance of fitted parameters.

    Attributes
    ----------
    names : tuple of str
        The fitted parameters, as in ``lens.parameters``.
    matrix : ndarray, shape (n, n)
        In arcsec, radian and 1.
    """

    names: tuple[str, ...]
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class FitImages:
    """Images of a fit to one observation."""

    observation: Observation  # the data, with the pixels moved by the fitted offset
    model: np.ndarray  # (ny, nx), source and foreground as observed
    residuals: np.ndarray  # (ny, nx), (data - model) / sigma
    source: np.ndarray
    source_grid: PixelGrid
    foreground: np.ndarray  # (ny, nx)
    light_errors: np.ndarray | None = None  # (n, ny, nx), of the foreground


def _no_offset():
    return arcsec(np.zeros((1, 2)))


@dataclass(frozen=True, eq=False, repr=False)
class LensFit(Judged, Pictured):
    """
    A lens fitted to an observation, or to several.

    Made by `LensFitter` or `read`. Of a fit to several observations, images are those of its `parts`.

    Attributes
    ----------
    lens : LensModel
        The most probable lens.
    names : tuple of str
        The parameters that were fitted.
    vector_covariance : ndarray, shape (n, n), read-only
        Covariance of the numbers that are fitted: components of ellipticity in place of axis ratio and angle,
        logarithms of radii.
    log_evidence : float
        Natural logarithm of the evidence of the kind of lens, its parameters and the source integrated out.
    chi2 : float
        Sum of ((data - model) / sigma)^2 over the pixels that are used.
    n_pixels : int
        Number of pixels that are used.
    effective_modes : float
        Number of modes of the source that the data measure.
    converged : bool
        Whether the fit reached its optimum.
    messages : tuple of str
        Remarks on this fit.
    images : FitImages or None
        Data, model, residuals and source; None for several observations, and for a fit from a file.
    of_each : tuple of LensFit
        The fit as it is for each of several observations, see `parts`.
    offsets : `~astropy.units.Quantity`, shape (n, 2), read-only
        Shift (x, y) of each observation that aligns it with the first.
    offset_errors : `~astropy.units.Quantity`, shape (n, 2), read-only
        Standard deviations of `offsets`; 0 for the first, and for offsets that were given.
    judgement : Verdict or None
        Whether the lens is to be trusted; None if it was not judged, as in files of earlier versions. See
        `verdict`, `reasons` and `measures`.
    optima : tuple of (LensModel, float)
        Lenses that the search found to be local optima, with their logarithms of the evidence, the fitted one
        first; empty if they are not known.

    Notes
    -----
    The errors are those of the noise, with the source integrated out, times 1.2, as mocks with clumpy sources
    require. They do not include the effects of a wrong PSF, of residual light of the lens galaxy, or of a
    lens that is not of the fitted kind.

    The evidence compares kinds of lens on the same data: a parameter that does not help costs the ratio of
    its prior's width to its error. Parameters without a prior count with a flat one of density 1 (per arcsec,
    per logarithm of a radius), which cancels between kinds of lens that share them. For one of `parts` it is
    that of the data, given the most probable lens and offsets.
    """

    lens: LensModel
    names: tuple[str, ...]
    vector_covariance: np.ndarray
    log_evidence: float
    chi2: float
    n_pixels: int
    effective_modes: float
    converged: bool
    messages: tuple[str, ...] = ()
    images: FitImages | None = None
    of_each: tuple[LensFit, ...] = ()
    offsets: u.Quantity = field(default_factory=_no_offset)
    offset_errors: u.Quantity = field(default_factory=_no_offset)
    judgement: Verdict | None = None
    optima: tuple[tuple[LensModel, float], ...] = ()

    def __post_init__(self) -> None:
        for values in (self.vector_covariance, self.offsets, self.offset_errors):
            values.flags.writeable = False

    @cached_property
    def _parameters(self):
        return FreeParameters(self.lens, free=self.names)

    @property
    def vector(self) -> np.ndarray:
        """The numbers that are fitted, of which `vector_covariance` is the covariance."""
        return self._parameters.start.copy()

    @property
    def covariance(self) -> LensCovariance:
        """Covariance of the fitted parameters, in arcsec, radian and 1."""
        matrix = self._parameters.covariance(self._parameters.start, self.vector_covariance)
        return LensCovariance(self.names, matrix)

    @property
    def errors(self) -> Mapping[str, u.Quantity | float]:
        """Standard deviation of each parameter, by the names of ``lens.parameters``; 0 for fixed ones."""
        sigmas = dict(zip(self.names, np.sqrt(np.diag(self.covariance.matrix)), strict=True))
        public = {name: self._parameters.public(name, sigmas.get(name, 0.0)) for name in self.lens.parameters}
        return MappingProxyType(public)

    @property
    def reduced_chi2(self) -> float:
        """`chi2` over (`n_pixels` less `effective_modes` and the number of fitted parameters), or NaN."""
        n_fitted = len(self.names) + np.count_nonzero(self.offset_errors)
        freedom = self.n_pixels - self.effective_modes - n_fitted
        return self.chi2 / freedom if freedom > 0 else math.nan

    @property
    def parts(self) -> tuple[LensFit, ...]:
        """
        The fit as it is for each observation: its chi-square, model, residuals, source and figure.

        Lens and errors are those of all. The pixels of each `observation` are where its offset moves them.
        ``effective_modes`` of a source that several observations share is divided among them in proportion
        to their pixels.
        """
        return self.of_each or (self,)

    # Images

    @property
    def observation(self) -> Observation:
        """The observation; a fit from a file has no images."""
        return self._need_images().observation

    @property
    def model(self) -> CCDData:
        """The most probable source as observed, and the foreground where it was fitted."""
        return self._pack(self._need_images().model)

    @property
    def foreground(self) -> CCDData:
        """The light in front and the sky, as fitted; zero where ``foreground`` was not given."""
        return self._pack(self._need_images().foreground)

    @property
    def light_errors(self) -> np.ndarray | None:
        """
        Images (n, ny, nx) by which `foreground` may be wrong, one error bar of 68% each; None without one.

        They are the leading errors, with the source integrated out. The first gives light of the galaxy to a
        halo of the source or takes it from there. They are 1.8 and 1.55 times as large as the posterior has
        them, as simulated lenses of bright galaxies require, and larger errors are as frequent as in
        Student's distribution of three degrees of freedom. Where light and lens were fitted in turn, 0.3 of
        the difference between the galaxy with the arcs and that beside them is added in quadrature.
        """
        errors = self._need_images().light_errors
        return None if errors is None else errors.copy()

    @property
    def subtracted(self) -> Observation:
        """
        The observation without `foreground`, ready for `~lenssuper.SuperResolver`.

        What is not known of the foreground is in ``Observation.light_errors``.
        """
        images = self._need_images()
        return images.observation.without(images.foreground, errors=images.light_errors)

    def _pack(self, image):
        observation = self._need_images().observation
        return CCDData(
            image.copy(), unit=observation.unit, mask=observation.mask.copy(), wcs=observation.grid.wcs
        )

    @property
    def residuals(self) -> np.ndarray:
        """(data - model) / sigma of the observed pixels; NaN where a pixel is not used."""
        return self._need_images().residuals.copy()

    @property
    def source(self) -> CCDData:
        """The most probable source, surface brightness in the unit of the data per observed pixel."""
        images = self._need_images()
        return CCDData(images.source.copy(), unit=images.observation.unit, wcs=images.source_grid.wcs)

    @property
    def source_grid(self) -> PixelGrid:
        """Pixels of `source`."""
        return self._need_images().source_grid

    def _need_images(self):
        if self.of_each:
            raise ValueError(
                f"this fit is of {len(self.of_each)} observations: there are images of each, "
                "fit.parts[0] and so on"
            )
        if self.images is None:
            raise ValueError("this fit was read from a file, which holds no images: fit again for them")
        return self.images

    # Draws of the lens, and their effect on a super-resolution

    def samples(self, n: int, rng: np.random.Generator | int | None = None) -> list[LensModel]:
        """
        Draw lenses from the fit's errors.

        Parameters
        ----------
        n : int
            Number of lenses.
        rng : `~numpy.random.Generator` or int, optional

        Returns
        -------
        list of LensModel
        """
        n = check_count(n, "n", 1)
        start = self._parameters.start
        draws = check_rng(rng).multivariate_normal(start, self.vector_covariance, n)
        return [self._parameters.lens(self._parameters.inside(draw)) for draw in draws]

    def principal_lenses(self) -> list[tuple[LensModel, LensModel]]:
        """
        Return lenses one standard deviation away, in pairs to either side.

        They are along the principal axes of `vector_covariance`, so that errors of different pairs are not
        correlated.
        """
        values, axes = np.linalg.eigh(self.vector_covariance)
        start = self._parameters.start
        steps = (axes * np.sqrt(np.maximum(values, 0.0))).T
        return [
            tuple(self._parameters.lens(self._parameters.inside(start + sign * step)) for sign in (1, -1))
            for step in steps
        ]

    def propagate(
        self,
        observation: NDData | Observation,
        resolver: SuperResolver | None = None,
        *,
        n: int = 8,
        rng: np.random.Generator | int | None = None,
    ) -> SuperResolution:
        """
        Super-resolve with the fitted lens, with the error of the lens in the uncertainties.

        Parameters
        ----------
        observation : `~astropy.nddata.NDData` or Observation
            The image to super-resolve.
        resolver : SuperResolver, optional
            Gives the settings, but not the lens; by default ``SuperResolver(fit.lens)``.
        n : int, optional
            Number of lenses drawn, at least 2; the relative error of the uncertainties is about
            1 / sqrt(2 n).
        rng : `~numpy.random.Generator` or int, optional

        Returns
        -------
        SuperResolution
            That of the most probable lens; the scatter of the images and sources of the lenses drawn is added
            to the variances. Its verdict is not better than that of the fit.
        """
        from lenssuper.superres.superresolver import SuperResolver

        n = check_count(n, "n", 2)
        resolver = SuperResolver(self.lens) if resolver is None else resolver
        settings = copy.copy(check_kind(resolver, "resolver", SuperResolver))
        settings.lens, observation = self.lens, Observation.of(observation)
        best = settings(observation)
        settings.source_grid, settings.progress = best.source_grid, False
        images, sources = [], []
        for lens in self.samples(n, rng):
            settings.lens = lens
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the most probable lens has given them already
                drawn = settings(observation)
            images.append(drawn.lensed_image)
            sources.append(drawn.posterior.mean)
        lensed_std = np.sqrt(best.lensed_std**2 + np.var(images, axis=0, ddof=1))
        std = np.sqrt(best.posterior.std**2 + np.var(sources, axis=0, ddof=1))
        message = f"the uncertainties of image and source include the error of the lens, from {n} draws"
        return replace(
            best,
            lensed_std=lensed_std,
            posterior=replace(best.posterior, std=std),
            messages=(*best.messages, message),
        ).judged_with(self.judgement)

    # Text, file and figure

    def summary(self) -> str:
        """Return a few lines of text on the lens, its errors and how well it fits."""
        return as_text([*rows(self), *self.verdict_rows()])

    def __repr__(self) -> str:
        return f"<LensFit: {self.lens!r}, reduced_chi2={self.reduced_chi2:.3f}>"

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw data, model, residuals and source, of several observations in a row each.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            Where to draw; by default a new one of 12 x 10 inches, for n observations of 24 x 5 n.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from lenssuper.lensfit.figure import plot_lens_fit

        return plot_lens_fit(self.parts, figure)

    def section(self):
        """Return the part of a page on this fit, a `~lenssuper.plotting.pages.Section`."""
        from lenssuper.plotting.pages import Section

        return Section(
            self.plot(),
            "Data with critical curves, model, residuals, and source with caustics",
            [(name, text) for name, text in rows(self) if name not in ("lens", "note")],
            heading="Fit of the lens",
            parameters=parameter_rows(self),
            messages=self.messages,
            judgement=self.judgement,
        )

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the fit as JSON: a lens model, as `LensModel.read` reads it, with the fit's numbers beside it.

        For several observations, offsets and the numbers of each are written as well. Images are not written.

        Parameters
        ----------
        path : str or path-like
            Name of the file.
        overwrite : bool, optional
            Whether a file of that name may be replaced.

        Raises
        ------
        FileExistsError
            If the file is there and ``overwrite`` is not set.
        """
        write_fit(self, path, overwrite=overwrite)

    @classmethod
    def read(cls, path: str | os.PathLike) -> LensFit:
        """
        Read a fit that `write` wrote; it has no images.

        Raises
        ------
        FileFormatError
            If the file is damaged or something else.
        """
        whole, parts = read_fields(path)
        return cls(**whole, of_each=tuple(cls(**part) for part in parts))
