from dataclasses import replace

import astropy.units as u
import pytest

from lenssuper import SIE, Observation
from lenssuper.forward.judgement import LensGalaxy, Scene
from lenssuper.simulate import Instrument, SersicSource, mock_lens

CAMERA = Instrument.gaussian(
    0.1 * u.arcsec, 0.18 * u.arcsec, background=0.5 * u.electron / u.s, exposure=2000 * u.s
)


@pytest.fixture(scope="session")
def mock():
    lens = SIE(theta_E=1.1 * u.arcsec, q=0.75, phi=30 * u.deg, x=0.05 * u.arcsec, y=-0.03 * u.arcsec)
    source = SersicSource(0.2 * u.arcsec, 1.0, q=0.7, phi=50 * u.deg, x=0.12 * u.arcsec, y=0.06 * u.arcsec)
    return mock_lens(lens, source, CAMERA, shape=(44, 44), peak_snr=40, noise="gaussian", rng=1)


@pytest.fixture(scope="session")
def scene(mock):
    """The data, the lens and the model, all right, with a galaxy where the lens is."""
    observation = Observation.of(mock.observation)
    cards = LensGalaxy(0.06, -0.03, 0.8, 0.5).cards(observation)
    return Scene(replace(observation, meta={**observation.meta, **cards}), mock.lens, mock.noiseless)
