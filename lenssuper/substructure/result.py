"""The result of a search for substructure: maps, candidates, the lens with them, files and a figure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from astropy.table import QTable

from lenssuper._utils.checks import check_length, check_number
from lenssuper._utils.text import as_text
from lenssuper._utils.units import arcsec
from lenssuper.forward.judgement import Judged, Verdict
from lenssuper.lens import LensModel
from lenssuper.lensfit.exposure import Exposure
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.substructure.candidates import Candidate
from lenssuper.substructure.correction import Correction
from lenssuper.substructure.file import write_substructure
from lenssuper.substructure.judgement import judged, remarks
from lenssuper.substructure.maps import Maps
from lenssuper.substructure.search import Found
from lenssuper.substructure.templates import Perturber
from lenssuper.substructure.text import rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SubstructureResult"]


@dataclass(frozen=True, eq=False, repr=False)
class SubstructureResult(Judged):
    """
    What a search for substructure found; made by `~lenssuper.SubstructureMap`.

    Maps are `~astropy.nddata.NDData` with a WCS, of the field around the arcs. What is detected is in
    ``candidates``: a map by itself is no detection.

    Attributes
    ----------
    observation : Observation
    profile : Perturber
        The kind of perturber.
    smooth_lens : LensModel
        The lens without clumps, with its multipoles.
    lens : LensModel
        The lens with the clumps that are detected.
    candidates : tuple of Candidate
        The peaks that were fitted, in this order; the last may not be detected.
    residuals : ndarray, shape (ny, nx)
        Of the smooth lens, in units of the noise, NaN where a pixel is not used.
    reduced_chi2 : tuple of float
        Chi-square per degree of freedom of ``smooth_lens`` and of ``lens``.
    maps : Maps
        Numbers of the scan of the smooth lens.
    rescan : Maps
        Those of the last scan, with the clumps that are detected in the lens.
    correction : Correction
        The free correction of the potential of the smooth lens, for what is no single clump.
    messages : tuple of str
        Remarks on the fits.
    judgement : Verdict
        Whether what is said of clumps is to be believed, see `verdict`, `reasons` and `measures`.
    """

    observation: Observation
    profile: Perturber
    smooth_lens: LensModel
    lens: LensModel
    candidates: tuple[Candidate, ...]
    residuals: np.ndarray
    reduced_chi2: tuple[float, float]
    maps: Maps
    rescan: Maps
    correction: Correction
    messages: tuple[str, ...] = ()
    judgement: Verdict | None = None

    @classmethod
    def of(
        cls,
        exposure: Exposure,
        profile: Perturber,
        found: Found,
        correction: Correction,
    ) -> SubstructureResult:
        """Return the result of what a search has found."""
        smooth, lens = found.smooth, found.lens
        observation = exposure.part
        residuals = np.full(observation.shape, np.nan)
        (camera,) = smooth.source.cameras
        residuals[exposure.weights > 0] = camera.unwhitened(smooth.inversion.residuals)
        return cls(
            observation,
            profile,
            smooth.lens,
            lens.lens,
            found.candidates,
            residuals,
            (smooth.refined.reduced_chi2, lens.refined.reduced_chi2),
            found.first,
            found.last,
            correction,
            remarks(found),
            judged(found),
        )

    @property
    def grid(self) -> PixelGrid:
        """Pixels of the maps."""
        return self.maps.grid

    @property
    def detections(self) -> tuple[Candidate, ...]:
        """The candidates for which the evidence is decisive."""
        return tuple(each for each in self.candidates if each.detected)

    @property
    def significance(self) -> NDData:
        """Amplitude of a perturber of the given mass over its error, with the smooth lens marginalised."""
        return self._pack(self.maps.significance)

    @property
    def remaining(self) -> NDData:
        """The same with the detected clumps in the lens."""
        return self._pack(self.rescan.significance)

    @property
    def amplitude(self) -> NDData:
        """Amplitude in units of a perturber of the given mass."""
        return self._pack(self.maps.amplitude)

    @property
    def sigma(self) -> NDData:
        """Error of the amplitude."""
        return self._pack(self.maps.sigma)

    @property
    def convergence(self) -> NDData:
        """Convergence of the free correction of the smooth lens."""
        return self._pack(self.correction.convergence)

    @property
    def mass(self) -> NDData:
        """Mass that fits best at each position, to first order; NaN where it is negative or out of range."""
        return self._pack(self.maps.mass, self._mass_unit)

    def sensitivity(self, sigmas: float = 5.0) -> NDData:
        """
        Map the mass that would be seen.

        Parameters
        ----------
        sigmas : float, optional
            Significance with which it is seen, source and smooth lens marginalised.

        Returns
        -------
        `~astropy.nddata.NDData`
            In solar masses; masked where not even a perturber of 1e11 would be.
        """
        return self._pack(self.maps.sensitivity(check_number(sigmas, "sigmas", above=0)), self._mass_unit)

    def at(self, x: u.Quantity, y: u.Quantity) -> dict[str, float | u.Quantity]:
        """
        Return the maps at the position of a perturber.

        Parameters
        ----------
        x, y : `~astropy.units.Quantity`
            Offset, within the field of the maps.

        Returns
        -------
        dict
            ``significance``, ``amplitude``, ``sigma``, ``mass`` and ``sensitivity`` (at 5 sigma) of the
            nearest pixel.

        Raises
        ------
        ValueError
            If the position is outside of the maps.
        """
        column, row = self.grid.to_pixel(check_length(x, "x"), check_length(y, "y"))
        i, j = round(column), round(row)
        ny, nx = self.grid.shape
        if not (0 <= i < nx and 0 <= j < ny):
            vx, vy = (v.ravel() for v in np.broadcast_arrays(*self.grid.vertices_arcsec()))
            raise ValueError(
                f"x and y must be in the field of the maps, x {vx.min():.2f} to {vx.max():.2f} and y "
                f"{vy.min():.2f} to {vy.max():.2f} arcsec; got {x}, {y}: far from the arcs "
                "a perturber is not distinguished from the smooth lens"
            )
        maps = {name: getattr(self, name) for name in ("significance", "amplitude", "sigma", "mass")}
        maps["sensitivity"] = self.sensitivity()
        return {
            name: each.data[j, i] * each.unit if each.unit else float(each.data[j, i])
            for name, each in maps.items()
        }

    @property
    def table(self) -> QTable:
        """The candidates, a row each."""
        table = QTable()
        table["x"] = arcsec(np.array([each.x for each in self.candidates], dtype=float))
        table["y"] = arcsec(np.array([each.y for each in self.candidates], dtype=float))
        table["x_err"] = arcsec(np.array([each.errors[0] for each in self.candidates], dtype=float))
        table["y_err"] = arcsec(np.array([each.errors[1] for each in self.candidates], dtype=float))
        table["mass"] = np.array([each.mass for each in self.candidates], dtype=float) * u.Msun
        table["log10_mass_err"] = np.array([each.errors[2] for each in self.candidates]) / np.log(10)
        table["concentration"] = np.array([each.concentration for each in self.candidates], dtype=float)
        table["delta_ln_z"] = np.array([each.gain for each in self.candidates], dtype=float)
        table["detected"] = np.array([each.detected for each in self.candidates], dtype=bool)
        return table

    @property
    def _mass_unit(self):
        return u.Msun if self.profile.has_mass else None

    def _pack(self, values, unit=None):
        return NDData(values.copy(), unit=unit, mask=~np.isfinite(values), wcs=self.grid.wcs)

    def summary(self) -> str:
        """Return a few lines of text on what was found."""
        return as_text([*rows(self), *self.verdict_rows()], 13)

    def __repr__(self) -> str:
        return f"<SubstructureResult: {len(self.detections)} detected of {len(self.candidates)} candidates>"

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw data, residuals, the maps of significance before and after, and the sensitivity.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            Where to draw; by default a new one of 17 x 10 inches.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from lenssuper.substructure.figure import plot_substructure

        return plot_substructure(self, figure)

    def section(self):
        """Return the part of a page on this search, a `~lenssuper.plotting.pages.Section`."""
        from lenssuper.plotting.pages import Section

        return Section(
            self.plot(),
            "Data, residuals, significance of a perturber before and after, and the mass that would be seen",
            [(name, text) for name, text in rows(self) if name != "note"],
            heading="Search for substructure",
            messages=self.messages,
            judgement=self.judgement,
        )

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the maps, with WCS, and the table of candidates as FITS.

        Parameters
        ----------
        path : str or path-like
            Name of the file.
        overwrite : bool, optional
            Whether a file of that name may be replaced.

        Raises
        ------
        FileExistsError
            If the file is there and ``overwrite`` is not set.
        """
        write_substructure(self, path, overwrite=overwrite)
