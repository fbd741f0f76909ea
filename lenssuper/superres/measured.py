"""What follows from a super-resolution, with errors: flux, size and shape of the source, magnification."""

from __future__ import annotations

import warnings
from abc import ABC
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from lenssuper._utils.checks import check_number
from lenssuper._utils.text import decimals
from lenssuper._utils.units import arcsec
from lenssuper._utils.warn import warn
from lenssuper.forward.model import ForwardModel
from lenssuper.superres.aperture import SourceAperture, find_aperture
from lenssuper.superres.drawnerrors import has_lens_errors
from lenssuper.superres.faint import faint_light

if TYPE_CHECKING:
    from astropy.cosmology import FLRW

    from lenssuper.lens import LensModel
    from lenssuper.observation import Observation
    from lenssuper.observation.grid import PixelGrid
    from lenssuper.solvers import Posterior
    from lenssuper.superres.drawnerrors import DrawnErrors

__all__ = ["Measured", "measure_rows"]

# One standard deviation of a Gaussian on either side of the median.
_PERCENTILES = (16.0, 50.0, 84.0)
# Share of the light in the aperture below which a warning says so.
_LITTLE = 0.8
_UNITS = {"half_light_radius": u.arcsec, "x": u.arcsec, "y": u.arcsec, "phi": u.deg}


