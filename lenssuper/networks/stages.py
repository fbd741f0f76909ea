"""Newton's method on the posterior of a log-normal source, whose prior a U-Net predicts in every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lenssuper.networks.arrays import Array, limited, namespace
from lenssuper.networks.bands import precondition, prepare_octaves
from lenssuper.networks.conjugate import conjugate_gradients
from lenssuper.networks.features import DARK, Features
from lenssuper.networks.field import correlated, field_amplitude
from lenssuper.networks.logprior import LogPrior
from lenssuper.networks.sourceproblem import SourceProblem

__all__ = ["CONDITIONS", "IN_CHANNELS", "OUT_CHANNELS", "Learned", "bounded_change", "stages"]

IN_CHANNELS, OUT_CHANNELS, CONDITIONS = 6, 3, 8
"""Channels that the U-Net takes and gives, and length of the learned vector that tells it the stage."""

# Range of the logarithm of a source's brightness, and largest changes of it in a stage
_RANGE = (-12.0, 2.3)
_RISE, _FALL = 1.5, 3.0


@dataclass(frozen=True)
class Learned:
    """
    What an `~lenssuper.networks.Unrolled` network has learned, as arrays or tensors.

    Attributes
    ----------
    unet : callable
        Returns images (n, 3, ny, nx) of images (n, 6, ny, nx) and a row of ``stage``.
    stage : Array, shape (n_stages, k)
        What tells the U-Net the stage.
    keep : Array, shape (n_stages,)
        How much of the source so far is in the mean of the prior.
    log_std, log_slope, log_length : Array, shape ()
        Of the correlated field: logarithms of its standard deviation, of its slope above 2, and of its
        correlation length as a share of the longer side of the grid.
    log_transmission : Array, shape (octaves,)
        See `~lenssuper.networks.bands.prepare_octaves`.
    """

    unet: Callable[[Array, Array], Array]
    stage: Array
    keep: Array
    log_std: Array
    log_slope: Array
    log_length: Array
    log_transmission: Array


def stages(learned: Learned, problem: SourceProblem, cg_steps: int) -> Iterator[tuple[Array, LogPrior]]:
    """Yield the sources (n, ny, nx) after each stage, and the prior of the stage."""
    features = Features.of(problem)
    f = features.log_back_projection
    white = None
    for number in range(len(learned.keep)):
        source = namespace(f).exp(f)
        gradient = problem.adjoint(problem.forward(source) - problem.white)
        prior = _prior(learned, number, f, source * gradient, source, features)
        white, change = _step(learned, prior, f, white, problem, gradient, features.weight, cg_steps)
        f = limited(f + change, *_RANGE)
        yield namespace(f).exp(f), prior


def bounded_change(steps: Array) -> Array:
    """Return changes of a logarithm, limited smoothly: the problem is linear only near it."""
    xp = namespace(steps)
    return xp.where(steps > 0, _RISE * xp.tanh(steps / _RISE), _FALL * xp.tanh(steps / _FALL))


def _step(learned, prior, f, white, problem, gradient, weight, cg_steps):
    """Take steps towards the mode: return the white noise of the field, and the change of the logarithm."""
    source, std = namespace(f).exp(f), prior.std
    amplitude = field_amplitude(f.shape[-2:], prior.slope.reshape(-1, 1, 1), prior.length)

    def transposed(x):
        return correlated(std * x, amplitude)

    def curvature(x):
        change = source * (std * correlated(x, amplitude))
        return x + transposed(source * problem.adjoint(problem.forward(change)))

    def pull(x):
        return source * problem.adjoint(problem.forward(source * x))

    octaves = prepare_octaves(learned.log_transmission, (std * source) ** 2 * weight, amplitude)
    white = conjugate_gradients(
        curvature,
        transposed(pull(f - prior.mean) - source * gradient),
        cg_steps,
        start=white,
        preconditioner=lambda x: precondition(octaves, x),
    )
    return white, bounded_change(prior.mean + std * correlated(white, amplitude) - f)


def _prior(learned, number, f, slope, source, features):
    """Return the U-Net's prior of the logarithm of the source."""
    xp = namespace(f)
    # in units of its standard deviation by the noise
    misfit = slope / (1 + features.weight * source**2) ** 0.5
    seen = xp.stack([f / 3 + 1, xp.tanh(misfit / 5)], axis=1)
    drawn = learned.unet(xp.concat([seen, features.channels()], axis=1), learned.stage[number])
    mean = DARK + learned.keep[number] * (f - DARK) + drawn[:, 0]
    tilt = limited(xp.mean(drawn[:, 2], axis=(-2, -1)), -2.0, 2.0)
    return LogPrior(
        mean=limited(mean, -10.0, 2.0),
        std=xp.exp(learned.log_std + limited(drawn[:, 1], -3.0, 1.0)),
        slope=2 + xp.exp(learned.log_slope + tilt),
        length=xp.exp(learned.log_length),
    )
