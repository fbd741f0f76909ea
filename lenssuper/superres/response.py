"""What a change of lens, PSF, sky or noise does to a source found anew, and what the data say of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lenssuper.forward.model import ForwardModel
from lenssuper.solvers import Posterior
from lenssuper.superres.systematics import Change

__all__ = ["Response", "respond"]


@dataclass(frozen=True, eq=False, repr=False)
class Response:
    """
    Effects of a change by one standard deviation, half of the difference of both sides.

    Attributes
    ----------
    change : Change
    source : ndarray, shape (ny, nx) of the source grid
    image : ndarray, shape (ny, nx) of the fine grid
    direct, remaining : ndarray, shape (ny, nx) of the observation
        Change of the model, in units of the noise, with the source as it was, and with the source found anew.
    score : float
        Derivative of the logarithm of the evidence.
    own_information : float
        Expected curvature of the logarithm of the evidence.
    """

    change: Change
    source: np.ndarray
    image: np.ndarray
    direct: np.ndarray
    remaining: np.ndarray
    score: float
    own_information: float

    def __repr__(self) -> str:
        return f"<Response: to {self.change.name}, significance {self.significance:.1f}>"

    def information(self, other: Response) -> float:
        """Return what the data say of both changes: curvature of the logarithm of the evidence."""
        if other is self:
            return self.own_information
        return float(np.sum(self.remaining * other.direct + other.remaining * self.direct)) / 2

    @property
    def significance(self) -> float:
        """The score in units of its standard deviation if nothing is wrong; NaN if the data say nothing."""
        return self.score / math.sqrt(self.own_information) if self.own_information > 0 else math.nan


def respond(model: ForwardModel, posterior: Posterior, change: Change, draws: np.ndarray) -> Response:
    r"""
    Find the source with a change to either side, and what the data say of the change.

    With data and models in units of the noise, residuals r and the derivative d of the model at the source
    as it is, the derivative of the logarithm of the evidence is :math:`r^T d - \langle (B\delta)^T
    \partial B\,\delta\rangle`, the mean being over the deviations :math:`\delta` of draws from the posterior:
    that of the determinant in Laplace's approximation (MacKay 2003, eq. 27.5). Its variance under the model
    is that of the projection of d on what no source explains, :math:`d^T (1 - S)\,d`. Both are 0 if the
    source is not at the mode of its posterior.
    """
    plus, minus = change.plus, change.minus
    sources = [posterior.refit(each) for each in (plus, minus)]
    mean = posterior.mean

    def left(each, source):
        return each.whiten(each.data - each.forward(source))

    direct = (left(minus, mean) - left(plus, mean)) / 2
    remaining = (left(minus, sources[1]) - left(plus, sources[0])) / 2
    score, information = 0.0, 0.0
    if posterior.at_mode:
        score = float(np.sum(left(model, mean) * direct)) - _trace(model, change, draws)
        information = float(np.sum(direct * remaining))
        if not np.array_equal(plus.weights, minus.weights):
            # of the noise itself: the density at its peak falls as the noise grows
            size = -(plus.log_norm - minus.log_norm) / 2
            score -= size
            information = 2 * size**2 / max(int(np.count_nonzero(model.weights)), 1)
    images = [each.lensed_image(source) for each, source in zip((plus, minus), sources, strict=True)]
    return Response(
        change=change,
        source=(sources[0] - sources[1]) / 2,
        image=(images[0] - images[1]) / 2,
        direct=direct,
        remaining=remaining,
        score=score,
        own_information=max(information, 0.0),
    )


def _trace(model, change, draws):
    """Return the derivative of half the log determinant of the evidence."""
    deviations = draws - draws.mean(axis=0)
    before, ahead, behind = (
        each.whiten(each.forward(deviations)) for each in (model, change.plus, change.minus)
    )
    return float(np.sum(before * (ahead - behind))) / 2 / (len(draws) - 1)
