"""Sersics added to an observation one after another by a trained network or policy."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from lenssuper._utils.checks import check_choice, check_count
from lenssuper._utils.weightfile import load_into, read_weights
from lenssuper.exceptions import FileFormatError
from lenssuper.light.learned.actions import SIZE, parameters_of, shapes_of
from lenssuper.light.learned.frame import Frame
from lenssuper.light.learned.network import PolicyNetwork, SersicNetwork
from lenssuper.light.learned.torchsersic import render_shapes
from lenssuper.light.sersic.grow import grow
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["add_components", "load_network", "shipped"]

_METHODS = ("cnn", "ppo")
SHIPPED = ("cnn", "ppo", "ppo_discrete")
_GAUSS = 2 * np.log(2)  # square of the half-light radius of a Gaussian over its variance


def add_components(
    observation: Observation,
    n_components: int,
    method: str = "cnn",
    weights: str | os.PathLike | None = None,
) -> list[np.ndarray]:
    """
    Add Sersics to the model of a galaxy, each predicted from the residual of those before.

    The network takes the image without sky, averaged to 64 x 64 pixels, masked pixels filled from their
    neighbours. Its Sersics include the blur by the PSF; as a first approximation, the size of the PSF is
    subtracted from theirs in quadrature, at the same flux.

    Parameters
    ----------
    observation : Observation
    n_components : int
        The largest number; a Sersic that would increase the residual is not added.
    method : {"cnn", "ppo"}, optional
        The network trained through the renderer's gradient, or the policy trained by reward.
    weights : str or path-like, optional
        File of weights, or the name of some that come with the package: "cnn", "ppo" and "ppo_discrete". By
        default those with the name of the method.

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
    n_components = check_count(n_components, "n_components")
    network = load_network(method, weights)
    frame = Frame.of(observation.data, observation.mask)
    shapes = _predicted(network, torch.from_numpy(frame.image), n_components)
    blur = _psf_radius2(observation)
    return [_on_the_sky(p, frame, observation.grid, blur) for p in parameters_of(shapes).double().numpy()]


def load_network(method: str, weights: str | os.PathLike | None = None) -> SersicNetwork | PolicyNetwork:
    """Load a trained network; arguments and errors are those of `add_components`."""
    check_choice(method, "method", _METHODS)
    weights = method if weights is None else weights
    path = os.path.abspath(shipped(weights) if weights in SHIPPED else weights)
    return _load(method, path, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=8)
def _load(method, path, _when):
    tensors, metadata = read_weights(path)
    architecture, bins = str(metadata.get("architecture")), metadata.get("bins")
    if bins is not None and not (isinstance(bins, int) and 1 < bins < 1000):
        raise FileFormatError(f"{path} has {bins!r} bins for every action; it must be an integer")
    with torch.random.fork_rng(devices=[]):  # the initial weights, which are replaced, use random numbers
        network = SersicNetwork() if method == "cnn" else PolicyNetwork(bins)
    if architecture != network.architecture:
        raise FileFormatError(
            f"{path} has weights for {architecture!r}, not for the method {method!r} ({network.architecture})"
        )
    load_into(network, tensors, path)
    return network.eval()


def shipped(name: str) -> Path:
    """Return the path of a file of weights that comes with the package."""
    with as_file(files("lenssuper.light.learned") / "weights" / f"{name}.safetensors") as path:
        return path


def _predicted(network, image, most):
    """Return shapes of Sersics, each of which lowers the mean absolute or the mean squared residual."""

    def add(found):
        shapes, model = found
        shape = shapes_of(network((image - model)[None], model[None]))[0]
        return [*shapes, shape], model + render_shapes(shape, (SIZE, SIZE))

    def pays(more, found):
        after, before = image - more[1], image - found[1]
        return after.abs().mean() < before.abs().mean() or after.square().mean() < before.square().mean()

    with torch.no_grad():
        shapes, _ = grow(([], torch.zeros_like(image)), add, most, pays)
    return torch.stack(shapes) if shapes else torch.empty(0, 7)


def _on_the_sky(parameters, frame: Frame, grid: PixelGrid, blur: float) -> np.ndarray:
    """Convert units of the frame to offsets on the sky, and remove the blur by the PSF."""
    x, y, R_e, n, q, phi, amplitude = parameters
    position = grid.matrix @ (frame.corner + frame.side * np.array([x, y])) + grid.origin
    c, s = np.cos(phi), np.sin(phi)
    axes = np.array([[c, -s], [s, c]])
    # Squares of the half-light radii along the axes, in pixels; at least a twentieth of each remains.
    seen = (R_e * frame.side) ** 2 * np.array([1 / q, q])
    sharp = np.maximum(seen - blur, 0.05 * seen)
    amplitude *= frame.scale * np.sqrt(seen.prod() / sharp.prod())
    turned = grid.matrix @ axes
    values, vectors = np.linalg.eigh(turned @ np.diag(sharp) @ turned.T)
    minor, major = np.sqrt(values)
    angle = np.arctan2(vectors[1, 1], vectors[0, 1]) % np.pi
    return np.array([*position, np.sqrt(minor * major), n, minor / major, angle, amplitude])


def _psf_radius2(observation: Observation) -> float:
    """Return the square of the half-light radius of the PSF, without the pixel, in pixels."""
    psf = observation.psf
    if psf is None:
        return 0.0
    rows, columns = np.indices(psf.shape)
    x, y = ((np.sum(psf * k) / psf.sum()) for k in (columns, rows))
    r2 = ((columns - x) ** 2 + (rows - y) ** 2).ravel() / observation.psf_oversampling**2
    order = np.argsort(r2)
    inside = np.cumsum(psf.ravel()[order]) / psf.sum()
    # A sharp PSF has few pixels: interpolate between them.
    half = np.interp(0.5, inside - inside[0], r2[order])
    return max(0.0, float(half) - (_GAUSS / 12 if observation.psf_includes_pixel else 0.0))
