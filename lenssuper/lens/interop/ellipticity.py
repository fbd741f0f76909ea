"""Axis ratio and angle to and from ellipticity components, the way lenstronomy and PyAutoLens define them."""

from __future__ import annotations

import math


def components(q: float, phi: float) -> tuple[float, float]:
    """Return e1, e2 = (1 - q) / (1 + q) (cos 2 phi, sin 2 phi)."""
    e = (1 - q) / (1 + q)
    return e * math.cos(2 * phi), e * math.sin(2 * phi)


def axis_ratio_and_angle(e1: float, e2: float) -> tuple[float, float]:
    """Return q and phi (radian, between -pi / 2 and pi / 2) of ellipticity components.

    Raises
    ------
    ValueError
        If the ellipticity is 1 or more, which no axis ratio has.
    """
    e = math.hypot(e1, e2)
    if not e < 1:
        raise ValueError(f"the ellipticity components must have a length below 1; got {e1!s} and {e2!s}")
    return (1 - e) / (1 + e), math.atan2(e2, e1) / 2
