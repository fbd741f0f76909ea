"""A single lens profile, and a sum of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from astropy import units as u

from lenssuper.lens.arrays import as_arrays
from lenssuper.lens.base import LensModel
from lenssuper.lens.parameters import Parameter


class ProfileLens(LensModel):
    """A single lens profile: parameters checked at the door, and the functions that bend the light.

    A subclass names its parameters (``_schema``), the functions of ``lenssuper.lens.profiles`` it stands on
    (potential, deflection, Hessian) and which parameters they take (``_arguments``); where one of the
    parameters is ``phi`` the positions are turned into the frame of the axes and the results back.
    """

    _schema: ClassVar[tuple[Parameter, ...]]
    _functions: ClassVar[tuple]
    _arguments: ClassVar[tuple[str, ...]]
    _singular: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for parameter in cls._schema:
            setattr(cls, parameter.name, property(_getter(parameter.name), doc=parameter.description))

    def __init__(self, **given):
        floats = {p.name: p.to_float(given[p.name]) for p in self._schema}
        kept = {p.name: p.keep(given[p.name]) for p in self._schema}
        # past the immutability of the class, once
        self.__dict__.update(_floats=floats, _kept=kept)

    @property
    def components(self) -> tuple[LensModel, ...]:
        return (self,)

    @property
    def parameters(self) -> dict[str, u.Quantity | float]:
        return {
            name: value.copy() if isinstance(value, u.Quantity) else value
            for name, value in self._kept.items()
        }

    def replace(self, **changes) -> ProfileLens:
        _check_names(self, changes)
        return type(self)(**{**self._kept, **changes})

    def values(self):
        return dict(self._floats)

    def potential_arcsec2(self, x, y, values=None):
        x, y, arguments, _ = self._local(x, y, values)
        return self._functions[0](x, y, *arguments)

    def deflection_arcsec(self, x, y, values=None):
        x, y, arguments, turn = self._local(x, y, values)
        alpha_x, alpha_y = self._functions[1](x, y, *arguments)
        if turn is None:
            return alpha_x, alpha_y
        c, s = turn
        return c * alpha_x - s * alpha_y, s * alpha_x + c * alpha_y

    def hessian(self, x, y, values=None):
        x, y, arguments, turn = self._local(x, y, values)
        xx, yy, xy = self._functions[2](x, y, *arguments)
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
        """Whether the deflection tends to different finite values on different ways into the centre."""
        return False

    def centers_arcsec(self):
        strength = self._floats[self._schema[0].name]
        return [(self._floats["x"], self._floats["y"])] if self._singular and strength != 0 else []

    def _local(self, x, y, values):
        """Return x, y in the frame of the lens, its functions' arguments, and (cos, sin) of its angle."""
        v = self._floats if values is None else {**self._floats, **_check_names(self, values)}
        arguments = [v[name] for name in self._arguments]
        xp, x, y, *centre = as_arrays(x, y, v["x"], v["y"], v.get("phi", 0.0))
        x, y = x - centre[0], y - centre[1]
        if "phi" not in v:
            return x, y, arguments, None
        c, s = xp.cos(centre[2]), xp.sin(centre[2])
        return c * x + s * y, c * y - s * x, arguments, (c, s)

    def __eq__(self, other):
        return self._floats == other._floats if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash((type(self).__name__, *self._floats.items()))

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self._kept.items())})"


class CompositeLens(LensModel):
    """A sum of lens profiles in one plane; what ``lens + lens`` returns.

    Parameters
    ----------
    lenses : iterable of `LensModel`
        What to add; sums among them are taken apart, so there is one level.
    """

    def __init__(self, lenses: Iterable[LensModel]):
        components = []
        for lens in lenses:
            if not isinstance(lens, LensModel):
                raise TypeError(f"lenses must be LensModel instances; got {lens!r}")
            components.extend(lens.components)
        if not components:
            raise ValueError("lenses must hold at least one LensModel; got none")
        seen: dict[str, int] = {}
        names = []
        for lens in components:
            kind = type(lens).__name__
            seen[kind] = seen.get(kind, 0) + 1
            names.append(kind if seen[kind] == 1 else f"{kind}_{seen[kind]}")
        self.__dict__.update(_parts=tuple(components), _names=tuple(names))

    @property
    def components(self) -> tuple[LensModel, ...]:
        return self._parts

    @property
    def parameters(self) -> dict[str, u.Quantity | float]:
        return {f"{n}.{key}": v for n, lens in self._named() for key, v in lens.parameters.items()}

    def replace(self, **changes) -> CompositeLens:
        groups = self._groups(changes)
        return CompositeLens([lens.replace(**groups[name]) for name, lens in self._named()])

    def values(self):
        return {f"{n}.{key}": v for n, lens in self._named() for key, v in lens.values().items()}

    def potential_arcsec2(self, x, y, values=None):
        return sum(self._each("potential_arcsec2", x, y, values))

    def deflection_arcsec(self, x, y, values=None):
        return tuple(sum(parts) for parts in zip(*self._each("deflection_arcsec", x, y, values), strict=True))

    def hessian(self, x, y, values=None):
        return tuple(sum(parts) for parts in zip(*self._each("hessian", x, y, values), strict=True))

    def centers_arcsec(self):
        return [centre for lens in self._parts for centre in lens.centers_arcsec()]

    def _named(self):
        return zip(self._names, self._parts, strict=True)

    def _each(self, method, x, y, values):
        groups = self._groups(values or {})
        return [getattr(lens, method)(x, y, groups[name]) for name, lens in self._named()]

    def _groups(self, flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        _check_names(self, flat)
        groups: dict[str, dict[str, Any]] = {name: {} for name in self._names}
        for key, value in flat.items():
            name, _, parameter = key.partition(".")
            groups[name][parameter] = value
        return groups

    def __eq__(self, other):
        return self._parts == other._parts if type(other) is type(self) else NotImplemented

    def __hash__(self):
        return hash(self._parts)

    def __repr__(self):
        return " + ".join(map(repr, self._parts))


def _getter(name):
    return lambda self: self.parameters[name]


def _check_names(lens, given: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = given.keys() - lens.values().keys()
    if unknown:
        raise ValueError(
            f"unknown parameter {sorted(unknown)[0]!r}; this lens has {', '.join(lens.values())}"
        )
    return given