class Measured(ABC):
    """A result with a source, its draws and a lens, from which other quantities follow."""

    observation: Observation
    lens: LensModel
    factor: int
    source_grid: PixelGrid
    posterior: Posterior
    coverage: np.ndarray
    order: int
    messages: tuple[str, ...]
    drawn_errors: DrawnErrors | None

    def _forward_model(self) -> ForwardModel:
        return ForwardModel(
            self.observation, self.lens, factor=self.factor, source_grid=self.source_grid, order=self.order
        )

    def samples(self, n: int, rng: np.random.Generator | int | None = None) -> u.Quantity:
        """
        Draw sources from the posterior.

        Parameters
        ----------
        n : int
        rng : `~numpy.random.Generator` or int, optional
            For fresh draws. Of a result that was read from a file, or has an error budget, it chooses
            among the draws that were kept.

        Returns
        -------
        `~astropy.units.Quantity`, shape (n, ny, nx) of the source grid, in the unit of the data

        Raises
        ------
        ValueError
            If more draws are asked for than there are, and fresh ones cannot be made.
        """
        return self.posterior.samples(n, rng) << self.observation.unit

    def image_samples(self, n: int, rng: np.random.Generator | int | None = None) -> u.Quantity:
        """
        Draw lensed images from the posterior: `samples`, lensed onto `fine_grid`.

        The standard deviation over the draws of anything measured in them, such as the flux in an aperture,
        is its uncertainty. Parameters and errors as in `samples`.

        Returns
        -------
        `~astropy.units.Quantity`, shape (n, factor ny, factor nx), in the unit of the data
        """
        if self.drawn_errors is not None:
            draws = self.drawn_errors.images
            if n > len(draws):
                raise ValueError(
                    f"n must be at most {len(draws)}, the draws of the error budget; got {n}: "
                    "SuperResolver(..., systematics=Systematics()) makes 64"
                )
            return draws[self.posterior.kept(n, rng)] << self.observation.unit
        self._warn_of_lost_lenses()
        return self._forward_model().lensed_image(self.samples(n, rng).value) << self.observation.unit

    @cached_property
    def _aperture(self) -> SourceAperture:
        model = self._forward_model()
        source = self.posterior.mean
        inside = find_aperture(model, source)
        x, y = np.broadcast_arrays(*self.source_grid.centers_arcsec())
        light = np.maximum(source[inside], 0.0)
        x0, y0 = (float(np.average(each[inside], weights=light)) for each in (x, y))
        return SourceAperture(inside, model, (x0, y0))

    @cached_property
    def _faint_light(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        aperture, posterior, drawn = self._aperture, self.posterior, self.drawn_errors
        # what is faint only beside errors of the lens is seen pixel by pixel, with one lens
        std = posterior.std if drawn is None else drawn.source_std
        return faint_light(aperture.model, posterior.mean, std, aperture.inside)

    @property
    def aperture(self) -> np.ndarray:
        """Pixels of the source in which `measure` measures it, array of bool of the source grid."""
        return self._aperture.inside.copy()

    def measure(
        self,
        n: int | None = None,
        *,
        rng: np.random.Generator | int | None = None,
        z_source: float | None = None,
        cosmology: FLRW | None = None,
    ) -> QTable:
        r"""
        Measure flux, size and shape of the source, and its magnification, with errors from the draws.

        Parameters
        ----------
        n : int, optional
            Number of draws, by default those that were kept; a few hundred give percentiles to some
            percent of an error bar.
        rng : `~numpy.random.Generator` or int, optional
            For fresh draws, or for others of those that were kept, see `samples`.
        z_source : float, optional
            Redshift of the source, for its size in kpc.
        cosmology : `~astropy.cosmology.FLRW`, optional
            By default `~astropy.cosmology.Planck18`.

        Returns
        -------
        `~astropy.table.QTable`
            Three rows, the percentiles 16, 50 and 84, and a column for each quantity: ``flux``, of the source
            without magnification; ``half_light_radius``, on the intermediate axis; ``axis_ratio``; ``phi``,
            counter-clockwise from +x; ``x`` and ``y``, the centroid in the source plane;
            ``aperture_share``, what ``flux`` is of all light in the source plane; ``magnification``, the
            total one; ``image_flux``, that of all images; ``magnification_1`` and so on, those of the single
            images, in the order in which they arrive, at the positions in ``table.meta["images"]``, which add
            up to the total; and with a redshift ``radius_kpc``.

        Raises
        ------
        ValueError
            If the result has fewer than two draws, or not ``n``, or the source has no light.

        Warns
        -----
        LensSuperWarning
            If less than 0.8 of the light is in the aperture.

        Notes
        -----
        All draws are measured in the same pixels, `aperture`: the Kron ellipse of `source` (2.5 Kron radii,
        as SExtractor's AUTO magnitudes; photutils). It starts from the pixels of the brightest galaxy that
        are two standard deviations of the noise bright, and 0.5% of the peak, when `source` is averaged over
        its resolution; errors of lens or PSF and the size of the pixels do not change it.
        It held 82 to 98% of the light of 16 mock spirals and mergers, at a S/N of 8 to 60, half of them with
        errors of the lens; all fluxes and radii were within two errors of the truth in it, and 13 and 14
        within one. Of the whole galaxies, whose wings are in the noise, fluxes and radii were 10% too small.
        ``aperture_share`` tells how much is in it, of the light that the data show: wings that are fainter
        than the noise are not counted, and another galaxy in the source plane is.
        Pixels that the field does not show are left out. Centroid, axis ratio and angle are those of the
        second moments, and half of the flux in the aperture is within the ellipse of that shape whose
        axes have the product `half_light_radius` squared.

        A draw with no positive flux or second moments in the aperture has no shape, and is left out of the
        percentiles of it; ``table.meta["shapes"]`` is the number of the others.

        Magnifications are those of the flux in the aperture, :math:`\mu = \sum s\,\mu_q / \sum s` with the
        magnification :math:`\mu_q` of each source pixel. A part of the image plane belongs to the nearest
        image, of the same parity, of the centroid of `source`.

        Of a result with an error budget (see `SuperResolver`) the lens of each draw is another one. The light
        of a galaxy that was subtracted beneath the arcs is taken as known, if its errors are not in the
        budget: beneath a bright one, errors of flux and shape then are several times too small. With them all
        of 36 fluxes of simulated sources were within two errors, and 31 axis ratios.

        The draws are shifted by a constant source, so that their mean is `source`: those of positive sources
        are skewed, and their mean has more light in the dark parts of an aperture than the data show. So has
        `source` itself. The mean brightness of those pixels in the aperture that are less than a standard
        deviation bright is therefore that of least squares on the residuals, and varies by its error: without
        this the flux of 30 mock galaxies with known lenses was 1.1% too large, and with it 0.1%. It changes
        with the lens and what else is in a budget, as those pixels do.
        """
        each = self.measure_draws(n, rng, z_source=z_source, cosmology=cosmology)
        table = QTable({"percentile": np.array(_PERCENTILES)}, meta=each.meta | {"draws": len(each)})
        table.meta["shapes"] = int(np.count_nonzero(np.isfinite(each["axis_ratio"])))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            for name in each.colnames:
                table[name] = np.nanpercentile(each[name], _PERCENTILES)
        share = float(table["aperture_share"][1])
        if share < _LITTLE:
            warn(
                f"the aperture holds {share:.0%} of the light in the source plane: flux, size and shape are "
                "those of this part, and less than those of the whole source (SuperResolution.aperture)"
            )
        return table

    def measure_draws(
        self,
        n: int | None = None,
        rng: np.random.Generator | int | None = None,
        *,
        z_source: float | None = None,
        cosmology: FLRW | None = None,
    ) -> QTable:
        """
        Measure single draws, for histograms and correlations of what `measure` gives percentiles of.

        Parameters and errors are those of `measure`.

        Returns
        -------
        `~astropy.table.QTable`
            A row for each draw.
        """
        if len(self.posterior.draws) < 2:
            raise ValueError(
                f"this result has {len(self.posterior.draws)} draws, and errors need two or more: "
                "super-resolve with a solver that draws from the posterior"
            )
        n = len(self.posterior.draws) if n is None else n
        if n < 2:
            raise ValueError(f"n must be at least 2; got {n}")
        which = self.posterior.kept(n, rng)
        draws = self.posterior.samples(n, rng) if which is None else self.posterior.draws[which]
        which = np.arange(n) if which is None else which
        centred = draws - draws.mean(axis=0) + self.posterior.mean
        parts, corrections, covariance = self._faint_light
        # the same for the same draw, in every call
        normal = np.random.default_rng(0).standard_normal((which.max() + 1, 2))[which]
        drawn = corrections[:, None] + _root(covariance) @ normal.T
        for faint, each in zip(parts, drawn, strict=True):
            if faint.any():
                known = self.posterior.mean[faint].mean() - centred[:, faint].mean(axis=1)
                changes = np.zeros(len(which))
                if self.drawn_errors is not None:
                    changes = self.drawn_errors.mean_changes(faint)[which]
                    changes = changes - changes.mean()
                centred[:, faint] += (known + each + changes)[:, None]
        return self._measured(centred, z_source, cosmology, *self._other_lenses(which))

    def measure_sources(
        self, sources: np.ndarray, *, z_source: float | None = None, cosmology: FLRW | None = None
    ) -> QTable:
        """
        Measure sources as `measure` does, in the same aperture: the truth of a simulation, or draws.

        Parameters
        ----------
        sources : array or `~astropy.units.Quantity`, shape (ny, nx) or (n, ny, nx) of the source grid
        z_source, cosmology : optional
            As for `measure`.

        Returns
        -------
        `~astropy.table.QTable`
            A row for each source.
        """
        sources = u.Quantity(sources, self.observation.unit).value
        if sources.shape[-2:] != self.source_grid.shape or sources.ndim not in (2, 3):
            raise ValueError(
                f"sources must have the shape of the source grid, {self.source_grid.shape}, or be a stack of "
                f"such; got {sources.shape}"
            )
        return self._measured(sources.reshape(-1, *sources.shape[-2:]), z_source, cosmology)

    def _other_lenses(self, which):
        """Return the aperture with the lenses of an error budget, and by how much each draw changes each."""
        if self.drawn_errors is None:
            self._warn_of_lost_lenses()
            return ()
        base, errors = self._aperture, self.drawn_errors
        of_lens = [k for k, pair in enumerate(errors.pairs) if pair is not None]
        pairs = [
            tuple(replace(base, model=base.model.with_lens(lens)) for lens in errors.pairs[k])
            for k in of_lens
        ]
        return pairs, errors.shares[np.ix_(which, of_lens)]

    def _warn_of_lost_lenses(self):
        if self.drawn_errors is None and has_lens_errors(self.messages):
            warn(
                "the file of this result is of an earlier version, without the lens of each draw: errors of "
                "magnifications, image fluxes and draws of the image are those of the source alone, with one "
                "lens. Super-resolve again to have those of the lens in them"
            )

    def _measured(self, sources, z_source, cosmology, *lenses):
        """Return the table of sources (n, ny, nx), with units."""
        table = QTable(meta={"images": arcsec(self._aperture.images)})
        for name, values in self._aperture.measure(sources, *lenses).items():
            if name == "phi":
                values = np.degrees(_together(values))
            table[name] = values << self._unit_of(name)
        if z_source is None:
            if cosmology is not None:
                raise TypeError("cosmology is for z_source: give the redshift of the source too")
            return table
        table["radius_kpc"] = table["half_light_radius"] * _kpc_per_arcsec(z_source, cosmology)
        return table

    def _unit_of(self, name):
        return self.observation.unit if name.endswith("flux") else _UNITS.get(name, u.dimensionless_unscaled)


def _root(covariance):
    """Return the lower triangular root of a covariance (2, 2), which may be singular."""
    first = np.sqrt(covariance[0, 0])
    across = covariance[1, 0] / first if first > 0 else 0.0
    return np.array([[first, 0.0], [across, np.sqrt(max(covariance[1, 1] - across**2, 0.0))]])


def _together(angles):
    """Return directions, which repeat after pi, within pi / 2 of their mean, which is within 0 and pi."""
    known = angles[np.isfinite(angles)]
    if not known.size:
        return angles
    mean = np.angle(np.mean(np.exp(2j * known))) / 2 % np.pi
    return mean + (angles - mean + np.pi / 2) % np.pi - np.pi / 2


def _kpc_per_arcsec(z_source, cosmology):
    """Return the size that an arcsec has in the source plane."""
    if cosmology is None:
        from astropy.cosmology import Planck18 as cosmology
    z_source = check_number(z_source, "z_source", above=0)
    if not hasattr(cosmology, "angular_diameter_distance"):
        raise TypeError(f"cosmology must be an astropy.cosmology FLRW, e.g. Planck18; got {cosmology!r}")
    distance = cosmology.angular_diameter_distance(z_source)
    return (distance * u.arcsec.to(u.rad)).to(u.kpc) / u.arcsec


def measure_rows(table: QTable) -> list[tuple[str, str]]:
    """Return the quantities of `Measured.measure` as rows of a name and a value with its errors."""
    return [
        (name.replace("_", " "), _in_words(table[name])) for name in table.colnames if name != "percentile"
    ]


def _in_words(values):
    values = u.Quantity(values)
    low, middle, high = values.value
    below, above = middle - low, high - middle
    known = [digits for digits in (decimals(below), decimals(above)) if digits is not None]
    digits = max(known, default=3)
    return f"{middle:.{digits}f} +{above:.{digits}f} -{below:.{digits}f} {values.unit.to_string()}".rstrip()
