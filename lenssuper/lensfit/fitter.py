"""Lens parameters from the data."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from lenssuper._utils.checks import check_count, check_kind, check_length, check_rng
from lenssuper._utils.progress import share_bar
from lenssuper._utils.threads import one_blas_thread
from lenssuper._utils.units import to_arcsec
from lenssuper._utils.warn import warn
from lenssuper.exceptions import ObservationError
from lenssuper.forward.judgement import LensGalaxy
from lenssuper.forward.resolved import check_resolved
from lenssuper.lens import EPL, SIE, LensModel
from lenssuper.lensfit.credibility import most_credible
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.field import check_ring_in_field
from lenssuper.lensfit.fit import LensFit
from lenssuper.lensfit.inturn import fit_in_turn
from lenssuper.lensfit.judgement import judged
from lenssuper.lensfit.lensedsource import LensedSource
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.registration import Registration
from lenssuper.lensfit.results import lens_fit, optima
from lenssuper.lensfit.search import all_round, around, candidates, from_radius, improve, search
from lenssuper.light import ForegroundFit, ForegroundFitter, SersicFit
from lenssuper.observation import Observation
from lenssuper.observation.alignment import aligned
from lenssuper.solvers.priors import GradientPrior, QuadraticPrior, check_fixed

__all__ = ["CLUMPY", "LensFitter"]

# The errors of Gauss-Newton hold if the source is a draw from its prior. For 40 mocks of clumpy galaxies at
# S/N 40, seven parameters each, the root mean square of deviations over these errors is this
CLUMPY = 1.2
# The same for the slope of an EPL, which the prior on the source makes too shallow by about one of its
# errors: for 11 lenses of `simulate.hard_lenses`, seed 5
_SLOPE = 1.75
# Standard deviation, in arcsec, of the prior on a fitted offset between two observations
_OFFSET_STD = 0.1
# Einstein radii of the guess, around the lens, of the field that is fitted: images of a source that is imaged
# more than once lie within two of the true one
_FIELD = 2.6
# Where no more than a rough radius is known: standard deviations of the radius, and of the centre about the
# middle of the field, as shares of it
_OFF_RADIUS, _OFF_CENTER = 0.25, 0.2
# Mean and scatter of the slope of the density of early-type galaxies (Auger et al. 2010, ApJ 724, 511)
_SLOPES = 2.08, 0.16


class LensFitter:
    """
    Fit the parameters of a lens to images of the arcs, without a parametric model of the source.

    At first the source is a few Gaussians, from several starts; then it is a sum of B-splines with a Gaussian
    prior, and is integrated out: the lens is that of the largest evidence.

    Parameters
    ----------
    guess : LensModel or `~astropy.units.Quantity`
        Start of the fit, within about 10% of the truth; or only the Einstein radius, to about 20%, for an
        `SIE` with `ExternalShear` near the middle of the field.
    free : iterable of str, optional
        Parameters to fit, by the names of ``guess.parameters``; by default all but the origin of a shear,
        which cannot be observed.
    fixed : iterable of str, optional
        Parameters not to fit; the name of a component, e.g. ``"ExternalShear"``, stands for all of its own.
    priors : mapping of str to (mean, standard deviation), optional
        Gaussian priors on parameters. Weak ones are always applied: around zero, of width 0.35 on each
        component of ellipticity, (1 - q) / (1 + q), and 0.1 on each of shear. For a start that is no more
        than a radius, others are of a quarter of it on the radius, and of a fifth of it on the centre.
    factor : int, optional
        Pixels of the lensed image along the side of an observed one.
    prior : QuadraticPrior, optional
        Prior on the source, by default `~lenssuper.solvers.GradientPrior`. Its strength is fitted, and it is
        scaled with the brightness of the source.
    foreground : SersicFit, ForegroundFit, NDData or ndarray of shape (K, ny, nx), optional
        Light in front of the arcs that has not been subtracted from the observation. The brightness of each
        of its profiles or images, and a constant sky, are fitted with the lens and integrated out, with
        priors as wide as the brightness, and as the noise of a pixel; of a ForegroundFit also the modes of
        its isophotes, see `~lenssuper.light.foreground.fit.ForegroundFit.parts`. For several observations a
        list, with one for each.
    light_priors : bool, optional
        Whether the light of the lens galaxy, where a
        `~lenssuper.light.foreground.fitter.ForegroundFitter` has measured it, gives priors: on the centre, of
        width 0.02 arcsec, and on each component of ellipticity, of width 0.15.
    rng : `~numpy.random.Generator` or int, optional
        For random vectors in the linear algebra; the same seed gives the same result.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal, where it takes longer than a second.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, or a name is not one of the lens's.

    Notes
    -----
    With the source integrated out (Suyu et al. 2006, MNRAS 371, 983, eq. 19), the derivatives of the evidence
    are those of variable projection (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413; Kaufman 1975) and of
    the determinant. A source that is a scaled copy of the image explains any data without a
    lens, with many modes (Maresca, Dye & Li 2021, MNRAS 503, 2229). The Gaussians of the first step cannot
    take this form, and the evidence does not favour it. Lenses behind which the light of the arcs is more
    than half as wide as in the image are tried last, and reported.

    The light of the lens galaxy should be subtracted, masked, or given as ``foreground``, and that of
    neighbours subtracted or masked.

    Examples
    --------
    >>> import astropy.units as u
    >>> from lenssuper import LensFitter
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(3, shape=(32, 32))
    >>> fit = LensFitter(1.05 * mock.lens.parameters["SIE.theta_E"], rng=1)(mock.observation)
    >>> bool(abs(fit.lens.parameters["SIE.theta_E"] / mock.lens.parameters["SIE.theta_E"] - 1) < 0.02)
    True
    """

    def __init__(
        self,
        guess: LensModel | u.Quantity,
        *,
        free: Iterable[str] | None = None,
        fixed: Iterable[str] = (),
        priors: Mapping[str, tuple] | None = None,
        factor: int = 2,
        prior: QuadraticPrior | None = None,
        foreground: SersicFit | ForegroundFit | NDData | np.ndarray | None = None,
        light_priors: bool = True,
        rng: np.random.Generator | int | None = None,
        progress: bool | None = None,
    ) -> None:
        self._starts, self._search = around, search
        rough = {}
        if isinstance(guess, u.Quantity):
            guess, self._starts = from_radius(guess), all_round
            near = 0.0, _OFF_CENTER * (radius := guess.values()["SIE.theta_E"])
            rough = {"SIE.theta_E": (radius, _OFF_RADIUS * radius), "SIE.x": near, "SIE.y": near}
        check_kind(guess, "guess", LensModel, "a LensModel, or an Einstein radius such as 1.2 * u.arcsec")
        prior = GradientPrior() if prior is None else prior
        self.guess = guess
        parameters = FreeParameters(guess, free=free, fixed=fixed, priors=priors)
        self.parameters = parameters.with_weaker(rough)
        self.factor = check_count(factor, "factor", 1)
        self.prior = check_fixed(prior)
        self.foreground = foreground
        self.light_priors = check_kind(light_priors, "light_priors", bool)
        check_rng(rng)
        self.rng = rng
        self.progress = check_kind(progress, "progress", bool | None)

    @classmethod
    def from_einstein_radius(cls, theta_E: u.Quantity, **options) -> LensFitter:
        """
        Fit an `SIE` with `ExternalShear`, from only a rough Einstein radius.

        Parameters
        ----------
        theta_E : `~astropy.units.Quantity`
            To about 20%.
        **options
            As for the class.
        """
        check_kind(theta_E, "theta_E", u.Quantity, "a Quantity with an angular unit, e.g. 1.2 * u.arcsec")
        return cls(theta_E, **options)

    def __call__(self, observation: NDData | Observation) -> LensFit:
        """
        Fit the lens to an observation.

        Parameters
        ----------
        observation : `~astropy.nddata.NDData` or Observation
            Image with uncertainty and, where there are any, mask, PSF and WCS. It is not changed.

        Returns
        -------
        LensFit

        Raises
        ------
        ObservationError
            If the observation cannot be used, or shows no light; the message says what to do.
        ValueError
            If the Einstein radius of the guess exceeds the field.

        Warns
        -----
        LensSuperWarning
            If the noise is correlated, there is no PSF, or the fitted lens is unusual.
        """
        exposure = Exposure.of(Observation.of(observation), self.foreground)
        return self._fit([(exposure,)], np.zeros((1, 2)), None)

    def _beside_light(self, exposures):
        """Return the free parameters, with priors from the light of the lens galaxy if it is known."""
        given = self.foreground[0] if isinstance(self.foreground, list | tuple) else self.foreground
        known = given.subtracted if isinstance(given, ForegroundFit) else exposures[0].observation
        galaxy = LensGalaxy.of(known) if self.light_priors else None
        return self.parameters if galaxy is None else self.parameters.beside(galaxy)

    def _field(self, parameters):
        """Return centre and radius, in arcsec, of the field to fit; None for all."""
        try:
            radius = self.guess.einstein_radius().to_value(u.arcsec)
        except ValueError:
            return None
        return parameters.center(), _FIELD * radius

    def with_light(
        self,
        observation: NDData | Observation,
        light: ForegroundFit | None = None,
        *,
        light_fitter: ForegroundFitter | None = None,
    ) -> tuple[ForegroundFit, LensFit]:
        """
        Fit the light of the lens galaxy and the lens, in turn, to an observation that shows both.

        The light is fitted beside what may be arcs, then the lens; the light again, beside the arcs that this
        lens explains, and the lens again. In both fits of the lens the light is the ``foreground``: what is
        not known of it is integrated out. Half of the last change of the lens is added to its errors, which
        reach to a lens of another radius that is almost as credible. Half of the difference between the
        galaxy beside masked arcs and that together with the source is added to the errors of its light. The
        first lens is chosen from several by its evidence, and by how close its radius is to that of the
        guess. If only a radius is known, it is an `SIE` with `ExternalShear`, and the second an `EPL` with a
        free slope. Companions, of which the first lens shows no other image, are masked. If the verdict is
        wrong, or no arcs are left, and ``light_fitter`` looks for arcs, all is done again: without objects
        that have no counter-image; if that is no better, from a light fitted outside of an annulus around the
        radius. A lens found so must have the radius of the guess to 25%.

        Parameters
        ----------
        observation : `~astropy.nddata.NDData` or Observation
            Image with uncertainty and, where there are any, mask, PSF and WCS. It is not changed.
        light : ForegroundFit, optional
            A first fit of the light, if there is one.
        light_fitter : ForegroundFitter, optional
            What fits the light; by default one that looks for arcs near the Einstein radius of the guess.

        Returns
        -------
        light : ForegroundFit
            The galaxy as it is with the last lens.
        fit : LensFit

        Raises
        ------
        ObservationError, ValueError
            As for a call, and if no galaxy stands out in the image.
        """
        observation = Observation.of(observation)
        check_ring_in_field(self.guess, [observation])
        check_kind(light, "light", ForegroundFit | None)
        check_kind(light_fitter, "light_fitter", ForegroundFitter | None)
        return fit_in_turn(self, observation, light, light_fitter)

    def roughly(self) -> LensFitter:
        """Return a fitter for a first lens: of several, the most credible one, on larger pixels."""
        new = copy.copy(self)
        new._search, new.factor = candidates, 1
        return new

    def beside(self, light: ForegroundFit) -> LensFitter:
        """Return a fitter with the same settings and the light of a galaxy as its ``foreground``."""
        new = copy.copy(self)
        new.foreground = light
        return new

    def following(self, lens: LensModel) -> tuple[LensFitter, dict[str, str]]:
        """
        Return a fitter with the same settings that starts from a fitted lens, and new names of parameters.

        If the guess was only a radius, an `EPL` with a free slope takes the place of the `SIE`. The prior on
        the slope is that of lens galaxies, 2.08 +- 0.16 (Auger et al. 2010, ApJ 724, 511).
        """
        if self._starts is not all_round:
            return self._of(lens, self.parameters.of_lens(lens, {})), {}
        values = {name: value for name, value in lens.parameters.items() if name.startswith("SIE.")}
        renamed = {name: name.replace("SIE.", "EPL.") for name in values}
        mass = EPL(gamma=2.0, **{name[len("SIE.") :]: value for name, value in values.items()})
        new = sum((part for part in lens.components if not isinstance(part, SIE)), start=mass)
        parameters = self.parameters.of_lens(new, renamed, more=["EPL.gamma"])
        return self._of(new, parameters.with_weaker({"EPL.gamma": _SLOPES})), renamed

    def _of(self, lens, parameters):
        new = copy.copy(self)
        new.guess, new.parameters, new._starts = lens, parameters, around
        new._search = improve
        return new

    def bands(
        self,
        observations: Iterable[NDData | Observation],
        *,
        offsets: u.Quantity | None = None,
        offset_std: u.Quantity | None = None,
    ) -> LensFit:
        """
        Fit one lens to observations in several bands, each with a source of its own.

        Parameters
        ----------
        observations : iterable of `~astropy.nddata.NDData` or Observation
            Images of any size, pixels, orientation, PSF and unit, each with a celestial WCS. The coordinates
            of the lens are offsets from the reference point of the first, by default its centre.
        offsets : `~astropy.units.Quantity`, shape (n, 2), optional
            Shift (x, y) of each observation that aligns it with the first. By default the shifts are fitted
            together with the lens, as the WCS of two cameras may disagree by a part of a pixel.
        offset_std : `~astropy.units.Quantity`, optional
            Standard deviation of the Gaussian prior on each coordinate of a fitted offset, by default 0.1
            arcsec.

        Returns
        -------
        LensFit
            With ``offsets``, for `SuperResolver`, and ``parts``, one for each observation.

        Raises
        ------
        ObservationError
            If an observation cannot be used, its position on the sky is not known, or none shows light.
        TypeError, ValueError
            If there are none, or offsets are not angles.

        Warns
        -----
        LensSuperWarning
            As for one observation; and for one without light, which does not enter the fit.
        """
        exposures, given, std = self._several(observations, offsets, offset_std)
        return self._fit([(exposure,) for exposure in exposures], given, std)

    def joint(
        self,
        observations: Iterable[NDData | Observation],
        *,
        offsets: u.Quantity | None = None,
        offset_std: u.Quantity | None = None,
    ) -> LensFit:
        """
        Fit one lens to several exposures in one band, with one source.

        Parameters
        ----------
        observations : iterable of `~astropy.nddata.NDData` or Observation
            Exposures in one band: dithered, rotated, with other pixels or PSFs, in the same unit of surface
            brightness, each with a celestial WCS.
        offsets, offset_std : `~astropy.units.Quantity`, optional
            As for `bands`.

        Returns
        -------
        LensFit
            With ``offsets`` and ``parts``, as for `bands`.

        Raises
        ------
        ObservationError, TypeError, ValueError
            As for `bands`, and if the units differ.

        Warns
        -----
        LensSuperWarning
            As for one observation.
        """
        exposures, given, std = self._several(observations, offsets, offset_std)
        for each in exposures[1:]:
            first, unit = exposures[0].observation.unit, each.observation.unit
            if unit != first:
                raise ValueError(
                    f"observations of one source must have the same unit; got {str(first)!r} and "
                    f"{str(unit)!r}: see LensFitter.bands for a source each"
                )
        return self._fit([tuple(exposures)], given, std)

    def _several(self, observations, offsets, offset_std):
        """Return exposures in one frame, their given offsets, and the width of the prior on fitted ones."""
        if isinstance(observations, (NDData, Observation, str)) or not isinstance(observations, Iterable):
            raise TypeError(f"observations must be a list of NDData, e.g. CCDData; got {observations!r:.80}")
        if offsets is not None and offset_std is not None:
            raise ValueError("offset_std is for offsets that are fitted: pass either offsets or offset_std")
        std = None
        if offsets is None:
            std = _OFFSET_STD if offset_std is None else check_length(offset_std, "offset_std", above=0)
        observations = aligned(list(observations), offsets)
        n = len(observations)
        foregrounds = [None] * n if self.foreground is None else self.foreground
        check_kind(foregrounds, "foreground", list | tuple, f"a list with one for each of {n} observations")
        if len(foregrounds) != n:
            raise ValueError(f"foreground must hold one for each of {n} observations; got {len(foregrounds)}")
        exposures = [Exposure.of(*each) for each in zip(observations, foregrounds, strict=True)]
        given = np.zeros((len(exposures), 2)) if offsets is None else to_arcsec(offsets, "offsets")
        return exposures, given, std

    def _fit(self, groups, given, std):
        """Fit the lens to groups of exposures, each with a source; groups without light do not enter."""
        check_ring_in_field(self.guess, [each.observation for each in chain.from_iterable(groups)])
        parameters = self._beside_light(list(chain.from_iterable(groups)))
        if field := self._field(parameters):
            groups = [tuple(exposure.within(*field) for exposure in group) for group in groups]
        exposures = list(chain.from_iterable(groups))
        check_resolved(self.guess, [each.observation.grid for each in exposures])
        registration = Registration(parameters, len(exposures), std)
        positions = iter(range(len(exposures)))
        numbered = [(group, tuple(next(positions) for _ in group)) for group in groups]
        sources = [
            LensedSource(group, where, self.factor, registration, self.prior)
            for group, where in numbered
            if any(exposure.bright.any() for exposure in group)
        ]
        if not sources:
            raise ObservationError(
                "no pixel of the observation is significantly above the noise: there is no light to fit"
                + ("" if self.foreground is None else "; the model of the foreground may have taken it")
            )
        with one_blas_thread(), share_bar(self.progress) as report:
            rng = check_rng(self.rng)
            found = self._search(sources, self._starts(parameters), rng, report)
        fits = [self._result(exposures, registration, refined, given) for refined in found]
        if self._search is candidates:
            return most_credible(fits, self.guess)
        fit, others = fits[0], optima(registration, found)
        for message in fit.messages:
            warn(message)
        if self._search is improve:  # `fit_in_turn` judges its rivals
            return replace(judged(fit, parameters), optima=others)
        return judged(replace(fit, optima=others), parameters)

    def _result(self, exposures, registration, refined, given):
        scale = np.full(len(registration), CLUMPY)
        scale[[k for k, name in enumerate(registration.parameters.names) if name.endswith("gamma")]] = _SLOPE
        covariance = np.outer(scale, scale) * np.linalg.inv(refined.information)
        fit = lens_fit(exposures, registration, refined, covariance, given)
        if self._search is not candidates:
            return fit
        # a trial ends before it has converged, which says nothing against its lens
        return replace(judged(replace(fit, converged=True), registration.parameters), converged=fit.converged)

    def __repr__(self) -> str:
        return f"LensFitter({self.guess!r}, free={list(self.parameters.names)})"
