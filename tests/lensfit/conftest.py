import astropy.units as u
import pytest

from lenssuper import SIE, ExternalShear
from lenssuper.lensfit import LensFitter
from lenssuper.simulate import Instrument, SersicSource, mock_lens

CAMERA = Instrument.gaussian(
    0.12 * u.arcsec, 0.2 * u.arcsec, background=0.5 * u.electron / u.s, exposure=2000 * u.s
)


@pytest.fixture(scope="session")
def truth():
    lens = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg, x=0.03 * u.arcsec, y=-0.02 * u.arcsec)
    return lens + ExternalShear(gamma1=0.03, gamma2=-0.02)


@pytest.fixture(scope="session")
def mock(truth):
    one = SersicSource(0.15 * u.arcsec, 1.5, q=0.7, phi=50 * u.deg, x=0.1 * u.arcsec, y=0.05 * u.arcsec)
    two = SersicSource(0.06 * u.arcsec, 1.0, x=-0.08 * u.arcsec, y=0.16 * u.arcsec)
    return mock_lens(truth, one + two, CAMERA, shape=(28, 28), peak_snr=40, rng=1)


@pytest.fixture(scope="session")
def guess(truth):
    return truth.replace(
        **{
            "SIE.theta_E": 0.99 * u.arcsec,
            "SIE.q": 0.9,
            "SIE.phi": 50 * u.deg,
            "SIE.x": 0 * u.arcsec,
            "ExternalShear.gamma1": 0.0,
        }
    )


@pytest.fixture(scope="session")
def fit(mock, guess):
    return LensFitter(guess, rng=1)(mock.observation)
