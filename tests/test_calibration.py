"""The statistics of the calibration benchmark, beside closed forms for Gaussians."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "calibration.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="the benchmarks are not part of an installed package"
)


@pytest.fixture(scope="module")
def calibration():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        return importlib.import_module("calibration")


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.5, 0.0), (2.0, 0.0), (1.0, 0.7)])
def test_expected_coverage_of_gaussians(calibration, scale, shift):
    """
    Draws N(shift, scale^2) of a truth N(0, 1), the reference far to the right.

    A draw is nearer than the truth t if it is larger: the fraction is 1 - Phi((t - shift) / scale), and less
    than a with the probability 1 - Phi(scale Phi^-1(1 - a) + shift).
    """
    rng = np.random.default_rng(1)
    truths = rng.standard_normal(1500)
    draws = shift + scale * rng.standard_normal((1500, 400))
    reference = np.array([1e3])
    fractions = [
        calibration.fraction_nearer(d[:, None], np.array([t]), reference)
        for d, t in zip(draws, truths, strict=True)
    ]
    levels = np.linspace(0.05, 0.95, 19)
    expected = 1 - ndtr(scale * ndtri(1 - levels) + shift)
    # 1500 lenses know a share to 0.013
    np.testing.assert_allclose(calibration.expected_coverage(fractions, levels), expected, atol=0.045)


@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_references_of_images(calibration, scale):
    """Correlated images in pairs: uniform fractions only if the posterior is right."""
    rng = np.random.default_rng(2)
    root = np.exp(-0.5 * np.subtract.outer(np.arange(40), np.arange(40)) ** 2 / 9)
    fractions = []
    for _ in range(300):
        half = scale * rng.standard_normal((32, 40)) @ root
        draws = np.stack([half, -half], axis=1).reshape(64, 40)
        fractions += calibration.tarp(draws, root.T @ rng.standard_normal(40), rng, n=2)
    levels = np.linspace(0, 1, 101)
    off = np.max(np.abs(calibration.expected_coverage(fractions, levels) - levels))
    assert off < 0.06 if scale == 1 else off > 0.06


def test_coverage(calibration):
    z = ndtri((np.arange(2000) + 0.5) / 2000)
    np.testing.assert_allclose(calibration.coverage(z), calibration.LEVELS, atol=1e-3)
    assert calibration.coverage(2 * z)[1] == pytest.approx(0.381, abs=2e-3)


def test_seeds_are_apart(calibration):
    """No lens that settings were looked at on is among those that are reported."""
    assert calibration.TUNING + 1000 < calibration.REPORTING
