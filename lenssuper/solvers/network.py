"""A network as a solver: sources in milliseconds, draws by its prior and the curvature of the misfit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lenssuper._utils.checks import check_count, check_kind, check_rng
from lenssuper._utils.progress import quietly
from lenssuper._utils.threads import one_blas_thread
from lenssuper._utils.weightfile import read_arrays
from lenssuper.exceptions import LensSuperError
from lenssuper.forward.batch import ForwardModelBatch
from lenssuper.networks.arraynetwork import ArrayNetwork
from lenssuper.networks.arrays import (
    Array,
    as_numpy,
    like,
    namespace,
    no_gradients,
    total,
    zeros_of,
)
from lenssuper.networks.draws import LogPosterior
from lenssuper.networks.logprior import ORDER, LogPrior
from lenssuper.networks.pretrained import check_factor, path_of
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.networks.stages import bounded_change
from lenssuper.operators.arrays import is_tensor
from lenssuper.solvers.base import Posterior, Solver
from lenssuper.solvers.field import FieldPrior
from lenssuper.solvers.heldout import held_out_chi2, split_pixels
from lenssuper.solvers.lognormal import LogNormal

if TYPE_CHECKING:
    import torch

    from lenssuper.forward.model import ForwardModel
    from lenssuper.networks.base import SourceNetwork

__all__ = ["NetworkSolver"]

# Share of the pixels held out for the score.
_HELD_OUT = 0.1
# A refined answer is dropped if its chi-square of these is larger by more than this factor.
_AS_GOOD = 1.02
# Factor on the deviations of draws, with which 68% error bars hold 71% of the bright pixels of the image for
# clumpy galaxies, 59% for knotty spirals and 85% for mergers.
_RAISED = 1.1
# Lower bound of the spectral slope of the change by a refinement, which is rougher than a source, as the
# network has found the smooth part.
_LEAST_SLOPE = 0.5
# Observations that are solved at a time: more do not fit the cache.
_TOGETHER = 8


class NetworkSolver(Solver):
    r"""
    Source by a trained network.

    An error budget (`~lenssuper.Systematics`) takes what a change of lens, PSF or data does to the source to
    first order, with the network's last prior: for lens and PSF that is within 4 to 17% of what the network
    itself answers, in an eighth of the time. The budget does not say which change the data ask for, and the
    width of the PSF is not tested: a network's answer is not the mode of a posterior, and the scores of a
    right PSF reached 16 sigma.

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
        Device of the network, e.g. "cuda". On the CPU, an `~lenssuper.networks.Unrolled` network of a file,
        as the one that comes with the package, answers in numpy: torch is not loaded.

    Raises
    ------
    TypeError
        If ``network`` is something else.
    ValueError
        If a number is too small.

    Notes
    -----
    Draws are those of the Gaussian in the logarithm of the source with the network's prior and the curvature
    of the data's misfit at its answer, see ``lenssuper/networks/draws.py``: what the data do not
    measure varies as much as in the prior. They come in pairs of opposite deviations :math:`\pm d`, the
    sources :math:`\hat s e^{\pm 1.1 d}` with a factor calibrated on simulated lenses; the standard deviation
    is the root mean square of half the difference of a pair. The number of modes is the mean squared change
    of the image by :math:`\hat s d` in units of the
    noise, which is the trace of the derivative of the prediction in this approximation.

    A refined answer has the error bars of `LogNormal`. Its evidence cannot compare models, because the
    network's prior has seen the data, and is not given.
    """

    order = ORDER

    def __init__(
        self,
        network: SourceNetwork | ArrayNetwork,
        *,
        refine: bool = False,
        n_draws: int = 16,
        device: str | torch.device = "cpu",
    ) -> None:
        self.n_draws = check_count(n_draws, "n_draws", 2, even=True)
        self.refine = bool(refine)
        self.device = device
        # of tensors on the device, or of arrays if that is None
        self._network, self._on = _prepared(network, device)

    @property
    def network(self) -> SourceNetwork:
        """The network, which can be trained."""
        if isinstance(self._network, ArrayNetwork):
            self._network, self._on = self._network.in_torch(), self.device
        return self._network

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
        arrays, known = read_arrays(path)
        if known.get("architecture") == ArrayNetwork.architecture and options.get("device", "cpu") == "cpu":
            return cls(ArrayNetwork(known.get("config"), arrays, path), **options)
        from lenssuper.networks.weights import read_network

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
        with _one_thread(self._on):
            return self._solve(model, check_rng(rng), report or quietly)

    def _solve(self, model, rng, report):
        report(0.0, "super-resolving")
        training, held_out = split_pixels(model, _HELD_OUT, rng)
        problem = _problem(model, 2, self._on)
        mask = np.stack([np.zeros_like(held_out), held_out])
        sources, prior = _answer(self._network, problem.without(like(problem.used, mask)))
        scale = float(problem.scale[0, 0, 0])
        source, predicted = scale * as_numpy(sources).astype(float)
        score = held_out_chi2(model, held_out, predicted)
        if self.refine:
            refined, refined_score = self._refined(model, training, held_out, rng, report)
            if refined_score <= _AS_GOOD * score:
                report(1.0, "done")
                return replace(refined, held_out_chi2=refined_score, log_evidence=np.nan)
        report(0.95 if self.refine else 0.5, "drawing from the posterior")
        answer = _Answer(model, sources[:1], prior.of_one(0), scale)
        draws, modes = answer.draws(self.n_draws, rng)
        report(1.0, "done")
        return Posterior(
            mean=source,
            # half the difference of a pair is the deviation from its middle
            std=np.sqrt(np.mean((draws[::2] - draws[1::2]) ** 2, axis=0)) / 2,
            draws=draws,
            effective_modes=modes,
            hyperparameters={"refined": 0.0},
            held_out_chi2=score,
            at_mode=False,
            _draw=answer,
            _refit=answer.refit,
            _by_noise=answer.by_noise,
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
        problem = _problem(model, 1, self._on)
        _, prior = _answer(self._network, problem)
        maps = (as_numpy(image[0]).astype(float) for image in (prior.mean, prior.std))
        slope = max(float(prior.slope[0]), _LEAST_SLOPE)
        shape = FieldPrior(
            *maps, length=float(prior.length), log_std=0.0, slope=slope, least_slope=_LEAST_SLOPE
        )
        return shape, model, float(problem.scale[0, 0, 0])

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
                problem = SourceProblem.of(ForwardModelBatch([models[i] for i in part]), device=self._on)
                answer, _ = _answer(self._network, problem)
                found |= dict(zip(part, as_numpy(answer * problem.scale).astype(float), strict=True))
        return [found[i] for i in range(len(models))]


def _prepared(network, device):
    """Return a network ready for use, and the device of its tensors or, if it computes in numpy, None."""
    if isinstance(network, ArrayNetwork):
        return network, None
    from lenssuper.networks.base import SourceNetwork

    check_kind(network, "network", SourceNetwork, "a SourceNetwork, e.g. of NetworkSolver.read(path)")
    return network.to(device).eval(), device


@contextmanager
def _one_thread(device: Any) -> Iterator[None]:
    """
    Let BLAS compute in one thread, or torch if there is a device.

    The images of one observation are so small that threads wait for each other longer than they save: at 64
    to 200 pixels a side, two on two cores take a fifth more CPU time and a tenth more time.
    """
    if device is None:
        with one_blas_thread():
            yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _answer(network, problem: SourceProblem) -> tuple[Array, LogPrior]:
    with no_gradients(problem.white):
        sources, prior = network.answer(problem)
    if not np.isfinite(as_numpy(sources)).all():
        raise LensSuperError(
            "the network's answer is not finite: the data, or its weights, are far from those of its training"
        )
    return sources, prior


@dataclass(frozen=True)
class _Answer:
    """A network's answer to one observation, which sources are drawn around."""

    model: ForwardModel
    source: Array
    prior: LogPrior
    scale: float

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw n sources, in pairs that follow each other."""
        with _one_thread(self._on):
            return self.draws(n, rng)[0]

    def draws(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Draw n sources, and return the number of modes that the data determine too."""
        pairs, changes = [], []
        for start in range(0, n, 2 * _TOGETHER):
            half = min((n - start + 1) // 2, _TOGETHER)
            problem = _problem(self.model, half, self._on)
            noise = self._white_noise(problem.white.shape, rng) * problem.used
            white = self._white_noise((half, *self.source.shape[1:]), rng)
            steps = _RAISED * LogPosterior(problem, self.source, self.prior).deviations(noise, white)
            changes += as_numpy(total(problem.forward(self.source * steps) ** 2)).ravel().tolist()
            xp = namespace(steps)
            both = xp.stack([bounded_change(steps), bounded_change(-steps)], axis=1)
            pairs.append(as_numpy(self.source * xp.exp(both.reshape(2 * half, *steps.shape[1:]))))
        return self.scale * np.concatenate(pairs).astype(float)[:n], float(np.mean(changes)) / _RAISED**2

    def refit(self, model: ForwardModel) -> np.ndarray:
        """Return the source of another model, to first order."""
        here, there = (
            LogPosterior(_problem(each, 1, self._on, self.scale), self.source, self.prior)
            for each in (self.model, model)
        )
        with _one_thread(self._on):
            steps = bounded_change(there.step(there.pull_of_data() - here.pull_of_data()))
        return self.scale * as_numpy(self.source * namespace(steps).exp(steps))[0].astype(float)

    def by_noise(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return by how much n realisations of the noise change the source, to first order."""
        changes = []
        for start in range(0, n, _TOGETHER):
            problem = _problem(self.model, min(n - start, _TOGETHER), self._on)
            noise = self._white_noise(problem.white.shape, rng) * problem.used
            none = zeros_of(self.source, (len(noise), *self.source.shape[1:]))
            steps = LogPosterior(problem, self.source, self.prior).deviations(noise, none)
            changes.append(as_numpy(self.source * steps))
        return self.scale * np.concatenate(changes).astype(float)

    @property
    def _on(self):
        return self.source.device if is_tensor(self.source) else None

    def _white_noise(self, shape, rng):
        return like(self.source, rng.standard_normal(shape, dtype=np.float32))


class _Repeated:
    """One forward model as the projection of n sources to n images; no copies are made of it."""

    def __init__(self, model: ForwardModel, n: int) -> None:
        self.in_shape, self.out_shape = (n, *model.in_shape), (n, *model.out_shape)
        self.forward, self.adjoint = model.forward, model.adjoint
        self.lensed_image = getattr(model, "lensed_image", None)
        self.data, self.weights = (
            np.repeat(images[None], n, axis=0) for images in (model.data, model.weights)
        )


def _problem(model, n, device, scale=None) -> SourceProblem:
    return SourceProblem.of(_Repeated(model, n), device=device, scale=scale)
