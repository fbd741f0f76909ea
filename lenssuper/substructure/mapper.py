"""Dark matter from the data: maps of a perturber's gain, and the peaks fitted together with the lens."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from astropy import units as u
from astropy.cosmology import FLRW, Planck18
from astropy.nddata import NDData

from lenssuper._utils.checks import check_count, check_kind, check_quantity
from lenssuper._utils.progress import quietly, share_bar
from lenssuper._utils.threads import one_blas_thread
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError
from lenssuper.lens import LensModel
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.search import SCATTERED
from lenssuper.lensfit.sourceplane import gathering
from lenssuper.light import ForegroundFit, SersicFit
from lenssuper.observation import Observation
from lenssuper.solvers.priors import GradientPrior, QuadraticPrior, check_fixed
from lenssuper.substructure.correction import free_correction
from lenssuper.substructure.fitted import fit
from lenssuper.substructure.maps import scan
from lenssuper.substructure.parameters import ClumpyLens, smooth_lens
from lenssuper.substructure.result import SubstructureResult
from lenssuper.substructure.search import ClumpSearch
from lenssuper.substructure.templates import FixedShape, Perturber, TidalHalo

__all__ = ["SubstructureMap"]

_ORDERS = (1, 3, 4)
# Chi-square per degree of freedom above which a smooth lens is no fit of the data
_UNFITTED = 4.0


class SubstructureMap:
    """
    Look for subhaloes in a lens, and map where which mass could be seen; source and smooth lens marginalised.

    The smooth lens, a power law with shear and multipoles, is fitted first. A perturbation at each position
    of a map is then judged by the change of the data to first order, and the peaks of the map, at most
    three, are fitted together with the lens: the map proposes, the evidence decides.

    Parameters
    ----------
    lens : LensModel or LensFit
        The smooth lens, fitted to the observation. An isothermal lens becomes a power law.
    profile : Perturber or LensModel, optional
        The kind of perturber, by default `~lenssuper.substructure.TidalHalo`. A lens, with its middle at x =
        y = 0, is scaled; it has no mass, and its peaks are not fitted.
    z_lens, z_source : float, optional
        Redshifts, for the default ``profile``.
    cosmology : `~astropy.cosmology.FLRW`, optional
        For the default ``profile``; `astropy.cosmology.Planck18`.
    multipoles : iterable of int, optional
        Orders of the multipoles of the smooth lens: of 1, 3 and 4. Their strengths are Gaussian with a
        standard deviation of 1% of the Einstein radius.
    mass : `~astropy.units.Quantity`, optional
        Of the perturber of the map of significance.
    concentration : bool, optional
        Whether the concentration of haloes at the peaks is fitted, with a log-normal prior of a factor e
        around the mean at their mass.
    candidates : int, optional
        Peaks that are fitted at most, 0 to 3.
    factor, prior, foreground, rng, progress
        As of `~lenssuper.LensFitter`, for one observation.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or redshifts are needed and not given.

    Notes
    -----
    See Vegetti & Koopmans 2009, MNRAS 392, 945, for perturbations of a pixelised source, and the pages "How
    it works" and "Dark matter" of the documentation for the formulas and for what not to believe.
    """

    def __init__(
        self,
        lens: LensModel | LensFit,
        profile: Perturber | LensModel | None = None,
        *,
        z_lens: float | None = None,
        z_source: float | None = None,
        cosmology: FLRW = Planck18,
        multipoles: Iterable[int] = (3, 4),
        mass: u.Quantity = 1e9 * u.Msun,
        concentration: bool = False,
        candidates: int = 3,
        factor: int = 2,
        prior: QuadraticPrior | None = None,
        foreground: SersicFit | ForegroundFit | NDData | np.ndarray | None = None,
        rng: np.random.Generator | int | None = None,
        progress: bool | None = None,
    ) -> None:
        check_kind(lens, "lens", LensModel | LensFit)
        self.lens = lens.lens if isinstance(lens, LensFit) else lens
        if isinstance(profile, LensModel):
            profile = FixedShape(profile)
        if profile is None:
            redshifts: Any = z_lens, z_source  # it refuses None
            profile = TidalHalo(*redshifts, cosmology=cosmology)
        self.profile = check_kind(
            profile, "profile", Perturber, "a Perturber such as TidalHalo, or a LensModel"
        )
        self.multipoles = _orders(multipoles)
        self.mass = check_quantity(mass, "mass", u.Msun, "1e9 * u.Msun", above=0).to_value(u.Msun).item()
        self.concentration = check_kind(concentration, "concentration", bool)
        if self.concentration and not profile.has_concentration:
            raise ValueError(f"concentration must be False for a profile that has none; got {profile!r:.80}")
        self.candidates = check_count(candidates, "candidates", 0)
        if self.candidates > 3:
            raise ValueError(f"candidates must be at most 3; got {candidates}")
        self.factor = check_count(factor, "factor", 1)
        self.prior = GradientPrior() if prior is None else check_fixed(prior)
        self.foreground, self.rng = foreground, rng
        self.progress = check_kind(progress, "progress", bool | None)
        self._smooth = smooth_lens(self.lens, self.multipoles)

    def __call__(self, observation: NDData | Observation) -> SubstructureResult:
        """
        Scan an observation, and fit the peaks.

        Parameters
        ----------
        observation : `~astropy.nddata.NDData` or Observation
            As for `~lenssuper.LensFitter`: light of the lens galaxy subtracted, masked, or in ``foreground``.

        Returns
        -------
        SubstructureResult

        Raises
        ------
        ObservationError
            If the observation cannot be used, or shows no light.
        ValueError
            If the smooth lens does not fit the observation.

        Warns
        -----
        LensSuperWarning
            If the residuals of the smooth lens are larger than the noise.
        """
        exposure = Exposure.of(Observation.of(observation), self.foreground)
        if not exposure.bright.any():
            raise ObservationError("no pixel of the observation is significantly above the noise")
        with one_blas_thread(), share_bar(self.progress) as report:
            result = self._search(exposure, report)
        for message in result.messages:
            warn(message)
        return result

    def _search(self, exposure, report):
        seed = int(np.random.default_rng(self.rng).integers(2**31))

        def refit(registration, vector, **options):
            # the same random vectors for every lens: their evidences are compared
            rng = np.random.default_rng(seed)
            return fit(
                exposure,
                registration,
                vector,
                self.factor,
                self.prior,
                rng,
                quietly,
                **options,
            )

        report(0.0, "fitting the smooth lens")
        registration = ClumpyLens(self._smooth, self.multipoles)
        _check_gathers(gathering(exposure, registration.trial(registration.start, 0)))
        smooth = refit(registration, registration.start)
        _check_fits(smooth.refined)
        rescan = partial(scan, perturber=self.profile, mass=self.mass, rng=np.random.default_rng(seed))
        most, plain = self.candidates if self.profile.has_mass else 0, None
        if most and self.multipoles:
            power_law = ClumpyLens(self._smooth, ())
            plain = refit(power_law, power_law.start).with_multipoles(registration)
        search = ClumpSearch(self.profile, self.concentration, most, refit, rescan, report)
        found = search.run(smooth, plain)
        correction = free_correction(found.smooth, found.first.grid)
        return SubstructureResult.of(exposure, self.profile, found, correction)


def _orders(multipoles):
    try:
        orders = tuple(multipoles)
    except TypeError:
        raise TypeError(f"multipoles must be a list of orders, such as (3, 4); got {multipoles!r}") from None
    for order in orders:
        if order not in _ORDERS:
            raise ValueError(f"multipoles must be of the orders 1, 3 and 4; got {order!r}")
    if len(set(orders)) < len(orders):
        raise ValueError(f"multipoles must hold each order once; got {orders}")
    return orders


def _check_gathers(gathering):
    """Refuse a lens that leaves the arcs apart."""
    if gathering > SCATTERED:
        raise ValueError(
            "lens must be fitted to the observation: this one does not map the arcs to one region of the "
            "source plane; fit it with LensFitter first"
        )


def _check_fits(refined):
    """Refuse a smooth lens that is no fit."""
    _check_gathers(refined.gathering)
    if refined.reduced_chi2 > _UNFITTED:
        raise ValueError(
            f"lens must be fitted to the observation: with this one the reduced chi-square is "
            f"{refined.reduced_chi2:.2f}; fit it with LensFitter first, and look at its residuals"
        )
