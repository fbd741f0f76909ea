"""The real lens that comes with the package."""

from importlib.resources import files

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from lenssuper import SIE, SuperResolver
from lenssuper.datasets import cosmos_web_ring
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.solvers import Gaussian, GradientPrior


@pytest.fixture(scope="module")
def ring():
    return cosmos_web_ring()


def test_the_ring_is_where_the_lens_says(ring):
    """The ring is brightest at the Einstein radius around the lens, and there is next to nothing outside."""
    observation, lens = ring.observation, ring.lens
    x, y = observation.grid.centers_arcsec()
    (x0, y0), *_ = lens.centers_arcsec()
    radius = np.hypot(x - x0, y - y0)
    edges = np.arange(0.3, 1.5, 0.1)
    used = ~observation.mask
    profile = [observation.data[used & (radius >= low) & (radius < low + 0.1)].mean() for low in edges]
    brightest = edges[np.argmax(profile)] + 0.05
    assert abs(brightest - lens.einstein_radius().to_value(u.arcsec)) < 0.1
    outside = used & (radius > 1.35)
    assert abs(observation.data[outside].mean()) < 0.05 * max(profile)


def test_the_noise_is_that_of_the_sky(ring):
    observation = ring.observation
    x, y = observation.grid.centers_arcsec()
    sky = ~observation.mask & (np.hypot(x, y) > 1.35)
    assert np.std(observation.data[sky] / observation.sigma[sky]) == pytest.approx(1, abs=0.1)
    neighbours = observation.noise_covariance
    ny, nx = neighbours.shape
    assert neighbours[ny // 2, nx // 2 + 1] == pytest.approx(
        0.27, abs=0.01
    )  # drizzled: neighbours share noise


def test_the_published_lens_explains_the_ring(ring, monkeypatch):
    """With a smooth source it leaves little but noise, and a lens of another radius leaves arcs."""
    monkeypatch.setattr("lenssuper.superres.result.judge_result", lambda *_: None)  # takes half of the time
    solver = Gaussian(GradientPrior(), n_draws=2, dense_limit=0)

    def fit(lens):
        grid = square_source_grid(ring.observation, lens, 1, 48)
        resolver = SuperResolver(lens, factor=1, solver=solver, source_grid=grid, progress=False, rng=0)
        return resolver(ring.observation)

    published = fit(ring.lens)
    assert 0.9 < published.reduced_chi2 < 1.15
    assert fit(SIE(theta_E=0.9 * u.arcsec, q=0.947, phi=48 * u.deg)).chi2 > published.chi2 + 1000


def test_the_galaxy_in_front_can_be_had_back(ring):
    whole = cosmos_web_ring(lens_light=True).observation
    assert whole.shape == ring.observation.shape
    middle = (slice(48, 53), slice(48, 53))
    assert ring.observation.mask[middle].all()
    assert not whole.mask[middle].any()
    assert whole.data.max() == pytest.approx(4.28, abs=0.01)  # MJy/sr, the core of the galaxy
    both = ~ring.observation.mask & ~whole.mask
    assert np.all(whole.data[both] >= ring.observation.data[both] - 1e-12)
    np.testing.assert_array_equal(whole.noise_covariance, ring.observation.noise_covariance)


def test_credits_are_in_the_file():
    folder = files("lenssuper.datasets.observed")
    with (folder / "cosmos_web_ring_f150w.fits").open("rb") as stream, fits.open(stream) as hdus:
        assert all(hdu.verify_checksum() == 1 for hdu in hdus)
        header = hdus[0].header
        assert header["LICENSE"] == "MIT"
        assert header["FILTER"] == "F150W"
        assert "Nightingale" in str(header["COMMENT"])
        psf = hdus["PSFIMAGE"].data
    assert psf.sum() == pytest.approx(1, abs=1e-3)
    assert "MIT License" in (folder / "cosmos_web_ring.md").read_text(encoding="utf-8")
