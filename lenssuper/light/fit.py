"""The result of a fit of Sersics to a galaxy: numbers with errors, images, a file and a figure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.modeling.models import Sersic2D
from astropy.nddata import CCDData, NDData
from astropy.table import QTable

from lenssuper._utils.checks import check_count, check_rng
from lenssuper._utils.text import as_text
from lenssuper.light.fitfile import read_fit, write_fit
from lenssuper.light.profiles import (
    astropy_model,
    checked,
    component_images_of,
    draw,
    summary_rows,
    total_fluxes,
)
from lenssuper.light.sersic.components import NAMES
from lenssuper.observation import Observation
from lenssuper.plotting.notebook import Pictured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SersicFit"]


@dataclass(frozen=True, eq=False, repr=False)
class SersicFit(Pictured):
    """
    Sersic profiles that describe a galaxy.

    Made by `SersicFitter`, `from_parameters` or `read`. Brightness is in the unit of the data, per pixel of
    the data.

    Attributes
    ----------
    observation : Observation
        The data; pixels that the fit did not use are masked.
    parameters : ndarray, shape (K, 7), read-only
        x, y, R_e in arcsec, n, q, phi in radian, and the brightness at R_e, of each profile.
    sky : float
        Brightness that is the same everywhere.
    covariance : ndarray, shape (7 K + 1, 7 K + 1), read-only
        Of the six parameters x, y, R_e, n, q, phi of each profile, then the amplitudes, then the sky; zero
        for a parameter that was fixed or ended at a bound, NaN if it is not known.
    model_image : ndarray, shape (ny, nx), read-only
        The profiles as observed, with the sky.
    n_free : int
        Number of parameters that were fitted.
    noise_correlation : float
        Factor by which correlations between pixels raise the variance of structures larger than a pixel;
        errors and `bic` include it.
    method : str
        How the profiles were found.
    messages : tuple of str
        Remarks on the fit.

    Notes
    -----
    R_e is on the intermediate axis, the geometric mean of the semi-axes; `components` have astropy's
    ``r_eff`` on the major axis, R_e / sqrt(q), in pixels. Positions are offsets from the reference point of
    the observation's grid, x to the west and y to the north, and phi is counter-clockwise from +x.
    """

    observation: Observation
    parameters: np.ndarray
    sky: float
    covariance: np.ndarray
    model_image: np.ndarray
    n_free: int
    noise_correlation: float = 1.0
    method: str = ""
    messages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for values in (self.parameters, self.covariance, self.model_image):
            values.flags.writeable = False

    @classmethod
    def from_parameters(
        cls,
        observation: NDData | Observation,
        parameters: Sequence[Sequence[float]],
        sky: float = 0.0,
        covariance: np.ndarray | None = None,
        *,
        n_free: int | None = None,
        noise_correlation: float = 1.0,
        method: str = "",
        messages: Iterable[str] = (),
    ) -> SersicFit:
        """
        Compute the model and its quality from the parameters of the profiles.

        Parameters
        ----------
        observation : `~astropy.nddata.NDData` or Observation
            The data; pixels that the fit did not use are masked.
        parameters : array, shape (K, 7)
            x, y, R_e in arcsec, n, q, phi in radian, and the brightness at R_e, of each profile.
        sky, covariance, noise_correlation, method, messages : optional
            See the attributes; by default the covariance is not known.
        n_free : int, optional
            Number of parameters that were fitted; by default all 7 K + 1.

        Returns
        -------
        SersicFit

        Raises
        ------
        ValueError
            If the parameters are not those of Sersics, or the covariance has another shape.
        """
        observation = Observation.of(observation)
        profiles = checked(parameters)
        size = 7 * len(profiles) + 1
        covariance = np.full((size, size), np.nan) if covariance is None else np.array(covariance, float)
        if covariance.shape != (size, size):
            raise ValueError(f"covariance must have shape {(size, size)}; got {covariance.shape}")
        return cls(
            observation,
            profiles,
            float(sky),
            covariance,
            component_images_of(observation, profiles).sum(axis=0) + sky,
            size if n_free is None else int(n_free),
            float(noise_correlation),
            method,
            tuple(messages),
        )

    # The profiles

    @property
    def components(self) -> list[Sersic2D]:
        """The profiles in astropy's form, functions of pixel coordinates (column, row); PSF-free."""
        return [astropy_model(row, self.observation.grid) for row in self.parameters]

    @property
    def table(self) -> QTable:
        """
        The profiles, one a row, with their standard errors.

        ``flux`` is the sum over all pixels, out to infinity; errors are NaN where they are not known.
        """
        values, errors = self.parameters.T, self._errors().T
        units = (u.arcsec, u.arcsec, u.arcsec, None, None, u.deg, self.observation.unit)
        columns = {}
        for name, unit, value, error in zip((*NAMES, "amplitude"), units, values, errors, strict=True):
            if name == "phi":
                value, error = np.degrees(value), np.degrees(error)
            for key, numbers in ((name, value), (f"{name}_err", error)):
                columns[key] = numbers.copy() if unit is None else numbers << unit
        fluxes, errors = total_fluxes(self.parameters, self.covariance, self.observation.grid.area_arcsec2)
        columns["flux"], columns["flux_err"] = (v << self.observation.unit for v in (fluxes, errors))
        return QTable(columns)

    @property
    def errors(self) -> dict[str, u.Quantity | np.ndarray | float]:
        """Standard errors by name, an array of one for each profile; a float for the sky."""
        table = self.table
        errors = {name: table[f"{name}_err"] for name in (*NAMES, "amplitude", "flux")}
        return errors | {"sky": self.sky_error}

    def _errors(self):
        n = len(self.parameters)
        error = np.sqrt(np.diag(self.covariance))
        return np.concatenate([error[: 6 * n].reshape(n, 6), error[6 * n : 7 * n, None]], axis=1)

    @property
    def sky_error(self) -> float:
        """Standard error of `sky`."""
        return float(np.sqrt(self.covariance[-1, -1]))

    def samples(self, n: int, rng: np.random.Generator | int | None = None) -> np.ndarray:
        """
        Draw parameters from the normal distribution with the covariance of the fit.

        R_e and n are drawn as logarithms. An ellipse drawn with an axis ratio above one is returned with its
        axes exchanged.

        Parameters
        ----------
        n : int
            How many.
        rng : `~numpy.random.Generator` or int, optional

        Returns
        -------
        array, shape (n, K, 7)
            As `parameters`.

        Raises
        ------
        ValueError
            If the covariance is not known.
        """
        n = check_count(n, "n", 1)
        if not np.isfinite(self.covariance).all():
            raise ValueError("the covariance of this fit is not known, so that no samples can be drawn")
        return draw(self.parameters, self.covariance, n, check_rng(rng))

    # Images

    @property
    def model(self) -> CCDData:
        """The profiles as observed, with the sky, in all pixels; it has the PSF and the WCS of the data."""
        return self._pack(self.model_image)

    @property
    def residual(self) -> CCDData:
        """Data less model, with the uncertainty of the data; 0 in pixels that are not used."""
        observation = self.observation
        left = np.where(observation.mask, 0.0, observation.data - self.model_image)
        image = self._pack(left)
        image.uncertainty = observation.to_nddata().uncertainty
        return image

    def component_images(self) -> np.ndarray:
        """Return each profile as observed, shape (K, ny, nx), without the sky."""
        return component_images_of(self.observation, self.parameters)

    def _pack(self, values):
        psf = self.observation.psf
        return CCDData(
            values.copy(),
            unit=self.observation.unit,
            mask=self.observation.mask.copy(),
            wcs=self.observation.grid.wcs,
            psf=None if psf is None else psf.copy(),
        )

    # How good it is

    @property
    def n_pixels(self) -> int:
        """Number of pixels that are used."""
        return int(np.count_nonzero(~self.observation.mask))

    @property
    def chi2(self) -> float:
        """Sum of (data - model)^2 / variance over the pixels that are used."""
        left = self.observation.data - self.model_image
        return float(np.sum(self.observation.weights * left**2))

    @property
    def reduced_chi2(self) -> float:
        """`chi2` over the number of pixels less that of parameters."""
        return self.chi2 / max(self.n_pixels - self.n_free, 1)

    @property
    def bic(self) -> float:
        """
        Bayesian information criterion, chi2 + n_free ln(n_pixels); the smaller the better.

        Where the noise is correlated both chi-square and the number of pixels are divided by
        `noise_correlation` (Schwarz 1978, Ann. Statist. 6, 461).
        """
        scale = self.noise_correlation
        return self.chi2 / scale + self.n_free * float(np.log(self.n_pixels / scale))

    @property
    def r2(self) -> float:
        """Share of the variance of the data over the used pixels that the model explains."""
        used = ~self.observation.mask
        data = self.observation.data[used]
        total = float(np.sum((data - data.mean()) ** 2))
        return 1 - float(np.sum((data - self.model_image[used]) ** 2)) / total if total > 0 else np.nan

    # Words, files, pictures

    def summary(self) -> str:
        """Return a few lines with the profiles and the quality of the fit."""
        return as_text(summary_rows(self))

    def __repr__(self) -> str:
        n = len(self.parameters)
        return (
            f"<SersicFit: {n} component{'s' if n != 1 else ''}, reduced_chi2={self.reduced_chi2:.3f}, "
            f"method={self.method!r}>"
        )

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """
        Write the result to one FITS file, for `read`.

        It holds the table COMPONENTS, the images MODEL and RESIDUAL with their WCS, the COVARIANCE, the
        observation as DATA, UNCERT, MASK and PSFIMAGE, and the rest in the table INFO. The file is complete
        or not there, even if the writing is interrupted.

        Parameters
        ----------
        path : str or path-like
            Name of the file.
        overwrite : bool, optional
            Whether a file of that name may be replaced.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is not set.
        """
        write_fit(self, path, overwrite)

    @classmethod
    def read(cls, path: str | os.PathLike) -> SersicFit:
        """
        Read a result that `write` has written.

        Parameters
        ----------
        path : str or path-like
            Name of the file.

        Returns
        -------
        SersicFit

        Raises
        ------
        FileFormatError
            If the file is truncated, corrupt or something else.
        """
        return cls(**read_fit(path))

    def plot(self, *, figure: Figure | None = None) -> Figure:
        """
        Draw data, model, residuals and the profile.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure`, optional
            Where to draw; by default a new one.

        Returns
        -------
        `~matplotlib.figure.Figure`
        """
        from lenssuper.light.figure import plot_light_fit  # matplotlib is loaded where something is drawn

        return plot_light_fit(self, figure)
