"""The result of a super-resolution: images, their uncertainties and quality, a file and a figure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper._utils.text import as_text
from lenssuper._utils.warn import warn
from lenssuper.forward.judgement import Judged, Verdict
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.plotting.notebook import Pictured
from lenssuper.solvers import Posterior
from lenssuper.superres.doubts import doubts_about
from lenssuper.superres.drawnerrors import DrawnErrors, budget_message
from lenssuper.superres.exports import to_lenstronomy, write_coolest
from lenssuper.superres.judgement import judge_budget, judge_result
from lenssuper.superres.measured import Measured
from lenssuper.superres.objects import object_measures
from lenssuper.superres.quality import Quality
from lenssuper.superres.resultfile import read_fields, write_result
from lenssuper.superres.summary import summary_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lenssuper.operators import OverlapOperator
    from lenssuper.superres.budget import ErrorBudget

__all__ = ["SuperResolution"]


@dataclass(frozen=True, eq=False, repr=False)
class SuperResolution(Quality, Measured, Judged, Pictured):
    """
    A super-resolved lens: the image and the source behind it, with their uncertainties.

    Made by `SuperResolver`, `from_posterior` or `read`. All images are surface brightness in the unit of the
    data per *observed* pixel, whatever their own pixels, so that data, image and source share one colour bar.
    The flux of a part of the image is its sum over `factor` squared.

    Attributes
    ----------
    observation : Observation
        The data.
    lens : LensModel
        The lens model.
    factor : int
        Number of pixels of the image along the side of an observed one.
    source_grid : PixelGrid
        Pixels of `source`, in the source plane.
    posterior : Posterior
        What the solver found.
    lensed_image, lensed_std : ndarray, shape (factor ny, factor nx), read-only
        `image` and its standard deviation as arrays; NaN where that is not known.
    model_image : ndarray, shape (ny, nx), read-only
        `model` as an array.
    residuals : ndarray, shape (ny, nx), read-only
        (data - model) / sigma of the observed pixels; NaN where a pixel is not used.
    coverage : ndarray, shape of the source grid, read-only
        Number of images of every source pixel.
    magnification : ndarray, shape of the source grid, read-only
        Total magnification of every source pixel, the mean over it.
    solver : str
        Name of the solver.
    messages : tuple of str
        Remarks on this result, e.g. the warnings that came up.
    meta : mapping
        What was kept with the result on request.
    judgement : Verdict or None
        Whether the result is to be trusted, see `verdict`; None if it was not judged, as in files of earlier
        versions.
    order : int
        Order of the B-splines that the source consists of, see `~lenssuper.OverlapOperator`: with 1 the
        source is the brightness at the centres of its pixels, with 0 the average over them.
    budget : ErrorBudget or None
        What the errors consist of, if `SuperResolver` was given ``systematics``; it is not written to files,
        but the errors and draws over all of it are.
    drawn_errors : DrawnErrors or None
        What the errors of the budget are in each draw.

    Notes
    -----
    Chi-square adds up `residuals` squared over the pixels that are used. Its expected value is their number
    less the number of modes of the source that the data measure (MacKay 1992, Neural Computation 4, 415,
    section 4.4; Suyu et al. 2006, MNRAS 371, 983, eq. 21), which makes `reduced_chi2` one.

    A map of standard deviations shows what the data and the prior leave open within the model, not the errors
    of a wrong lens or PSF. Read it beside `coverage` and `resolution`.
    """

    observation: Observation
    lens: LensModel
    factor: int
    source_grid: PixelGrid
    posterior: Posterior
    lensed_image: np.ndarray
    lensed_std: np.ndarray
    model_image: np.ndarray
    residuals: np.ndarray
    coverage: np.ndarray
    magnification: np.ndarray
    solver: str = ""
    messages: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    judgement: Verdict | None = None
    order: int = 0
    budget: ErrorBudget | None = None
    drawn_errors: DrawnErrors | None = None

    def __post_init__(self) -> None:
        for name in ("lensed_image", "lensed_std", "model_image", "residuals", "coverage", "magnification"):
            getattr(self, name).flags.writeable = False

    @classmethod
    def from_posterior(
        cls,
        model: ForwardModel,
        posterior: Posterior,
        *,
        solver: str = "",
        messages: Iterable[str] = (),
        meta: Mapping[str, Any] | None = None,
        measures: Mapping[str, float] | None = None,
    ) -> SuperResolution:
        """
        Compute the images and their quality from what a solver found.

        Parameters
        ----------
        model : ForwardModel
            The model that was solved.
        posterior : Posterior
            Returned by `Solver.solve` for it.
        solver : str, optional
            Name of the solver.
        messages : iterable of str, optional
            Remarks on this result, e.g. the warnings that came up.
        meta : mapping, optional
            Anything that JSON can hold, to be kept with the result.
        measures : mapping of str to float, optional
            Measures for the verdict that do not follow from the images of the result.

        Returns
        -------
        SuperResolution

        Raises
        ------
        TypeError
            If ``meta`` holds what JSON cannot.
        ValueError
            If the posterior is not on the source grid of the model.

        Warns
        -----
        LensSuperWarning
            If no source explains some pixels, or there are as many effective modes as pixels.
        """
        mean, draws = np.asarray(posterior.mean), np.asarray(posterior.draws)
        if mean.shape != model.in_shape or draws.shape[1:] != model.in_shape:
            raise ValueError(
                f"posterior must be on the source grid, {model.in_shape}; "
                f"got a mean of shape {mean.shape} and draws of shape {draws.shape}"
            )
        meta = dict(meta or {})
        try:
            json.dumps(meta)
        except (TypeError, ValueError) as error:
            raise TypeError(f"meta must hold numbers, strings, lists and mappings only: {error}") from None
        image = model.lensed_image(mean)
        std = model.lensed_image(draws).std(axis=0, ddof=1) if len(draws) > 1 else np.full_like(image, np.nan)
        modelled, lensing = model.forward(mean), cast("OverlapOperator", model.lensing)
        residuals = np.where(model.weights > 0, model.over_sigma(model.data - modelled), np.nan)
        doubts = doubts_about(residuals, posterior.effective_modes)
        for doubt in doubts:
            warn(doubt)
        result = cls(
            observation=model.observation,
            lens=model.lens,
            factor=model.factor,
            source_grid=model.source_grid,
            posterior=posterior,
            lensed_image=image,
            lensed_std=std,
            model_image=modelled,
            residuals=residuals,
            coverage=lensing.coverage,
            magnification=lensing.magnification,
            solver=solver,
            messages=(*messages, *doubts),
            meta=meta,
            order=model.order,
        )
        measures = object_measures(model, mean, modelled) | dict(measures or {})
        return replace(result, judgement=judge_result(result, measures))

    def judged_with(self, judgement: Verdict | None, name: str = "lens fit") -> SuperResolution:
        """Return the result with the worse of its own verdict and that on the ``name`` it depends on."""
        own = judgement if self.judgement is None else self.judgement.joined(judgement, name)
        return replace(self, judgement=own)

    def with_budget(self, budget: ErrorBudget) -> SuperResolution:
        """Return the result with the errors of a budget, those of the source among them, and its draws."""
        std, draws = budget.std(plane="source"), budget.source_draws
        posterior = replace(self.posterior, std=std, draws=draws, _draw=None, _refit=None, _by_noise=None)
        wider = replace(
            self,
            posterior=posterior,
            lensed_std=budget.std(),
            messages=(*self.messages, budget_message(budget.parts)),
            budget=budget,
            drawn_errors=DrawnErrors.of(budget),
        )
        return wider.judged_with(judge_budget(budget), "budget")

    # Images

    @property
    def image(self) -> CCDData:
        """
        The lensed image on `fine_grid`, without the PSF.

        With its standard deviation over the posterior's draws lensed, and a WCS. Errors of neighbouring
        pixels are correlated: for anything summed over pixels take `image_samples`.
        """
        return self._pack(self.lensed_image, self.lensed_std, self.fine_grid)

    @property
    def source(self) -> CCDData:
        """
        The source on `source_grid`, with its standard deviation and a WCS.

        The world coordinates are those of the source plane: where on the sky the source would be seen if the
        lens did not deflect its light. Without a sky they are offsets in arcsec.
        """
        return self._pack(self.posterior.mean, self.posterior.std, self.source_grid)

    @property
    def model(self) -> CCDData:
        """The source as it would be observed: lensed, blurred and averaged over the observed pixels."""
        image = self._pack(self.model_image, None, self.observation.grid)
        image.mask = self.observation.mask.copy()
        return image

    def _pack(self, values, std, grid):
        known = std is not None and not np.isnan(std).all()
        return CCDData(
            np.array(values),
            unit=self.observation.unit,
            uncertainty=StdDevUncertainty(np.array(std)) if known else None,
            wcs=grid.wcs,
        )

    @property
    def fine_grid(self) -> PixelGrid:
        """Pixels of `image`: the observed ones, each divided in factor x factor."""
        return self.observation.grid.refine(self.factor)

    # Words, files, pictures

    def summary(self) -> str:
        """Describe the result and its quality in a few lines."""
        return as_text([*summary_rows(self), *self.verdict_rows()])

    def __repr__(self) -> str:
        quality = f"chi2={self.chi2:.6g} in {self.n_pixels} pixels"
        if not np.isnan(self.reduced_chi2):
            quality = f"reduced_chi2={self.reduced_chi2:.3f}"
        solver = f", solver={self.solver!r}" if self.solver else ""
        return (
            f"<SuperResolution: image {self.fine_grid.shape}, source {self.source_grid.shape}, "
            f"factor {self.factor}, {quality}{solver}>"
        )

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the result as one FITS file that `read` gives back.

        The extensions are IMAGE, IMAGE_ERR, MODEL, RESIDUAL, SOURCE, SOURCE_ERR, COVERAGE, MAGNIF and
        RESOLUTN, each with its WCS, DRAWS, over an error budget NOISEERR, IMDRAWS, CHANGES and SHARES, the
        observation as DATA, UNCERT, MASK and PSFIMAGE, and the table INFO with the lens and the rest as JSON.
        All numbers are float64 but for IMDRAWS. The file is complete under its name or not there, however the
        writing ends.

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
        cards = {
            "CHI2": (self.chi2, "chi-square"),
            "NPIX": (self.n_pixels, "observed pixels used"),
            "REDCHI2": (self.reduced_chi2, "chi-square over (NPIX - MODES)"),
            "MODES": (self.effective_modes, "modes of the source measured"),
            "LOGEVID": (self.log_evidence, "natural logarithm of the evidence"),
            "HELDOUT": (self.held_out_chi2, "chi-square per pixel left out of the fit"),
        }
        write_result(self, cards, path, overwrite)

    @classmethod
    def read(cls, path: str | os.PathLike) -> SuperResolution:
        """
        Read a result written by `write`.

        Parameters
        ----------
        path : str or path-like
            Name of the file.

        Returns
        -------
        SuperResolution
            The same in all its numbers; fresh draws of its posterior cannot be made.

        Raises
        ------
        FileFormatError
            If the file is truncated, corrupt or something else.
        """
        return cls(**read_fields(path))

    def to_lenstronomy(self) -> dict[str, Any]:
        """
        Return lens and source for lenstronomy, the source as an interpolated image (INTERPOL).

        They are ``lens_model_list``, ``kwargs_lens``, ``source_light_model_list`` and ``kwargs_source``, in
        this package's x and y.
        """
        return to_lenstronomy(self)

    def write_coolest(
        self,
        path: str | os.PathLike,
        *,
        z_lens: float | None = None,
        z_source: float | None = None,
        overwrite: bool = False,
    ) -> None:
        """
        Write lens and source as a COOLEST template, the source as a PixelatedRegularGrid.

        Its pixels are in a FITS file beside the template: ``lens_source.fits`` of ``lens.json``. The
        observation is not in it: the library loads it with ``check_external_files=False``. A FileExistsError
        says if one of the files is there and ``overwrite`` is not set.
        """
        write_coolest(self, path, z_lens=z_lens, z_source=z_source, overwrite=overwrite)

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw data, model, residuals, image, source and the source's uncertainty.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            Where to draw; by default a new one of 14 x 8 inches, which ``savefig`` writes.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from lenssuper.superres.figure import plot_result

        return plot_result(self, figure=figure)

    def view(self, path: str | os.PathLike | None = None, *, overwrite: bool = False) -> Path:
        """
        Write a page to explore the result in a browser; without ``path`` the browser opens it.

        The image fades from the data over their interpolation to the super-resolved one, data and model
        blink, and a position in one plane is shown in the other. The path of the page is returned.
        """
        from lenssuper.superres.viewer import view

        return view(self, path, overwrite)

    def section(self):
        """Return the part of a page on this result, a `~lenssuper.plotting.pages.Section`."""
        from lenssuper.superres.section import section_of

        return section_of(self)

    def thumbnail(self, size: int = 120) -> bytes:
        """
        Return data, super-resolved image and source as a PNG of three squares of ``size`` pixels.

        All three have one colour scale; masked pixels are grey.
        """
        from lenssuper.plotting.pages import thumbnail

        observation = self.observation
        data = np.where(observation.mask, np.nan, observation.data)
        sigma = float(np.median(observation.sigma[~observation.mask]))
        return thumbnail([data, self.image.data, self.source.data], sigma, size)
