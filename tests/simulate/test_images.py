"""Images of galaxies as sources."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData

from lenssuper.datasets import read_dataset, write_dataset
from lenssuper.simulate import ImageSources, SersicSource, mock_galaxies
from lenssuper.simulate.images import cut_out

arcsec = u.arcsec


def picture(R_e=8.0, n=1.0, q=0.7, sky=0.3, noise=0.01, size=101, x=2.0, y=-3.0):
    """A galaxy of a radius in pixels, on some sky, with noise and a star in a corner."""
    source = SersicSource(R_e * arcsec, n, q=q, phi=30 * u.deg, x=x * arcsec, y=y * arcsec)
    offsets = np.arange(size) - (size - 1) / 2
    image = source.surface_brightness(*np.meshgrid(offsets, offsets))
    image /= image.max()
    image[5:8, 5:8] += 5.0
    return image + sky + np.random.default_rng(1).normal(0, noise, image.shape)


def test_the_galaxy_is_cut_out():
    galaxy, radius = cut_out(picture())
    assert galaxy.max() == pytest.approx(1)
    assert abs(galaxy[2:12, 2:12]).max() < 1e-6  # no star, no sky
    for edge in (galaxy[0], galaxy[-1], galaxy[:, 0], galaxy[:, -1]):
        np.testing.assert_allclose(edge, 0, atol=1e-12)
    # most of its light is kept, and where it was
    clean = picture(sky=0, noise=0)
    clean[:12, :12] = 0
    assert 0.88 < galaxy.sum() * clean.max() / clean.sum() < 1.1
    x = np.arange(101) - 50.0
    assert (galaxy * x).sum() / galaxy.sum() == pytest.approx(2, abs=0.3)
    # half the light of an ellipse is within a circle close to the intermediate radius
    assert radius == pytest.approx(8, rel=0.15)


def test_smoothing_takes_noise_away():
    truth = cut_out(picture(noise=0))[0]
    rough, smooth = (cut_out(picture(noise=0.1), s)[0] for s in (0.0, 0.1))
    error = [np.abs(image / image.sum() - truth / truth.sum()).sum() for image in (rough, smooth)]
    assert error[1] < 0.6 * error[0]
    assert smooth.min() == 0


def test_sky_and_scale_of_an_image_do_not_matter():
    galaxy, radius = cut_out(picture())
    other, same = cut_out(100 + 40 * (picture() - 0.3))
    np.testing.assert_allclose(other, galaxy, atol=2e-3)
    assert same == pytest.approx(radius)


def test_masked_and_missing_pixels_are_dark():
    image = picture()
    image[50, 50] = np.nan
    mask = np.zeros(image.shape, bool)
    mask[5:8, 5:8] = True
    galaxy, _ = cut_out(CCDData(image, unit="adu", mask=mask))
    assert np.isfinite(galaxy).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((30, 30)), "image 0 of ImageSources.*no galaxy"),
        (np.full((30, 30), np.nan), "image 0 of ImageSources.*no galaxy"),
        (np.zeros((4, 4)), "8 rows"),
        (np.ones(30), "8 rows"),
    ],
)
def test_images_without_a_galaxy(image, message):
    with pytest.raises(ValueError, match=message):
        ImageSources([image])(0)


def test_some_images_without_a_galaxy_are_passed_over():
    sources = ImageSources([np.ones((30, 30)), picture(), np.ones((30, 30))])
    for i in range(10):
        assert sources(i).surface_brightness(np.linspace(-0.5, 0.5, 20), 0.0).max() > 0.05


def test_a_galaxy_far_from_the_middle_is_not_it():
    image = np.random.default_rng(0).normal(0, 0.01, (60, 60))
    image[2:8, 2:8] += 1
    with pytest.raises(ValueError, match="no galaxy in its middle"):
        ImageSources([image])(0)


def test_sizes_and_places():
    sources = ImageSources([picture()], R_e=(0.2, 0.4) * arcsec, offset=(0.1, 0.2) * arcsec)
    x, y = np.meshgrid(*[np.linspace(-2, 2, 161)] * 2)
    sizes, distances = [], []
    for i in range(25):
        light = sources(i).surface_brightness(x, y)
        cx, cy = ((light * c).sum() / light.sum() for c in (x, y))
        distances.append(np.hypot(cx, cy))
        r = np.hypot(x - cx, y - cy).ravel()
        order = np.argsort(r)
        sizes.append(r[order][np.searchsorted(np.cumsum(light.ravel()[order]), light.sum() / 2)])
    assert 0.17 < min(sizes) < 0.25
    assert 0.35 < max(sizes) < 0.45
    # the galaxy is not quite in the middle of its image
    assert 0.02 < min(distances) < 0.15
    assert 0.15 < max(distances) < 0.35


def test_seed_and_variety():
    sources = ImageSources([picture(), picture(q=0.3)])
    x, y = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 50))
    one, same, other = (sources(i).surface_brightness(x, y) for i in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"images": []}, ValueError, "images must"),
        ({"images": 3}, TypeError, "images must"),
        ({"R_e": (0.1, 0.2)}, TypeError, "R_e must"),
        ({"R_e": (0.3, 0.2) * arcsec}, ValueError, "R_e must"),
        ({"offset": 0.1 * arcsec}, TypeError, "offset must"),
        ({"smoothing": -1}, ValueError, "smoothing must"),
    ],
)
def test_errors_name_the_argument(arguments, error, name):
    with pytest.raises(error, match=name):
        ImageSources(**{"images": [picture()], **arguments})


def test_a_set_of_lensed_galaxies(tmp_path):
    galaxies = mock_galaxies(2, rng=1)
    dataset = write_dataset(tmp_path, 2, sources=ImageSources(galaxies), shape=(20, 20), progress=False)
    assert dataset.settings["sources"].startswith("ImageSources(2 images, R_e=(0.15, 0.45) arcsec")
    item = read_dataset(tmp_path)[0]
    assert (item.truth.source > -0.01 * item.truth.source.max()).all()
    assert item.truth.source.max() > 0
