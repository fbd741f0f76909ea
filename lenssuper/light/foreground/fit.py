"""The result of a fit to a lens galaxy: its light, and the image without it."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper._utils.text import as_text
from lenssuper.forward.judgement import Judged, Verdict
from lenssuper.light.fit import SersicFit
from lenssuper.light.foreground.isophotes import Isophotes
from lenssuper.light.foreground.judgement import galaxy_of
from lenssuper.light.foreground.modelerror import with_model_error
from lenssuper.observation import Observation, write_observation
from lenssuper.plotting.notebook import Pictured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ForegroundFit"]


@dataclass(frozen=True, eq=False, repr=False)
class ForegroundFit(Judged, Pictured):
    """
    The light of a lens galaxy, made by `ForegroundFitter`.

    Attributes
    ----------
    observation : Observation
        The image.
    fit : SersicFit
        The Sersic profiles and the sky, without the corrections to their isophotes.
    light : ndarray, shape (ny, nx)
        The galaxy as observed, isophotes corrected, without the sky.
    variance : ndarray, shape (ny, nx)
        Of galaxy and sky together.
    arcs : ndarray of bool, shape (ny, nx)
        Pixels that were not fitted because of other light than that of the galaxy.
    isophotes : Isophotes or None
        The corrections, if there are any.
    source : ndarray or None
        The lensed source as observed, if it was fitted jointly or given.
    source_parameters : ndarray of shape (n, 7) or None
        Its Sersic profiles in the source plane, if it was fitted jointly: x, y, R_e (arcsec), n, q, phi
        (radian), amplitude.
    unmodelled : ndarray, shape (ny, nx)
        Standard deviation of what a smooth galaxy cannot describe, such as dust; part of ``variance``.
    light_errors : ndarray, shape (n, ny, nx), or None
        Images by which the galaxy may be wrong all at once, one error bar of 68% each, where it was fitted
        together with the arcs, see ``LensFit.light_errors``.
    model_error : float
        Share of the light of the image that was added to its noise for the fit, 0 if none was: where the core
        of a galaxy, for which no PSF is good enough, would decide how its outskirts are fitted.
    judgement : Verdict or None
        Whether the fit is to be trusted, see `verdict`; None if it was not judged.
    """

    observation: Observation
    fit: SersicFit
    light: np.ndarray
    variance: np.ndarray
    arcs: np.ndarray
    unmodelled: np.ndarray
    isophotes: Isophotes | None = None
    source: np.ndarray | None = None
    source_parameters: np.ndarray | None = None
    light_errors: np.ndarray | None = None
    model_error: float = 0.0
    judgement: Verdict | None = None

    @property
    def sky(self) -> float:
        """Brightness of the sky, in the unit of the data."""
        return float(self.fit.sky)

    @property
    def model(self) -> CCDData:
        """Galaxy and sky, with their standard deviation."""
        image = self.observation.to_nddata()
        image.data = self.light + self.sky
        image.uncertainty = StdDevUncertainty(np.sqrt(self.variance))
        return image

    @property
    def subtracted(self) -> Observation:
        """
        The image without galaxy and sky, ready for `~lenssuper.SuperResolver`.

        The variance of the model is added to that of the data, and `light_errors` are those of the
        observation. Mask, PSF and grid are those of the image; the meta data name what was subtracted.
        """
        left = self.observation.without(self.light + self.sky, self.variance, self.light_errors)
        return replace(left, meta=self._meta())

    @property
    def unsubtracted(self) -> Observation:
        """
        The image with galaxy and sky, for `~lenssuper.LensFitter` with this fit as its ``foreground``.

        To the variance of the data that of `unmodelled` is added. The meta data are those of `subtracted`.
        """
        nothing = np.zeros(self.observation.shape)
        return replace(self.observation.without(nothing, self.unmodelled**2), meta=self._meta())

    @property
    def parts(self) -> np.ndarray:
        """
        Images (K, ny, nx) by which the galaxy may differ from `light`, for a fit together with the arcs.

        The Sersic profiles, as bright as they are, and the Fourier modes of the isophotes, each at one
        standard deviation of its prior.
        """
        profiles = self.fit.component_images()
        return profiles if self.isophotes is None else np.concatenate([profiles, self.isophotes.parts])

    def with_galaxy(self, image: np.ndarray, errors: np.ndarray | None = None) -> ForegroundFit:
        """
        Return the fit with another image (ny, nx) of galaxy and sky, as fitted together with the arcs.

        ``errors`` (n, ny, nx) are its `light_errors`.
        """
        return replace(self, light=image - self.sky, light_errors=errors)

    def _meta(self):
        meta = copy.deepcopy(self.observation.meta)
        meta["FGSERSIC"] = len(self.fit.components)
        meta["FGMODES"] = 0 if self.isophotes is None else self.isophotes.order
        meta["FGSKY"] = self.sky
        meta["FGMODERR"] = self.model_error
        meta["FGARCPIX"] = int(np.count_nonzero(self.arcs))
        meta.update(galaxy_of(self).cards(self.observation))
        meta.update({} if self.judgement is None else self.judgement.cards())
        return meta

    @property
    def reduced_chi2(self) -> float:
        """Chi-square per fitted pixel: 1 if model and noise, the `model_error` included, are right."""
        residual = self.observation.data - self.light - self.sky
        used = ~self.observation.mask
        if self.source is None:
            used &= ~self.arcs
        else:
            residual = residual - self.source
        return float(
            np.mean((residual**2 * with_model_error(self.observation, self.model_error).weights)[used])
        )

    def summary(self) -> str:
        """Return a few lines of text on what was subtracted."""
        return as_text([*self._rows(), *self.verdict_rows()], width=10)

    def _rows(self):
        shape = "x".join(str(n) for n in self.observation.shape[::-1])
        lines = [
            ("image", f"{shape} pixels of {self.observation.grid.pixel_scale:.4g}"),
            ("arcs", f"{np.count_nonzero(self.arcs)} pixels left out"),
            *((f"Sersic {k}", _line(row)) for k, row in enumerate(self.fit.table, start=1)),
            ("sky", f"{self.sky:.4g}"),
            ("chi2", f"{self.reduced_chi2:.3f} per pixel"),
        ]
        if self.isophotes is not None:
            order, modes = self.isophotes.order, self.isophotes.effective
            lines.insert(-2, ("modes", f"up to m = {order}, {modes:.0f} coefficients measured"))
        if self.source_parameters is not None:
            lines.insert(2, ("source", f"{len(self.source_parameters)} Sersic through the lens"))
        elif self.source is not None:
            lines.insert(2, ("source", "the arcs of a fit of the lens, fitted in turn"))
        if self.model_error:
            lines.append(("noise", f"{self.model_error:.0%} of the light was added"))
        return lines

    def __repr__(self) -> str:
        return f"<ForegroundFit: {len(self.fit.components)} Sersic, reduced_chi2={self.reduced_chi2:.3f}>"

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw the image, the galaxy, and the image without it, as a whole and in the centre.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            Where to draw; by default a new one of 14 x 8 inches, which ``savefig`` writes.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from lenssuper.light.foreground.figure import plot_foreground

        return plot_foreground(self, figure=figure)

    def section(self):
        """Return the part of a page on this fit, a `~lenssuper.plotting.pages.Section`."""
        from lenssuper.plotting.pages import Section

        return Section(
            self.plot(),
            "Data, galaxy, and data without it; residuals over sigma, pixels taken for arcs, and the centre",
            self._rows(),
            heading="Light of the lens galaxy",
            judgement=self.judgement,
        )

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the image without galaxy and sky, for ``lenssuper run`` and `~lenssuper.read_observation`.

        Parameters
        ----------
        path : str or path-like
            Name of the file.
        overwrite : bool, optional
            Whether a file of that name may be replaced.
        """
        write_observation(self.subtracted, path, overwrite=overwrite)


def _line(row) -> str:
    return (
        f"R_e = {row['R_e']:.3g}, n = {row['n']:.2f}, q = {row['q']:.2f}, phi = {row['phi']:.0f}, "
        f"at ({row['x']:.3f}, {row['y']:.3f})"
    )
