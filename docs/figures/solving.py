"""Pictures on finding the source: solvers, networks, exposures, and how well it is seen."""

from __future__ import annotations

from functools import cache

import astropy.units as u
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from scipy.ndimage import center_of_mass, gaussian_filter

from lenssuper import SIE, ExternalShear, ForwardModel, LensFitter, Observation, SuperResolver, Systematics
from lenssuper._utils.progress import quietly
from lenssuper.datasets import cosmos_web_ring
from lenssuper.light import ForegroundFitter
from lenssuper.light.foreground.galaxy import Galaxy
from lenssuper.plotting.images import asinh_norm, label_axes, show_colorbar, show_curves, show_image
from lenssuper.preparation import prepare
from lenssuper.simulate import (
    HST_ACS_F814W,
    JWST_NIRCAM_F150W,
    JWST_NIRCAM_F444W,
    ClumpySpiral,
    Instrument,
    SersicSource,
    benchmark_set,
    hard_lenses,
    mock_lens,
    random_mock,
    random_ring_galaxy,
)
from lenssuper.solvers import Gaussian, GradientPrior, LogNormal, NetworkSolver, Positive, TotalVariation
from lenssuper.solvers.field import FieldProblem
from lenssuper.solvers.roughness import local_roughness
from lenssuper.superres.comparison import Truth, plot_comparison


def _psnr(image, truth):
    return 20 * np.log10(truth.max() / np.sqrt(np.mean((image - truth) ** 2)))


@cache
def _mock():
    return random_mock(40, factor=2)


def draw_demo():
    """The picture of ``lenssuper demo``."""
    mock = _mock()
    result = SuperResolver(mock.lens, rng=1, progress=False)(mock.observation)
    return plot_comparison(result, Truth(mock.image(2), mock.source_image(result.source_grid)))


def draw_solvers():
    """One lens, its source by six solvers, and the truth."""
    mock = _mock()
    solvers = {
        "Gaussian(GradientPrior())": Gaussian(GradientPrior()),
        "Positive(TotalVariation())": Positive(TotalVariation()),
        "Positive()": Positive(),
        "LogNormal()": LogNormal(),
        "NetworkSolver, space": NetworkSolver.pretrained("space", factor=2),
    }
    results = {
        name: SuperResolver(mock.lens, solver=solver, rng=1, progress=False)(mock.observation)
        for name, solver in solvers.items()
    }
    grid = results["LogNormal()"].source_grid
    truth = mock.source_image(grid)
    norm = asinh_norm(truth, sigma=float(np.median(mock.observation.uncertainty.array)))
    figure = Figure(figsize=(11.5, 7))
    axes = figure.subplots(2, 3, gridspec_kw={"wspace": 0.25, "hspace": 0.45}).ravel()
    for ax, (name, result) in zip(axes, results.items(), strict=False):
        show_image(ax, result.source.data, result.source_grid, norm=norm)
        gain = _psnr(result.image.data, mock.image(2))
        ax.set_title(f"{name}\nimage {gain:.1f} dB", fontsize=10)
    show_image(axes[5], truth, grid, norm=norm)
    axes[5].set_title("Truth", fontsize=10)
    for ax in axes:
        ax.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9))
        label_axes(ax)
    return figure


def draw_network():
    """The ring by the default solver and by the network that comes with the package."""
    ring = cosmos_web_ring()
    default = SuperResolver(ring.lens, rng=0, progress=False)(ring.observation)
    network = SuperResolver.from_pretrained("space", ring.lens, progress=False)(ring.observation)
    figure = Figure(figsize=(11, 7.4))
    sigma = 0.8 * float(np.median(ring.observation.sigma))
    norm = asinh_norm(default.lensed_image, sigma=sigma)
    for row, (name, result) in zip(
        figure.subplots(2, 3, gridspec_kw={"wspace": 0.3, "hspace": 0.25}),
        (("LogNormal()", default), ("Network", network)),
        strict=True,
    ):
        show_image(row[0], result.lensed_image, result.fine_grid, norm=norm)
        show_image(row[1], result.posterior.mean, result.source_grid, norm=norm)
        row[1].set(xlim=(-0.28, 0.36), ylim=(-0.15, 0.49))
        show_image(row[2], result.residuals, result.observation.grid, norm=Normalize(-4, 4), cmap="RdBu_r")
        for ax, title in zip(row, ("image", "source", "residual"), strict=True):
            ax.set_title(f"{name}: {title}")
            label_axes(ax)
    return figure


