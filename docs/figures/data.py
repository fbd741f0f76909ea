"""Pictures on data: noise, masks, PSFs, instruments, the light of galaxies."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lenssuper import SIE, ExternalShear, SersicFitter
from lenssuper.datasets import cosmos_web_ring
from lenssuper.plotting.images import asinh_norm, label_axes, show_colorbar, show_image
from lenssuper.simulate import (
    EUCLID_VIS,
    HST_ACS_F814W,
    HST_WFC3_F160W,
    JWST_NIRCAM_F150W,
    JWST_NIRCAM_F444W,
    LSST_I,
    ClumpySpiral,
    mock_galaxies,
    mock_lens,
)


def draw_observation():
    """What an observation consists of: data, noise, mask and PSF."""
    ring = cosmos_web_ring().observation
    figure = Figure(figsize=(13, 3.3))
    data, noise, mask, psf = figure.subplots(1, 4, gridspec_kw={"wspace": 0.62})
    seen = np.where(ring.mask, np.nan, ring.data)
    show_colorbar(
        data,
        show_image(data, seen, ring.grid, norm=asinh_norm(ring.data, sigma=float(np.median(ring.sigma)))),
        "MJy/sr",
    )
    sigma = np.where(ring.mask, np.nan, ring.sigma)
    show_colorbar(noise, show_image(noise, sigma, ring.grid, cmap="viridis"), "MJy/sr")
    show_image(mask, ring.mask.astype(float), ring.grid, cmap="binary", norm=Normalize(0, 1.6))
    half = 15 * ring.grid.side_arcsec
    drawn = psf.imshow(
        ring.psf / ring.psf.max(), origin="lower", extent=[-half, half, -half, half], norm=LogNorm(1e-4, 1)
    )
    show_colorbar(psf, drawn, "relative to the peak")
    for ax, title in ((data, "Data"), (noise, "Standard deviation"), (mask, "Mask"), (psf, "PSF")):
        ax.set_title(title)
        label_axes(ax)
    for ax in (noise, mask):
        ax.set_ylabel("")
    return figure


def draw_noise():
    """What correlated noise looks like: the sky, the sky with its pixels shuffled, and the covariance."""
    ring = cosmos_web_ring().observation
    x, y = ring.grid.centers_arcsec()
    sky = (ring.data / ring.sigma)[np.hypot(x, y) > 1.2]
    corner = (ring.data / ring.sigma)[78:, :30]
    shuffled = np.random.default_rng(1).choice(sky, corner.shape)
    figure = Figure(figsize=(10.5, 3.3))
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.3})
    for ax, image, title in ((axes[0], corner, "Sky as it is"), (axes[1], shuffled, "Its pixels shuffled")):
        ax.imshow(image[:22, :22], origin="lower", cmap="RdBu_r", norm=Normalize(-3, 3))
        ax.set(title=title, xlabel="column", ylabel="row")
    covariance = ring.noise_covariance
    reach = covariance.shape[0] // 2
    extent = [-reach - 0.5, reach + 0.5] * 2
    drawn = axes[2].imshow(covariance, origin="lower", extent=extent, cmap="RdBu_r", norm=Normalize(-1, 1))
    for (row, column), value in np.ndenumerate(covariance):
        colour = "white" if value > 0.6 else "black"
        axes[2].text(column - reach, row - reach, f"{value:.2f}", ha="center", va="center", color=colour)
    axes[2].set(title="Covariance of neighbours", xlabel="columns apart", ylabel="rows apart")
    show_colorbar(axes[2], drawn, "variance of a pixel = 1")
    return figure


def draw_instruments():
    """One lens as six cameras see it."""
    lens = SIE(theta_E=1.2 * u.arcsec, q=0.75, phi=40 * u.deg) + ExternalShear(gamma1=0.03, gamma2=0.01)
    galaxy = ClumpySpiral(0.3 * u.arcsec, q=0.6, x=0.12 * u.arcsec, y=0.05 * u.arcsec, clumps=15, rng=1)
    cameras = (
        ("JWST NIRCam F150W", JWST_NIRCAM_F150W),
        ("JWST NIRCam F444W", JWST_NIRCAM_F444W),
        ("HST ACS F814W", HST_ACS_F814W),
        ("HST WFC3 F160W", HST_WFC3_F160W),
        ("Euclid VIS", EUCLID_VIS),
        ("Rubin LSST i", LSST_I),
    )
    figure = Figure(figsize=(13, 2.6))
    for ax, (name, camera) in zip(figure.subplots(1, 6, gridspec_kw={"wspace": 0.08}), cameras, strict=True):
        n = 2 * round(2.1 / camera.pixel_scale.to_value(u.arcsec)) + 1
        mock = mock_lens(lens, galaxy, camera, shape=(n, n), peak_snr=40, rng=2)
        sigma = float(np.median(mock.observation.uncertainty.array))
        show_image(ax, mock.observation.data, mock.grid, norm=asinh_norm(mock.observation.data, sigma=sigma))
        ax.set_title(name, fontsize=10)
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(f'{camera.pixel_scale.to_value(u.arcsec):.3g}" pixels')
    return figure


def draw_sersics():
    """A galaxy, Sersic profiles fitted to it, and what they leave."""
    return SersicFitter(n_components=2)(mock_galaxies(5, 1)[1]).plot()
