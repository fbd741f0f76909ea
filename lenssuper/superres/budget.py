"""The error budget of a super-resolution: how much of its errors comes from what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy.ndimage import gaussian_filter

from lenssuper._utils.checks import check_count, check_rng
from lenssuper.forward.model import ForwardModel
from lenssuper.plotting.notebook import Pictured
from lenssuper.solvers import Posterior
from lenssuper.superres.response import Response, respond
from lenssuper.superres.systematics import Systematics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BUDGET_DRAWS", "ErrorBudget", "error_budget"]

BUDGET_DRAWS = 64
"""Draws over a budget that is asked for."""
# Brightness, as a share of the peak, of the pixels that are averaged over.
_BRIGHT = 0.1
# Realisations of the noise from which its share of the posterior's variance is found, and the standard
# deviation, in pixels, of the Gaussian that smooths the maps.
_NOISES, _SMOOTHING = 8, 1.5


@dataclass(frozen=True, eq=False, repr=False)
class ErrorBudget(Pictured):
    """
    Parts of the variance of a super-resolution, and draws over all of them.

    Attributes
    ----------
    responses : tuple of Response
        What each thing that may be wrong does to source and image.
    covariance : ndarray, shape (n, n)
        Of these things, in units of the errors that were given, after the data were seen.
    pulls : ndarray, shape (n,)
        Where the data want them, in units of the errors that were given; 0 for those of a fit.
    variances : dict of str to (ndarray, ndarray)
        Maps of the variance of source and image by part, in the unit of the data squared.
    source_draws, image_draws : ndarray, shape (n, ny, nx)
        Sources and lensed images, drawn over everything together.
    shares : ndarray, shape (n, number of responses)
        By how many of the errors that were given each draw is changed.
    unit : `~astropy.units.Unit`
        Unit of the data.
    bright : (ndarray, ndarray)
        Pixels of source and image above a tenth of the peak, over which the table averages.

    Notes
    -----
    The source is found again with each thing changed by one standard deviation to either side, with the
    hyper-parameters of the prior as they are; half of the difference is the response, and draws are sums of
    responses and of draws of the source. The variance of what is not from a fit to the same data is updated
    by them: with the derivative d of the model, in units of the noise, and t, what remains of it after the
    source has changed, the data add t' d to the precision. What the data want instead of what was
    given, the pull, widens the errors, and does not move the result.

    The light of a galaxy that was fitted is sometimes very wrong: along its errors draws have Student's
    distribution of three degrees of freedom, whose tails are wide. Maps and table have half the width of the
    interval that holds 68% of it, in place of a standard deviation.
    """

    responses: tuple[Response, ...]
    covariance: np.ndarray
    pulls: np.ndarray
    variances: dict[str, tuple[np.ndarray, np.ndarray]]
    source_draws: np.ndarray
    image_draws: np.ndarray
    shares: np.ndarray
    unit: u.UnitBase
    bright: tuple[np.ndarray, np.ndarray]

    def __repr__(self) -> str:
        return f"<ErrorBudget: {len(self.source_draws)} draws over {', '.join(self.parts)}>"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, noise and prior of the source first."""
        return tuple(self.variances)

    def std(self, part: str | None = None, plane: str = "image") -> np.ndarray:
        """
        Return the standard deviation from one part, or from all.

        Parameters
        ----------
        part : str, optional
            One of `parts`; by default all together.
        plane : {"image", "source"}, optional

        Returns
        -------
        ndarray, shape (ny, nx)
        """
        which = {"source": 0, "image": 1}[plane]
        if part is not None and part not in self.variances:
            raise ValueError(f"part must be one of {', '.join(self.parts)}; got {part!r}")
        names = self.parts if part is None else [part]
        return np.sqrt(sum(self.variances[name][which] for name in names))

    @cached_property
    def table(self) -> QTable:
        """
        The budget as a table, a row for each part and one for all.

        ``image`` and ``source`` are root mean square standard deviations in bright pixels, above a tenth of
        the peak, and ``image_share`` and ``source_share`` what they are of the variance; ``leads`` is the
        share of the bright pixels of the image in which the part is the largest.
        """
        names = "image", "source", "image_share", "source_share", "leads"
        rows: dict[str, Any] = {name: [] for name in names}
        maps = np.stack([self.variances[part][1][self.bright[1]] for part in self.parts])
        first = np.bincount(np.argmax(maps, axis=0), minlength=len(self.parts)) / maps.shape[1]
        for part in self.parts:
            for k, plane in enumerate(("source", "image")):
                rows[plane].append(np.mean(self.variances[part][k][self.bright[k]]))
        for plane in ("source", "image"):
            total = sum(rows[plane])
            rows[f"{plane}_share"] = [*(each / total for each in rows[plane]), 1.0]
            rows[plane] = np.sqrt([*rows[plane], total]) << self.unit
        rows["leads"] = [*first, 1.0]
        return QTable({"part": [*self.parts, "all"], **rows})

    @cached_property
    def changes(self) -> QTable:
        """What may be wrong, one by one: where the data want it and to what, in units of the error given."""
        names = [(each.change.part, each.change.name) for each in self.responses]
        numbers = {"pull": self.pulls, "error": np.sqrt(np.diag(self.covariance))}
        numbers["sigma"] = np.array([each.significance for each in self.responses])
        return QTable({"part": [part for part, _ in names], "name": [name for _, name in names]} | numbers)

    def summary(self) -> str:
        """Describe the budget in a few lines."""
        lines = self.table.pformat(max_lines=-1, max_width=-1)
        return "\n".join([*lines, "", *self.changes.pformat(max_lines=-1, max_width=-1)])

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """Draw the error of the image, the part that leads in each pixel, and the shares of all."""
        from lenssuper.superres.budgetfigure import plot_budget

        return plot_budget(self, figure)


