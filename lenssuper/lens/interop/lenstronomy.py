"""lenstronomy's lists of names and keyword arguments (lengths in arcsec, ellipticities e1 and e2).

Its Einstein radii are on the intermediate axis, its angles counter-clockwise from +x, as here. Where its x
axis is right ascension (east), everything is mirrored.
"""

from __future__ import annotations

import cmath
from collections.abc import Mapping, Sequence

from astropy import units as u

from lenssuper._utils.units import to_number
from lenssuper.lens.base import LensModel
from lenssuper.lens.interop.ellipticity import axis_ratio_and_angle, components
from lenssuper.lens.models import EPL, NFW, SIE, SIS, TNFW, ExternalShear, PointMass
from lenssuper.lens.profile import CompositeLens

# Class, lenstronomy's name, and the parameters with the same name and meaning in both.
_SAME = (
    (SIS, "SIS", ("theta_E",)),
    (SIE, "SIE", ("theta_E",)),
    (EPL, "EPL", ("theta_E", "gamma")),
    (PointMass, "POINT_MASS", ("theta_E",)),
    (NFW, "NFW", ("alpha_Rs", "Rs")),
    (TNFW, "TNFW", ("alpha_Rs", "Rs", "r_trunc")),
    (ExternalShear, "SHEAR", ("gamma1", "gamma2")),
)
_BY_CLASS = {cls: (name, same) for cls, name, same in _SAME}
_BY_NAME = {name: (cls, same) for cls, name, same in _SAME}
# Other implementations of the same profile.
_BY_NAME |= {"EPL_NUMBA": _BY_NAME["EPL"], "PEMD": _BY_NAME["EPL"]}
_LENGTHS = ("theta_E", "alpha_Rs", "Rs", "r_trunc")


def to_lenstronomy(lens: LensModel, x_axis: str) -> tuple[list[str], list[dict[str, float]]]:
    """Return the list of names and the list of keyword arguments."""
    sign = _sign(x_axis)
    names, kwargs = [], []
    for part in lens.components:
        name, same = _BY_CLASS[type(part)]
        values = part.values()
        words = {key: values[key] for key in same}
        if "q" in values:
            words["e1"], e2 = components(values["q"], values["phi"])
            words["e2"] = sign * e2
        if "gamma2" in words:
            words["gamma2"] *= sign
        x_name, y_name = _centre_names(part)
        words[x_name], words[y_name] = sign * values["x"] + 0.0, values["y"]  # no -0.0
        names.append(name)
        kwargs.append(words)
    return names, kwargs


def from_lenstronomy(names: Sequence[str], kwargs: Sequence[Mapping[str, float]], x_axis: str) -> LensModel:
    """Return the lens that the two lists describe."""
    sign = _sign(x_axis)
    if isinstance(names, str) or isinstance(kwargs, Mapping):
        raise TypeError(f"names and kwargs must be lists of equal length; got {names!r} and {kwargs!r}")
    if len(names) != len(kwargs):
        raise ValueError(f"names and kwargs must have one length; got {len(names)} and {len(kwargs)}")
    parts = [_profile(name, words, sign) for name, words in zip(names, kwargs, strict=True)]
    return parts[0] if len(parts) == 1 else CompositeLens(parts)


def _profile(name, words, sign):
    given = {key: to_number(value, f"{key} of {name}") for key, value in words.items()}
    if name == "SHEAR_GAMMA_PSI":
        name, given = "SHEAR", _shear_components(given)
    if name not in _BY_NAME:
        known = ", ".join([*_BY_NAME, "SHEAR_GAMMA_PSI"])
        raise ValueError(f"names must be among {known}; got {name!r}")
    cls, same = _BY_NAME[name]
    parameters = {key: _take(given, key, name) for key in same}
    if "gamma2" in parameters:
        parameters["gamma2"] *= sign
    if cls in (SIE, EPL):
        e1, e2 = _take(given, "e1", name), _take(given, "e2", name)
        parameters["q"], phi = axis_ratio_and_angle(e1, sign * e2)
        parameters["phi"] = (phi * u.rad).to(u.deg)
    x_name, y_name = _centre_names(cls)
    parameters["x"] = sign * given.pop(x_name, 0.0) * u.arcsec
    parameters["y"] = given.pop(y_name, 0.0) * u.arcsec
    if given:
        raise ValueError(f"{name} has no parameter {next(iter(given))!r}")
    return cls(**{key: value * u.arcsec if key in _LENGTHS else value for key, value in parameters.items()})


def _shear_components(given):
    strength, angle = (_take(given, key, "SHEAR_GAMMA_PSI") for key in ("gamma_ext", "psi_ext"))
    shear = strength * cmath.exp(2j * angle)
    return given | {"gamma1": shear.real, "gamma2": shear.imag}


def _take(given, key, name):
    if key not in given:
        raise ValueError(f"{name} needs the parameter {key!r}; got {', '.join(given) or 'none'}")
    return given.pop(key)


def _centre_names(kind):
    shear = kind is ExternalShear or isinstance(kind, ExternalShear)
    return ("ra_0", "dec_0") if shear else ("center_x", "center_y")


def _sign(x_axis):
    if x_axis not in ("west", "east"):
        raise ValueError(f'x_axis must be "west" (along columns) or "east" (right ascension); got {x_axis!r}')
    return 1 if x_axis == "west" else -1
