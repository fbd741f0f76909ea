"""The protocol of solvers, and their result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from lenssuper._utils.checks import check_count, check_rng
from lenssuper._utils.threads import in_threads

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["Posterior", "Solver"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """
    The posterior of a source, given the data and a prior.

    All images are on the source grid, in surface brightness like the data.

    Attributes
    ----------
    mean : ndarray, shape (ny, nx)
        The estimate of the source.
    std : ndarray, shape (ny, nx)
        Standard deviation of every source pixel.
    draws : ndarray, shape (n, ny, nx)
        Draws from the posterior.
    log_evidence : float
        Logarithm of the evidence of the prior at its hyper-parameters; NaN if the solver has none.
    effective_modes : float
        Number of modes of the source that the data determine rather than the prior; the expected chi-square
        is the number of pixels less this.
    hyperparameters : mapping of str to float
        Those of the prior, by name.
    held_out_chi2 : float
        Chi-square per pixel of pixels left out of a fit with the same hyper-parameters; NaN if not computed.
    converged : bool
        Whether the iterations converged.
    at_mode : bool
        Whether the source maximises a posterior, as all do but a network's answer. Only then do residuals
        tell which change of lens, PSF or sky the data ask for.
    """

    mean: np.ndarray
    std: np.ndarray
    draws: np.ndarray
    log_evidence: float = np.nan
    effective_modes: float = np.nan
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    held_out_chi2: float = np.nan
    converged: bool = True
    at_mode: bool = True
    _draw: Callable[[int, np.random.Generator], np.ndarray] | None = field(default=None, repr=False)
    _refit: Callable[[ForwardModel], np.ndarray] | None = field(default=None, repr=False)
    _by_noise: Callable[[int, np.random.Generator], np.ndarray] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        what = f"source {self.mean.shape}, {len(self.draws)} draws, log_evidence={self.log_evidence:.1f}"
        return f"<Posterior: {what}>"

    def samples(self, n: int, rng: np.random.Generator | int | None = None) -> np.ndarray:
        """
        Draw sources from the posterior.

        Parameters
        ----------
        n : int
            Number of sources. Up to the number of `draws`, the first of these are returned unless ``rng`` is
            given.
        rng : `~numpy.random.Generator` or int, optional
            For fresh draws, or, where the posterior cannot make any, for a random choice of `draws`.

        Returns
        -------
        ndarray, shape (n, ny, nx)

        Raises
        ------
        ValueError
            If ``n`` exceeds the number of draws kept, and the posterior cannot make new ones.
        """
        which = self.kept(n, rng)
        if which is not None:
            return self.draws[which]
        return cast("Callable", self._draw)(n, check_rng(rng))

    def kept(self, n: int, rng: np.random.Generator | int | None = None) -> np.ndarray | None:
        """
        Return which of `draws` `samples` returns, array of n indices; None if it makes fresh ones.

        Draws that are opposite to each other come one after the other, and are chosen in pairs.
        """
        n, most = check_count(n, "n"), len(self.draws)
        if n <= most and rng is None:
            return np.arange(n)
        if self._draw is not None:
            return None
        if n > most:
            raise ValueError(
                f"n must be at most {most}, the number of draws that were kept; got {n}. "
                "Run the solver again for more"
            )
        pairs = check_rng(rng).permutation((most + 1) // 2)
        which = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel()
        return which[which < most][:n]

    def refit(self, model: ForwardModel) -> np.ndarray:
        """
        Find the source of another model with the same hyper-parameters, starting from this one.

        Parameters
        ----------
        model : ForwardModel
            With the same source grid; data, weights, PSF or lens may be others.

        Returns
        -------
        ndarray, shape (ny, nx)

        Raises
        ------
        ValueError
            If the posterior cannot, because it is from a file.
        """
        if self._refit is None:
            raise ValueError(
                "this source cannot be fitted again: it was read from a file, or its solver has no way to; "
                "use a solver such as LogNormal, Gaussian or NetworkSolver"
            )
        return self._refit(model)

    @property
    def can_respond(self) -> bool:
        """Whether it tells what a change of lens, PSF or data does: by `refit`, and by two draws or more."""
        return self._refit is not None and len(self.draws) > 1

    def changes_by_noise(self, model: ForwardModel, n: int, rng: np.random.Generator) -> np.ndarray:
        """
        Return by how much realisations of the noise change the source.

        Parameters
        ----------
        model : ForwardModel
            That of this posterior.
        n : int
            Number of realisations.
        rng : `~numpy.random.Generator`

        Returns
        -------
        ndarray, shape (n, ny, nx)
            To first order, or of sources that are found again, as `refit` does.
        """
        if self._by_noise is not None:
            return self._by_noise(n, rng)
        weights = np.where(model.weights > 0, model.weights, 1.0)

        def change(child):
            white = np.where(model.weights > 0, child.standard_normal(model.out_shape), 0.0)
            return self.refit(model.with_data(model.data + white / np.sqrt(weights))) - self.mean

        return np.stack(list(in_threads(change, rng.spawn(n))))


class Solver(ABC):
    """
    A way to find the source behind an observation.

    A solver keeps its settings only, so that one can be used for many observations, one after another or in
    several processes.

    Attributes
    ----------
    takes_covariance : bool
        Whether it uses the data through `Measurement.whiten` and `Measurement.whitened` alone, and so the
        full covariance of correlated noise. For other solvers the variance is raised instead.
    order : int
        Order of the B-splines that sources best consist of for it, see `~lenssuper.OverlapOperator`.
    """

    takes_covariance: ClassVar[bool] = False
    order: ClassVar[int] = 0

    @abstractmethod
    def solve(
        self,
        model: ForwardModel,
        *,
        rng: np.random.Generator | int | None = None,
        report: Callable[[float, str], None] | None = None,
    ) -> Posterior:
        """
        Find the source.

        Parameters
        ----------
        model : ForwardModel
            From a source to the observed image, with the data and their weights.
        rng : `~numpy.random.Generator` or int, optional
            For draws and random probes; the same seed gives the same answer.
        report : callable, optional
            Called now and then with the share of the work done, 0 to 1, and a word on what is being done.

        Returns
        -------
        Posterior
        """
