"""Flux, size, shape and magnification of sources that are known, and their errors."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM, Planck18

from lenssuper import SIS, ForwardModel, PixelGrid, SuperResolution, SuperResolver
from lenssuper.simulate import SersicSource, mock_lens
from lenssuper.simulate.instruments import BENCHMARK
from lenssuper.solvers import Gaussian, Posterior
from lenssuper.superres.measured import _together, measure_rows

THETA_E = 1.1
LENS = SIS(theta_E=THETA_E * u.arcsec)


def galaxy(radius=0.06, n=1.0, q=0.6):
    return SersicSource(radius * u.arcsec, n, q=q, phi=30 * u.deg, x=0.3 * u.arcsec, y=0.1 * u.arcsec)


def known(source, errors=0.05, pixel=0.015):
    """A result whose source is the truth, and the truth in units of the data."""
    mock = mock_lens(LENS, source, BENCHMARK, peak_snr=50, rng=1)
    side = round(1.8 / pixel)
    grid = PixelGrid(
        (side, side), pixel * u.arcsec, center=[0.2, 0.1] * u.arcsec, reference=mock.grid.reference
    )
    model = ForwardModel(mock.observation, LENS, source_grid=grid)
    truth = mock.source_image(grid)
    scales = 1 + errors * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    draws = scales[:, None, None] * truth
    posterior = Posterior(mean=truth, std=np.full(truth.shape, 1e-3 * truth.max()), draws=draws)
    ((gain, sersic),) = mock.source.terms
    return SuperResolution.from_posterior(model, posterior), gain * sersic.flux / mock.grid.area_arcsec2


@pytest.fixture(scope="module")
def sersic():
    return known(galaxy())


def test_sersic_is_measured_as_it_is(sersic):
    result, flux = sersic
    table = result.measure_sources(result.posterior.mean)
    # the aperture holds the flux but for some percent, and half of it is a little further in
    assert 0.96 < table["flux"][0].value / flux < 1
    np.testing.assert_allclose(table["half_light_radius"][0].value, 0.06, rtol=0.03)
    np.testing.assert_allclose(table["axis_ratio"][0], 0.6, atol=0.01)
    np.testing.assert_allclose(table["phi"][0].to_value("deg"), 30, atol=0.5)
    np.testing.assert_allclose([table["x"][0].value, table["y"][0].value], [0.3, 0.1], atol=5e-4)


def test_aperture_has_the_part_of_the_flux_that_the_profile_says(sersic):
    """The flux in the very pixels of the aperture, by integration of the profile."""
    result, flux = sersic
    profile = galaxy()
    fine = result.source_grid.refine(5)
    inside = np.kron(result.aperture, np.ones((5, 5), dtype=bool))
    expected = profile.surface_brightness(*fine.centers_arcsec())[inside].sum() * fine.area_arcsec2
    found = result.measure_sources(result.posterior.mean)["flux"][0].value
    np.testing.assert_allclose(found / flux, expected / profile.flux, rtol=2e-3)


@pytest.mark.parametrize("radius", [0.02, 0.06])
def test_magnification_is_that_of_an_isothermal_sphere(radius):
    """mu = 2 theta_E / beta of every point of the source, theta_E / beta +- 1 in the two images."""
    result, _ = known(galaxy(radius, q=0.7), pixel=0.01)
    x, y = result.source_grid.refine(4).centers_arcsec()
    beta = np.hypot(x, y)
    light = galaxy(radius, q=0.7).surface_brightness(x, y)
    light = light * np.kron(result.aperture, np.ones((4, 4), dtype=bool))
    inverse = np.average(THETA_E / beta, weights=light)
    table = result.measure()
    np.testing.assert_allclose(table["magnification"], 2 * inverse, rtol=3e-3)
    np.testing.assert_allclose(table["magnification_1"], inverse + 1, rtol=5e-3)
    np.testing.assert_allclose(table["magnification_2"], inverse - 1, rtol=5e-3)
    distances = np.hypot(*table.meta["images"].value.T)
    np.testing.assert_allclose(distances, THETA_E + np.array([1, -1]) * np.hypot(0.3, 0.1), rtol=2e-3)


def test_percentiles_are_those_of_the_draws(sersic):
    result, _ = sersic
    table = result.measure()
    assert list(table["percentile"]) == [16, 50, 84]
    middle = result.measure_sources(result.posterior.mean)["flux"][0]
    # of draws at -5, -2.5, 0, 2.5 and 5 per cent
    expected = middle * (1 + 0.025 * np.array([-1.36, 0, 1.36]))
    np.testing.assert_allclose(table["flux"].value, expected.value, rtol=1e-10)
    np.testing.assert_allclose(np.ptp(table["magnification"]), 0, atol=1e-10)
    sums = sum(table[name] for name in table.colnames if name.startswith("magnification_"))
    np.testing.assert_allclose(sums, table["magnification"], rtol=1e-10)
    assert table["flux"].unit == result.observation.unit


def test_a_draw_without_light_has_no_shape():
    result, _ = known(galaxy(), errors=1.2)  # the first of the five is negative
    table = result.measure()
    assert table.meta["shapes"] == 4
    assert np.isnan(result.measure_draws()["axis_ratio"][0])
    np.testing.assert_allclose(table["axis_ratio"], 0.6, atol=0.01)
    np.testing.assert_allclose(table["half_light_radius"].value, 0.06, rtol=0.03)
    middle = result.measure_sources(result.posterior.mean)["flux"][0]
    np.testing.assert_allclose(table["flux"] / middle, 1 + 0.6 * np.array([-1.36, 0, 1.36]), rtol=1e-10)


def test_draws_are_centred_on_the_source(sersic):
    """A constant light in all draws, which skewed posteriors have in dark pixels, does not count."""
    result, _ = sersic
    posterior = result.posterior
    shifted = Posterior(mean=posterior.mean, std=posterior.std, draws=posterior.draws + 0.1 * posterior.mean)
    model = ForwardModel(result.observation, LENS, source_grid=result.source_grid)
    other = SuperResolution.from_posterior(model, shifted)
    np.testing.assert_allclose(other.measure()["flux"], result.measure()["flux"], rtol=1e-10)


def test_angles_do_not_jump():
    """Directions repeat after half a turn: those on both sides of the x axis are near each other."""
    for angles in ([-4, 4], [176, 4], [176, -176], [-4, 184]):
        np.testing.assert_allclose(np.ptp(_together(np.radians(angles))), np.radians(8), rtol=1e-12)


def test_size_in_kpc(sersic):
    result, _ = sersic
    scale = Planck18.kpc_proper_per_arcmin(1.5).to(u.kpc / u.arcsec)
    table = result.measure(z_source=1.5)
    np.testing.assert_allclose(table["radius_kpc"], table["half_light_radius"] * scale, rtol=1e-10)
    other = result.measure(z_source=1.5, cosmology=FlatLambdaCDM(H0=100, Om0=0.3))
    assert other["radius_kpc"][1] < table["radius_kpc"][1]


def test_errors_of_a_solver_hold_the_truth():
    """A simulated galaxy behind noise, with a solver whose posterior is exact."""
    mock = mock_lens(LENS, galaxy(0.1, q=0.7), BENCHMARK, shape=(40, 40), peak_snr=40, rng=3)
    grid = PixelGrid((32, 32), 0.044 * u.arcsec, center=[0.3, 0.1] * u.arcsec, reference=mock.grid.reference)
    result = SuperResolver(LENS, solver=Gaussian(), source_grid=grid, rng=1, progress=False)(mock.observation)
    table = result.measure(64, rng=2)
    truth = result.measure_sources(mock.source_image(result.source_grid))
    for name in ("flux", "half_light_radius", "axis_ratio", "x", "y", "magnification"):
        low, middle, high = u.Quantity(table[name]).value
        sigma = max(middle - low, high - middle)
        assert abs(u.Quantity(truth[name])[0].value - middle) < 3.5 * sigma, name
        assert sigma < 0.2 * abs(middle), name


def test_words_have_the_digits_of_the_errors(sersic):
    rows = dict(measure_rows(sersic[0].measure()))
    assert rows["magnification"].startswith("7.3")
    assert rows["flux"].endswith("electron / s")
    assert len(rows["flux"].split()[1]) == 5  # +0.24


def test_some_of_the_draws_that_were_kept_are_chosen_in_pairs(sersic):
    """As of a result from a file, which cannot make new ones."""
    result, _ = sersic
    posterior, every = result.posterior, result.measure_draws()["flux"].value
    chosen = {tuple(posterior.kept(4, rng=seed)) for seed in range(20)}
    assert len(chosen) > 3
    # the last of five is alone
    for which in chosen:
        assert len(set(which)) == 4
        assert sum(pair <= set(which) for pair in ({0, 1}, {2, 3})) >= 1
    np.testing.assert_array_equal(result.samples(4, rng=3).value, posterior.draws[posterior.kept(4, rng=3)])
    # their mean is at `source`, too
    some, which = result.measure_draws(4, rng=3)["flux"].value, posterior.kept(4, rng=3)
    np.testing.assert_allclose(some - some.mean(), every[which] - every[which].mean(), rtol=1e-9)
    assert set(posterior.kept(5, rng=1)) == set(range(5))
    with pytest.raises(ValueError, match="n must be at most 5, the number of draws that were kept; got 6"):
        result.measure(6, rng=1)


def test_wrong_arguments(sersic):
    result, _ = sersic
    with pytest.raises(ValueError, match="n must be at least 2; got 1"):
        result.measure(1)
    with pytest.raises(ValueError, match="n must be at most 5"):
        result.measure(6)
    with pytest.raises(ValueError, match="shape of the source grid"):
        result.measure_sources(np.ones((3, 3)))
    with pytest.raises(TypeError, match="cosmology is for z_source"):
        result.measure(cosmology=Planck18)
    with pytest.raises(ValueError, match="z_source must be"):
        result.measure(z_source=-1)
    with pytest.raises(TypeError, match="cosmology must be"):
        result.measure(z_source=1, cosmology="Planck")


def test_without_draws_or_light_it_says_so(sersic):
    result, _ = sersic
    model = ForwardModel(result.observation, LENS, source_grid=result.source_grid)
    mean = result.posterior.mean
    none = Posterior(mean=mean, std=np.full(mean.shape, np.nan), draws=np.empty((0, *mean.shape)))
    with pytest.raises(ValueError, match="this result has 0 draws"):
        SuperResolution.from_posterior(model, none).measure()
    dark = Posterior(mean=0 * mean, std=1 + 0 * mean, draws=np.stack([0 * mean, 0 * mean]))
    with pytest.raises(ValueError, match="no light to measure"):
        SuperResolution.from_posterior(model, dark).measure()


def test_draws_are_measured_one_by_one(sersic):
    result, _ = sersic
    table, each = result.measure(), result.measure_draws()
    assert len(each) == 5
    for name in each.colnames:
        np.testing.assert_allclose(table[name].value, np.percentile(each[name].value, [16, 50, 84]))
    np.testing.assert_allclose(each["flux"] / each["flux"][2], [0.95, 0.975, 1, 1.025, 1.05], rtol=1e-3)
