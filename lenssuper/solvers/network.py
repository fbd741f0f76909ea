"""A network as a solver: sources in milliseconds, error bars by an equivariant bootstrap."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lenssuper._utils.checks import check_count, check_kind, check_rng
from lenssuper.exceptions import LensSuperError
from lenssuper.forward.batch import ForwardModelBatch
from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.pretrained import check_factor, path_of
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.networks.turns import turned, turned_back, ways_to_turn
from lenssuper.networks.weights import read_network
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.field import FieldPrior
from lenssuper.solvers.heldout import held_out_chi2, split_pixels
from lenssuper.solvers.lognormal import LogNormal

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["NetworkSolver"]

# Share of the pixels held out for the score.
_HELD_OUT = 0.1
# A refined answer is dropped if its chi-square of these is larger by more than this factor.
_AS_GOOD = 1.02
# Factor on the errors of the bootstrap: without it, 68% error bars cover half of the bright pixels of
# simulated lenses.
_RAISED = 1.5
# Lower bound of the spectral slope of the change by a refinement, which is rougher than a source, as the
# network has found the smooth part.
_LEAST_SLOPE = 0.5
# Observations that are solved at a time: more do not fit the cache.
_TOGETHER = 8


class NetworkSolver(Solver):
    r"""
    Source by a trained network.

    Parameters
    ----------
    network : SourceNetwork
        A trained network, see ``lenssuper.networks``.
    refine : bool, optional
        Whether to find the source of each observation with `LogNormal` and the network's prior: its strength
        and spectrum are tuned by the evidence, and the mode is iterated to convergence. The network's own
        answer is kept if it predicts a tenth of the pixels better by more than 2%. It takes as long as
        `LogNormal`.
    n_draws : int, optional
        For the error bars; even, at least 2.
    device : str or `torch.device`, optional
        Device of the network, e.g. "cuda".

    Raises
    ------
    TypeError
        If ``network`` is something else.
    ValueError
        If a number is too small.

    Notes
    -----
    Error bars are those of an equivariant bootstrap (Tachella & Pereyra 2024, AISTATS, PMLR 238, 4087,
    algorithm 1): the answer :math:`\hat s` is turned or mirrored, observed with fresh noise, and found again
    by the network,

    .. math:: e_i = T_i^{-1} f(A T_i \hat s + n_i) - \hat s .

    Unlike fresh noise alone, this includes what lens and network lose of the turned sources. It misses what
    the answer itself lacks: the standard deviation is the root mean square of the :math:`e_i` times 1.5, a
    factor calibrated on simulated lenses.
    Draws are :math:`\max(\hat s - 1.5 e_i, 0)`. The number of modes is the Monte-Carlo estimate of the trace
    of the derivative of the prediction, the mean of :math:`n_i \cdot (A f_i - A T_i \hat s)` in units of the
    noise (Ramani, Blu & Unser 2008, IEEE Trans. Image Process. 17, 1540).

    A refined answer has the error bars of `LogNormal`. Its evidence cannot compare models, because the
    network's prior has seen the data, and is not given.
    """

    def __init__(
        self,
        network: SourceNetwork,
        *,
        refine: bool = False,
        n_draws: int = 16,
        device: str | torch.device = "cpu",
    ) -> None:
        check_kind(network, "network", SourceNetwork, "a SourceNetwork, e.g. of NetworkSolver.read(path)")
        self.n_draws = check_count(n_draws, "n_draws", 2, even=True)
        self.network = network.to(device).eval()
        self.refine = bool(refine)
        self.device = device

    @classmethod
    def read(cls, path: str | os.PathLike, **options) -> NetworkSolver:
        """
        Return a solver with the network of a file that `lenssuper.training.train` or ``lenssuper train``
        wrote.

        Parameters
        ----------
        path : str or path-like
        **options
            As for the class.

        Raises
        ------
        FileFormatError
            If the file has another format, or is damaged.
        """
        return cls(read_network(path), **options)

    @classmethod
    def pretrained(cls, name: str, *, factor: int = 2, **options) -> NetworkSolver:
        """
        Return a solver with a network that comes with the package.

        Parameters
        ----------
        name : str
            "space", a network for images of Hubble, Webb and Euclid; "hst", "jwst" and "euclid" are aliases
            of it.
        factor : int, optional
            Number of fine pixels along the side of an observed one, for a check.
        **options
            As for the class.

        Raises
        ------
        ValueError
            If there is none of that name, or it was trained for another factor.
        """
        check_factor(name, factor)
        return cls.read(path_of(name), **options)

    def with_network(self, network: SourceNetwork) -> NetworkSolver:
        """Return a solver of the same settings with another network, e.g. one that has been trained."""
        return NetworkSolver(network, refine=self.refine, n_draws=self.n_draws, device=self.device)

    def solve(self, model: ForwardModel, *, rng=None, report: Callable | None = None) -> Posterior:
        """Find the source; see `Solver.solve`."""
        rng = check_rng(rng)
        report = report or (lambda share, what: None)
        report(0.0, "super-resolving")
        problem = _problem(model, 1, self.device)
        source, scale = _answer(self.network, problem), float(problem.scale)
        training, held_out = split_pixels(model, _HELD_OUT, rng)
        predicted = _answer(self.network, _problem(training, 1, self.device))[0].cpu().numpy()
        score = held_out_chi2(model, held_out, scale * predicted.astype(float))
        if self.refine:
            refined, refined_score = self._refined(model, training, held_out, rng, report)
            if refined_score <= _AS_GOOD * score:
                report(1.0, "done")
                return replace(refined, held_out_chi2=refined_score, log_evidence=np.nan)
        report(0.95 if self.refine else 0.3, "bootstrapping the error bars")
        errors, modes = _bootstrap(self.network, model, source, self.n_draws, rng)
        report(1.0, "done")
        mean = source[0].cpu().numpy().astype(float)
        return Posterior(
            mean=scale * mean,
            std=scale * np.sqrt(np.mean(errors**2, axis=0)),
            draws=scale * np.maximum(mean - errors, 0.0),
            effective_modes=modes,
            hyperparameters={"refined": 0.0},
            held_out_chi2=score,
            _draw=partial(_draws, self.network, model, source, scale),
        )

    def _refined(self, model, training, held_out, rng, report):
        """Return the posterior with the network's prior, and its chi-square of the pixels held out."""
        solver = LogNormal(n_draws=self.n_draws)
        found = solver.solve_with(
            *self._prior(model), rng=rng, report=lambda share, what: report(0.9 * share, what)
        )
        # a prior that has not seen the pixels to predict
        prior, training, scale = self._prior(training)
        predicted = solver.predicted(prior, training, scale, found)
        found = replace(found, hyperparameters={"refined": 1.0, **found.hyperparameters})
        return found, held_out_chi2(model, held_out, predicted)

    def _prior(self, model):
        """Return the network's prior of the log source, the model, and the unit of brightness."""
        problem = _problem(model, 1, self.device)
        with torch.no_grad():
            prior = self.network.prior(problem)
        maps = (image[0].cpu().numpy().astype(float) for image in (prior.mean, prior.std))
        slope = max(float(prior.slope[0]), _LEAST_SLOPE)
        shape = FieldPrior(*maps, float(prior.length), log_std=0.0, slope=slope, least_slope=_LEAST_SLOPE)
        return shape, model, float(problem.scale)

    def sources(self, models: Iterable[ForwardModel]) -> list[np.ndarray]:
        """
        Find the sources of many observations, without error bars.

        Observations of one shape whose source grids have one shape go through the network together. That
        changes a trained network's answer by about 0.1% of the peak, the rounding of single precision.

        Parameters
        ----------
        models : iterable of ForwardModel

        Returns
        -------
        list of ndarray, each of the shape (ny, nx) of its source grid
        """
        models = list(models)
        kinds: dict[tuple, list[int]] = {}
        for i, model in enumerate(models):
            kinds.setdefault((model.in_shape, model.out_shape, model.factor), []).append(i)
        found: dict[int, np.ndarray] = {}
        for alike in kinds.values():
            for start in range(0, len(alike), _TOGETHER):
                part = alike[start : start + _TOGETHER]
                problem = SourceProblem.of(ForwardModelBatch([models[i] for i in part]), device=self.device)
                answer = _answer(self.network, problem) * problem.scale
                found |= dict(zip(part, answer.cpu().numpy().astype(float), strict=True))
        return [found[i] for i in range(len(models))]


