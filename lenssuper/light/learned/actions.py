"""
The parameters of a Sersic as seven numbers between -1 and 1: the output of a network, the action of an agent.

x and y reach from one edge of the image to the other. The logarithms of R_e and n, the ellipticity and the
square root of the brightness half a pixel from the centre are uniform over their ranges. That brightness
replaces the amplitude, which varies by orders of magnitude with n at the same brightness of the galaxy.
"""

from __future__ import annotations

import math

import torch

from lenssuper.light.learned.torchsersic import sersic_b

__all__ = ["N_ACTIONS", "SIZE", "parameters_of", "shapes_of"]

N_ACTIONS = 7
SIZE = 64  # pixels along a side of the images that networks take
R_E = (0.008, 0.8)  # of the side of the image
INDEX = (0.5, 6.0)
ELLIPTICITY = 0.74  # q down to 0.15
BRIGHTNESS = 2.0  # of the brightest part of the image
_NEAR = 0.5 / SIZE


def shapes_of(actions: torch.Tensor) -> torch.Tensor:
    """Convert actions (..., 7) into x, y, R_e, n, e1, e2, amplitude (..., 7), for `render_shapes`."""
    x, y, size, index, a1, a2, bright = actions.unbind(-1)
    R_e, n = _spread(size, *R_E), _spread(index, *INDEX)
    # A smooth map of the square on the disc.
    e1 = ELLIPTICITY * a1 * torch.sqrt(1 - a2**2 / 2)
    e2 = ELLIPTICITY * a2 * torch.sqrt(1 - a1**2 / 2)
    near = BRIGHTNESS * ((1 + bright) / 2) ** 2
    amplitude = near * torch.exp(sersic_b(n) * ((_NEAR / R_e) ** (1 / n) - 1))
    return torch.stack([(1 + x) / 2, (1 + y) / 2, R_e, n, e1, e2, amplitude], dim=-1)


def _spread(action, low, high):
    """Map -1 to 1 onto ``low`` to ``high``, uniformly in the logarithm."""
    middle, half = math.log(low * high) / 2, math.log(high / low) / 2
    return torch.exp(middle + half * action)


def parameters_of(shapes: torch.Tensor) -> torch.Tensor:
    """Convert x, y, R_e, n, e1, e2, amplitude (..., 7) into x, y, R_e, n, q, phi (radian), amplitude."""
    x, y, R_e, n, e1, e2, amplitude = shapes.unbind(-1)
    e = torch.hypot(e1, e2)
    return torch.stack([x, y, R_e, n, (1 - e) / (1 + e), torch.atan2(e2, e1) / 2, amplitude], dim=-1)
