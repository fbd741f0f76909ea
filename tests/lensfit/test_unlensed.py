"""Companions of a lens: found by a first lens, and masked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from lenssuper import SIE, LensFitter, Observation
from lenssuper.forward.judgement import Verdict, with_wings
from lenssuper.lensfit.unlensed import without_companions
from lenssuper.simulate import Instrument, SersicSource, mock_lens

CAMERA = Instrument.gaussian(0.08 * u.arcsec, 0.12 * u.arcsec)
LENS = SIE(theta_E=0.7 * u.arcsec, q=0.75, phi=40 * u.deg)
SOURCE = SersicSource(0.1 * u.arcsec, 1.0, q=0.7, x=0.09 * u.arcsec, y=-0.05 * u.arcsec)
AT = -1.3, 0.6  # arcsec, two Einstein radii from the lens


def observed(brightness):
    """Arcs, and a round galaxy beside them."""
    x, y = AT * u.arcsec
    companion = brightness * SersicSource(0.12 * u.arcsec, 2.0, x=x, y=y)
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(48, 48), peak_snr=30, lens_light=companion, rng=3)
    return Observation.from_nddata(mock.observation, noise_correlation=1)


@pytest.fixture(scope="module")
def scene():
    return observed(0.6)


@pytest.fixture(scope="module")
def first(scene):
    return LensFitter(LENS, factor=1, rng=1, progress=False)(scene)


def test_a_companion_is_masked_with_its_wings_and_nothing_else(scene, first):
    masked, messages = without_companions(scene, first, LENS)
    x, y = scene.grid.centers_arcsec()
    off = np.hypot(x - AT[0], y - AT[1])
    assert masked.mask[off < 0.3].all()
    assert not masked.mask[off > 0.8].any()
    assert messages == ("beyond 1.5 Einstein radii objects without a counter-image were masked",)
    # what is left around the mask is noise
    rim = (off < 1.0) & ~masked.mask & (np.hypot(x, y) > 1.2)
    left = (scene.data / scene.sigma)[rim]
    assert abs(left.mean()) < 4 / np.sqrt(left.size)


@pytest.mark.parametrize(
    "case", ["nothing there", "most of the light", "wrong lens", "radius much smaller than given"]
)
def test_what_may_be_arcs_is_not_masked(scene, first, monkeypatch, case):
    given = LENS
    if case == "nothing there":
        scene = observed(0.0)
        first = LensFitter(LENS, factor=1, rng=1, progress=False)(scene)
    elif case == "most of the light":
        monkeypatch.setattr("lenssuper.lensfit.unlensed._FEW", 0.01)
    elif case == "wrong lens":
        first = replace(first, judgement=Verdict("wrong", (), {}))
    else:
        given = LENS.replace(theta_E=1.2 * u.arcsec)
    same, messages = without_companions(scene, first, given)
    assert same is scene
    assert messages == ()


def test_an_arc_far_from_a_lens_that_is_too_small_is_not_masked(monkeypatch):
    """
    An arc at 1.6 radii, whose other image lies close to the galaxy, is seen once by a lens of 0.7 the radius.

    By the one whose radius was given it is seen twice.
    """
    source = SersicSource(0.1 * u.arcsec, 1.0, x=0.42 * u.arcsec)
    lens = SIE(theta_E=0.7 * u.arcsec, q=0.9, phi=0 * u.deg)
    mock = mock_lens(lens, source, CAMERA, shape=(48, 48), peak_snr=60, rng=3)
    scene = Observation.from_nddata(mock.observation, noise_correlation=1)
    monkeypatch.setattr("lenssuper.lensfit.unlensed._FEW", 1.0)  # there is nothing else here
    first = LensFitter(lens, free=["phi"], factor=1, rng=1, progress=False)(scene)
    small = replace(first, lens=lens.replace(theta_E=0.49 * u.arcsec))
    masked, messages = without_companions(scene, small, small.lens)
    assert masked.mask.any()
    assert messages
    same, messages = without_companions(scene, small, lens)
    assert same is scene
    assert messages == ()


def test_masks_of_objects_have_twice_their_radius_and_the_width_of_the_psf(scene):
    y, x = np.indices(scene.shape)
    discs = (np.hypot(x - 12, y - 12) <= 4) | (np.hypot(x - 36, y - 30) <= 1.2)
    mask = with_wings(discs, scene)
    width = scene.psf_fwhm_arcsec / scene.grid.side_arcsec
    for column, row, radius in ((12, 12, 4.0), (36, 30, 1.2)):
        reach = np.hypot(x - column, y - row)[mask & (np.hypot(x - column, y - row) < 15)].max()
        assert reach == pytest.approx(2 * radius + width, abs=1)
    assert not with_wings(np.zeros(scene.shape, dtype=bool), scene).any()
