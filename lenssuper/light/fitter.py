"""SersicFitter: a galaxy goes in, the Sersic profiles that describe it come out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.nddata import NDData
from astropy.table import QTable

from lenssuper._utils.checks import check_count
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
    Describes a galaxy by one or several Sersic profiles.

    Parameters
    ----------
    n_components : int or None, optional
        Number of profiles. With None they are added one after another, as long as the Bayesian information
        criterion says that each is worth its parameters.
    method : {"least_squares", "cnn", "ppo"}, optional
        Least squares, or one of two learned methods: a network, or a policy, that adds profile after profile
        to what the residual image looks like.
    sky : bool, optional
        Whether a constant brightness is fitted, too.
    link_centers : bool, optional
        Whether all profiles have the same centre.
    fixed : mapping or sequence of mappings, optional
        Values of parameters (``x``, ``y``, ``R_e``, ``n``, ``q``, ``phi``) that are not to be fitted, for all
        profiles or for each.
    bounds : mapping or sequence of mappings, optional
        Lowest and highest value of parameters, likewise.
    mask_neighbors : bool, optional
        Whether other objects in the image are found and left out.
    max_components : int, optional
        Most profiles with ``n_components=None``.
    polish : bool, optional
        Whether least squares goes on from what a learned method found.
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
    Amplitudes and sky are linear and solved for exactly, amplitudes not below zero, while the rest is
    searched for by a trust-region method with exact derivatives (variable projection, Golub & Pereyra 1973).
    Profiles are averaged over pixels exactly and blurred by the PSF of the observation. Errors are those of
    the normal approximation at the best fit. Where the noise of neighbouring pixels is found to be
    correlated, errors and the Bayesian information criterion take account of it
    (`~lenssuper.Observation.noise_correlation`). They do not tell what a galaxy that is no Sersic does.

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
            n_components = check_count(n_components, "n_components", 1)
        if method not in _METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}; got {method!r}")
        for name, value in (
            ("sky", sky),
            ("link_centers", link_centers),
            ("mask_neighbors", mask_neighbors),
            ("polish", polish),
        ):
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False; got {value!r}")
        if not isinstance(progress, bool | None):
            raise TypeError(f"progress must be True, False or None; got {progress!r}")
        if weights is not None and not isinstance(weights, (str, os.PathLike)):
            raise TypeError(f"weights must be the name of a file; got {weights!r:.80}")
        if weights is not None and method == "least_squares":
            raise ValueError("weights are those of a learned method; method is 'least_squares'")
        self.n_components = n_components
        self.method = method
        self.sky = bool(sky)
        self.link_centers = bool(link_centers)
        self.fixed = per_component(fixed, "fixed", n_components, read_value)
        self.bounds = per_component(bounds, "bounds", n_components, read_bounds)
        self.mask_neighbors = bool(mask_neighbors)
        self.max_components = check_count(max_components, "max_components", 1)
        self.polish = bool(polish)
        self.weights = weights
        self.progress = progress

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
            Where least squares start: a former fit, or x, y, R_e, n, q and phi of every profile. By default
            that is worked out from the image.

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
        correlation = observation.noise_correlation
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
            return self._least_squares(observation, correlation, start, objects=objects)
        if start is not None:
            raise ValueError(f"initial is for the method 'least_squares'; method is {self.method!r}")
        return self._learned(observation, correlation)

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
                f"the image has {values.size} pixels that can be used, and {least} at least are needed"
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

    def _least_squares(self, observation, correlation, start=None, method="least_squares", objects=None):
        moments = _moments_of(start) if start is not None else main_object(observation, objects=objects)[1]
        search = Search(observation, correlation, moments, self.sky, self._options)
        if start is not None:
            found, messages = search.solve(start), []
        elif self.n_components is None:
            found, messages = self._until_bic_rises(search)
        else:
            found, messages = self._add_all(search)
        if not found.amplitudes.any():
            raise ObservationError("nothing in the image is brighter than the sky: there is no galaxy to fit")
        if not found.result.converged:
            messages.append("the search ended before it converged; pass the fit as initial to go on")
            warn(messages[-1], ConvergenceWarning)
        parameters, sky = search.with_amplitudes(found)
        return SersicFit.from_parameters(
            observation,
            parameters,
            sky,
            search.covariance(found),
            n_free=found.components.n_free + len(parameters) + self.sky,
            noise_correlation=correlation,
            method=method,
            messages=[*messages, *_notes(found, correlation)],
        )

    def _add_all(self, search):
        found = search.first()
        for k in self._bar(range(2, self.n_components + 1)):
            more = search.add(found, exact=k == self.n_components)
            if more.amplitudes.min() == 0:
                return search.solve(found.parameters), [
                    f"no light is left for component {k}: the fit has {k - 1} instead of {self.n_components}"
                ]
            found = more
        return found, []

    def _until_bic_rises(self, search):
        found = search.first()
        for _ in self._bar(range(2, self.max_components + 1)):
            more = search.add_if_worth_it(found)
            if more is None:
                return found, []
            found = more
        if self.max_components == 1:
            return found, []
        return found, ["more components than max_components may be worth their parameters"]

    def _bar(self, numbers):
        return progress_bar(self.progress, numbers, desc="components", unit="component", leave=False)

    # Learned methods

    def _learned(self, observation, correlation):
        try:
            from lenssuper.light.learned.additions import add_components
        except ModuleNotFoundError as error:
            raise LensSuperError(
                f"the method {self.method!r} needs {error.name}, which is not installed"
            ) from error
        n = self.max_components if self.n_components is None else self.n_components
        rows = np.array(add_components(observation, n, self.method, self.weights))
        if not len(rows):
            raise ObservationError(f"the method {self.method!r} found nothing to add to an empty model")
        if self.polish:
            polished = f"{self.method}, polished by least squares"
            return self._least_squares(observation, correlation, rows[:, :6], polished)
        bare = SersicFit.from_parameters(observation, rows, 0.0, method=self.method)
        sky = float(np.median(bare.residual.data[~observation.mask])) if self.sky else 0.0
        return SersicFit.from_parameters(
            observation,
            rows,
            sky,
            n_free=7 * len(rows) + self.sky,
            noise_correlation=correlation,
            method=self.method,
        )


def _notes(found, correlation):
    """What the user should know about a fit."""
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
    """Rows with the names of the parameters."""
    rows = initial.table if isinstance(initial, SersicFit) else initial
    if not isinstance(rows, (QTable, Sequence)) or isinstance(rows, str):
        raise TypeError(
            f"initial must be a SersicFit, a QTable or a list of mappings by name; got {initial!r:.80}"
        )
    return rows
