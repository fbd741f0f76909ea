"""A single lens profile: declared parameters, and the functions of its potential."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, dataclass_transform

from astropy import units as u

from lenssuper.lens.arrays import as_arrays
from lenssuper.lens.base import PROFILES, LensModel, check_names
from lenssuper.lens.interop.naming import Naming
from lenssuper.lens.parameters import CENTER, Parameter


@dataclass_transform(kw_only_default=True, field_specifiers=(Parameter,))
class _Declaring(LensModel):
    """A lens whose subclasses declare parameters, which are the keyword arguments of a type checker too."""


class ProfileLens(_Declaring):
    """A single lens profile, as its subclasses declare it.

    The class attributes of a subclass that are a `Parameter` are its keyword arguments and its parameters;
    the centre, ``x`` and ``y``, comes by itself. ``_functions`` are the potential, the deflection and the
    Hessian: of positions relative to the centre, in the frame of the axes where there is a parameter ``phi``,
    and of all other parameters by their names. ``_lenstronomy`` and ``_coolest`` are the names in other
    codes: the first that fits is written, and all are read.
    """

    x: u.Quantity = CENTER[0]
    y: u.Quantity = CENTER[1]

    _schema: ClassVar[tuple[Parameter, ...]] = CENTER
    _functions: ClassVar[tuple[Callable, ...]]
    _lenstronomy: ClassVar[tuple[Naming, ...]] = ()
    _coolest: ClassVar[tuple[Naming, ...]] = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        own = {name: replace(p, name=name) for name, p in vars(cls).items() if isinstance(p, Parameter)}
        schema = {p.name: p for p in cls._schema} | own
        cls._schema = tuple(sorted(schema.values(), key=lambda p: p.name in ("x", "y")))  # the centre is last
        for parameter in cls._schema:
            setattr(cls, parameter.name, property(_getter(parameter.name), doc=parameter.description))
        cls.__signature__ = inspect.Signature([_argument(p) for p in cls._schema])
        if "_functions" in vars(cls):
            PROFILES[cls.__name__] = cls

    def __init__(self, **given):
        names = [p.name for p in self._schema]
        for name in given:
            if name not in names:
                raise TypeError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(names)}")
        given = {p.name: given.get(p.name, p.default) for p in self._schema}
        for name, value in given.items():
            if value is None:
                raise TypeError(f"{type(self).__name__} needs the parameter {name!r}")
        floats = {p.name: p.to_float(given[p.name]) for p in self._schema}
        kept = {p.name: p.keep(given[p.name]) for p in self._schema}
        # past the immutability of the class, once
        self.__dict__.update(_floats=floats, _kept=kept)
        self._check()

    def _check(self):
        """Raise a ValueError if the parameters do not fit each other."""

    @property
    def components(self) -> tuple[LensModel, ...]:
        return (self,)

    @property
    def parameters(self) -> dict[str, u.Quantity | float]:
        return {
            name: value.copy() if isinstance(value, u.Quantity) else value
            for name, value in vars(self)["_kept"].items()
        }

    def replace(self, **changes) -> ProfileLens:
        check_names(self, changes)
        return type(self)(**{**vars(self)["_kept"], **changes})

    def values(self):
        return dict(self._floats)

    def potential_arcsec2(self, x, y, values=None):
        x, y, arguments, _ = self._local(x, y, values)
        return self._functions[0](x, y, **arguments)

    def deflection_arcsec(self, x, y, values=None):
        x, y, arguments, turn = self._local(x, y, values)
        alpha_x, alpha_y = self._functions[1](x, y, **arguments)
        if turn is None:
            return alpha_x, alpha_y
        c, s = turn
        return c * alpha_x - s * alpha_y, s * alpha_x + c * alpha_y

    def hessian(self, x, y, values=None):
        x, y, arguments, turn = self._local(x, y, values)
        xx, yy, xy = self._functions[2](x, y, **arguments)
        if turn is None:
            return xx, yy, xy
        c, s = turn
        cross = 2 * c * s * xy
        return (
            c * c * xx + s * s * yy - cross,
            s * s * xx + c * c * yy + cross,
            c * s * (xx - yy) + (c * c - s * s) * xy,
        )

    @property
    def torn(self) -> bool:
        """Whether the deflection has a different finite limit at the centre from every direction."""
        return False

    @property
    def singular(self) -> bool:
        """Whether the convergence is infinite at the centre."""
        return True

    def centers_arcsec(self):
        strength = self._floats[self._schema[0].name]
        return [(self._floats["x"], self._floats["y"])] if strength != 0 else []

    def _local(self, x, y, values):
        """Return x, y in the frame of the lens, its functions' arguments, and (cos, sin) of its angle."""
        v = dict(self._floats) if values is None else {**self._floats, **check_names(self, values)}
        xp, x, y, x0, y0, phi = as_arrays(x, y, v.pop("x"), v.pop("y"), v.pop("phi", 0.0))
        x, y = x - x0, y - y0
        if "phi" not in self._floats:
            return x, y, v, None
        c, s = xp.cos(phi), xp.sin(phi)
        return c * x + s * y, c * y - s * x, v, (c, s)

    def __eq__(self, other):
        return self._floats == other._floats if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash((type(self).__name__, *self._floats.items()))

    def __repr__(self):
        given = ", ".join(f"{name}={value}" for name, value in vars(self)["_kept"].items())
        return f"{type(self).__name__}({given})"


def _getter(name):
    return lambda self: self.parameters[name]


def _argument(parameter):
    default = inspect.Parameter.empty if parameter.default is None else parameter.default
    kind = "float" if parameter.kind == "number" else "u.Quantity"
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
