"""The light of a lens galaxy: fitted beside the arcs of the source, and subtracted."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, NDData

from lenssuper._utils.checks import check_count, check_kind, check_length, check_number
from lenssuper._utils.progress import quietly, share_bar
from lenssuper._utils.threads import one_blas_thread
from lenssuper._utils.units import to_arcsec
from lenssuper.exceptions import ObservationError
from lenssuper.forward.model import ForwardModel
from lenssuper.lens import LensModel
from lenssuper.light.foreground.fit import ForegroundFit
from lenssuper.light.foreground.galaxy import Galaxy
from lenssuper.light.foreground.judgement import judge_foreground
from lenssuper.light.foreground.modelerror import misfit_with_error
from lenssuper.light.sersic.grow import bic_falls, grow
from lenssuper.light.sersic.lensed import lensed_guesses
from lenssuper.observation import Observation

__all__ = ["ForegroundFitter", "subtract_foreground"]

# The most components of a galaxy whose number is open.
_MOST = 3
# Rounds of fitting the galaxy and finding arcs; they end when fewer than this share of the pixels change.
_ROUNDS, _SETTLED = 5, 0.03
# Steps of a fit between searches for arcs, and of the last fit
_SOME, _MANY = 15, 60
# Chi-square per pixel without arcs, and share of the pixels taken for arcs where there may be some, above
# which the galaxy is also fitted with a share of its light added to the noise, and this share (tuned on
# COSJ100028 in the band F160W, where 0.05 to 0.1 do, and on galaxies with a bulge and a wrong PSF, which have
# 0.81 or more of their pixels taken, and with a right one 0.72 or less)
_POOR, _TAKEN, _MODEL_ERROR = 1.3, 0.75, 0.07


class ForegroundFitter:
    """
    Fits a lens galaxy beside the arcs of the source, and subtracts its light.

    Parameters
    ----------
    n_components : int or None, optional
        Number of Sersic profiles of the galaxy, each with its own centre and angle; None for one to three,
        chosen by the Bayesian information criterion.
    lens : LensModel, optional
        If given, the galaxy is fitted jointly with a source behind this lens, so that the arcs need not be
        masked.
    n_source : int, optional
        Number of Sersic profiles of the source behind ``lens``.
    arcs : "mask", ndarray of bool, Quantity or None, optional
        Pixels that are masked in the fit: those found to be brighter than the galaxy; the True pixels of an
        array; an annulus (inner, outer radius) around the galaxy; or none.
    modes : int, optional
        Highest Fourier mode of the corrections to the isophotes; 0 for none.
    einstein_radius : `~astropy.units.Quantity`, optional
        Rough radius of the ring, to about 30%: light that is closer to the galaxy than 0.35 or further than
        1.9 of it is then not taken for arcs.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal, where it takes longer than a second.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If a number is out of its range.

    Notes
    -----
    Arcs are groups of pixels significantly brighter than a fit of the galaxy without them, and a margin; fit
    and search are repeated until they agree. Sersic profiles and sky are fitted by variable projection. The
    few per cent of the galaxy that Sersic profiles do not describe (boxy or twisted isophotes, dust) are
    fitted with Fourier modes along its isophotes (Jedrzejewski 1987, MNRAS 226, 747) under a prior that keeps
    them small, see `~lenssuper.light.foreground.isophotes.fit_isophotes`. Both parts add their variance to
    that of the image. Beneath the arcs, the light of the galaxy follows from the profiles alone.

    Where chi-square outside of the arcs is poor although most of the galaxy was taken for arcs, it is fitted
    once more with a share of its light added to the noise, and the more likely of both fits is kept, see
    `~lenssuper.light.foreground.modelerror.misfit_with_error`: no PSF is right to a per cent, and what it
    gets wrong in a bright core must not decide about the disk around it. The result then has a
    ``model_error``, and its verdict says so.

    Examples
    --------
    >>> from lenssuper.light import ForegroundFitter
    >>> ForegroundFitter(n_components=2)
    ForegroundFitter(n_components=2, arcs='mask', modes=4)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        lens: LensModel | None = None,
        n_source: int = 1,
        arcs: str | np.ndarray | u.Quantity | None = "mask",
        modes: int = 4,
        einstein_radius: u.Quantity | None = None,
        progress: bool | None = None,
    ) -> None:
        self.n_components = None if n_components is None else check_count(n_components, "n_components", 1)
        self.lens = check_kind(lens, "lens", LensModel | None)
        self.n_source = check_count(n_source, "n_source", 1)
        self.arcs = _check_arcs(arcs)
        self.modes = check_count(modes, "modes", 0)
        self._radius = (
            None if einstein_radius is None else check_length(einstein_radius, "einstein_radius", above=0)
        )
        self.progress = check_kind(progress, "progress", bool | None)

    def __call__(
        self,
        observation: NDData | Observation,
        *,
        source: np.ndarray | None = None,
        model_error: float | None = None,
    ) -> ForegroundFit:
        """
        Fit the galaxy of one image.

        Parameters
        ----------
        observation : `~astropy.nddata.NDData` or Observation
            Image with uncertainty and, where there are any, mask, PSF and WCS. It is not changed.
        source : ndarray, shape (ny, nx), optional
            The lensed source as observed, if it is known, e.g. ``LensFit.model.data``: the galaxy is then
            fitted to the rest of the light, also beneath the arcs, and ``arcs`` and ``lens`` are not used.
        model_error : float, optional
            Share of the light that is added to the noise, see `ForegroundFit.model_error`; by default none,
            or what a first fit asks for.

        Returns
        -------
        ForegroundFit

        Raises
        ------
        ObservationError
            If the image cannot be used, or no galaxy stands out in it; the message says what to do.
        ValueError
            If ``source`` has another shape than the image, or ``model_error`` is not a number of 0 or more.
        """
        observation = Observation.of(observation)
        if model_error is not None:
            model_error = check_number(model_error, "model_error", least=0)
        if source is not None:
            if np.shape(source) != observation.shape:
                raise ValueError(
                    f"source must have the shape of the image, {observation.shape}; got {np.shape(source)}"
                )
            alone = self.with_arcs(None)
            alone.lens = None
            subtracted = observation.with_data(observation.data - source)
            fit = alone._judged(subtracted, model_error, source)
            return replace(fit, observation=observation, source=source)
        return self._judged(observation, model_error)

    def _judged(self, observation, model_error, subtracted=None):
        """Fit the galaxy, with a verdict; ``subtracted`` is a source that the image no longer shows."""
        with one_blas_thread(), share_bar(self.progress) as report:
            found = self._fit(observation, report, model_error, subtracted)
            report(1.0, "done")
        return replace(found, judgement=judge_foreground(found))

    @property
    def finds_arcs(self) -> bool:
        """Whether arcs are looked for, rather than given."""
        return isinstance(self.arcs, str)

    def with_arcs(self, arcs: str | np.ndarray | u.Quantity | None) -> ForegroundFitter:
        """Return a fitter with the same settings and other ``arcs``."""
        new = copy.copy(self)
        new.arcs = _check_arcs(arcs)
        return new

    def _fit(self, observation, report, model_error, subtracted):
        galaxy = Galaxy(observation, self._radius, model_error=model_error or 0.0, subtracted=subtracted)
        found = self._beside_arcs(galaxy, report)
        sure = model_error is not None or not self.finds_arcs or self.lens is not None
        if sure or found.reduced_chi2 < _POOR or galaxy.share_taken(found.arcs) < _TAKEN:
            return found
        report(0.95, "fitting it again, its core with more noise")
        other = self._beside_arcs(Galaxy(observation, self._radius, model_error=_MODEL_ERROR), quietly)
        return min(found, other, key=misfit_with_error)

    def _beside_arcs(self, galaxy, report):
        """Fit the galaxy beside arcs, or beside a source."""
        coarse = galaxy.coarse()
        report(0.0, "looking for arcs")
        if self.finds_arcs:
            arcs, fitted = self._search(coarse)
        else:
            given = self._given(galaxy)
            arcs = galaxy.to_coarse(given, coarse.observation.shape)
            fitted = self._grow(coarse, arcs, coarse.best(coarse.guesses(), arcs))
        report(0.4, "fitting the galaxy")
        arcs = galaxy.from_coarse(arcs) if self.finds_arcs else given
        fitted = galaxy.fit(*fitted.start, arcs, _SOME)
        if self.finds_arcs:
            arcs = galaxy.arcs(fitted, arcs)
        fitted = galaxy.refit(fitted, arcs, _MANY)
        if self.lens is not None:
            report(0.6, "fitting the source with it")
            fitted = self._jointly(galaxy, fitted)
        report(0.9, "correcting the isophotes")
        return galaxy.result(fitted, arcs, self.modes)

    def _given(self, galaxy):
        """Return the arcs that the user has given."""
        if self.arcs is None:
            return np.zeros(galaxy.observation.shape, dtype=bool)
        if isinstance(self.arcs, u.Quantity):
            arcs = galaxy.annulus(self.arcs)
        else:
            arcs = self.arcs
            if arcs.shape != galaxy.observation.shape:
                raise ValueError(
                    f"arcs must have the shape of the image, {galaxy.observation.shape}; got {arcs.shape}"
                )
        if not np.any((galaxy.weights > 0) & galaxy.mask & ~arcs):
            raise ObservationError("arcs covers all of the galaxy: no pixel is left to fit")
        return arcs

    def _search(self, galaxy):
        """Find arcs with a low and a high threshold; keep the result with the smaller misfit."""
        found = []
        for faint in (True, False):
            arcs, fitted = self._alternate(galaxy, faint)
            found.append((arcs, self._grow(galaxy, arcs, fitted)))
        return min(found, key=lambda pair: galaxy.misfit(pair[1]))

    def _alternate(self, galaxy, faint):
        """Find arcs beside a galaxy of one profile, which cannot adapt to them."""
        arcs = galaxy.first_arcs()
        fitted = galaxy.best(galaxy.guesses(), arcs)
        for _ in range(_ROUNDS):
            before, arcs = arcs, galaxy.arcs(fitted, faint=faint)
            fitted = galaxy.refit(fitted, arcs, _SOME)
            if np.sum(arcs ^ before) <= _SETTLED * np.sum(arcs):
                break
        return arcs, fitted

    def _grow(self, galaxy, arcs, fitted):
        """Add components one by one; all are fitted together each time."""
        return grow(
            fitted,
            lambda found: galaxy.best(galaxy.more_guesses(found), arcs),
            (self.n_components or _MOST) - 1,
            bic_falls if self.n_components is None else None,
        )

    def _jointly(self, galaxy, fitted):
        """Fit galaxy and source together, starting from the galaxy alone."""
        model = ForwardModel(galaxy.observation, self.lens)
        for _ in range(self.n_source):
            left = galaxy.observation.data - galaxy.unit * fitted.result.model
            source = fitted.source
            old = source[-1] if len(source) else None
            guesses = lensed_guesses(model, left, galaxy.weights, old)
            starts = [(fitted.profiles, np.vstack([source, guess])) for guess in guesses]
            fitted = galaxy.best(starts, None, model)
        return galaxy.refit(fitted, None, _MANY)

    def __repr__(self) -> str:
        arcs = self.arcs if isinstance(self.arcs, str) or self.arcs is None else type(self.arcs).__name__
        lens = "" if self.lens is None else f", lens={self.lens!r}"
        return f"ForegroundFitter(n_components={self.n_components}, arcs={arcs!r}, modes={self.modes}{lens})"


