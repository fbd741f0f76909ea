"""Fourier modes along isophotes: what they take off a galaxy, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from lenssuper.light.foreground.isophotes import fit_isophotes, unmodelled_share

SIGMA = 0.02


@pytest.fixture
def field():
    y, x = np.indices((81, 81)) - 40.0
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    return radius, angle, 10 * np.exp(-radius / 8)


def fitted(residual, field, *, noise=True, weights=None, **options):
    radius, angle, light = field
    if noise:
        residual = residual + SIGMA * np.random.default_rng(3).standard_normal(residual.shape)
    weights = np.full(residual.shape, SIGMA**-2) if weights is None else weights
    return fit_isophotes(residual, weights, light, radius, angle, smallest=2.0, **options)


@pytest.mark.parametrize("m", [0, 1, 2, 4])
def test_takes_off_a_mode(field, m):
    radius, angle, light = field
    wrong = 0.04 * light * np.cos(m * angle - 0.3) * np.minimum(1, radius / 2 if m else 1)
    found = fitted(wrong, field)
    bright = light > 0.5
    assert np.std((wrong - found.correction)[bright]) < 0.12 * np.std(wrong[bright])


def test_the_variance_is_that_of_the_error(field):
    light = field[2]
    errors = [
        fitted(SIGMA * np.random.default_rng(k).standard_normal(light.shape), field, noise=False)
        for k in range(20)
    ]
    spread = np.mean([found.correction**2 for found in errors], axis=0)
    expected = errors[0].variance
    bright = light > 0.3
    # a posterior variance is that of the error for modes drawn from the prior; with none there is less of it
    assert 0.5 < np.mean(spread[bright]) / np.mean(expected[bright]) < 1.1
    assert 0 < errors[0].effective < errors[0].order * 100


def test_parts_are_as_wide_as_the_prior(field):
    radius, _, light = field
    found = fitted(np.zeros_like(light), field, noise=False, share=0.07)
    # at a knot one hat function is 1 and the others 0; cosine and sine of each order add up to one
    at_knot = np.isclose(radius, 2.0 * 1.5 ** np.arange(12)[:, None, None], rtol=1e-12).any(axis=0)
    assert at_knot.any()
    width = np.sqrt(np.sum(found.parts**2, axis=0))
    np.testing.assert_allclose(width[at_knot], 0.07 * light[at_knot] * np.sqrt(1 + found.order), rtol=1e-6)
    wrong = 0.04 * light * np.cos(2 * field[1])
    correction = fitted(wrong, field).correction.ravel()
    left = np.linalg.lstsq(found.parts.reshape(len(found.parts), -1).T, correction)[1]
    assert left.sum() < 1e-9 * correction @ correction


def test_higher_modes_than_asked_for_stay(field):
    radius, angle, light = field
    wrong = 0.04 * light * np.cos(4 * angle) * np.minimum(1, radius / 2)
    found = fitted(wrong, field, order=2)
    assert np.std(found.correction) < 0.1 * np.std(wrong)


def test_a_ring_of_light_is_left_alone_where_it_is_not_used(field):
    radius, _, light = field
    arc = 3 * np.exp(-0.5 * ((radius - 25) / 2) ** 2)
    weights = np.where(np.abs(radius - 25) < 8, 0.0, SIGMA**-2)
    found = fitted(arc, field, weights=weights)
    inside = np.abs(radius - 25) < 4
    assert np.abs(found.correction[inside]).max() < 0.1 * light[inside].max()
    assert found.variance[inside].max() > found.variance[np.abs(radius - 14) < 2].max() * 0.1


def test_the_prior_keeps_corrections_small(field):
    light = field[2]
    found = fitted(0.5 * light, field, noise=False, weights=np.full(light.shape, 1e-6))
    assert np.abs(found.correction).max() < 0.01 * light.max()
    assert np.sqrt(found.variance).max() < 0.2 * light.max()


def test_what_a_model_misses_is_measured_as_a_share_of_its_light(field):
    radius, _, light = field
    rng = np.random.default_rng(5)
    share = np.where(radius < 8, 0.1, 0.0)
    residual = share * light * rng.standard_normal(light.shape) + SIGMA * rng.standard_normal(light.shape)
    used = rng.random(light.shape) > 0.2
    variance = np.full(light.shape, SIGMA**2)
    found = unmodelled_share(np.where(used, residual, 1e3), variance, light, used, radius, 2.0)
    # rings end at 2, 3, 4.5, 6.75, 10.1 pixels: that across the border has a part of it
    assert np.median(found[radius < 5]) == pytest.approx(0.1, rel=0.15)
    assert found[(radius > 14) & (radius < 30)].max() < 0.02
    assert not unmodelled_share(0 * residual, variance, light, used, radius, 2.0).any()


def test_without_pixels_nothing_is_missed(field):
    radius, _, light = field
    nothing = np.zeros(light.shape, dtype=bool)
    assert not unmodelled_share(light, light, light, nothing, radius, 2.0).any()
