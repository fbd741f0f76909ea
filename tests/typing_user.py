"""What the README shows, and what a user does with it next: checked by mypy and pyright, not called."""

from typing import assert_type

import astropy.units as u
from astropy.nddata import CCDData

from lenssuper import (
    SIE,
    ExternalShear,
    LensFit,
    LensFitter,
    LensModel,
    Observation,
    SuperResolution,
    SuperResolver,
)


def use() -> None:
    obs = CCDData.read("ring.fits")
    galaxy = SIE(theta_E=0.77 * u.arcsec, q=0.95, phi=48 * u.deg, x=0.05 * u.arcsec, y=0.02 * u.arcsec)
    lens: LensModel = galaxy + ExternalShear(gamma1=0.029, gamma2=0.019)

    result = SuperResolver(lens, factor=2)(Observation.from_nddata(obs))
    assert_type(result, SuperResolution)
    result.write("out.fits")
    assert_type(SuperResolver(lens)([Observation.from_nddata(obs)]), list[SuperResolution])
    assert_type(SuperResolver.from_pretrained("space", lens)(Observation.from_nddata(obs)), SuperResolution)
    assert_type(LensFitter(lens)(Observation.from_nddata(obs)), LensFit)
    assert_type(SuperResolution.read("out.fits"), SuperResolution)
    assert_type(result.chi2, float)
