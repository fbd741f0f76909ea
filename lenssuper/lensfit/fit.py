"""What comes out of a fit of a lens: the lens, its errors, files and a picture."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, NDData

from lenssuper._files import atomic_write
from lenssuper.exceptions import FileFormatError
from lenssuper.grid import PixelGrid, check_count
from lenssuper.lens import LensModel
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.observation import Observation
from lenssuper.result import SuperResolution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lenssuper.superresolver import SuperResolver

__all__ = ["LensCovariance", "LensFit"]

_VERSION = 1


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
    """The observation, and on its pixels what the fit makes of it; the source on its own grid."""

    observation: Observation
    model: np.ndarray
    residuals: np.ndarray
    source: np.ndarray
    source_grid: PixelGrid
    foreground: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Numbers:
    """How well a fit fits."""

    log_evidence: float
    chi2: float
    n_pixels: int
    effective_modes: float
    converged: bool


class LensFit:
    """
    A lens fitted to an observation.

    Made by `LensFitter` or `read`.

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

    Notes
    -----
    The errors are those of the noise, with the source integrated out, times 1.2, which mocks with clumpy
    sources ask for. They do not know of a wrong PSF, light of the lens galaxy that is left, or a lens that is
    no such model.
    """

    def __init__(self, lens, names, vector_covariance, numbers, *, messages=(), images=None) -> None:
        self._lens = lens
        self._parameters = FreeParameters(lens, free=names)
        self._vector_covariance = np.array(vector_covariance, dtype=np.float64)
        self._vector_covariance.flags.writeable = False
        self._numbers = numbers
        self._messages = tuple(messages)
        self._images = images

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
        per logarithm of a radius), which cancels between kinds of lens that share them.
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
        return self.chi2 / (self.n_pixels - self.effective_modes - len(self.names))

    @property
    def converged(self) -> bool:
        """Whether the fit ended by itself."""
        return self._numbers.converged

    @property
    def messages(self) -> tuple[str, ...]:
        """What to know about this fit."""
        return self._messages

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
        from lenssuper.superresolver import SuperResolver

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
        lines = [
            f"chi2     {self.chi2:.6g} in {self.n_pixels} pixels, reduced {self.reduced_chi2:.3f}",
            f"modes    {self.effective_modes:.1f} of the source measured",
            f"evidence ln Z = {self.log_evidence:.2f}",
        ]
        errors = self.errors
        for name, value in self.lens.parameters.items():
            fitted = name in self.names
            number, unit = (value.value, f" {value.unit}") if isinstance(value, u.Quantity) else (value, "")
            error = errors[name].to_value(value.unit) if unit else errors[name]
            text = f"{number:.5g} ± {error:.2g}{unit}" if fitted else f"{number:.5g}{unit} (fixed)"
            lines.append(f"lens     {name:<22} {text}")
        lines += [f"note     {message}" for message in self.messages]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<LensFit: {self.lens!r}, reduced_chi2={self.reduced_chi2:.3f}>"

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw data, model, residuals and source.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            Where to draw; by default a new one of 12 x 10 inches.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from lenssuper.plotting.lensfit import plot_lens_fit

        return plot_lens_fit(self, figure=figure)

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the fit as JSON: a lens model, as `LensModel.read` reads it, with the fit's numbers beside it.

        Images are not written.

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
        content = self.lens.to_dict()
        content["fit"] = {
            "version": _VERSION,
            "names": list(self.names),
            "vector_covariance": self._vector_covariance.tolist(),
            "errors": {name: str(error) for name, error in self.errors.items() if name in self.names},
            **self._numbers.__dict__,
            "reduced_chi2": self.reduced_chi2,
            "messages": list(self.messages),
        }
        text = json.dumps(content, indent=2) + "\n"
        with atomic_write(path, overwrite=overwrite) as beside:
            beside.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike) -> LensFit:
        """
        Read a fit that `write` wrote; it has no images.

        Raises
        ------
        FileFormatError
            If the file is damaged or something else.
        """
        lens = LensModel.read(path)
        try:
            fit = json.loads(Path(path).read_text(encoding="utf-8"))["fit"]
            numbers = Numbers(**{name: fit[name] for name in Numbers.__dataclass_fields__})
            result = cls(lens, fit["names"], fit["vector_covariance"], numbers, messages=fit["messages"])
            if result._vector_covariance.shape != (len(result.names),) * 2:
                raise ValueError("the covariance is not of the parameters")
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} holds a lens, but no fit of one: {error}") from error
        return result
