"""A network as a solver: sources in milliseconds, error bars by observing them again."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lenssuper.exceptions import LensSuperError
from lenssuper.forward.batch import ForwardModelBatch
from lenssuper.networks.base import SourceNetwork
from lenssuper.networks.pretrained import path_of
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.networks.turns import turned, turned_back
from lenssuper.networks.weights import read_card, read_network
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.field import FieldPrior
from lenssuper.solvers.heldout import held_out_chi2, split_pixels
from lenssuper.solvers.lognormal import LogNormal

if TYPE_CHECKING:
    from lenssuper.forward.model import ForwardModel

__all__ = ["NetworkSolver"]

# Share of the pixels held out for the score.
_HELD_OUT = 0.1
# A refined answer is dropped if it foretells these worse by more than their scatter explains.
_AS_GOOD = 1.02
# By how much what the bootstrap finds is raised: without it, 68% error bars cover half of the bright pixels
# of simulated lenses.
_RAISED = 1.5
# Of the spectrum of what a refinement adds: less than of a source from nothing, as the network has the smooth
# part.
_LEAST_SLOPE = 0.5
# Observations that are solved at a time: more of them no longer fit the cache.
_TOGETHER = 8


class NetworkSolver(Solver):
    r"""
    Source by a trained network.

    Parameters
    ----------
    network : SourceNetwork
        See ``lenssuper.networks``; trained, or it is as good as its first guess.
    refine : bool, optional
        Whether to go on, for each observation, from what the network expects of the source: its prior's
        strength and spectrum are tuned by the evidence, and the mode is iterated to convergence, as
        `LogNormal` does with a prior that knows of nothing. The network's own answer is kept if it foretells
        a tenth of the pixels better, by more than 2%. It takes as long as `LogNormal`.
    n_draws : int, optional
        For the error bars; even, at least 2.
    device : str or `torch.device`, optional
        Where the network works, such as "cuda".

    Raises
    ------
    TypeError
        If ``network`` is something else.
    ValueError
        If a number is too small.

    Notes
    -----
    Error bars are those of an equivariant bootstrap (Tachella & Pereyra 2024, AISTATS, PMLR 238, 4087,
    algorithm 1): the answer :math:`\hat s` is turned or mirrored, lensed, blurred and given fresh noise, and
    what the network makes of it is compared with what went in,

    .. math:: e_i = T_i^{-1} f(A T_i \hat s + n_i) - \hat s .

    Unlike fresh noise alone, which leaves the source where lens and network know it, that shows what is
    lost in between. It cannot show what the answer lacks to begin with: the standard deviation is the root
    mean square of the :math:`e_i` times 1.5, a number found on simulated lenses, where the truth is known.
    Draws are :math:`\max(\hat s - 1.5 e_i, 0)`. The number of modes is the Monte-Carlo estimate of the trace
    of the derivative of the prediction, the mean of :math:`n_i \cdot (A f_i - A T_i \hat s)` in units of the
    noise (Ramani, Blu & Unser 2008, IEEE Trans. Image Process. 17, 1540).

    A refined answer has the error bars of `LogNormal`. Its evidence is that of a prior which has seen the
    data: it serves to tune, not to compare models, and is not given.
    """

    def __init__(
        self,
        network: SourceNetwork,
        *,
        refine: bool = False,
        n_draws: int = 16,
        device: str | torch.device = "cpu",
    ) -> None:
        if not isinstance(network, SourceNetwork):
            raise TypeError(
                f"network must be a SourceNetwork; got {network!r:.80}. NetworkSolver.read(path) reads one "
                "from a file"
            )
        if operator.index(n_draws) < 2 or n_draws % 2:
            raise ValueError(f"n_draws must be even and at least 2; got {n_draws}")
        self.network = network.to(device).eval()
        self.refine = bool(refine)
        self.n_draws = n_draws
        self.device = device

    @classmethod
    def read(cls, path: str | os.PathLike, **options) -> NetworkSolver:
        """
        Take the network from a file that `lenssuper.training.train` or ``lenssuper train`` wrote.

        Parameters
        ----------
        path : str or path-like
        **options
            As for the class.

        Raises
        ------
        FileFormatError
            If the file is not such a file, or is damaged.
        """
        return cls(read_network(path), **options)

    @classmethod
    def pretrained(cls, name: str, *, factor: int = 2, **options) -> NetworkSolver:
        """
        Take a network that comes with the package.

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
        path = path_of(name)
        trained = read_card(path)["data"]["factor"]
        if factor != trained:
            raise ValueError(f"factor must be {trained}, for which {name!r} was trained; got {factor}")
        return cls.read(path, **options)

    def with_network(self, network: SourceNetwork) -> NetworkSolver:
        """Give a solver of the same settings with another network, e.g. one that has been trained."""
        return NetworkSolver(network, refine=self.refine, n_draws=self.n_draws, device=self.device)

    def solve(self, model: ForwardModel, *, rng=None, report: Callable | None = None) -> Posterior:
        """Find the source; see `Solver.solve`."""
        rng = np.random.default_rng(rng)
        report = report or (lambda share, what: None)
        report(0.0, "super-resolving")
        problem = _problem(model, 1, self.device)
        source, scale = _answer(self.network, problem), float(problem.scale)
        training, held_out = split_pixels(model, _HELD_OUT, rng)
        foretold = _answer(self.network, _problem(training, 1, self.device))[0].cpu().numpy()
        score = held_out_chi2(model, held_out, scale * foretold.astype(float))
        if self.refine:
            refined, refined_score = self._refined(model, training, held_out, rng, report)
            if refined_score <= _AS_GOOD * score:
                report(1.0, "done")
                return replace(refined, held_out_chi2=refined_score, log_evidence=np.nan)
        report(0.95 if self.refine else 0.3, "observing again for the error bars")
        errors, modes = _observed_again(self.network, model, source, self.n_draws, rng)
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
        """The mode with the network's prior, and its chi-square of the pixels held out."""
        solver = LogNormal(n_draws=self.n_draws)
        found = solver.solve_with(
            *self._prior(model), rng=rng, report=lambda share, what: report(0.9 * share, what)
        )
        # the prior must not have seen what it foretells
        prior, training, scale = self._prior(training)
        foretold = solver.foretold(prior, training, scale, found)
        found = replace(found, hyperparameters={"refined": 1.0, **found.hyperparameters})
        return found, held_out_chi2(model, held_out, foretold)

    def _prior(self, model):
        """What the network expects of the logarithm of the source, the model, and the unit of brightness."""
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

        Observations of one shape, whose source grids have one shape, go through the network together.

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
        for places in kinds.values():
            for start in range(0, len(places), _TOGETHER):
                part = places[start : start + _TOGETHER]
                problem = SourceProblem.of(ForwardModelBatch([models[i] for i in part]), device=self.device)
                answer = _answer(self.network, problem) * problem.scale
                found |= dict(zip(part, answer.cpu().numpy().astype(float), strict=True))
        return [found[i] for i in range(len(models))]


