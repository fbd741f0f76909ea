"""The share of a source's flux that is in objects which may not be lensed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper import SIE, ForwardModel, Observation, PixelGrid, SuperResolver
from lenssuper.simulate import Instrument, SersicSource, mock_lens
from lenssuper.solvers import LogNormal
from lenssuper.superres.objects import object_measures

CAMERA = Instrument.gaussian(0.08 * u.arcsec, 0.12 * u.arcsec)
LENS = SIE(theta_E=0.7 * u.arcsec, q=0.75, phi=40 * u.deg)
SOURCE = SersicSource(0.1 * u.arcsec, 1.0, q=0.7, x=0.09 * u.arcsec, y=-0.05 * u.arcsec)
# 1.9 Einstein radii from the lens; it is traced to 0.64 arcsec from the axis
COMPANION = SersicSource(0.1 * u.arcsec, 1.0, x=-1.2 * u.arcsec, y=0.6 * u.arcsec)


def observed(brightness):
    light = None if brightness == 0 else brightness * COMPANION
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(48, 48), peak_snr=30, lens_light=light, rng=3)
    return Observation.from_nddata(mock.observation, noise_correlation=1)


def test_the_flux_of_a_companion_is_told_from_that_of_the_source():
    """A source of two blobs of known flux: one behind the lens, one so far off that it is seen once."""
    grid = PixelGrid(shape=(80, 80), pixel_scale=0.04 * u.arcsec)
    x, y = np.broadcast_arrays(*grid.centers_arcsec())
    bx, by = (float(v) for v in LENS.rays_arcsec(np.array(-1.4), np.array(0.7)))
    lensed = np.exp(-((x - 0.09) ** 2 + (y + 0.05) ** 2) / 0.01)
    alone = 0.6 * np.exp(-((x - bx) ** 2 + (y - by) ** 2) / 0.01)
    observation = observed(0.0)
    model = ForwardModel(observation, LENS, source_grid=grid)
    noise = 0.01 * np.random.default_rng(1).standard_normal(observation.shape)
    for source, expected in ((lensed, 0.0), (lensed + alone, 0.6 / 1.6)):
        data = observation.with_data(model.forward(source) + noise)
        data = data.with_weights(np.full(data.shape, 1e4))
        found = object_measures(model.with_observation(data), source, model.forward(source))
        assert found["detached_flux"] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("brightness", "verdict"), [(0.0, "trusted"), (0.5, "look")])
def test_the_verdict_says_so(brightness, verdict):
    resolver = SuperResolver(LENS, solver=LogNormal(), rng=1, progress=False)
    result = resolver(observed(brightness))
    assert result.verdict == verdict
    said = any("of the flux of the source is in objects" in reason for reason in result.reasons)
    assert said == (verdict == "look")
    assert (result.judgement.measures["detached_flux"] > 0.1) == said