def draw_maps():
    """How well the source of the ring is seen: number of images, magnification and resolution."""
    ring = cosmos_web_ring()
    result = SuperResolver(ring.lens, solver=Gaussian(GradientPrior()), rng=0, progress=False)(
        ring.observation
    )
    figure = Figure(figsize=(12, 4))
    axes = figure.subplots(1, 3, gridspec_kw={"wspace": 0.5})
    show_colorbar(axes[0], show_image(axes[0], result.coverage, result.source_grid, cmap="viridis"), "images")
    drawn = show_image(
        axes[1], result.magnification, result.source_grid, cmap="viridis", norm=LogNorm(2, 200)
    )
    show_colorbar(axes[1], drawn, "times", extend="both")
    drawn = show_image(axes[2], 1000 * result.resolution_arcsec, result.source_grid, cmap="viridis_r")
    show_colorbar(axes[2], drawn, "mas")
    for ax, title in zip(axes, ("coverage", "magnification", "resolution"), strict=True):
        show_curves(ax, result.lens.caustics(result.fine_grid), color="white")
        ax.set_title(title)
        label_axes(ax)
    return figure


def draw_exposures():
    """A source seen in one exposure with large pixels, and in four that are half a pixel apart."""
    lens = SIE(theta_E=1.1 * u.arcsec, q=0.8, phi=20 * u.deg) + ExternalShear(gamma1=0.03, gamma2=0.01)
    camera = Instrument.gaussian(0.2 * u.arcsec, 0.16 * u.arcsec)
    galaxy = ClumpySpiral(0.25 * u.arcsec, q=0.6, x=0.1 * u.arcsec, y=0.05 * u.arcsec, clumps=12, rng=3)
    observations, truth = [], None
    for k, (dx, dy) in enumerate(((0, 0), (0.1, 0), (0, 0.1), (0.1, 0.1))):
        moved = lens.replace(**{"SIE.x": dx * u.arcsec, "SIE.y": dy * u.arcsec})
        shifted = ClumpySpiral(
            0.25 * u.arcsec, q=0.6, x=(0.1 + dx) * u.arcsec, y=(0.05 + dy) * u.arcsec, clumps=12, rng=3
        )
        mock = mock_lens(moved, shifted, camera, shape=(26, 26), peak_snr=30, rng=k)
        image = Observation.from_nddata(mock.observation, grid=mock.grid)
        observations.append(image.moved_by([-dx, -dy] * u.arcsec))
    one = SuperResolver(lens, factor=4, rng=1, progress=False)(observations[0])
    four = SuperResolver(lens, factor=4, rng=1, progress=False).joint(observations)[0]
    x, y = one.source_grid.centers_arcsec()
    truth = galaxy.surface_brightness(x, y)
    truth *= one.posterior.mean.sum() / truth.sum()
    norm = asinh_norm(truth, sigma=float(np.median(observations[0].sigma)))
    figure = Figure(figsize=(13, 3.5))
    axes = figure.subplots(1, 4, gridspec_kw={"wspace": 0.3})
    show_image(axes[0], observations[0].data, observations[0].grid, norm=norm)
    show_image(axes[1], one.posterior.mean, one.source_grid, norm=norm)
    show_image(axes[2], four.posterior.mean, four.source_grid, norm=norm)
    show_image(axes[3], truth, one.source_grid, norm=norm)
    titles = ("One exposure of four", "Source from one", "Source from four", "Truth")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title)
        label_axes(ax)
    for ax in axes[1:]:
        ax.set(xlim=(-0.6, 0.8), ylim=(-0.65, 0.75), ylabel="")
        ax.locator_params(nbins=4)
    return figure


def draw_bands():
    """One lens in two bands, each with a source of its own: blue arms and a red bulge."""
    lens = SIE(theta_E=0.8 * u.arcsec, q=0.8, phi=20 * u.deg) + ExternalShear(gamma1=0.03, gamma2=0.01)
    where = {"x": 0.1 * u.arcsec, "y": 0.05 * u.arcsec}
    arms = ClumpySpiral(0.22 * u.arcsec, q=0.6, clumps=14, rng=3, **where)
    bulge = SersicSource(0.08 * u.arcsec, n=2, q=0.8, **where)
    bands = (
        ("F150W", mock_lens(lens, arms, JWST_NIRCAM_F150W, shape=(90, 90), peak_snr=20, rng=1)),
        (
            "F444W",
            mock_lens(lens, 0.15 * arms + 4 * bulge, JWST_NIRCAM_F444W, shape=(45, 45), peak_snr=60, rng=2),
        ),
    )
    figure = Figure(figsize=(12.5, 3.4))
    axes = figure.subplots(1, 4, gridspec_kw={"wspace": 0.35})
    results = SuperResolver(lens, rng=1, progress=False)([mock.observation for _, mock in bands])
    for k, ((name, _), result) in enumerate(zip(bands, results, strict=True)):
        observation = result.observation
        norm = asinh_norm(result.lensed_image, sigma=float(np.median(observation.sigma)))
        show_image(axes[k], observation.data, observation.grid, norm=norm)
        show_image(axes[k + 2], result.posterior.mean, result.source_grid, norm=norm)
        axes[k].set_title(f"{name}: data")
        axes[k + 2].set_title(f"{name}: source")
        axes[k + 2].set(xlim=(-0.4, 0.6), ylim=(-0.45, 0.55))
    for ax in axes:
        label_axes(ax)
        ax.locator_params(nbins=5)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return figure


