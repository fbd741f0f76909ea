"""Sersics added to an observation one after another, by a trained network or policy."""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import torch

from lenssuper._utils.weightfile import load_into, read_weights
from lenssuper.exceptions import FileFormatError
from lenssuper.light.learned.actions import SIZE, parameters_of, shapes_of
from lenssuper.light.learned.frame import Frame
from lenssuper.light.learned.network import PolicyNetwork, SersicNetwork
from lenssuper.light.learned.torchsersic import render_shapes
from lenssuper.light.learned.weightfile import shipped
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["add_components", "load_network"]

_METHODS = ("cnn", "ppo")
SHIPPED = ("cnn", "ppo", "ppo_discrete")
_GAUSS = 2 * np.log(2)  # square of the half-light radius of a Gaussian over its variance


def add_components(
    observation: Observation,
    n_components: int,
    method: str = "cnn",
    weights: str | os.PathLike | None = None,
    rng: np.random.Generator | int | None = None,
) -> list[np.ndarray]:
    """
    Add Sersics to the image of a galaxy, each in answer to what those before have left.

    The network sees the image without sky, averaged to 64 x 64 pixels, its masked pixels filled from their
    neighbours. What it answers is how the Sersics look behind the PSF; their sizes are made smaller by that
    of the PSF in quadrature, at the same flux, which is a first approximation.

    Parameters
    ----------
    observation : Observation
    n_components : int
        How many at most. None is added that would make the residual worse.
    method : {"cnn", "ppo"}, optional
        The network trained through the renderer's gradient, or the policy trained by reward.
    weights : str or path-like, optional
        File of weights, or the name of some that come with the package: "cnn", "ppo" and "ppo_discrete". By
        default those with the name of the method.
    rng : optional
        Not used: the same image gets the same Sersics.

    Returns
    -------
    list of ndarray, shape (7,)
        x, y, R_e (arcsec, intermediate axis), n, q, phi (radian, counter-clockwise from +x), amplitude.

    Raises
    ------
    FileFormatError
        If the file of weights is damaged or for something else.
    ObservationError
        If the image has no light above its sky.
    """
    if isinstance(n_components, bool) or not isinstance(n_components, (int, np.integer)):
        raise TypeError(f"n_components must be an integer; got {n_components!r}")
    if n_components < 1:
        raise ValueError(f"n_components must be 1 or more; got {n_components}")
    network = load_network(method, weights)
    frame = Frame.of(observation.data, observation.mask)
    shapes = _answers(network, torch.from_numpy(frame.image), n_components)
    blur = _psf_radius2(observation)
    return [_on_the_sky(p, frame, observation.grid, blur) for p in parameters_of(shapes).double().numpy()]


def load_network(method: str, weights: str | os.PathLike | None = None) -> SersicNetwork | PolicyNetwork:
    """
    Load a trained network.

    Parameters
    ----------
    method : {"cnn", "ppo"}
    weights : str or path-like, optional
        As in `add_components`.

    Raises
    ------
    ValueError
        If there is no such method.
    FileFormatError
        If the file of weights is damaged or for something else.
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}; got {method!r}")
    weights = method if weights is None else weights
    path = os.path.abspath(shipped(weights) if weights in SHIPPED else weights)
    return _load(method, path, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=8)
def _load(method, path, _when):
    tensors, metadata = read_weights(path)
    architecture, bins = str(metadata.get("architecture")), metadata.get("bins")
    if bins is not None and not (isinstance(bins, int) and 1 < bins < 1000):
        raise FileFormatError(f"{path} has {bins!r} bins for every action; it must be an integer")
    with torch.random.fork_rng(devices=[]):  # what the weights are drawn with before they are replaced
        network = SersicNetwork() if method == "cnn" else PolicyNetwork(bins)
    if architecture != network.architecture:
        raise FileFormatError(
            f"{path} has weights for {architecture!r}, not for the method {method!r} ({network.architecture})"
        )
    load_into(network, tensors, path)
    return network.eval()


def _answers(network, image, count):
    """Shapes of the Sersics that lower the mean absolute or the mean squared residual."""
    model, shapes = torch.zeros_like(image), []
    with torch.no_grad():
        for _ in range(count):
            shape = shapes_of(network((image - model)[None], model[None]))[0]
            more = model + render_shapes(shape, (SIZE, SIZE))
            before, after = image - model, image - more
            if after.abs().mean() >= before.abs().mean() and after.square().mean() >= before.square().mean():
                break
            model = more
            shapes.append(shape)
    return torch.stack(shapes) if shapes else torch.empty(0, 7)


def _on_the_sky(parameters, frame: Frame, grid: PixelGrid, blur: float) -> np.ndarray:
    """From units of the frame to offsets on the sky, and from behind the PSF to before it."""
    x, y, R_e, n, q, phi, amplitude = parameters
    position = grid.matrix @ (frame.corner + frame.side * np.array([x, y])) + grid.origin
    c, s = np.cos(phi), np.sin(phi)
    axes = np.array([[c, -s], [s, c]])
    # Squares of the half-light radii along the axes, in pixels; a twentieth of each is left at least.
    seen = (R_e * frame.side) ** 2 * np.array([1 / q, q])
    sharp = np.maximum(seen - blur, 0.05 * seen)
    amplitude *= frame.scale * np.sqrt(seen.prod() / sharp.prod())
    turned = grid.matrix @ axes
    values, vectors = np.linalg.eigh(turned @ np.diag(sharp) @ turned.T)
    minor, major = np.sqrt(values)
    angle = np.arctan2(vectors[1, 1], vectors[0, 1]) % np.pi
    return np.array([*position, np.sqrt(minor * major), n, minor / major, angle, amplitude])


def _psf_radius2(observation: Observation) -> float:
    """Square of the half-light radius of the PSF, without the averaging over a pixel, in pixels."""
    psf = observation.psf
    if psf is None:
        return 0.0
    rows, columns = np.indices(psf.shape)
    x, y = ((np.sum(psf * k) / psf.sum()) for k in (columns, rows))
    r2 = ((columns - x) ** 2 + (rows - y) ** 2).ravel() / observation.psf_oversampling**2
    order = np.argsort(r2)
    inside = np.cumsum(psf.ravel()[order]) / psf.sum()
    # Pixels are few where the PSF is sharp: read between them.
    half = np.interp(0.5, inside - inside[0], r2[order])
    return max(0.0, float(half) - (_GAUSS / 12 if observation.psf_includes_pixel else 0.0))
