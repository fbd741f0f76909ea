import astropy.units as u
import numpy as np
import pytest

from lenssuper import SIS, PixelGrid
from lenssuper.simulate import (
    JWST_NIRCAM_F444W,
    GaussianSource,
    ImageSource,
    benchmark_set,
    random_elliptical,
    random_field_galaxy,
    random_knotty_spiral,
    random_lens,
    random_merger,
    random_mock,
    random_ring_galaxy,
    random_sersics,
    random_source,
)

arcsec = u.arcsec


def test_lenses_stay_in_their_ranges():
    lenses = [random_lens(i).parameters for i in range(200)]
    theta_E = np.array([p["SIE.theta_E"].to_value(arcsec) for p in lenses])
    q = np.array([p["SIE.q"] for p in lenses])
    shear = np.array([np.hypot(p["ExternalShear.gamma1"], p["ExternalShear.gamma2"]) for p in lenses])
    for values, low, high in ((theta_E, 0.9, 1.5), (q, 0.6, 0.95), (shear, 0, 0.08)):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    assert all(abs(p["SIE.x"].to_value(arcsec)) <= 0.05 for p in lenses)


def test_lens_ranges_can_be_chosen():
    p = random_lens(1, theta_E=(2, 2) * arcsec, q=(0.5, 0.5), shear=(0, 0), offset=0 * arcsec).parameters
    assert p["SIE.theta_E"].to_value(arcsec) == pytest.approx(2)
    assert p["SIE.q"] == pytest.approx(0.5)
    assert p["ExternalShear.gamma1"] == 0
    assert p["SIE.y"].to_value(arcsec) == 0


def test_sources_are_off_the_axis_and_structured():
    grid = PixelGrid((101, 101), 0.02 * arcsec)
    x, y = (c.to_value(arcsec) for c in grid.centers)
    for seed in range(8):
        source = random_source(seed, offset=(0.2, 0.3) * arcsec)
        image = source.surface_brightness(x, y)
        assert (image > 0).all()
        cx, cy = ((image**2 * c).sum() / (image**2).sum() for c in (x, y))
        assert 0.1 < np.hypot(cx, cy) < 0.45
        # a smooth ellipse would be the same after half a turn about its own centre
        turned = source.surface_brightness(2 * cx - x, 2 * cy - y)
        assert np.abs(image - turned).sum() > 0.15 * image.sum()


def test_sersics_are_smooth_and_off_the_axis():
    grid = PixelGrid((161, 161), 0.02 * arcsec)
    x, y = (c.to_value(arcsec) for c in grid.centers)
    numbers, distances, sizes = set(), [], []
    for seed in range(40):
        source = random_sersics(seed, R_e=(0.2, 0.3) * arcsec, offset=(0.1, 0.2) * arcsec)
        numbers.add(1 if not hasattr(source, "terms") else len(source.terms))
        image = source.surface_brightness(x, y)
        assert (image > 0).all()
        disc = source if not hasattr(source, "terms") else source.terms[0][1]
        distances.append(np.hypot(disc._x, disc._y))
        # a smooth ellipse is the same after half a turn about its centre
        turned = source.surface_brightness(2 * disc._x - x, 2 * disc._y - y)
        np.testing.assert_allclose(turned, image, rtol=1e-8)
        sizes.append(disc._R_e)
    assert numbers == {1, 2, 3}
    assert 0.1 <= min(distances) < 0.11
    assert 0.19 < max(distances) <= 0.2
    assert 0.2 <= min(sizes) < 0.21
    assert 0.29 < max(sizes) <= 0.3


def test_bad_ranges():
    with pytest.raises(ValueError, match="theta_E"):
        random_lens(0, theta_E=(1.5, 0.9) * arcsec)
    with pytest.raises(TypeError, match="theta_E"):
        random_lens(0, theta_E=(0.9, 1.5))
    with pytest.raises(TypeError, match="peak_snr"):
        random_mock(0, peak_snr=30)


def test_mock_with_parts_given():
    lens = SIS(theta_E=1 * arcsec)
    mock = random_mock(
        3, lens=lens, instrument=JWST_NIRCAM_F444W, shape=(40, 44), factor=3, peak_snr=(25, 25)
    )
    assert mock.lens is lens
    assert mock.observation.data.shape == (40, 44)
    assert mock.image().shape == (120, 132)
    assert (mock.noiseless / mock.observation.uncertainty.array).max() == pytest.approx(25, rel=0.05)


