"""Each measure of a lens and its data: on a case made right, and on the same case made wrong."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from scipy import ndimage

from lenssuper import SIE, SIS, ExternalShear, Observation
from lenssuper.forward.judgement import LENS_RULES, LensGalaxy, judge, measure_lens
from lenssuper.forward.judgement.galaxy import of_front, of_galaxy
from lenssuper.forward.judgement.lens import of_positive, of_source
from lenssuper.forward.judgement.mapping import detached, gathering, multiply_imaged, neighbours, of_mapping
from lenssuper.forward.judgement.positive import positive_fit
from lenssuper.forward.judgement.residuals import correlation, correlation_of_noise, of_residuals
from lenssuper.forward.judgement.scene import Scene
from lenssuper.forward.whitening import Whitener
from lenssuper.simulate import HST_ACS_F814W, GaussianSource, mock_lens


def with_data(scene, data):
    return replace(scene, observation=scene.observation.with_data(data))


def with_lens(scene, **changes):
    return replace(scene, lens=scene.lens.replace(**changes))


def test_right_lens_is_trusted(scene, mock):
    measures = measure_lens(scene, source=mock.source_image(scene.observation.grid))
    verdict = judge(measures, LENS_RULES)
    assert verdict.verdict == "trusted", verdict
    assert verdict.measures["einstein_radius"] == pytest.approx(1.1, rel=1e-3)


def test_regions_are_core_arcs_and_sky(scene):
    assert not (scene.core & scene.arcs).any()
    assert not (scene.sky & scene.bright).any()
    x, y = np.broadcast_arrays(*scene.observation.grid.centers_arcsec())
    distance = np.hypot(x - 0.05, y + 0.03) / 1.1
    assert np.array_equal(scene.core, distance < 0.65)
    assert distance[scene.arcs].min() >= 0.65
    assert distance[scene.arcs].max() <= 1.5


def test_chi2_of_regions(scene):
    right = of_residuals(scene)
    for name in ("chi2_core", "chi2_arcs", "chi2_rest", "reduced_chi2"):
        assert right[name] == pytest.approx(1, abs=0.2)
    shift = scene.observation.sigma * np.where(scene.arcs, 2.0, 0.0)
    wrong = of_residuals(replace(scene, model=scene.model + shift))
    n = np.count_nonzero(scene.arcs)
    pulls = (scene.observation.data - scene.model - shift)[scene.arcs] / scene.observation.sigma[scene.arcs]
    assert wrong["chi2_arcs"] == pytest.approx(np.sum(pulls**2) / n)
    assert wrong["chi2_arcs"] > 4
    assert wrong["chi2_core"] == right["chi2_core"]


def test_reduced_chi2_is_never_negative(scene):
    measures = of_residuals(replace(scene, modes=3000.0))
    assert np.isnan(measures["reduced_chi2"])
    verdict = judge(measures, LENS_RULES)
    assert verdict.verdict == "wrong"
    assert any("not defined" in reason for reason in verdict.reasons)


def test_noise_of_the_sky(scene):
    assert of_residuals(scene)["sky_noise"] == pytest.approx(1, abs=0.1)
    weights = 9 * scene.observation.weights
    wrong = of_residuals(replace(scene, observation=scene.observation.with_weights(weights)))
    assert wrong["sky_noise"] == pytest.approx(3, abs=0.5)
    assert judge(wrong, LENS_RULES).verdict == "wrong"


def test_hot_pixel(scene):
    assert of_residuals(scene)["largest_residual"] < 5
    data = scene.observation.data.copy()
    data[3, 4] += 500 * scene.observation.sigma[3, 4]
    measures = of_residuals(with_data(scene, data))
    assert measures["largest_residual"] == pytest.approx(500, abs=5)
    assert any("mask hot" in reason for reason in judge(measures, LENS_RULES).reasons)


def test_correlation_of_white_and_smooth_noise():
    rng = np.random.default_rng(1)
    white = rng.standard_normal((400, 80, 80))
    region = np.zeros((80, 80), dtype=bool)
    region[10:70, 10:70] = True
    found = np.array([correlation(image, region) for image in white])
    assert found[:, 0].std() == pytest.approx(1 / np.sqrt(2 * 60 * 59), rel=0.12)
    assert found[:, 1].std() == pytest.approx(1, rel=0.12)
    # of noise averaged over 3 x 3 pixels, neighbours share two thirds
    value, significance = correlation(ndimage.uniform_filter(white[0], 3), region)
    assert value == pytest.approx(2 / 3, abs=0.05)
    assert significance > 20


def test_noise_without_short_waves_is_made_as_white_as_is_said():
    drop = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 6.0
    used = np.ones((90, 90), dtype=bool)
    used[20:30, 15:40] = False
    region = used & (ndimage.distance_transform_edt(np.pad(np.ones((88, 88)), 1)) > 9)
    whitener = Whitener(used, ndimage.correlate(np.pad(drop, 1), drop, mode="constant"))
    images = np.random.default_rng(3).standard_normal((50, 90, 90))
    noise = [np.where(used, ndimage.convolve(image, drop, mode="wrap"), 0.0) for image in images]
    found = np.mean([correlation(whitener.forward(image), region)[0] for image in noise])
    assert found > 0.3
    assert correlation_of_noise(whitener, region) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("width", [0.6, 0.85])
def test_shared_noise_is_no_structure(scene, mock, width):
    """Noise that neighbours share, as in drizzled images, is not taken for structure where it is known."""
    noise = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((44, 44)), width, mode="wrap")
    kernel = ndimage.gaussian_filter(np.pad([[1.0]], 4), width)
    shared = ndimage.correlate(kernel, kernel, mode="constant")
    noise *= scene.observation.sigma / np.sqrt(shared.max())
    observation = scene.observation.with_data(mock.noiseless + noise)
    known = replace(scene, observation=replace(observation, noise_given=shared / shared.max()))
    ignored = replace(scene, observation=replace(observation, noise_given=1.0))
    assert of_residuals(ignored)["structure_sigma"] > 5
    assert abs(of_residuals(known)["structure_sigma"]) < 3


def test_light_without_model_and_model_without_light(scene):
    right = of_residuals(scene)
    assert right["unexplained_sigma"] < 5
    assert right["missing_sigma"] < 5
    x, y = scene.observation.grid.centers_arcsec()
    blob = 10 * np.median(scene.observation.sigma) * np.exp(-((x - 1.0) ** 2 + (y - 1.0) ** 2) / 0.05)
    assert of_residuals(with_data(scene, scene.observation.data + blob))["unexplained_sigma"] > 15
    assert of_residuals(replace(scene, model=scene.model + blob))["missing_sigma"] > 15


def test_light_subtracted_too_much(scene):
    assert of_residuals(scene)["negative_share"] == 0
    hole = np.where(scene.core, -5 * scene.observation.sigma, 0.0)
    assert of_residuals(with_data(scene, scene.observation.data + hole))["negative_share"] > 0.05


def test_gathering_of_a_point_source():
    """All images of a point come from a point; without a lens nothing gathers."""
    lens = SIE(theta_E=1 * u.arcsec, q=0.7, phi=20 * u.deg)
    x, y = (v.value for v in lens.image_positions(0.05 * u.arcsec, 0.02 * u.arcsec))
    assert gathering(lens, x, y, np.ones_like(x)) < 1e-10
    assert gathering(lens.replace(theta_E=1e-9 * u.arcsec), x, y, np.ones_like(x)) == pytest.approx(1)


def test_positions_imaged_twice():
    """An SIS has two images of |beta| < theta_E, on opposite sides, and one of the rest."""
    lens = SIS(theta_E=1 * u.arcsec)
    beta = np.array([0.1, 0.3, 0.6, 1.5, 2.0])
    x = np.concatenate([beta + 1, beta - 1])
    several = multiply_imaged(lens, x, np.zeros(10), 0.05, 0.4)
    assert several.tolist() == [True] * 3 + [False] * 2 + [True] * 3 + [False] * 2
    none = SIS(theta_E=1e-6 * u.arcsec)
    assert not multiply_imaged(none, x, np.zeros(10), 0.05, 0.4).any()


def test_images_that_merge_are_not_enough():
    """A pair of images beside a fold, whose counter-images are masked, may be one object without a lens."""
    lens = SIE(theta_E=1 * u.arcsec, q=0.6)
    source = GaussianSource(0.02 * u.arcsec, x=0.09 * u.arcsec, y=0.12 * u.arcsec)
    mock = mock_lens(lens, source, HST_ACS_F814W, shape=(80, 80), peak_snr=40, rng=1)
    observation = Observation.of(mock.observation)
    assert of_mapping(Scene(observation, lens, mock.noiseless))["multiple_share"] > 0.9
    x, y = np.broadcast_arrays(*observation.grid.centers_arcsec())
    pair = observation.masked(np.hypot(x - 0.6, y + 0.7) > 0.6)
    bright = pair.bright & ~pair.mask
    assert multiply_imaged(lens, x[bright], y[bright], 0.035, 0.2).mean() > 0.6
    measures = of_mapping(Scene(pair, lens, mock.noiseless))
    assert measures["multiple_share"] < 0.3
    assert judge(measures, LENS_RULES).verdict == "look"


def test_what_is_not_known_of_the_galaxy_in_front(scene):
    """Errors add up in all arcs with their sign, and one error to another in quadrature."""
    assert of_front(scene) == {}
    y, x = np.indices(scene.model.shape)
    ring, sides = 0.12 * scene.model, np.where((x + y) % 2, 1.0, -1.0)
    sides -= sides[scene.bright].mean()
    doubtful = scene.observation.without(0 * ring, errors=np.stack([ring, 1e3 * sides, 0.05 * scene.model]))
    found = of_front(replace(scene, observation=doubtful))
    assert found["front_share"] == pytest.approx(0.13)
    assert judge(found, LENS_RULES).verdict == "trusted"
    hidden = replace(scene, observation=scene.observation.without(0 * ring, errors=5 * ring[None]))
    verdict = judge(measure_lens(hidden), LENS_RULES)
    assert verdict.verdict == "look"
    assert "60% of the light of the arcs" in verdict.reasons[0]


def test_neighbour_that_touches_an_arc_is_detached(scene):
    x, y = scene.observation.grid.centers_arcsec()
    sigma = np.median(scene.observation.sigma)
    blob = 60 * sigma * np.exp(-((x + 1.7) ** 2 + (y - 1.7) ** 2) / 0.02)
    # a bridge from the neighbour to the other side of the field, as bright as the faint end of an arc
    bridge = 4 * sigma * np.exp(-((x + y) ** 2) / 0.02)
    found = of_mapping(with_data(scene, scene.observation.data + blob + bridge))
    assert found["detached_share"] > 0.02


def test_a_haze_does_not_show_that_a_neighbour_is_lensed(scene):
    """Where its other image would be there is light, but a tenth of its surface brightness or less."""
    x, y = scene.observation.grid.centers_arcsec()
    sigma = np.median(scene.observation.sigma)
    blob = 60 * sigma * np.exp(-((x + 1.3) ** 2 + (y - 1.3) ** 2) / 0.08)
    haze = 4 * sigma * np.exp(-np.hypot(x, y) / 3)
    found = of_mapping(with_data(scene, scene.observation.data + blob + haze))
    assert found["detached_share"] > 0.015
    assert of_mapping(with_data(scene, scene.observation.data + haze))["detached_share"] < 0.01


def test_no_lens_is_wrong(scene):
    right = of_mapping(scene)
    assert right["multiple_share"] > 0.6
    assert right["gathering"] < 0.4
    none = of_mapping(with_lens(scene, theta_E=0.02 * u.arcsec))
    assert none["multiple_share"] < 0.02
    assert none["gathering"] > 0.9
    assert judge(none, LENS_RULES).verdict == "wrong"


def test_objects_that_are_not_lensed():
    bright = np.zeros((9, 9), dtype=bool)
    bright[1:3, 1:4] = bright[6:8, 5:8] = True
    several = np.array([True] * 6 + [False] * 6)
    expected = np.zeros((9, 9), dtype=bool)
    expected[6:8, 5:8] = True
    assert np.array_equal(detached(bright, several), expected)


def test_neighbour_is_detached(scene):
    assert of_mapping(scene)["detached_share"] < 0.01
    x, y = scene.observation.grid.centers_arcsec()
    blob = 30 * np.median(scene.observation.sigma) * np.exp(-((x + 1.7) ** 2 + (y - 1.7) ** 2) / 0.02)
    beside = with_data(scene, scene.observation.data + blob)
    assert of_mapping(beside)["detached_share"] > 0.02
    found = neighbours(beside)
    assert found[np.hypot(x + 1.7, y - 1.7) < 0.15].all()
    assert not found[beside.bright & (np.hypot(x, y) < 1.3)].any()


@pytest.mark.parametrize(
    "change",
    [
        {"theta_E": 1.0 * u.arcsec},
        {"theta_E": 1.3 * u.arcsec},
        {"x": 0.35 * u.arcsec},
        {"q": 0.3},
        {"phi": 120 * u.deg},
    ],
    ids=str,
)
def test_wrong_lenses_have_no_positive_source(scene, change):
    right = of_positive(scene)["positive_chi2"]
    assert right < 1.1
    wrong = of_positive(with_lens(scene, **change))
    assert wrong["positive_chi2"] > 2.5
    assert judge(wrong, LENS_RULES).verdict == "wrong"


def test_flipped_data(scene):
    flipped = with_data(scene, scene.observation.data[:, ::-1])
    assert of_positive(flipped)["positive_chi2"] > 2.5


def test_positive_source_fits_and_is_positive(scene, mock):
    fit = positive_fit(scene.observation, scene.lens)
    assert fit.source.min() >= 0
    residual = (fit.model - mock.noiseless) / scene.observation.sigma
    assert np.sqrt(np.mean(residual**2)) < 0.5
    # no other positive source is better: the gradient vanishes, or points below zero
    more = positive_fit(scene.observation, scene.lens, steps=400)
    weights, data = scene.observation.weights, scene.observation.data
    chi2 = [float(np.sum(weights * (data - each.model) ** 2)) for each in (fit, more)]
    assert chi2[0] < 1.01 * chi2[1]


def test_negative_light():
    assert of_source(np.array([[1.0, 2.0], [0.0, 1.0]]))["negative_flux"] == 0
    assert of_source(np.array([[3.0, -1.0]]))["negative_flux"] == 0.25


def test_centre_beside_the_galaxy(scene):
    galaxy = LensGalaxy.of(scene.observation)
    right = of_galaxy(scene, galaxy, {"x": 0.02, "y": 0.02})
    assert right["center_offset"] == pytest.approx(0.01, abs=1e-6)
    assert right["center_sigma"] == pytest.approx(0.01 / np.hypot(0.02, 0.01), abs=1e-4)
    wrong = of_galaxy(with_lens(scene, x=0.45 * u.arcsec), galaxy, {"x": 0.0, "y": 0.0})
    assert wrong["center_offset"] == pytest.approx(0.39)
    assert wrong["center_sigma"] == pytest.approx(39)
    verdict = judge(wrong, LENS_RULES)
    assert verdict.verdict == "wrong"
    assert verdict.reasons[0] == 'the centre of the lens is 0.39" from its galaxy (39 sigma)'
    unknown = of_galaxy(with_lens(scene, x=0.45 * u.arcsec), None)
    assert unknown["field_offset"] == pytest.approx(np.hypot(0.45, 0.03))


def test_galaxy_is_found_again_in_another_frame(scene):
    """The galaxy stays where it is on the sky when the offsets are counted from elsewhere."""
    observation = scene.observation
    moved = observation.recentred(observation.grid.offset_to_sky(*([0.5, -0.2] * u.arcsec)))
    galaxy = LensGalaxy.of(moved)
    assert (galaxy.x, galaxy.y) == pytest.approx((0.06 - 0.5, -0.03 + 0.2), abs=1e-5)
    assert galaxy.phi == pytest.approx(0.5)
    assert LensGalaxy.of(replace(observation, meta={})) is None


def test_shape_beside_that_of_the_light(scene):
    galaxy = LensGalaxy.of(scene.observation)
    assert of_galaxy(scene, galaxy)["flatter_than_light"] == pytest.approx(0.05)
    wrong = with_lens(scene, q=0.15)
    wrong = replace(wrong, lens=wrong.lens + ExternalShear(gamma1=0.3, gamma2=-0.4))
    measures = of_galaxy(wrong, galaxy)
    assert measures["flatter_than_light"] == pytest.approx(0.65)
    assert measures["shear"] == pytest.approx(0.5)
    assert judge(measures, LENS_RULES).verdict == "wrong"


def test_psf_absent_or_too_wide(scene):
    assert measure_lens(scene)["no_psf"] == 0
    blind = measure_lens(replace(scene, observation=replace(scene.observation, psf=None)))
    assert blind["no_psf"] == 1
    assert any("no PSF" in reason for reason in judge(blind, LENS_RULES).reasons)
    y, x = np.mgrid[-30:31, -30:31]
    wide = np.exp(-(x**2 + y**2) / (2 * 5.5**2))
    measures = measure_lens(replace(scene, observation=scene.observation.with_psf(wide / wide.sum())))
    assert measures["psf_width"] == pytest.approx(2.3548 * 5.5 * 0.1 / 1.1, rel=0.03)
    assert judge(measures, LENS_RULES).verdict != "trusted"