def _answer(network: SourceNetwork, problem: SourceProblem) -> Tensor:
    with torch.no_grad():
        sources = network(problem).detach()
    if not torch.isfinite(sources).all():
        raise LensSuperError(
            "the network's answer is not finite: the data, or its weights, are far from what it was made for"
        )
    return sources


def _draws(network, model, source, scale, n, rng) -> np.ndarray:
    """Draw n sources."""
    errors, _ = _observed_again(network, model, source, n, rng)
    return scale * np.maximum(source[0].cpu().numpy() - errors, 0.0)


def _observed_again(network, model, source, n, rng):
    """Errors (n, ny, nx) in units of the scale, and the number of modes that the data decide."""
    errors, traces = [], []
    for start in range(0, n, _TOGETHER):
        places = range(start, min(start + _TOGETHER, n))
        problem = _problem(model, len(places), source.device)
        sources = torch.cat([turned(source, *_way(source, i)) for i in places])
        noise = torch.as_tensor(rng.standard_normal(problem.white.shape), dtype=torch.float32)
        noise = noise.to(source.device) * problem.used
        with torch.no_grad():
            before = problem.forward(sources)
        again = _answer(network, problem.with_white(before + noise))
        with torch.no_grad():
            traces += (noise * (problem.forward(again) - before)).sum((-2, -1)).tolist()
        back = [turned_back(again[k : k + 1], *_way(source, i)) for k, i in enumerate(places)]
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
    """One after another of the quarter turns and mirrorings that a source grid allows, for `turned`."""
    ny, nx = source.shape[-2:]
    quarters = (0, 2, 1, 3) if ny == nx else (0, 2)
    ways = [(quarter, mirrored) for mirrored in (False, True) for quarter in quarters]
    # not as it lies: that would hide what the network leaves out
    return ways[1:][number % (len(ways) - 1)]
