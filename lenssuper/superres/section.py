"""The part of a page on a super-resolution: picture, numbers, lens, and what can be explored."""

from __future__ import annotations

import numpy as np

from lenssuper.plotting.pages import Section
from lenssuper.superres.figure import plot_result
from lenssuper.superres.measured import measure_rows
from lenssuper.superres.summary import lens_rows, summary_rows
from lenssuper.superres.viewer import viewer_of

__all__ = ["section_of"]


def section_of(result) -> Section:
    """Return the part of a page on a super-resolution."""
    return Section(
        plot_result(result),
        _in_words(result),
        [
            *((name, text) for name, text in summary_rows(result) if name not in ("note", "lens")),
            *_measured(result),
        ],
        caption="Data, model and residuals; super-resolved image, source, and the uncertainty of the source.",
        parameters=lens_rows(result),
        hyperparameters=result.hyperparameters,
        messages=result.messages,
        judgement=result.judgement,
        viewer=viewer_of(result),
    )


def _measured(result):
    """Return rows of what is measured in the source; none without draws, or without light."""
    try:
        return measure_rows(result.measure())
    except ValueError:
        return []


def _in_words(result):
    """Say what the picture shows, for those who cannot see it."""
    source = result.posterior.mean
    row, column = np.unravel_index(np.argmax(source), source.shape)
    x, y = result.source_grid.to_offset(column, row)
    beyond = np.mean(np.abs(result.residuals[~np.isnan(result.residuals)]) > 3)
    return (
        f"Six images. Above: the data, the model, and the residuals, {beyond:.1%} of them beyond 3 sigma. "
        "Below: the super-resolved image with the critical curves; the source with the caustics, brightest "
        f"({source[row, column]:.3g}) at x = {x:.2f} and y = {y:.2f} arcsec; and its uncertainty."
    )