def error_budget(
    model: ForwardModel,
    posterior: Posterior,
    systematics: Systematics,
    *,
    n: int = BUDGET_DRAWS,
    rng: np.random.Generator | int | None = None,
    report: Callable[[float, str], None] | None = None,
) -> ErrorBudget:
    """
    Return the budget of a posterior, see `ErrorBudget`.

    ``model`` is the one that was solved, with the noise it was solved with, and ``n`` the number of draws: of
    those that the posterior keeps, if they are enough, or else fresh ones.
    """
    rng, n = check_rng(rng), check_count(n, "n", 2)
    draws = posterior.samples(n, rng if n > len(posterior.draws) else None)
    changes = list(systematics.changes(model))
    responses = []
    for k, change in enumerate(changes):
        if report is not None:
            report(k / len(changes), f"error budget: {change.part}")
        responses.append(respond(model, posterior, change, draws))
    covariance, pulls = _updated(responses, posterior.at_mode)
    sources = np.stack([each.source for each in responses]) if responses else np.zeros((0, *model.in_shape))
    images = (
        np.stack([each.image for each in responses]) if responses else np.zeros((0, *model.fine_grid.shape))
    )
    variances = _variances(model, posterior, draws, rng)
    for part in dict.fromkeys(change.part for change in changes):
        own = np.array([change.part == part for change in changes])
        inner = covariance[np.ix_(own, own)]
        variances[part] = tuple(np.einsum("jk,jab,kab->ab", inner, m[own], m[own]) for m in (sources, images))
    shares = _shares(changes, covariance, n, rng)
    lensed = model.lensed_image(draws) + np.tensordot(shares, images, 1)
    moved = draws + np.tensordot(shares, sources, 1)
    if posterior.mean.min() >= 0:
        lensed, moved = np.maximum(lensed, 0.0), np.maximum(moved, 0.0)
    mean_image = model.lensed_image(posterior.mean)
    bright = tuple(m > _BRIGHT * m.max() for m in (posterior.mean, mean_image))
    return ErrorBudget(
        tuple(responses), covariance, pulls, variances, moved, lensed, shares, model.observation.unit, bright
    )


def _updated(responses, at_mode):
    """
    Return the covariance of all changes with what the data say of them, and where they want them.

    Where the source is not at the mode of its posterior, the data say nothing, and errors remain as given.
    """
    size = len(responses)
    precision, score = np.eye(size), np.zeros(size)
    free = [k for k, each in enumerate(responses) if at_mode and not each.change.fitted]
    for j in free:
        score[j] = responses[j].score
        for k in free:
            precision[j, k] += responses[j].information(responses[k])
    covariance = np.linalg.inv((precision + precision.T) / 2)
    pulls = covariance @ score
    return covariance + np.outer(pulls, pulls), pulls


def _shares(changes, covariance, n, rng):
    """Draw by how many of the errors that were given each thing is changed, shape (n, number of changes)."""
    if not changes:
        return np.zeros((n, 0))
    shares = rng.multivariate_normal(np.zeros(len(changes)), covariance, n)
    return np.stack([each.drawn(shares[:, k], rng) for k, each in enumerate(changes)], axis=1)


def _variances(model, posterior, draws, rng):
    """Return the maps of variance of source and image that are from the noise and from the prior."""
    noises = posterior.changes_by_noise(model, _NOISES, rng)
    spread = draws - draws.mean(axis=0)
    total = posterior.std**2, np.var(model.lensed_image(spread), axis=0, ddof=1)
    parts = {"noise": [], "prior of the source": []}
    for whole, deviation in zip(total, (noises, model.lensed_image(noises)), strict=True):
        share = gaussian_filter(np.mean(deviation**2, axis=0), _SMOOTHING) / np.maximum(
            gaussian_filter(whole, _SMOOTHING), 1e-300
        )
        share = np.clip(share, 0.0, 1.0)
        parts["noise"].append(share * whole)
        parts["prior of the source"].append((1 - share) * whole)
    return {name: tuple(maps) for name, maps in parts.items()}