def subtract_foreground(
    observation: NDData | Observation, n_components: int | None = None, **options
) -> CCDData:
    """
    Subtract the light of the lens galaxy from an image, in one call.

    Parameters
    ----------
    observation : `~astropy.nddata.NDData` or Observation
        Image with uncertainty and, where there are any, mask, PSF and WCS.
    n_components : int or None, optional
        Number of Sersic profiles; None to choose it.
    **options
        As for `ForegroundFitter`.

    Returns
    -------
    `~astropy.nddata.CCDData`
        The image without galaxy and sky, ready for `~lenssuper.SuperResolver`; the variance of what was
        subtracted is added to that of the data.
    """
    return ForegroundFitter(n_components, **options)(observation).subtracted.to_nddata()


def _check_arcs(arcs):
    if arcs is None or (isinstance(arcs, str) and arcs == "mask"):
        return arcs
    if isinstance(arcs, u.Quantity):
        radii = to_arcsec(arcs, "arcs")
        if np.shape(radii) != (2,) or not 0 <= radii[0] < radii[1]:
            raise ValueError(f"arcs must be two radii, the smaller first, or a mask; got {arcs}")
        return arcs
    if isinstance(arcs, np.ndarray) and arcs.dtype == bool and arcs.ndim == 2:
        return arcs.copy()
    raise TypeError(
        'arcs must be "mask", an array of bool like the image, two radii such as (1, 2) * u.arcsec, or None; '
        f"got {arcs!r:.80}"
    )