def _answer(network: SourceNetwork, problem: SourceProblem) -> Tensor:
    with torch.no_grad():
        sources = network(problem).detach()
    if not torch.isfinite(sources).all():
        raise LensSuperError(
            "the network's answer is not finite: the data, or its weights, are far from those of its training"
        )
    return sources


def _draws(network, model, source, scale, n, rng) -> np.ndarray:
    """Draw n sources."""
    errors, _ = _bootstrap(network, model, source, n, rng)
    return scale * np.maximum(source[0].cpu().numpy() - errors, 0.0)


def _bootstrap(network, model, source, n, rng):
    """Return errors (n, ny, nx) in units of the scale, and the number of modes that the data determine."""
    errors, traces = [], []
    for start in range(0, n, _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, n))
        problem = _problem(model, len(numbers), source.device)
        sources = torch.cat([turned(source, *_way(source, i)) for i in numbers])
        noise = torch.as_tensor(rng.standard_normal(problem.white.shape), dtype=torch.float32)
        noise = noise.to(source.device) * problem.used
        with torch.no_grad():
            before = problem.forward(sources)
        again = _answer(network, problem.with_white(before + noise))
        with torch.no_grad():
            traces += (noise * (problem.forward(again) - before)).sum((-2, -1)).tolist()
        back = [turned_back(again[k : k + 1], *_way(source, i)) for k, i in enumerate(numbers)]
        errors.append((torch.cat(back) - source).cpu().numpy())
    return _RAISED * np.concatenate(errors).astype(float), max(float(np.mean(traces)), 0.0)


class _Repeated:
    """One forward model as the projection of n sources to n images; no copies are made of it."""

    def __init__(self, model: ForwardModel, n: int) -> None:
        self.in_shape, self.out_shape = (n, *model.in_shape), (n, *model.out_shape)
        self.forward, self.adjoint = model.forward, model.adjoint
        self.lensed_image = getattr(model, "lensed_image", None)
        self.data, self.weights = (
            np.repeat(images[None], n, axis=0) for images in (model.data, model.weights)
        )


def _problem(model, n, device) -> SourceProblem:
    return SourceProblem.of(_Repeated(model, n), device=device)


def _way(source: Tensor, number: int) -> tuple[int, bool]:
    """Return one of the quarter turns and mirrorings of a source grid in turn, for `turned`."""
    # without the first, the identity, which would hide what the network leaves out
    ways = ways_to_turn(source.shape[-2:])[1:]
    return ways[number % len(ways)]
