"""SersicFitter: the Sersic profiles that describe a galaxy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.nddata import NDData
from astropy.table import QTable

from lenssuper._utils.checks import check_choice, check_count, check_kind
from lenssuper._utils.progress import progress_bar
from lenssuper._utils.threads import one_blas_thread
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ConvergenceWarning, LensSuperError, ObservationError
from lenssuper.light.arguments import per_component, read_bounds, read_start, read_value
from lenssuper.light.fit import SersicFit
from lenssuper.light.search import Search
from lenssuper.observation import Observation
from lenssuper.observation.objects import find_objects, main_object, neighbor_mask

__all__ = ["SersicFitter"]

_METHODS = ("least_squares", "cnn", "ppo")


class SersicFitter:
    """
    Fits one or several Sersic profiles to a galaxy.

    Parameters
    ----------
    n_components : int or None, optional
        Number of profiles. With None they are added one after another as long as the Bayesian information
        criterion improves.
    method : {"least_squares", "cnn", "ppo"}, optional
        Least squares, or one of two learned methods: a network, or a policy, that predicts one profile after
        another from the residual image.
    sky : bool, optional
        Whether a constant brightness is fitted as well.
    link_centers : bool, optional
        Whether all profiles have the same centre.
    fixed : mapping or sequence of mappings, optional
        Values of parameters (``x``, ``y``, ``R_e``, ``n``, ``q``, ``phi``) that are not fitted, for all
        profiles or for each.
    bounds : mapping or sequence of mappings, optional
        Lowest and highest value of parameters, likewise.
    mask_neighbors : bool, optional
        Whether other objects in the image are found and masked.
    max_components : int, optional
        Largest number of profiles with ``n_components=None``.
    polish : bool, optional
        Whether least squares refine the profiles of a learned method.
    weights : str or path-like, optional
        File of weights for a learned method; by default those that come with the package.
    progress : bool, optional
        Whether to show a progress bar.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind, such as a bare number for an angle.
    ValueError
        If one has a wrong value, or an unknown name.

    Notes
    -----
    Sky and amplitudes, which are not negative, are linear and solved for exactly; the other parameters are
    found by a trust-region method with exact derivatives (variable projection, Golub & Pereyra 1973).
    Profiles are averaged over pixels exactly and blurred by the PSF of the observation. Errors are those of
    the normal approximation at the best fit. Errors and the Bayesian information criterion account for
    correlations between neighbouring pixels (`~lenssuper.Observation.noise_correlation`), but not for
    deviations of the galaxy from Sersic profiles.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astropy.nddata import CCDData, StdDevUncertainty
    >>> from lenssuper import PixelGrid, SersicFitter
    >>> from lenssuper.simulate import SersicSource
    >>> grid = PixelGrid(shape=(48, 48), pixel_scale=0.1 * u.arcsec)
    >>> x, y = (axis.to_value(u.arcsec) for axis in grid.centers)
    >>> data = SersicSource(R_e=0.8 * u.arcsec, n=1, q=0.6).surface_brightness(x, y)
    >>> data += np.random.default_rng(1).normal(0, 0.02, grid.shape)
    >>> noise = StdDevUncertainty(np.full(grid.shape, 0.02))
    >>> fit = SersicFitter()(CCDData(data, unit="electron / s", uncertainty=noise, wcs=grid.wcs))
    >>> fit
    <SersicFit: 1 component, reduced_chi2=..., method='least_squares'>
    >>> bool(abs(fit.table["R_e"][0] - 0.8 * u.arcsec) < 0.01 * u.arcsec)
    True
    """

    def __init__(
        self,
        n_components: int | None = 1,
        *,
        method: str = "least_squares",
        sky: bool = True,
        link_centers: bool = False,
        fixed: Mapping | Sequence[Mapping] | None = None,
        bounds: Mapping | Sequence[Mapping] | None = None,
        mask_neighbors: bool = True,
        max_components: int = 6,
        polish: bool = False,
        weights: str | os.PathLike | None = None,
        progress: bool | None = None,
    ) -> None:
        if n_components is not None:
            n_components = check_count(n_components, "n_components")
        check_kind(weights, "weights", str | os.PathLike | None, "the name of a file")
        self.n_components = n_components
        self.method = check_choice(method, "method", _METHODS)
        if weights is not None and method == "least_squares":
            raise ValueError("weights are those of a learned method; method is 'least_squares'")
        self.sky = check_kind(sky, "sky", bool)
        self.link_centers = check_kind(link_centers, "link_centers", bool)
        self.fixed = per_component(fixed, "fixed", n_components, read_value)
        self.bounds = per_component(bounds, "bounds", n_components, read_bounds)
        self.mask_neighbors = check_kind(mask_neighbors, "mask_neighbors", bool)
        self.max_components = check_count(max_components, "max_components")
        self.polish = check_kind(polish, "polish", bool)
        self.weights = weights
        self.progress = check_kind(progress, "progress", bool | None)

    def __call__(
        self,
        galaxy: NDData | Observation,
        *,
        initial: SersicFit | QTable | Sequence[Mapping] | None = None,
    ) -> SersicFit:
        """
        Fit a galaxy.

        Parameters
        ----------
        galaxy : `~astropy.nddata.NDData` or Observation
            Image with uncertainty and, where there are any, mask, PSF and WCS. It is not changed.
        initial : SersicFit, table or sequence of mappings, optional
            Start of the least squares: an earlier fit, or x, y, R_e, n, q and phi of every profile. By
            default it is derived from the image.

        Returns
        -------
        SersicFit

        Raises
        ------
        ObservationError
            If the image cannot be used, is constant, or has no galaxy in it; the message says what to do.

        Warns
        -----
        ConvergenceWarning
            If the search ended before it converged.
        """
        with one_blas_thread():
            return self._fit(galaxy, initial)

    def _fit(self, galaxy, initial):
        observation = self._read(galaxy)
        start = None if initial is None else read_start(_rows_of(initial), self.n_components)
        objects = None
        if self.mask_neighbors:
            at = None if start is None else tuple(start[0, :2])
            objects = find_objects(observation)
            neighbors = neighbor_mask(observation, at, objects=objects)
            if (neighbors | observation.mask).all():
                raise ObservationError(
                    "no pixel is left that does not belong to a neighbour; pass mask_neighbors=False"
                )
            observation = observation.masked(neighbors)
        if self.method == "least_squares":
            return self._least_squares(observation, start, objects=objects)
        if start is not None:
            raise ValueError(f"initial is for the method 'least_squares'; method is {self.method!r}")
        return self._learned(observation)

    def _read(self, galaxy):
        galaxy = Observation.of(galaxy)
        values = galaxy.data[~galaxy.mask]
        if np.ptp(values) == 0:
            raise ObservationError(
                f"the image is constant, {values[0]:.6g} in all pixels: there is no galaxy in it"
            )
        least = 8 * (self.n_components or 1)
        if values.size < least:
            raise ObservationError(
                f"the image has {values.size} pixels that can be used, and at least {least} are needed"
            )
        return galaxy

    # Least squares

    def _options(self, n):
        def each(given):
            return None if given is None else given * n if len(given) == 1 else given

        return {
            "fixed": each(self.fixed)[:n] if self.fixed else None,
            "bounds": each(self.bounds)[:n] if self.bounds else None,
            "link_centers": self.link_centers,
        }

    def _least_squares(self, observation, start=None, method="least_squares", objects=None):
        moments = _moments_of(start) if start is not None else main_object(observation, objects=objects)[1]
        search, messages = Search(observation, moments, self.sky, self._options), []
        if start is not None:
            found = search.solve(start)
        else:
            most, by_bic = self.n_components or self.max_components, self.n_components is None
            with progress_bar(self.progress, total=most - 1, desc="components", leave=False) as bar:
                found = search.grow(most, by_bic=by_bic, done=bar.update)
            n = found.components.n
            if by_bic and n == most > 1:
                messages.append("more components than max_components may be worth their parameters")
            elif not by_bic and n < most:
                messages.append(f"no light is left for component {n + 1}: the fit has {n} instead of {most}")
        if not found.amplitudes.any():
            raise ObservationError("nothing in the image is brighter than the sky: there is no galaxy to fit")
        if not found.result.converged:
            messages.append("the search ended before it converged; pass the fit as initial to continue")
            warn(messages[-1], ConvergenceWarning)
        parameters, sky = search.with_amplitudes(found)
        return SersicFit.from_parameters(
            observation,
            parameters,
            sky,
            search.covariance(found),
            n_free=found.components.n_free + len(parameters) + self.sky,
            noise_correlation=observation.noise_correlation,
            method=method,
            messages=[*messages, *_notes(found, observation.noise_correlation)],
        )

    # Learned methods

    def _learned(self, observation):
        try:
            from lenssuper.light.learned.additions import add_components
        except ModuleNotFoundError as error:
            raise LensSuperError(
                f"the method {self.method!r} needs {error.name}, which is not installed"
            ) from error
        n = self.max_components if self.n_components is None else self.n_components
        rows = np.array(add_components(observation, n, self.method, self.weights))
        if not len(rows):
            raise ObservationError(f"the method {self.method!r} found no profile that lowers the residual")
        if self.polish:
            polished = f"{self.method}, polished by least squares"
            return self._least_squares(observation, rows[:, :6], polished)
        bare = SersicFit.from_parameters(observation, rows, 0.0, method=self.method)
        sky = float(np.median(bare.residual.data[~observation.mask])) if self.sky else 0.0
        return SersicFit.from_parameters(
            observation,
            rows,
            sky,
            n_free=7 * len(rows) + self.sky,
            noise_correlation=observation.noise_correlation,
            method=self.method,
        )


def _notes(found, correlation):
    """Yield remarks on a fit for the user."""
    if correlation > 1:
        yield f"the noise is correlated: errors are raised by {np.sqrt(correlation):.2f}"
    low, high = found.components.limits()
    step = 1e-5 * np.where(np.isfinite(high - low), high - low, 1.0)
    at_bound = (found.result.theta - low < step) | (high - found.result.theta < step)
    for (name, k), ended in zip(found.components.names(), at_bound, strict=True):
        if ended:
            yield f"{name} of component {k + 1} is at its bound"


def _moments_of(start):
    x, y, R_e, _, q, phi = start[0]
    return {"x": x, "y": y, "a": R_e / np.sqrt(q), "b": R_e * np.sqrt(q), "phi": phi}


def _rows_of(initial):
    """Return rows with the names of the parameters."""
    rows = initial.table if isinstance(initial, SersicFit) else initial
    if not isinstance(rows, (QTable, Sequence)) or isinstance(rows, str):
        raise TypeError(
            f"initial must be a SersicFit, a QTable or a list of mappings by name; got {initial!r:.80}"
        )
    return rows
