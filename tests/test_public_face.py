"""The package as a user meets it: the lines of the documentation's overview, run as they stand."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import Planck18
from astropy.nddata import CCDData, NDData

import lenssuper
from lenssuper import (
    EPL,
    SIE,
    SIS,
    ExternalShear,
    ForwardModel,
    LensModel,
    Observation,
    OverlapOperator,
    PixelGrid,
    SersicFitter,
    SuperResolution,
    SuperResolver,
    prepare,
)
from lenssuper.simulate import ClumpySpiral, Instrument, mock_galaxies, mock_lens

LENS = SIE(
    theta_E=0.77 * u.arcsec, q=0.95, phi=48 * u.deg, x=0.05 * u.arcsec, y=0.02 * u.arcsec
) + ExternalShear(gamma1=0.029, gamma2=0.019)


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """A file as an astronomer has it, and the truth behind it."""
    source = ClumpySpiral(0.12 * u.arcsec, x=0.08 * u.arcsec, y=-0.03 * u.arcsec, clumps=4, rng=3)
    instrument = Instrument.gaussian(0.08 * u.arcsec, 0.16 * u.arcsec)
    mock = mock_lens(LENS, source, instrument, shape=(40, 40), peak_snr=40, rng=1)
    path = tmp_path_factory.mktemp("ring") / "ring.fits"
    mock.observation.write(path)
    return path, mock


@pytest.fixture(scope="module")
def result(ring):
    return SuperResolver(LENS, factor=2, rng=1)(CCDData.read(ring[0]))


def test_super_resolve_a_file(ring, result):
    _, mock = ring
    for image in (result.image, result.source, result.model):
        assert isinstance(image, NDData)
        assert image.wcs is not None
        assert np.isfinite(image.data).all()
    assert result.image.shape == (80, 80)
    assert result.residuals.shape == (40, 40)
    truth = mock.image(2)
    error = np.sqrt(np.mean((result.image.data - truth) ** 2)) / truth.max()
    assert error < 10 ** (-34 / 20)  # 34 dB; cubic interpolation reaches 26
    assert 0.85 < result.reduced_chi2 < 1.15
    assert np.isfinite([result.chi2, result.log_evidence, result.held_out_chi2]).all()
    assert 5 < result.effective_modes < 1000
    assert result.coverage.shape == result.magnification.shape == result.source.shape
    assert result.coverage.max() > 1.9
    assert result.samples(16).shape == (16, *result.source.shape)


def test_what_an_image_cannot_say(ring):
    obs = CCDData.read(ring[0])
    obs = Observation.from_nddata(
        obs, psf_oversampling=4, psf_includes_pixel=False, noise_correlation=None, grid=None, reference=None
    )
    assert (obs.psf_oversampling, obs.psf_includes_pixel) == (4, False)
    grid = PixelGrid((16, 16), 0.05 * u.arcsec)  # small: the observation alone counts
    solved = SuperResolver(LENS, factor=2, source_grid=grid, rng=1)(obs).observation
    assert solved is obs


def test_super_resolved_image_lies_where_the_data_lie(ring, result):
    observation = CCDData.read(ring[0])
    corner = observation.wcs.pixel_to_world(-0.5, -0.5)
    assert result.image.wcs.pixel_to_world(-0.5, -0.5).separation(corner) < 1e-5 * u.arcsec


def test_plot_write_and_read(result, tmp_path):
    result.plot().savefig(tmp_path / "ring.png")
    assert (tmp_path / "ring.png").stat().st_size > 20_000
    result.write(tmp_path / "out.fits")
    again = SuperResolution.read(tmp_path / "out.fits")
    np.testing.assert_allclose(again.image.data, result.image.data, rtol=1e-6)
    assert again.reduced_chi2 == pytest.approx(result.reduced_chi2)


def test_list_gives_a_list_and_the_same_seed_the_same_result(ring, result):
    results = SuperResolver(LENS, factor=2, rng=1)([CCDData.read(ring[0])])
    assert isinstance(results, list)
    np.testing.assert_array_equal(results[0].image.data, result.image.data)


def test_lens_models():
    lens = SIS.from_velocity_dispersion(250 * u.km / u.s, z_lens=0.5, z_source=1.5, cosmology=Planck18)
    assert 0.8 * u.arcsec < lens.theta_E < 1.3 * u.arcsec
    x, y = [0.3, 1.0] * u.arcsec, [0.4, -0.2] * u.arcsec
    lens = LENS + EPL(
        theta_E=0.1 * u.arcsec, gamma=2.1, q=0.8, phi=10 * u.deg, x=1 * u.arcsec, y=0 * u.arcsec
    )
    for method in (
        "deflection",
        "ray_shooting",
        "potential",
        "convergence",
        "shear",
        "jacobian",
        "magnification",
    ):
        assert np.isfinite(u.Quantity(getattr(lens, method)(x, y))).all(), method
    grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    assert len(LENS.critical_curves(grid)) == len(LENS.caustics(grid)) > 0
    images, _ = LENS.image_positions(0.05 * u.arcsec, 0.02 * u.arcsec)
    assert len(images) == 4
    names, kwargs = LENS.to_lenstronomy()
    assert LensModel.from_lenstronomy(names, kwargs).deflection(x, y)[0][0].to_value(
        u.arcsec
    ) == pytest.approx(LENS.deflection(x, y)[0][0].to_value(u.arcsec))
    again = LensModel.from_coolest(LENS.to_coolest())
    np.testing.assert_allclose(again.deflection(x, y), LENS.deflection(x, y), rtol=1e-9)


def test_grid():
    grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    assert grid.centers[0].shape == (64, 64)
    assert grid.vertices[0].shape == (65, 65)
    assert grid.refine(2).shape == (128, 128)
    assert PixelGrid.from_wcs(grid.wcs, grid.shape).pixel_scale.to_value(u.arcsec) == pytest.approx(0.1)
    np.testing.assert_allclose(grid.extent.to_value(u.arcsec), [-3.2, 3.2, -3.2, 3.2])


def test_operator(ring, tmp_path):
    _, mock = ring
    image_grid, source_grid = mock.grid, PixelGrid((48, 48), 0.04 * u.arcsec)
    op = OverlapOperator(LENS, image_grid, source_grid)
    source = mock.source_image(source_grid)
    image = op.lens(source)
    assert op.delens(image).shape == source.shape
    assert op.lens(np.stack([source, source])).shape == (2, *image.shape)
    assert op.adjoint(image).shape == source.shape
    assert op.matrix.shape == (image.size, source.size)
    assert op.coverage.shape == op.magnification.shape == source.shape
    op.save(tmp_path / "op.npz")
    np.testing.assert_array_equal(OverlapOperator.load(tmp_path / "op.npz").lens(source), image)


def test_forward_model_explains_the_data(ring):
    path, mock = ring
    model = ForwardModel(CCDData.read(path), LENS, factor=2)
    assert 0.85 < model.chi2(mock.source_image(model.source_grid)) / 1600 < 1.15


def test_prepare(ring):
    path, mock = ring
    ready = prepare(path, lens=LENS)
    assert isinstance(ready, NDData)
    assert ready.psf is not None
    assert ready.shape == mock.observation.shape
    assert 0.85 < SuperResolver(LENS, factor=2, rng=1)(ready).reduced_chi2 < 1.15


@pytest.mark.parametrize("method", ["least_squares", "cnn", "ppo"])
def test_fit_a_galaxy(method):
    (galaxy,) = mock_galaxies(1, rng=2)
    fit = SersicFitter(n_components=3, method=method)(galaxy)
    assert 1 <= len(fit.components) <= 3
    column, row = np.meshgrid(np.arange(galaxy.shape[1]), np.arange(galaxy.shape[0]))
    assert all(np.isfinite(component(column, row)).all() for component in fit.components)
    assert isinstance(fit.model, NDData)
    np.testing.assert_allclose(fit.residual.data, galaxy.data - fit.model.data, atol=1e-12)
    assert np.isfinite([fit.chi2, fit.bic, fit.r2]).all()
    assert fit.r2 > 0.3


def test_dir_shows_what_there_is_and_no_more():
    shown = {name for name in dir(lenssuper) if not name.startswith("__")}
    assert shown == {name for name in lenssuper.__all__ if not name.startswith("__")} | set(lenssuper._ROOMS)
    assert {"SuperResolver", "solvers", "simulate"} <= shown
    assert lenssuper.solvers.LogNormal is not None
    assert {"NetworkSolver", "Sersics"} <= set(dir(lenssuper.solvers))


def test_how_to_cite():
    assert lenssuper.__version__ in lenssuper.__citation__
    assert lenssuper.__citation__.startswith("@software{lenssuper,")
