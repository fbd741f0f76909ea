"""Fluxes, draws, images, astropy's models and a summary from the parameters of Sersics."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.modeling.models import Sersic2D

from lenssuper._utils.text import with_error
from lenssuper.light.sersic.components import NAMES, Components
from lenssuper.light.sersic.profile import quadratic_form, sersic_flux
from lenssuper.light.sersic.render import SkyRenderer

__all__ = ["astropy_model", "checked", "component_images_of", "draw", "summary_rows", "total_fluxes"]


def checked(parameters):
    """Return parameters (K, 7) as an array, if they are those of Sersics."""
    parameters = np.array(parameters, dtype=float)
    if parameters.ndim != 2 or parameters.shape[1] != 7 or not len(parameters):
        raise ValueError(f"parameters must have shape (K, 7), K at least 1; got {parameters.shape}")
    _, _, R_e, n, q, _, _ = parameters.T
    if not np.isfinite(parameters).all() or np.any(R_e <= 0) or np.any(n <= 0):
        raise ValueError(f"parameters must be finite, and R_e and n positive; got {parameters.tolist()}")
    if np.any(q <= 0) or np.any(q > 1):
        raise ValueError(f"q must lie in (0, 1]; got {q.tolist()}")
    return parameters


def total_fluxes(parameters, covariance, area):
    """Return fluxes, sums over pixels of ``area`` out to infinity, and their errors."""
    n = len(parameters)
    _, _, R_e, index, _, _, amplitude = parameters.T
    by_amplitude = sersic_flux(R_e, index) / area
    flux, step = amplitude * by_amplitude, 1e-4
    by_n = np.log(sersic_flux(R_e, index * (1 + step)) / sersic_flux(R_e, index * (1 - step)))
    errors = np.empty(n)
    for k in range(n):
        indices = [6 * k + 2, 6 * k + 3, 6 * n + k]
        slope = [2 * flux[k] / R_e[k], flux[k] * by_n[k] / (2 * step * index[k]), by_amplitude[k]]
        errors[k] = np.sqrt(np.maximum(slope @ covariance[np.ix_(indices, indices)] @ slope, 0.0))
    return flux, errors


def draw(parameters, covariance, n, rng):
    """Draw (n, K, 7) from the normal distribution about the parameters; R_e and n as logarithms."""
    k = len(parameters)
    moves = rng.multivariate_normal(np.zeros(7 * k + 1), covariance, size=n, method="eigh")
    moves = np.concatenate([moves[:, : 6 * k].reshape(n, k, 6), moves[:, 6 * k : 7 * k, None]], axis=2)
    draws = parameters + moves
    draws[..., 2:4] = parameters[:, 2:4] * np.exp(moves[..., 2:4] / parameters[:, 2:4])
    draws[..., 4] = np.abs(draws[..., 4])
    turned = draws[..., 4] > 1
    draws[..., 4][turned] **= -1
    draws[..., 5][turned] += np.pi / 2
    return draws


def component_images_of(observation, parameters):
    """Return each profile as observed, shape (K, ny, nx)."""
    grid = observation.grid
    fixed = [dict(zip(NAMES, row[:6], strict=True)) for row in parameters]
    components = Components(len(parameters), grid.middle_arcsec(), 1.0, grid.side_arcsec, fixed=fixed)
    columns = SkyRenderer.of(observation, components).columns(np.zeros(0))
    return columns * parameters[:, 6, np.newaxis, np.newaxis]


def astropy_model(row, grid):
    """Return a profile in pixel coordinates; the lattice may turn, flip or stretch its ellipse."""
    x, y, R_e, n, q, phi, amplitude = row
    form = grid.matrix.T @ quadratic_form(R_e, q, phi)[0] @ grid.matrix
    values, vectors = np.linalg.eigh(form)  # the smaller value is that of the major axis
    column, line = grid.to_pixel(x, y)
    return Sersic2D(
        amplitude=amplitude,
        r_eff=values[0] ** -0.5,
        n=n,
        x_0=float(column),
        y_0=float(line),
        ellip=1 - np.sqrt(values[0] / values[1]),
        theta=np.arctan2(vectors[1, 0], vectors[0, 0]) % np.pi,
    )


def summary_rows(fit):
    """Return the profiles and the quality of the fit, as rows of a name and a value."""
    ny, nx = fit.observation.shape
    rows = [
        ("method", fit.method),
        ("data", f'{ny} x {nx} pixels of {fit.observation.grid.side_arcsec:.3g}", {fit.n_pixels} used'),
        ("chi2", f"{fit.chi2:.6g}, reduced {fit.reduced_chi2:.3f}"),
        ("", f"BIC {fit.bic:.6g}, R2 {fit.r2:.5f}"),
        ("sky", f"{with_error(fit.sky, fit.sky_error)} {fit.observation.unit}"),
    ]
    for row in fit.table:
        words = (
            f"{name}={with_error(_plain(row[name]), _plain(row[f'{name}_err']))}{unit}"
            for name, unit in zip((*NAMES, "flux"), ('"', '"', '"', "", "", " deg", ""), strict=True)
        )
        rows.append(("Sersic", ", ".join(words)))
    return [*rows, *(("note", message) for message in fit.messages)]


def _plain(value):
    return float(value.value) if isinstance(value, u.Quantity) else float(value)
