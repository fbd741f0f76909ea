"""What comes out of a fit of a lens: the lens, its errors, files and a picture."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, NDData

from lenssuper._utils.checks import check_count
from lenssuper._utils.units import arcsec
from lenssuper.lens import LensModel
from lenssuper.lensfit.contents import LensCovariance, Offsets
from lenssuper.lensfit.fitfile import read_fit, write_fit
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.words import summary
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.superres.result import SuperResolution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lenssuper.superres.superresolver import SuperResolver

__all__ = ["LensFit"]


class LensFit:
    """
    A lens fitted to an observation, or to several.

    Made by `LensFitter` or `read`. Of a fit to several observations, images are those of its `parts`.

    Parameters
    ----------
    lens : LensModel
        At its best.
    names : sequence of str
        The parameters that were fitted.
    vector_covariance : ndarray, shape (n, n)
        Covariance of what the fit moves: ellipticity components for axis ratio and angle, logarithms of
        radii.
    numbers : Numbers
        How well it fits.
    messages : sequence of str, optional
        What to know about the fit.
    images : FitImages, optional
        Data, model, residuals and source.
    parts : sequence of LensFit, optional
        What it is for each of several observations.
    offsets : Offsets, optional
        By how much each of these has to be moved.

    Notes
    -----
    The errors are those of the noise, with the source integrated out, times 1.2, which mocks with clumpy
    sources ask for. They do not know of a wrong PSF, light of the lens galaxy that is left, or a lens that is
    no such model.
    """

    def __init__(
        self,
        lens,
        names,
        vector_covariance,
        numbers,
        *,
        messages=(),
        images=None,
        parts=(),
        offsets=None,
    ) -> None:
        self._lens = lens
        self._parameters = FreeParameters(lens, free=names)
        self._vector_covariance = np.array(vector_covariance, dtype=np.float64)
        self._vector_covariance.flags.writeable = False
        self._numbers = numbers
        self._messages = tuple(messages)
        self._images = images
        self._parts = tuple(parts)
        self._offsets = Offsets.none() if offsets is None else offsets

    @property
    def lens(self) -> LensModel:
        """The lens at its best."""
        return self._lens

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that were fitted."""
        return self._parameters.names

    @property
    def covariance(self) -> LensCovariance:
        """Covariance of the fitted parameters, in arcsec, radian and 1."""
        matrix = self._parameters.covariance(self._parameters.start, self._vector_covariance)
        return LensCovariance(self.names, matrix)

    @property
    def errors(self) -> Mapping[str, u.Quantity | float]:
        """Standard deviation of each parameter, by the names of ``lens.parameters``; 0 of what was fixed."""
        sigmas = dict(zip(self.names, np.sqrt(np.diag(self.covariance.matrix)), strict=True))
        public = {name: self._parameters.public(name, sigmas.get(name, 0.0)) for name in self.lens.parameters}
        return MappingProxyType(public)

    @property
    def log_evidence(self) -> float:
        """
        Natural logarithm of the evidence of the kind of lens, its parameters and the source integrated out.

        For comparing kinds of lens on the same data: a parameter that does not help costs the ratio of its
        prior's width to its error. Parameters without a prior count with a flat one of density 1 (per arcsec,
        per logarithm of a radius), which cancels between kinds of lens that share them. Of one of `parts` it
        is that of the data, given lens and offsets at their best.
        """
        return self._numbers.log_evidence

    @property
    def chi2(self) -> float:
        """Sum of ((data - model) / sigma)^2 over the pixels that are used."""
        return self._numbers.chi2

    @property
    def n_pixels(self) -> int:
        """Number of pixels that are used."""
        return self._numbers.n_pixels

    @property
    def effective_modes(self) -> float:
        """Number of modes of the source that the data measure."""
        return self._numbers.effective_modes

    @property
    def reduced_chi2(self) -> float:
        """`chi2` over (`n_pixels` less `effective_modes` and the number of fitted parameters)."""
        n_fitted = len(self.names) + np.count_nonzero(self._offsets.errors)
        return self.chi2 / (self.n_pixels - self.effective_modes - n_fitted)

    @property
    def converged(self) -> bool:
        """Whether the fit ended by itself."""
        return self._numbers.converged

    @property
    def messages(self) -> tuple[str, ...]:
        """What to know about this fit."""
        return self._messages

    # Observations

    @property
    def parts(self) -> tuple[LensFit, ...]:
        """
        The fit as it is for each observation: its chi-square, model, residuals, source and picture.

        Lens and errors are those of all. The pixels of each `observation` are where its offset moves them.
        ``effective_modes`` of a source that several observations share are divided among them in proportion
        to their pixels.
        """
        return self._parts or (self,)

    @property
    def offsets(self) -> u.Quantity:
        """By how much each observation (x, y) has to be moved to lie where the first is, shape (n, 2)."""
        return arcsec(self._offsets.values.copy())

    @property
    def offset_errors(self) -> u.Quantity:
        """Standard deviations of `offsets`; 0 for the first, and for offsets that were given."""
        return arcsec(self._offsets.errors.copy())

    # Images

    @property
    def observation(self) -> Observation:
        """What was fitted; of a fit from a file there are no images."""
        return self._need_images().observation

    @property
    def model(self) -> CCDData:
        """The source at its best as it would be observed, and the foreground where it was fitted."""
        return self._pack(self._need_images().model)

    @property
    def foreground(self) -> CCDData:
        """The light in front and the sky, as fitted; zero where ``foreground`` was not given."""
        return self._pack(self._foreground())

    @property
    def subtracted(self) -> CCDData:
        """The observation without `foreground`, with its uncertainty and PSF: what to super-resolve."""
        images = self._need_images()
        nddata = images.observation.to_nddata()
        nddata.data = nddata.data - self._foreground()
        return nddata

    def _foreground(self):
        images = self._need_images()
        return np.zeros_like(images.model) if images.foreground is None else images.foreground

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
        """The source at its best, surface brightness in the unit of the data per observed pixel."""
        images = self._need_images()
        return CCDData(images.source.copy(), unit=images.observation.unit, wcs=images.source_grid.wcs)

    @property
    def source_grid(self) -> PixelGrid:
        """Pixels of `source`."""
        return self._need_images().source_grid

    def _need_images(self):
        if self._parts:
            raise ValueError(
                f"this fit is of {len(self._parts)} observations: there are images of each, fit.parts[0] and "
                "so on"
            )
        if self._images is None:
            raise ValueError("this fit was read from a file, which holds no images: fit again for them")
        return self._images

    # What follows from it

    def samples(self, n: int, rng: np.random.Generator | int | None = None) -> list[LensModel]:
        """
        Draw lenses from the fit's errors.

        Parameters
        ----------
        n : int
            How many.
        rng : `~numpy.random.Generator` or int, optional

        Returns
        -------
        list of LensModel
        """
        n = check_count(n, "n", 1)
        start = self._parameters.start
        draws = np.random.default_rng(rng).multivariate_normal(start, self._vector_covariance, n)
        return [self._parameters.lens(self._parameters.inside(draw)) for draw in draws]

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
            What to super-resolve.
        resolver : SuperResolver, optional
            Its settings are used, with this fit's lens in place of its own; by default
            ``SuperResolver(fit.lens)``.
        n : int, optional
            Lenses drawn, at least 2; the error of the uncertainty is about 1 / sqrt(2 n) of it.
        rng : `~numpy.random.Generator` or int, optional

        Returns
        -------
        SuperResolution
            That of the best lens; to the variances of its image and source is added that of the images and
            sources of the lenses drawn.
        """
        from lenssuper.superres.superresolver import SuperResolver

        n = check_count(n, "n", 2)
        if resolver is None:
            resolver = SuperResolver(self.lens)
        elif not isinstance(resolver, SuperResolver):
            raise TypeError(f"resolver must be a SuperResolver; got {resolver!r:.80}")
        settings = copy.copy(resolver)
        settings.lens = self.lens
        best = settings(observation)
        settings.source_grid, settings.progress = best.source_grid, False
        images, sources = [], []
        for lens in self.samples(n, rng):
            settings.lens = lens
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what there is to say was said of the best lens
                drawn = settings(observation)
            images.append(drawn.image.data)
            sources.append(drawn.posterior.mean)
        contents = best._contents
        image_std = np.sqrt(contents.image_std**2 + np.var(images, axis=0, ddof=1))
        std = np.sqrt(best.posterior.std**2 + np.var(sources, axis=0, ddof=1))
        message = f"the uncertainties of image and source include the error of the lens, from {n} draws"
        return SuperResolution(
            replace(
                contents,
                image_std=image_std,
                posterior=replace(best.posterior, std=std),
                messages=(*contents.messages, message),
            )
        )

    # Words, files, pictures

    def summary(self) -> str:
        """Tell in a few lines what was found and how well it fits."""
        return summary(self)

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

        return plot_lens_fit(self, figure=figure)

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the fit as JSON: a lens model, as `LensModel.read` reads it, with the fit's numbers beside it.

        Of a fit to several observations these are the offsets and the numbers of each, too. Images are not
        written.

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
        return read_fit(path, cls)