def draw_prior():
    """Draws from a Gaussian field and from the log-normal field of the same spectrum."""
    n, rng = 96, np.random.default_rng(6)
    k = 2 * np.pi * np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    figure = Figure(figsize=(10.5, 3.6))
    axes = figure.subplots(1, 3)
    for ax, slope, kind in zip(axes, (4, 4, 6), ("Gaussian", "log-normal", "log-normal"), strict=True):
        amplitude = (1 + (k * n / 3) ** 2) ** (-slope / 4)
        field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((n, n))) * amplitude).real
        field *= 2.5 / field.std()
        ax.imshow(field if kind == "Gaussian" else np.exp(field), cmap="inferno", origin="lower")
        ax.set_title(f"{kind}, slope {slope}")
        ax.set(xticks=[], yticks=[])
    return figure


def draw_roughness():
    """Show a galaxy with a ring without and with the map of its roughness."""
    mock = benchmark_set(6, 51, sources=random_ring_galaxy)[5]
    model = ForwardModel(mock.observation, mock.lens, order=1)
    truth = mock.source_image(model.source_grid)
    same, local = (LogNormal(passes=n).solve(model, rng=1).mean for n in (0, 2))
    problem = FieldProblem(model, float(model.data.max()), None)
    field = problem.field([0.9, 3.0])
    mode, curvature = problem.find(field)
    rough = local_roughness(curvature, mode.xi)
    y, x = np.round(center_of_mass(truth)).astype(int)
    part = np.s_[max(y - 40, 0) : y + 40, max(x - 40, 0) : x + 40]
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    norm = asinh_norm(truth, sigma=0.05 * truth.max())
    shown = (
        ("Truth", truth),
        ("Equally rough everywhere", same),
        ("Roughness", rough),
        ("With the map", local),
    )
    for ax, (title, image) in zip(figure.subplots(1, 4), shown, strict=True):
        mapped = image is rough
        drawn = ax.imshow(
            image[part],
            origin="lower",
            cmap="viridis" if mapped else "inferno",
            norm=Normalize(rough.min(), rough.max()) if mapped else norm,
        )
        if mapped:
            figure.colorbar(drawn, ax=ax, shrink=0.85, ticks=[0.8, 0.9, 1.0])
        elif image is not truth:
            title += f", {_psnr(image, truth):.1f} dB"
        ax.set_title(title, fontsize=11)
        ax.set(xticks=[], yticks=[])
    return figure


def draw_measures():
    """Show what ``measure`` measures: aperture, images with magnifications, draws beside the truth."""
    mock = _mock()
    result = SuperResolver(mock.lens, rng=1, progress=False)(mock.observation)
    table = result.measure(200, rng=2)
    truth = result.measure_sources(mock.source_image(result.source_grid))
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    norm = asinh_norm(result.image.data, sigma=float(np.median(mock.observation.uncertainty.array)))
    show_image(left, result.image, result.fine_grid, norm=norm)
    for k, (x, y) in enumerate(table.meta["images"].value, start=1):
        low, mu, high = table[f"magnification_{k}"]
        left.plot(x, y, "+", color="white")
        words = f"{mu:.2f} ± {(high - low) / 2:.2f}"
        box = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
        left.annotate(words, (x, y), (6, 8), textcoords="offset points", color="white", bbox=box)
    left.set_title("Images and their magnifications")
    show_image(middle, result.source, result.source_grid, norm=norm)
    x, y = result.source_grid.centers_arcsec()
    middle.contour(*np.broadcast_arrays(x, y), result.aperture, [0.5], colors="white", linewidths=1)
    middle.set_title("Source and the aperture")
    for ax in (left, middle):
        label_axes(ax)
    names = ["flux", "half_light_radius", "axis_ratio", "magnification", "magnification_1", "magnification_2"]
    for row, name in enumerate(names):
        low, value, high = (u.Quantity(table[name]) / u.Quantity(truth[name])[0]).value
        right.errorbar(value, row, xerr=[[value - low], [high - value]], fmt="o", color="C0")
    right.axvline(1, color="0.5")
    right.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    right.invert_yaxis()
    right.locator_params(axis="x", nbins=5)
    right.set_xlabel("measured / truth, 16 to 84%")
    right.set_title("Beside the truth")
    return figure