def test_benchmark_set():
    two, one = benchmark_set(2, seed=4), benchmark_set(1, seed=4)
    for a, b in zip(two, one, strict=False):
        np.testing.assert_array_equal(a.observation.data, b.observation.data)
        assert a.lens.parameters == b.lens.parameters
    assert two[0].lens.parameters != two[1].lens.parameters
    assert benchmark_set(1, seed=5, shape=(16, 16))[0].lens.parameters != two[0].lens.parameters
    for mock in two:
        assert mock.observation.data.shape == (64, 64)
        assert mock.image().shape == (128, 128)
        assert mock.grid.pixel_scale.to_value(arcsec) == pytest.approx(0.08)
        peak = np.unravel_index(mock.noiseless.argmax(), (64, 64))
        snr = mock.noiseless[peak] / mock.observation.uncertainty.array[peak]
        assert 20 <= snr <= 60


def test_benchmark_set_with_real_images():
    x = np.linspace(-3, 3, 31)
    galaxies = [ImageSource(np.exp(-(x**2) - w * x[:, None] ** 2), 0.03 * arcsec) for w in (1, 3)]
    mocks = benchmark_set(3, sources=galaxies)
    assert all(isinstance(m.source.terms[0][1], ImageSource) for m in mocks)
    # placed anew: the first and the third are the same galaxy elsewhere
    at = np.meshgrid(np.linspace(-0.3, 0.3, 9), np.linspace(-0.3, 0.3, 9))
    first, third = (mocks[i].source.terms[0][1].surface_brightness(*at) for i in (0, 2))
    assert np.abs(first - third).max() > 0.05


VARIED = [random_elliptical, random_field_galaxy, random_knotty_spiral, random_merger, random_ring_galaxy]


@pytest.mark.parametrize("draw", VARIED)
def test_galaxies_of_other_kinds(draw):
    """Each is reproducible, has the size and the distance from the axis asked for, and no negative light."""
    grid = PixelGrid((161, 161), 0.02 * arcsec)
    x, y = (c.to_value(arcsec) for c in grid.centers)
    for seed in range(4):
        ranges = {"R_e": (0.2, 0.21) * arcsec, "offset": (0.1, 0.11) * arcsec}
        image = draw(seed, **ranges).surface_brightness(x, y)
        np.testing.assert_array_equal(draw(seed, **ranges).surface_brightness(x, y), image)
        assert image.min() > -1e-3 * image.max()
        cx, cy = ((image * c).sum() / image.sum() for c in (x, y))
        assert np.hypot(cx, cy) < 0.45
        half = np.sort(image.ravel())[::-1].cumsum() > 0.5 * image.sum()
        assert 0.05 < np.sqrt(np.argmax(half) * 0.02**2 / np.pi) < 0.45
    assert not np.array_equal(draw(5).surface_brightness(x, y), draw(6).surface_brightness(x, y))


def test_benchmark_set_with_other_galaxies():
    one, same = (benchmark_set(1, seed=2, sources=random_merger, shape=(20, 20))[0] for _ in range(2))
    np.testing.assert_array_equal(one.observation.data, same.observation.data)
    assert not np.array_equal(
        one.observation.data, benchmark_set(1, seed=2, shape=(20, 20))[0].observation.data
    )


def test_knots_are_small_and_hold_light_of_the_arms():
    source = random_knotty_spiral(3, R_e=(0.3, 0.3) * arcsec, offset=(0, 0) * arcsec)
    knots = [term for _, term in source.terms if isinstance(term, GaussianSource)]
    assert len(knots) >= 15
    grid = PixelGrid((401, 401), 0.005 * arcsec)
    x, y = (c.to_value(arcsec) for c in grid.centers)
    light = sum(f * s.surface_brightness(x, y) for f, s in source.terms if isinstance(s, GaussianSource))
    # brighter than half their peak over no more than a few widths
    assert 0 < np.sum(light > 0.5 * light.max()) * 0.005**2 < 10 * np.pi * 0.02**2
    assert 0.05 < light.sum() / source.surface_brightness(x, y).sum() < 0.4
