"""The local roughness of a source."""

import astropy.units as u
import numpy as np
import pytest

from lenssuper import SIE, SuperResolver
from lenssuper.simulate import random_elliptical, random_mock
from lenssuper.solvers import LogNormal, roughness
from lenssuper.solvers.curvature import Curvature
from lenssuper.solvers.roughness import local_roughness

SHAPE = (9, 12)


def curvature_of(j):
    """Return 1 + J'J for a matrix J from images of `SHAPE`."""

    def forward(images):
        return (images.reshape(len(images), -1) @ j.T.astype(images.dtype))[:, None]

    def adjoint(data):
        return (data[:, 0] @ j.astype(data.dtype)).reshape(len(data), *SHAPE)

    return Curvature(forward, adjoint)


class TestMap:
    def test_formula(self, monkeypatch):
        """With the exact diagonal of the inverse, from a dense matrix."""
        monkeypatch.setattr(roughness, "_PROBES", 8000)
        monkeypatch.setattr(roughness, "_WINDOW", 1.5)
        monkeypatch.setattr(roughness, "_SHARE", 1e-9)
        rng = np.random.default_rng(1)
        j = rng.normal(size=(40, 108)) * rng.uniform(0, 1, 108)
        white, before = rng.normal(size=SHAPE), rng.uniform(0.5, 2, SHAPE)
        measured = 1 - np.diag(np.linalg.inv(np.eye(108) + j.T @ j)).reshape(SHAPE)
        y, x = np.indices(SHAPE)
        expected = np.empty(SHAPE)
        for pixel in np.ndindex(SHAPE):
            window = np.exp(-((y - pixel[0]) ** 2 + (x - pixel[1]) ** 2) / (2 * 1.5**2))
            # that of an image without borders, of which two such profiles have the area together
            window *= 2
            squares, modes = np.sum(window * (before * white) ** 2), np.sum(window * measured)
            expected[pixel] = np.sqrt((squares + roughness._MODES) / (modes + roughness._MODES))
        found = local_roughness(curvature_of(j), white, before)
        np.testing.assert_allclose(found, expected, rtol=0.02)

    def test_nothing_measured(self):
        """It is 1 where the data tell nothing."""
        found = local_roughness(curvature_of(np.zeros((3, 108))), np.zeros(SHAPE))
        np.testing.assert_allclose(found, 1)

    def test_recovers_what_noise_was_drawn_with(self, monkeypatch):
        """White noise that is measured well, with 0.5 on one side and 2 on the other; the evidence rises."""
        monkeypatch.setattr(roughness, "_MODES", 0.1)
        shape = (60, 240)
        truth = np.where(np.arange(240) < 120, 0.5, 2.0) * np.ones(shape)
        rng = np.random.default_rng(2)
        data = 3 * truth * rng.normal(size=shape) + rng.normal(size=shape)
        found, evidences = np.ones(shape), []
        for _ in range(6):
            variance = 1 + (3 * found) ** 2
            evidences.append(-0.5 * np.sum(data**2 / variance + np.log(variance)))
            gain = 3 * found

            def scaled(images, gain=gain):
                return images * gain.astype(images.dtype)

            found = local_roughness(Curvature(scaled, scaled), gain * data / variance, found)
        inside = np.abs(np.arange(240) - 119.5) > 10
        # five times the scatter of a variance of 113 pixels, of which 69% are measured on the left
        np.testing.assert_allclose(found[10:-10, inside], truth[10:-10, inside], rtol=0.5)
        assert np.sqrt(np.mean(found[10:-10, 10:110] ** 2)) == pytest.approx(0.5, rel=0.05)
        assert np.sqrt(np.mean(found[10:-10, 130:-10] ** 2)) == pytest.approx(2, rel=0.05)
        assert evidences[-1] > evidences[1] > evidences[0] + 100


@pytest.fixture(scope="module")
def results():
    """Return lenses with smooth galaxies with knots, and their results without and with the map."""
    found = []
    for seed in range(3):
        lens = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=(40 * seed) * u.deg)
        mock = random_mock(seed, lens=lens, source=random_elliptical(seed), shape=(36, 36), peak_snr=(60, 60))
        solvers = [LogNormal(passes=n, n_draws=2, max_evaluations=6) for n in (0, 2)]
        resolvers = [SuperResolver(mock.lens, solver=each, rng=1, progress=False) for each in solvers]
        found.append((mock, *(resolver(mock.observation) for resolver in resolvers)))
    return found


class TestInTheSolver:
    def test_is_closer_to_the_truth(self, results):
        rise = []
        for mock, *found in results:
            errors = [np.mean((each.image.data - mock.image()) ** 2) for each in found]
            rise.append(10 * np.log10(errors[0] / errors[1]))
        assert np.mean(rise) > 0.3

    def test_evidence_is_that_of_a_source_as_rough_everywhere(self, results):
        """It compares lenses, and a map that follows the data would help wrong ones more."""
        for _, same, local in results:
            assert local.log_evidence == pytest.approx(same.log_evidence, abs=1e-6)
