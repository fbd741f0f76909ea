"""SuperResolver: an observation and a lens go in, the source and the super-resolved image come out."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import overload

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from lenssuper._utils.checks import check_count, check_kind, check_rng
from lenssuper._utils.progress import share_bar
from lenssuper._utils.warn import warn
from lenssuper.forward.joint import JointForwardModel
from lenssuper.forward.model import ForwardModel
from lenssuper.forward.resolved import check_resolved
from lenssuper.forward.sourcegrid import default_source_grid
from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.alignment import aligned
from lenssuper.observation.grid import PixelGrid
from lenssuper.operators.averages import check_order
from lenssuper.solvers import LogNormal, Solver
from lenssuper.superres.budget import BUDGET_DRAWS, error_budget
from lenssuper.superres.detail import supported_factor
from lenssuper.superres.psftest import psf_measures
from lenssuper.superres.result import SuperResolution
from lenssuper.superres.systematics import Systematics

__all__ = ["SuperResolver"]

_NARROW = (
    "the error bars do not contain what is not known of the light in front that was subtracted: that takes "
    "one observation, and a solver that can find its source again, such as LogNormal"
)


class SuperResolver:
    """
    Super-resolves images of a lensed galaxy, given the lens.

    Parameters
    ----------
    lens : LensModel
        The deflector; its coordinates are offsets from the centre of the image, or from the reference point
        of its `~lenssuper.Observation`, x to the west and y to the north.
    factor : int, optional
        Number of pixels of the super-resolved image along the side of an observed one.
    solver : Solver, optional
        How the source is found; by default `~lenssuper.solvers.LogNormal`.
    source_grid : PixelGrid, optional
        Pixels in the source plane; by default chosen from lens and observation, see
        `~lenssuper.forward.sourcegrid.default_source_grid`.
    order : {0, 1, 2}, optional
        What the source consists of, see `~lenssuper.OverlapOperator`: pixels of constant brightness (0),
        bilinear hats (1), of which the source that is found is the brightness at the pixel centres, or
        quadratic B-splines (2), of which it is the coefficients. By default that of the solver: 1 for
        `~lenssuper.solvers.LogNormal`, 0 for others.
    rng : `~numpy.random.Generator` or int, optional
        For the solver; a seed gives the same result every time.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal, where it takes longer than a second.
    systematics : Systematics, optional
        Errors of lens, PSF, sky, noise map and light in front. The errors of the result, its draws and those
        of images are then over all of these together, and its ``budget`` says what comes from what. By
        default those of the light in front alone, where the observation brings them (see
        ``Observation.light_errors``), with the draws that the solver keeps.
    budget_draws : int, optional
        Number of draws if the result has an error budget: `SuperResolution.measure` and
        `SuperResolution.samples` then give no more than these. By default 64 with ``systematics``.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If ``factor`` is not positive.

    Notes
    -----
    An `~lenssuper.Observation` says what an NDData cannot, e.g. how the PSF is sampled. Where the noise of
    neighbouring pixels is correlated, the source is fitted with their covariance, or with a larger variance
    if the solver cannot use it or only a number was given; chi-square always counts the noise of single
    pixels.

    Examples
    --------
    >>> from lenssuper import SuperResolver
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(3, shape=(32, 32))
    >>> sr = SuperResolver(mock.lens, factor=2, rng=1)(mock.observation)
    >>> sr.image.shape
    (64, 64)
    >>> bool(0.8 < sr.reduced_chi2 < 1.2)
    True
    """

    def __init__(
        self,
        lens: LensModel,
        factor: int = 2,
        *,
        solver: Solver | None = None,
        source_grid: PixelGrid | None = None,
        order: int | None = None,
        rng: np.random.Generator | int | None = None,
        progress: bool | None = None,
        systematics: Systematics | None = None,
        budget_draws: int | None = None,
    ) -> None:
        solver = LogNormal() if solver is None else solver
        self.lens = check_kind(lens, "lens", LensModel)
        self.factor = check_count(factor, "factor")
        self.solver = check_kind(solver, "solver", Solver)
        self.source_grid = check_kind(source_grid, "source_grid", PixelGrid | None)
        self.order = self.solver.order if order is None else check_order(order)
        check_rng(rng)
        self.rng = rng
        self.progress = check_kind(progress, "progress", bool | None)
        self.systematics = check_kind(systematics, "systematics", Systematics | None)
        self.budget_draws = None if budget_draws is None else check_count(budget_draws, "budget_draws", 2)

    @classmethod
    def from_pretrained(
        cls, name: str, lens: LensModel, factor: int = 2, *, refine: bool = False, **options
    ) -> SuperResolver:
        """
        Use a network that comes with the package: an answer with error bars in about a second.

        Parameters
        ----------
        name : str
            "space", a network for images of Hubble, Webb and Euclid; "hst", "jwst" and "euclid" are aliases
            of it.
        lens : LensModel
        factor : int, optional
            That of the training, 2.
        refine : bool, optional
            Whether to improve the network's source with a fit to each observation, which takes several
            times as long, see `~lenssuper.solvers.NetworkSolver`.
        **options
            As for the class.

        Raises
        ------
        ValueError
            If there is no network of that name, or it was trained for another factor.
        """
        from lenssuper.solvers import NetworkSolver

        factor = check_count(factor, "factor", 1)
        return cls(
            lens, factor, solver=NetworkSolver.pretrained(name, factor=factor, refine=refine), **options
        )

    def fit(self, observations: Iterable, **options) -> SuperResolver:
        """
        Train the solver's network on observed lenses, without any image of higher resolution.

        Parameters
        ----------
        observations : iterable
            Observations of this resolver's lens, or pairs (observation, lens): many lenses teach more than
            one, as each hides something else of its source. All of one shape.
        **options
            For `lenssuper.training.train`, e.g. ``steps``, ``losses``, ``output``, ``resume``.

        Returns
        -------
        SuperResolver
            With the trained network; this one is not changed.

        Raises
        ------
        TypeError
            If the solver is not a `~lenssuper.solvers.NetworkSolver`.
        ImportError
            If Lightning is not installed (``pip install lenssuper[train]``).
        """
        from lenssuper.solvers import NetworkSolver

        if not isinstance(self.solver, NetworkSolver):
            raise TypeError(
                f"solver must be a NetworkSolver to be trained; got a {type(self.solver).__name__}. "
                "For example SuperResolver(lens, solver=NetworkSolver(lenssuper.networks.Unrolled()))"
            )
        from lenssuper.training.train import train

        pairs = [each if isinstance(each, tuple) else (each, self.lens) for each in observations]
        pairs = [(Observation.of(observation), lens) for observation, lens in pairs]
        given = {"factor": self.factor, "source_grid": self.source_grid, "progress": self.progress} | options
        network = train(self.solver.network, pairs, **given).network
        other = copy.copy(self)
        other.solver = self.solver.with_network(network)
        return other

    @overload
    def __call__(
        self, observations: Iterable[NDData | Observation], *, offsets: u.Quantity | None = None
    ) -> list[SuperResolution]: ...

    @overload
    def __call__(
        self, observations: NDData | Observation, *, offsets: u.Quantity | None = None
    ) -> SuperResolution: ...

    def __call__(
        self,
        observations: NDData | Observation | Iterable[NDData | Observation],
        *,
        offsets: u.Quantity | None = None,
    ) -> SuperResolution | list[SuperResolution]:
        """
        Super-resolve one observation, or each of several.

        Parameters
        ----------
        observations : `~astropy.nddata.NDData` or Observation, or an iterable of them
            Images with uncertainty and, where there are any, mask, PSF and WCS. They are not changed.
        offsets : `~astropy.units.Quantity`, shape (n, 2), optional
            For bands of one lens, each with a source of its own: shift (x, y) that aligns each with the first
            one, where the WCS do not agree well enough. The coordinates of the lens are then offsets from the
            reference point of the first, by default its centre.

        Returns
        -------
        SuperResolution or list of SuperResolution
            A list for a list.

        Raises
        ------
        ObservationError
            If an observation cannot be used; the message says what to do.
        ValueError
            If no pixel of it sees the source.

        Warns
        -----
        LensSuperWarning
            If there is no PSF or no light, the centre of the lens is outside of the field, or the noise was
            found to be correlated.
        """
        if isinstance(observations, (NDData, Observation)):
            if offsets is not None:
                raise TypeError("offsets are those of several observations; observations must be a list")
            return self._resolve([Observation.of(observations)])[0]
        if isinstance(observations, (str, bytes)) or not isinstance(observations, Iterable):
            raise TypeError(
                "observations must be an NDData, such as a CCDData, or a list of them; "
                f"got {observations!r:.80}"
            )
        observations = list(observations)
        if offsets is not None:
            observations = aligned(observations, offsets)
        return [self._resolve([Observation.of(observation)])[0] for observation in observations]

    def joint(
        self, observations: Iterable[NDData | Observation], *, offsets: u.Quantity | None = None
    ) -> list[SuperResolution]:
        """
        Find the one source behind several observations of a lens, and super-resolve each with it.

        Parameters
        ----------
        observations : iterable of `~astropy.nddata.NDData` or Observation
            Exposures in one band: dithered, rotated, with other pixels or PSFs, in the same unit of surface
            brightness. The coordinates of the lens are offsets from the reference point of the first, by
            default its centre; the WCS of the others say where they are.
        offsets : `~astropy.units.Quantity`, shape (n, 2), optional
            Shift (x, y) that aligns each observation with the first one, where the WCS do not agree well
            enough.

        Returns
        -------
        list of SuperResolution
            One for each observation, with the same source.

        Raises
        ------
        ObservationError
            If an observation cannot be used, or its position on the sky is not known.
        ValueError
            If there are none, or their units differ.

        Notes
        -----
        ``effective_modes`` of the source are divided among the observations in proportion to their pixels, so
        that `~SuperResolution.reduced_chi2` is expected to be one for each; ``log_evidence`` is that of all.
        """
        observations = aligned(list(observations), offsets)
        return self._resolve(observations, observations_of_the_source=len(observations))

    def _resolve(self, observations, **meta):
        """Super-resolve observations of one source."""
        check_resolved(self.lens, [each.grid for each in observations])
        messages = [self._remarks(each) for each in observations]
        for message in dict.fromkeys(chain.from_iterable(messages)):
            warn(message)
        grid = self.source_grid
        if grid is None:
            finest = min(observations, key=lambda each: each.grid.area_arcsec2)
            grid = default_source_grid(finest, self.lens, self.factor)
        given = {"factor": self.factor, "source_grid": grid, "order": self.order}
        models = [ForwardModel(each, self.lens, **given) for each in observations]
        if self.systematics is not None and len(models) > 1:
            raise ValueError("systematics are for one observation at a time; got several of one source")
        posterior, budget, measures = self._solve(models)
        if budget is None and any(each.light_errors is not None for each in observations):
            warn(_NARROW)
            messages = [[*remarks, _NARROW] for remarks in messages]
        n_pixels = [np.count_nonzero(model.weights) for model in models]
        modes = [posterior.effective_modes * (n / sum(n_pixels)) for n in n_pixels]
        results = [
            SuperResolution.from_posterior(
                model,
                replace(posterior, effective_modes=own),
                solver=type(self.solver).__name__,
                messages=remarks,
                meta=meta,
                measures=measures,
            )
            for model, own, remarks in zip(models, modes, messages, strict=True)
        ]
        return results if budget is None else [results[0].with_budget(budget)]

    def _solve(self, models):
        """Find the source of all models, with the correlation of their noise; its budget and measures."""
        noisy, raised = [], []
        for model in models:
            covariance = model.observation.noise_covariance if self.solver.takes_covariance else None
            raised.append(model.observation.noise_correlation if covariance is None else 1.0)
            noisy.append(model.with_weights(model.weights / raised[-1]).with_noise_covariance(covariance))
        with share_bar(self.progress) as report:
            fitted = noisy[0] if len(noisy) == 1 else JointForwardModel(noisy)
            posterior = self.solver.solve(fitted, rng=self.rng, report=report)
            measures, budget = psf_measures(fitted, posterior), None
            if self.systematics is not None:
                n, systematics = self.budget_draws or BUDGET_DRAWS, self.systematics
            else:
                # with the draws there are, as fresh ones take longer than all else
                n, systematics = self.budget_draws or len(posterior.draws), Systematics()
            if self.systematics is not None or (_brings_errors(models) and posterior.can_respond):
                budget = error_budget(fitted, posterior, systematics, n=n, rng=self.rng, report=report)
        # chi-square is reported in units of the noise as given
        mean = np.average(raised, weights=[np.count_nonzero(model.weights) for model in models])
        return replace(posterior, held_out_chi2=posterior.held_out_chi2 * float(mean)), budget, measures

    def _remarks(self, observation):
        """Say what to check before trusting the result."""
        remarks = []
        if observation.noise_given is None and observation.noise_covariance is not None:
            remarks.append(
                "the noise of neighbouring pixels is correlated, as in drizzled images: the source is fitted "
                f"with {self._treatment(observation.noise_correlation)}, so that lumps of noise are not "
                "taken for light; Observation.from_nddata(..., noise_correlation=1) takes it as it is given"
            )
        if observation.psf is None:
            remarks.append(
                "the observation has no psf and is taken as not blurred: "
                "add one with nddata.psf = array (odd sides, its centre in the middle)"
            )
        supported = supported_factor(observation, self.factor)
        if self.factor > supported:
            remarks.append(
                f"factor={self.factor} is finer than PSF and S/N of this observation support: with "
                f"factor={supported} pixels are half as large as the finest detail that noise does not hide, "
                "even of a point source; smaller ones only interpolate"
            )
        if not observation.bright.any():
            remarks.append(
                "no pixel is significantly above the noise: "
                "the reconstructed source is dominated by the prior"
            )
        for x, y in self.lens.centers_arcsec():
            px, py = observation.grid.to_pixel(x, y)
            ny, nx = observation.shape
            if not (-0.5 <= px <= nx - 0.5 and -0.5 <= py <= ny - 0.5):
                remarks.append(
                    f'the lens has a centre at ({x:.6g}", {y:.6g}"), outside of the field: x and y are '
                    "counted from the middle of the image (or grid.reference), to the west and north"
                )
        return remarks

    def _treatment(self, total):
        if self.solver.takes_covariance:
            return f"their covariance, {total:.2f} times the variance for what is larger than pixels"
        return f"{total:.2f} times the variance"

    def __repr__(self) -> str:
        return f"SuperResolver({self.lens!r}, factor={self.factor}, solver={type(self.solver).__name__}())"


def _brings_errors(models):
    """Return whether this is one observation with errors of the light in front."""
    return len(models) == 1 and models[0].observation.light_errors is not None
