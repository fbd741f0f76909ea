"""A test of the width of the PSF by the arcs."""

from __future__ import annotations

from lenssuper.forward.model import ForwardModel
from lenssuper.solvers import Posterior
from lenssuper.superres.response import respond
from lenssuper.superres.systematics import Systematics

__all__ = ["psf_measures"]

# Relative change of the width over which derivatives are taken.
_STEP = 0.03
# Samples in the full width at half maximum of a PSF from which its width can be changed.
_SAMPLED = 1.5


def psf_measures(model: ForwardModel, posterior: Posterior) -> dict[str, float]:
    """
    Return the measures of a verdict on the PSF: how wrong its width is, and how many sigma that is.

    The score of the width, see `respond`, has variance 1 in units of its error if the PSF is right. Nothing
    is measured without a PSF, of one narrower than its samples, without draws, or if the source cannot be
    fitted again or is not at the mode of its posterior.
    """
    observation = getattr(model, "observation", None)
    if observation is None or observation.psf is None or not (posterior.can_respond and posterior.at_mode):
        return {}
    sample = observation.grid.side_arcsec / observation.psf_oversampling
    if observation.psf_fwhm_arcsec < _SAMPLED * sample:
        return {}
    change = next(iter(Systematics(psf=_STEP).changes(model)))
    found = respond(model, posterior, change, posterior.draws)
    if not found.own_information > 0:
        return {}
    return {
        "psf_change": _STEP * found.score / found.own_information,
        "psf_sigma": abs(found.significance),
    }
