"""Lens parameters from the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from lenssuper._progress import share_bar
from lenssuper._units import to_arcsec
from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.grid import PixelGrid, check_count
from lenssuper.lens import SIE, ExternalShear, LensModel
from lenssuper.lensfit.fit import FitImages, LensFit, Numbers
from lenssuper.lensfit.foreground import Foreground
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.lensfit.parametric import Arcs, first_guesses
from lenssuper.lensfit.refine import Problem, refine
from lenssuper.lensfit.sourceplane import gathering, spline_image, upright
from lenssuper.light import ForegroundFit, SersicFit
from lenssuper.noise import lit_pixels, noise_correlation
from lenssuper.observation import Observation
from lenssuper.solvers.priors import GradientPrior, QuadraticPrior

__all__ = ["LensFitter"]

# Chi-square per degree of freedom from which on another first guess is given a try, the cost of a first
# guess, relative to the best, that is not worth it, how many are tried in all, and rounds of a try
_POOR, _HOPELESS, _TRIED, _TRY = 1.2, 1.5, 2, 2
# Errors of Gauss-Newton are those of a source that is what its prior says. Over 40 mocks of clumpy galaxies
# at S/N 40, seven parameters each, the root mean square of deviations over these errors is this
_CLUMPS = 1.2
# Pixels of the source that comes out along the distance of two splines
_SHOWN = 4
# Of what is a lens expected less than this, or more
_FLAT, _SHEARED = 0.35, 0.25
# How near to each other, relative to the image, a lens must take the light of the arcs to be one
_SCATTERED = 0.5
# Where fits begin that are told no more than a radius: multiples of it, and ellipticities
_RADII = (0.8, 0.9, 1.0, 1.12, 1.25)
_TURNS, _FLATTENING = (0, 60, 120), 0.1


class LensFitter:
    """
    Fits the parameters of a lens to an image of the arcs, whatever the source looks like.

    First a few Gaussians stand for the source, from several starts; then the source is anything that its
    prior allows, and is integrated out: the lens is that of the largest evidence.

    Parameters
    ----------
    guess : LensModel or `~astropy.units.Quantity`
        Where to start, about 10% from the truth; or only the Einstein radius, to about 20%, for an `SIE` with
        `ExternalShear` near the middle of the field.
    free : iterable of str, optional
        What to fit, by the names of ``guess.parameters``; by default everything but the origin of a shear,
        which cannot be observed.
    fixed : iterable of str, optional
        What not to fit; the name of a component, e.g. ``"ExternalShear"``, stands for all its parameters.
    priors : mapping of str to (mean, standard deviation), optional
        Gaussian priors on parameters. Weak ones are always there: 0.35 on each component of ellipticity,
        (1 - q) / (1 + q), and 0.15 on each of shear, around zero.
    factor : int, optional
        Pixels of the lensed image along the side of an observed one.
    prior : QuadraticPrior, optional
        The source's; by default `~lenssuper.solvers.GradientPrior`. Its strength is fitted, and it is scaled
        with the brightness of the source.
    foreground : SersicFit, ForegroundFit, NDData or ndarray of shape (K, ny, nx), optional
        Light in front of the arcs that is still in the observation. The brightness of each part of it (of
        each profile, or image) and a sky are fitted with the lens and integrated out, each brightness with a
        prior as wide as itself and the sky with one as wide as the noise of a pixel.
    grid : PixelGrid, optional
        Where the pixels of the observation are, instead of what its WCS says.
    psf_oversampling : int, optional
        Number of PSF samples per pixel of the observation, along each axis.
    psf_includes_pixel : bool, optional
        Whether the PSF is effective (contains the pixel) or optical.
    noise_correlation : float, optional
        As in `~lenssuper.SuperResolver`.
    rng : `~numpy.random.Generator` or int, optional
        For random vectors in the linear algebra; a seed gives the same result every time.
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
    the determinant. A source that is a copy of the image, smaller or larger, explains any data without a
    lens, at the price of many modes; the Gaussians of the first step cannot look like that, which keeps the
    fit away from it (Maresca, Dye & Li 2021, MNRAS 503, 2229), and the evidence does not favour it. Lenses
    that do not take the light of the arcs near to each other, to half their distances or less, are the last
    to be tried, and reported.

    The light of the lens galaxy is to be subtracted, masked, or given as ``foreground``, and that of
    neighbours subtracted or masked.

    Examples
    --------
    >>> import astropy.units as u
    >>> from lenssuper import LensFitter
    >>> from lenssuper.simulate import random_mock
    >>> mock = random_mock(1, shape=(32, 32))
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
        grid: PixelGrid | None = None,
        psf_oversampling: int = 1,
        psf_includes_pixel: bool = True,
        noise_correlation: float | None = None,
        rng: np.random.Generator | int | None = None,
        progress: bool | None = None,
    ) -> None:
        self._starts = _around
        if isinstance(guess, u.Quantity):
            guess, self._starts = _from_radius(guess), _all_round
        prior = GradientPrior() if prior is None else prior
        for name, value, kind in (
            ("guess", guess, LensModel),
            ("prior", prior, QuadraticPrior),
            ("grid", grid, PixelGrid | None),
            ("psf_includes_pixel", psf_includes_pixel, bool | np.bool_),
            ("progress", progress, bool | None),
        ):
            if not isinstance(value, kind):
                wanted = getattr(kind, "__name__", str(kind))
                if name == "guess":
                    wanted += ", or an Einstein radius such as 1.2 * u.arcsec"
                raise TypeError(f"{name} must be a {wanted}; got {value!r:.80}")
        self.guess = guess
        self.parameters = FreeParameters(guess, free=free, fixed=fixed, priors=priors)
        self.factor = check_count(factor, "factor", 1)
        self.prior = prior
        self.foreground = foreground
        self.grid = grid
        self.psf_oversampling = check_count(psf_oversampling, "psf_oversampling", 1)
        self.psf_includes_pixel = psf_includes_pixel
        if noise_correlation is not None and not 1 <= noise_correlation < np.inf:
            raise ValueError(f"noise_correlation must be 1 or more; got {noise_correlation}")
        self.noise_correlation = noise_correlation
        self.rng = rng
        self.progress = progress

    @classmethod
    def from_einstein_radius(cls, theta_E: u.Quantity, **options) -> LensFitter:
        """
        Fit an `SIE` with `ExternalShear`, from nothing but a rough Einstein radius.

        Parameters
        ----------
        theta_E : `~astropy.units.Quantity`
            To about 20%.
        **options
            As for the class.
        """
        if not isinstance(theta_E, u.Quantity):
            raise TypeError(
                f"theta_E must be a Quantity with an angular unit, e.g. 1.2 * u.arcsec; got {theta_E!r}"
            )
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

        Warns
        -----
        LensSuperWarning
            If the noise is correlated, there is no PSF, or the fit is not what one expects of a lens.
        """
        if not isinstance(observation, Observation):
            observation = Observation.from_nddata(
                observation,
                grid=self.grid,
                psf_oversampling=self.psf_oversampling,
                psf_includes_pixel=self.psf_includes_pixel,
            )
        foreground = Foreground.of(self.foreground, observation)
        arcs = observation
        if foreground is not None:
            arcs = replace(
                observation, data=np.where(observation.mask, 0, observation.data - foreground.expected)
            )
        lit = lit_pixels(arcs)
        if not lit.any():
            raise ObservationError(
                "no light stands out of the noise of the observation: there is nothing to fit a lens to"
            )
        correlation = self.noise_correlation or noise_correlation(arcs)
        messages = self._beforehand(observation, correlation)
        with share_bar(self.progress) as bar:

            def report(share, what):
                bar.set_description_str(what, refresh=False)
                bar.update(share - bar.n)

            refined = self._solve(arcs, lit, correlation, foreground, report)
        fit = self._packed(observation, refined, correlation, foreground, messages)
        for message in fit.messages:
            warnings.warn(message, LensSuperWarning, stacklevel=2)
        return fit

    def _solve(self, observation, lit, correlation, foreground, report):
        rng = np.random.default_rng(self.rng)
        cut = _bounding_box(~observation.mask)
        part, lit = observation[cut], lit[cut]
        weights = part.weights / correlation
        arcs = Arcs(part, weights, lit, self.parameters)
        starts = self._starts(self.parameters)
        guesses = first_guesses(arcs, starts, lambda share, what: report(0.2 * share, what))

        # the others stay in the order of their cost
        guesses.sort(key=lambda g: gathering(part, self.parameters.lens(g.vector), lit) > _SCATTERED)
        others = None if foreground is None else foreground.parts[:, *cut]
        problem = Problem(part, weights, lit, self.factor, self.parameters, self.prior, others)
        best = refine(problem, guesses[0].vector, rng, lambda share, what: report(0.2 + 0.6 * share, what))
        for guess in guesses[1:_TRIED]:
            lost = best.gathering > _SCATTERED
            if not lost and (_reduced(best) < _POOR or guess.cost > _HOPELESS * guesses[0].cost):
                break
            report(0.8, "trying another lens")
            other = refine(problem, guess.vector, rng, lambda share, what: None, rounds=_TRY)
            if (other.gathering > _SCATTERED, other.cost) < (lost, best.cost):
                best = refine(problem, other.vector, rng, lambda share, what: None)
        report(1.0, "done")
        return best

    def _packed(self, observation, refined, correlation, foreground, messages):
        parameters, inversion = self.parameters, refined.inversion
        camera = inversion.camera
        model = np.zeros(observation.shape)
        cut = _bounding_box(~observation.mask)
        roots = np.sqrt(observation.weights[cut])
        part = np.zeros(camera.used.shape)
        # the camera's images are in units of the noise with its correlation
        part[camera.used] = camera.data - inversion.residuals
        model[cut] = np.where(camera.used, part * np.sqrt(correlation) / np.where(camera.used, roots, 1), 0)
        front = None
        if foreground is not None:
            front = foreground.with_amplitudes(inversion.others)
            model = np.where(observation.mask, front, model + foreground.expected)
        residuals = np.where(
            observation.mask, np.nan, (observation.data - model) * np.sqrt(observation.weights)
        )
        numbers = Numbers(
            log_evidence=self._log_evidence(refined),
            chi2=float(np.nansum(residuals**2)),
            n_pixels=int(np.count_nonzero(camera.used)),
            effective_modes=float(inversion.modes),
            converged=refined.converged,
        )
        finer = upright(refined.grid, _SHOWN)
        source = spline_image(inversion.source, refined.grid, finer)
        images = FitImages(observation, model, residuals, source, finer, front)
        lens = parameters.lens(refined.vector)
        covariance = _CLUMPS**2 * np.linalg.inv(refined.information)
        messages = [*messages, *_afterwards(lens, numbers, refined)]
        return LensFit(lens, parameters.names, covariance, numbers, messages=messages, images=images)

    def _log_evidence(self, refined):
        """Of source and lens parameters, the latter by Laplace's approximation (MacKay 2003, ch. 27)."""
        _, log_det = np.linalg.slogdet(refined.information / (2 * np.pi))
        return float(-refined.cost - 0.5 * log_det - self.parameters.log_prior_norm)

    def _beforehand(self, observation, correlation):
        messages = []
        if self.noise_correlation is None and correlation > 1:
            messages.append(
                "the noise of neighbouring pixels is correlated, as in drizzled images: the lens is fitted "
                f"with {correlation:.2f} times the variance; noise_correlation=1 would take it as it is given"
            )
        if observation.psf is None:
            messages.append(
                "the observation has no psf and is taken as not blurred: "
                "add one with nddata.psf = array (odd sides, its centre in the middle)"
            )
        return messages

    def __repr__(self) -> str:
        return f"LensFitter({self.guess!r}, free={list(self.parameters.names)})"


