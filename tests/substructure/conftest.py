import astropy.units as u
import numpy as np
import pytest

from lenssuper import SIE, ExternalShear, Observation
from lenssuper.lensfit.exposure import Exposure
from lenssuper.simulate import Instrument, SersicSource, mock_lens
from lenssuper.solvers import GradientPrior
from lenssuper.substructure import JaffeClump, SubstructureMap
from lenssuper.substructure.fitted import fit
from lenssuper.substructure.parameters import ClumpyLens, smooth_lens

CAMERA = Instrument.gaussian(
    0.12 * u.arcsec, 0.15 * u.arcsec, background=0.5 * u.electron / u.s, exposure=4000 * u.s
)


@pytest.fixture(scope="session")
def injected():
    """Position of the clump of the second mock, in arcsec, and its mass."""
    return 0.75, 0.45, 2e9


@pytest.fixture(scope="session")
def smooth():
    lens = SIE(theta_E=0.9 * u.arcsec, q=0.8, phi=30 * u.deg, x=0.03 * u.arcsec, y=-0.02 * u.arcsec)
    return lens + ExternalShear(gamma1=0.03, gamma2=-0.02)


@pytest.fixture(scope="session")
def jaffe():
    return JaffeClump(0.2, 0.6, theta_E=0.9 * u.arcsec)


def observed(lens, rng):
    one = SersicSource(0.15 * u.arcsec, 1.5, q=0.7, phi=50 * u.deg, x=0.1 * u.arcsec, y=0.05 * u.arcsec)
    two = SersicSource(0.06 * u.arcsec, 1.0, x=-0.08 * u.arcsec, y=0.16 * u.arcsec)
    return mock_lens(lens, one + two, CAMERA, shape=(26, 26), peak_snr=60, rng=rng).observation


@pytest.fixture(scope="session")
def plain(smooth):
    """The observation of a lens without a clump."""
    return observed(smooth, 1)


@pytest.fixture(scope="session")
def clumpy(smooth, jaffe, injected):
    """The observation of a lens with a clump."""
    return observed(smooth + jaffe.lens(injected[2], *injected[:2]), 2)


@pytest.fixture(scope="session")
def fitted(plain, smooth):
    """The smooth lens and its source, fitted to the lens without a clump."""
    registration = ClumpyLens(smooth_lens(smooth, (3, 4)), (3, 4))
    exposure = Exposure.of(Observation.from_nddata(plain), None)
    rng = np.random.default_rng(1)
    return fit(exposure, registration, registration.start, 2, GradientPrior(), rng, lambda share, what: None)


@pytest.fixture(scope="session")
def found(clumpy, smooth, jaffe):
    return SubstructureMap(smooth, jaffe, candidates=1, factor=1, rng=1)(clumpy)