def draw_budget():
    """The error budget of a mock lens, with a lens that is known to half a per cent and a PSF to 3%."""
    mock = _mock()
    errors = Systematics(
        lens={"SIE.theta_E": 0.005 * mock.lens.parameters["SIE.theta_E"]},
        psf=0.03,
        sky=0.1 * float(np.median(mock.observation.uncertainty.array)),
        noise=0.05,
    )
    return SuperResolver(mock.lens, rng=1, systematics=errors, progress=False)(mock.observation).budget.plot()


def draw_light_model_error():
    """A galaxy with a bright bulge whose PSF is wrong, fitted with and without an error of its light."""
    disk = SersicSource(0.6 * u.arcsec, 1.0, q=0.7, phi=70 * u.deg, amplitude=0.6)
    bulge = SersicSource(0.06 * u.arcsec, 2.0, q=0.8, phi=40 * u.deg, amplitude=60)
    lens = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg)
    source = SersicSource(0.12 * u.arcsec, 1.0, q=0.7, x=0.08 * u.arcsec, y=-0.05 * u.arcsec)
    options = {"shape": (72, 72), "peak_snr": 25, "rng": 1}
    mock = mock_lens(lens, source, HST_ACS_F814W, lens_light=bulge + disk, **options)
    arcs = mock_lens(lens, source, HST_ACS_F814W, **options).noiseless
    image = mock.observation
    wide = gaussian_filter(np.asarray(image.psf), 0.8)
    image.psf = wide / wide.sum()
    observation = Observation.from_nddata(image)
    fitter = ForegroundFitter(einstein_radius=0.9 * u.arcsec, progress=False)
    certain = fitter._beside_arcs(Galaxy(observation, 0.9), quietly)
    shown = {
        "Image": observation.data,
        "Left of it, noise as it is": certain.subtracted.data,
        "Left, 7% of the light added": fitter(observation).subtracted.data,
        "Arcs, true": arcs,
    }
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    norm = asinh_norm(arcs, certain.subtracted.data, sigma=float(np.median(observation.sigma)), highest=99)
    for ax, (title, values) in zip(figure.subplots(1, 4), shown.items(), strict=True):
        show_colorbar(ax, show_image(ax, values, mock.grid, norm=norm), str(mock.observation.unit))
        ax.set_title(title)
        label_axes(ax)
    return figure


def draw_light_errors():
    """What is not known of a galaxy that was fitted with the arcs, and how much of the error it is."""
    mock = list(hard_lenses(3, seed=977000))[2]
    radius = mock.lens.parameters["EPL.theta_E"]
    ready = prepare(mock.observation, einstein_radius=radius)
    light, fit = LensFitter(radius, rng=1, progress=False).with_light(Observation.from_nddata(ready))
    arcs = light.subtracted
    result = SuperResolver(fit.lens, rng=1, systematics=Systematics(lens=fit), progress=False)(arcs)
    bright = result.budget.bright[1]
    share = np.full(bright.shape, np.nan)
    share[bright] = result.budget.std("light in front")[bright] / result.lensed_std[bright]
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    norm = asinh_norm(mock.observation.data, sigma=float(np.median(mock.observation.uncertainty.array)))
    error = arcs.light_errors[0] * np.sign(arcs.light_errors[0].sum())
    widest = np.abs(error[arcs.bright]).max()
    unit = str(mock.observation.unit)
    shown = {
        "Image": (mock.observation.data, {"norm": norm}),
        "Without the galaxy": (arcs.data, {"norm": norm}),
        "First error of the galaxy": (error, {"cmap": "RdBu_r", "norm": Normalize(-widest, widest)}),
    }
    for ax, (title, (image, options)) in zip(axes, shown.items(), strict=False):
        show_colorbar(ax, show_image(ax, image, mock.grid, **options), unit)
        ax.set_title(title)
    drawn = show_image(axes[3], share, result.fine_grid, cmap="viridis", norm=Normalize(0, 1))
    show_colorbar(axes[3], drawn, "share")
    axes[3].set_title("What it is of the error bar")
    for ax in axes:
        label_axes(ax)
    return figure