def _from_radius(theta_E):
    if not to_arcsec(theta_E, "guess") > 0 or not theta_E.isscalar:
        raise ValueError(f"an Einstein radius must be one positive angle; got {theta_E}")
    return SIE(theta_E=theta_E, q=0.9, phi=0 * u.deg) + ExternalShear(gamma1=0.0, gamma2=0.0)


def _around(parameters):
    """The guess itself, and with its radii a little smaller and larger."""
    start = parameters.start
    radii = parameters.is_radius
    if not radii.any():
        return [start]
    return [start, start - parameters.spread * radii, start + parameters.spread * radii]


def _all_round(parameters):
    """Radii and directions all round."""
    starts = []
    for factor in _RADII:
        for turn in np.radians(_TURNS):
            vector = parameters.start.copy()
            vector[parameters.is_radius] += np.log(factor)
            vector[parameters.is_ellipse] = np.resize(
                _FLATTENING * np.array([np.cos(2 * turn), np.sin(2 * turn)]), parameters.is_ellipse.sum()
            )
            starts.append(vector)
    return starts


def _bounding_box(used):
    rows, columns = (np.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
    return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _reduced(refined):
    inversion = refined.inversion
    return inversion.chi2 / max(1.0, len(inversion.residuals) - inversion.modes)


def _afterwards(lens, numbers, refined):
    """What is not as one expects it of a lens."""
    messages = []
    reduced = numbers.chi2 / max(1.0, numbers.n_pixels - numbers.effective_modes)
    if reduced > _POOR:
        messages.append(
            f"the residuals are larger than the noise, reduced chi-square {reduced:.2f}: look at them; the "
            "noise map, the PSF, light of the lens galaxy or the kind of lens may be wrong, and errors are "
            "too small"
        )
    if not numbers.converged:
        messages.append("the fit stopped before it converged: go on from its lens, LensFitter(fit.lens)")
    if refined.gathering > _SCATTERED:
        messages.append(
            "the lens does not take the arcs to one place: the fit may have taken them for what the source "
            "looks like without a lens; start from another Einstein radius, and mask what is no arc"
        )
    for name, value in lens.parameters.items():
        last = name.rpartition(".")[2]
        if last == "q" and value < _FLAT:
            messages.append(
                f"the lens is very flat, {name} = {value:.2f}: a prior or fixed parameters may help"
            )
        if last in ("gamma1", "gamma2") and abs(value) > _SHEARED:
            messages.append(f"the shear is very strong, {name} = {value:.2f}: a prior may help")
    return messages
