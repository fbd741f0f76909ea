"""The steps that each lens of a catalogue goes through, from a cutout to a super-resolution."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from lenssuper._utils.checks import check_count
from lenssuper._utils.files import atomic_write
from lenssuper._utils.units import quoted
from lenssuper.catalog.coolest import read_template
from lenssuper.catalog.table import Entry
from lenssuper.exceptions import ObservationError
from lenssuper.lens import LensModel
from lenssuper.lensfit import LensFit, LensFitter
from lenssuper.light import ForegroundFit, ForegroundFitter
from lenssuper.observation import Observation
from lenssuper.observation.psffile import PsfOptions, read_psf
from lenssuper.observation.reader import Reading
from lenssuper.preparation import prepare
from lenssuper.preparation.cutout import cut_with_surroundings
from lenssuper.solvers import Solver
from lenssuper.substructure.result import SubstructureResult
from lenssuper.superres.result import SuperResolution
from lenssuper.superres.superresolver import SuperResolver
from lenssuper.superres.systematics import Systematics

__all__ = ["FitLens", "FitLight", "Prepare", "Read", "Stage", "SuperResolve", "Work", "check_stages"]


Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Work:
    """
    What is known of a lens so far; what no stage has found yet is None.

    Its ``lens`` is that of the catalogue, or the fitted one, and ``light`` that of the lens galaxy.
    """

    entry: Entry
    lens: LensModel
    rng: np.random.Generator
    observation: Observation | None = None
    light: ForegroundFit | None = None
    light_fitter: ForegroundFitter | None = None
    fit: LensFit | None = None
    substructure: SubstructureResult | None = None
    result: SuperResolution | None = None


def found_in(result: Found | None) -> Found:
    """Return what an earlier stage, or this one, has found."""
    assert result is not None
    return result


class Stage(ABC):
    """
    A step that each lens of a catalogue goes through; a frozen dataclass of its settings.

    Attributes
    ----------
    what : str
        Its name in records and in the reason of a failure.
    ending : str
        Ending, after the name of the lens, of the file that `write` writes; empty if it writes none.
    renews : tuple of type
        Stages before it whose result it improves, so that their files are written again.
    """

    what: ClassVar[str]
    ending: ClassVar[str] = ""
    renews: ClassVar[tuple[type[Stage], ...]] = ()

    @abstractmethod
    def __call__(self, work: Work) -> Work:
        """Return the work with the result of this stage; ``work`` is not changed."""

    def write(self, work: Work, path: Path) -> None:  # noqa: B027  most leave nothing
        """Write the result of this stage, whole or not at all; replace a file of an earlier run."""

    def numbers(self, work: Work) -> dict[str, Any]:
        """Return numbers for the record of the lens, ready for JSON."""
        return {}

    def __repr__(self) -> str:
        settings = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
        )
        return f"{type(self).__name__}({', '.join(settings)})"


@dataclass(frozen=True, repr=False)
class Read(Stage):
    """Reads an observation that is ready, or cuts one out of a larger image that has a noise map."""

    what: ClassVar[str] = "reading"

    def __call__(self, work: Work) -> Work:
        entry = work.entry
        if entry.is_template:
            return replace(work, observation=_template(entry))
        reading, options = Reading(**entry.reading), PsfOptions(**entry.psf_options)
        ccd, window = cut_with_surroundings(
            entry.file, entry.position, entry.size, replace(reading, psf=options), surroundings=False
        )
        observation = Observation.from_nddata(ccd, grid=window.grid)
        if entry.psf:
            psf = read_psf(
                entry.psf, found_in(window.grid).side_arcsec, replace(options, position=window.middle)
            )
            observation = observation.with_psf(
                psf.values, oversampling=psf.oversampling, includes_pixel=psf.includes_pixel
            )
        return replace(work, observation=observation)


@dataclass(frozen=True, repr=False)
class Prepare(Stage):
    """
    Makes an observation of a cutout as an archive hands it out: `~lenssuper.prepare`.

    It reads the file itself, and so comes first. Objects beyond 1.6 Einstein radii of the catalogue's lens
    are masked, or beyond 2 where it gives no more than a rough radius.

    Parameters
    ----------
    rescale, subtract_sky : bool, optional
        As for `~lenssuper.prepare`.
    """

    what: ClassVar[str] = "preparation"

    rescale: bool = True
    subtract_sky: bool = True

    def __call__(self, work: Work) -> Work:
        entry = work.entry
        ready = prepare(
            read_template(entry.file)[0] if entry.is_template else entry.file,
            center=entry.position,
            size=entry.size,
            psf=entry.psf or None,
            psf_options=PsfOptions(**entry.psf_options),
            **entry.noise,
            **entry.reading,
            rescale=self.rescale,
            subtract_sky=self.subtract_sky,
            lens=None if entry.rough else work.lens,
            einstein_radius=work.lens.einstein_radius() if entry.rough else None,
        )
        return replace(work, observation=Observation.from_nddata(ready))


def _template(entry):
    """Return the observation in a COOLEST template."""
    image, kind = read_template(entry.file)
    if image.uncertainty is None:
        raise ObservationError(
            f"{entry.file} has no map of the noise: measure it with Prepare (--prepare), or give one"
        )
    try:
        return Observation.from_nddata(image, **kind)
    except ObservationError as error:
        raise ObservationError(f"{entry.file}: {error}") from error


@dataclass(frozen=True, repr=False)
class FitLight(Stage):
    """
    Takes the light of the lens galaxy off: `~lenssuper.light.foreground.fitter.ForegroundFitter`.

    Arcs are looked for near the Einstein radius of the catalogue's lens, where it has one.
    What was taken off, galaxy and sky, is left in ``NAME_light.fits``, with its standard deviation.

    Parameters
    ----------
    n_components : int or None, optional
        Number of Sersic profiles; None for one to three.
    modes : int, optional
        Corrections to the isophotes: Fourier modes up to this one.
    """

    what: ClassVar[str] = "light of the lens galaxy"
    ending: ClassVar[str] = "_light.fits"

    n_components: int | None = None
    modes: int = 4

    def __post_init__(self) -> None:
        ForegroundFitter(self.n_components, modes=self.modes)  # checks the settings

    def __call__(self, work: Work) -> Work:
        radius = _einstein_radius(work.lens)
        fitter = ForegroundFitter(
            self.n_components,
            modes=self.modes,
            einstein_radius=radius * u.arcsec if radius > 0 else None,
            progress=False,
        )
        light = fitter(work.observation)
        return replace(work, light=light, light_fitter=fitter, observation=light.subtracted)

    def write(self, work: Work, path: Path) -> None:
        model = found_in(work.light).model
        image = CCDData(model.data, unit=model.unit, uncertainty=model.uncertainty, wcs=model.wcs)
        with atomic_write(path, overwrite=True) as beside:
            image.write(beside, format="fits", checksum=True)

    def numbers(self, work: Work) -> dict[str, Any]:
        light = found_in(work.light)
        return {"light_reduced_chi2": light.reduced_chi2, **_verdict(light)}


@dataclass(frozen=True, repr=False)
class FitLens(Stage):
    """
    Fits the lens: `~lenssuper.LensFitter`, from the lens of the catalogue or from its ``theta_E`` alone.

    After a fit of the light, light and lens are fitted in turn, `~lenssuper.LensFitter.with_light`. The fit
    is left in ``NAME_lens.json``, for `~lenssuper.LensFit.read` and `~lenssuper.LensModel.read`.

    Parameters
    ----------
    fixed : iterable of str, optional
        Parameters that stay as they are, or whole components.
    factor : int, optional
        Pixels of the lensed image along the side of an observed one.
    """

    what: ClassVar[str] = "fit of the lens"
    ending: ClassVar[str] = "_lens.json"
    renews: ClassVar[tuple[type[Stage], ...]] = (FitLight,)

    fixed: tuple[str, ...] = ()
    factor: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.fixed, str):
            raise TypeError(f"fixed must be a list of names; got {self.fixed!r}")
        object.__setattr__(self, "fixed", tuple(self.fixed))
        check_count(self.factor, "factor", 1)

    def fitter(self, lens: LensModel, *, rough: bool, rng: Any = None) -> LensFitter:
        """Return what fits the lens; of a ``rough`` one, the Einstein radius alone is known."""
        guess = lens.parameters["theta_E"] if rough else lens
        return LensFitter(guess, fixed=self.fixed, factor=self.factor, rng=rng, progress=False)

    def __call__(self, work: Work) -> Work:
        fitter = self.fitter(work.lens, rough=work.entry.rough, rng=work.rng)
        if work.light is None:
            fit = fitter(work.observation)
            return replace(work, fit=fit, lens=fit.lens)
        light, fit = fitter.with_light(work.light.observation, work.light, light_fitter=work.light_fitter)
        return replace(work, fit=fit, lens=fit.lens, light=light, observation=light.subtracted)

    def write(self, work: Work, path: Path) -> None:
        found_in(work.fit).write(path, overwrite=True)

    def numbers(self, work: Work) -> dict[str, Any]:
        fit = found_in(work.fit)
        errors = fit.errors
        return {
            "lens": {name: list(quoted(fit.lens.parameters[name], errors[name])) for name in fit.names},
            "lens_reduced_chi2": fit.reduced_chi2,
            **_verdict(fit),
        }


@dataclass(frozen=True, repr=False)
class SuperResolve(Stage):
    """
    Super-resolves with the lens there is by then: `~lenssuper.SuperResolver`. It comes last.

    Parameters
    ----------
    factor : int
    solver : Solver
    lens_errors : bool, optional
        Whether the error bars contain the errors of the lens, which is then a fitted one.
    """

    what: ClassVar[str] = "super-resolution"
    ending: ClassVar[str] = ".fits"

    factor: int
    solver: Solver
    lens_errors: bool = False

    def __call__(self, work: Work) -> Work:
        resolver = SuperResolver(
            work.lens,
            factor=self.factor,
            solver=self.solver,
            systematics=Systematics(lens=found_in(work.fit)) if self.lens_errors else None,
            rng=work.rng,
            progress=False,
        )
        result = resolver(work.observation)
        if work.fit is not None:
            result = result.judged_with(work.fit.judgement)
        return replace(work, result=result)

    def write(self, work: Work, path: Path) -> None:
        found_in(work.result).write(path, overwrite=True)

    def numbers(self, work: Work) -> dict[str, Any]:
        result = found_in(work.result)
        return {
            "chi2": result.chi2,
            "n_pixels": result.n_pixels,
            "reduced_chi2": result.reduced_chi2,
            "log_evidence": result.log_evidence,
            "effective_modes": result.effective_modes,
            "einstein_radius": _einstein_radius(work.lens),
            "converged": bool(result.posterior.converged),
            **_verdict(result),
        }


def _verdict(result):
    """Return the verdict on a result for the record; those of later stages replace it, and contain it."""
    return {} if result.judgement is None else result.judgement.to_dict()


def _einstein_radius(lens):
    try:
        return lens.einstein_radius().to_value(u.arcsec)
    except ValueError:  # no closed critical curve
        return math.nan


def check_stages(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """Return the stages before the super-resolution as a tuple that begins with one that reads the file."""
    stages = tuple(stages)
    for stage in stages:
        if not isinstance(stage, Stage):
            raise TypeError(f"stages must be instances of Stage, e.g. FitLens(); got {stage!r:.80}")
    kinds = [type(stage) for stage in stages]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"stages must hold each kind once; got {', '.join(kind.__name__ for kind in kinds)}")
    if Prepare in kinds[1:]:
        raise ValueError("Prepare must be the first of stages: it reads the file")
    return stages if Prepare in kinds else (Read(), *stages)
