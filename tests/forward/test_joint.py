"""Several observations of one source: the joint model, and what is gained by them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter

from lenssuper import SIE, ForwardModel, JointForwardModel, Observation, PixelGrid, SuperResolver
from lenssuper.exceptions import ObservationError
from lenssuper.preparation import gaussian_psf
from lenssuper.simulate import GaussianSource, random_mock
from lenssuper.solvers import Gaussian, GradientPrior, LogNormal

LENS = SIE(theta_E=0.8 * u.arcsec, q=0.8, phi=30 * u.deg)
SOURCE = sum(
    (
        GaussianSource(0.09 * u.arcsec, x=-0.07 * u.arcsec, y=0.09 * u.arcsec, amplitude=2.0),
        GaussianSource(0.08 * u.arcsec, x=0.12 * u.arcsec, y=-0.08 * u.arcsec, amplitude=2.0),
    ),
    GaussianSource(0.2 * u.arcsec, x=0.08 * u.arcsec, y=0.03 * u.arcsec),
)
FWHM, SIGMA = 0.16 * u.arcsec, 0.02
PLACE = SkyCoord(150 * u.deg, 2 * u.deg)
SOLVER = Gaussian(GradientPrior())
COARSE = PixelGrid((24, 24), 0.04 * u.arcsec, reference=PLACE)
# of the optics alone, in quarters of a pixel
PSF = {"psf_oversampling": 4, "psf_includes_pixel": False}


def expose(dither=(0, 0), angle=0.0, scale=0.12, n=32, rng=None, flip=False, sigma=SIGMA):
    """An exposure turned by ``angle`` degrees, its centre ``dither`` pixels off, by shooting rays."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = PLACE.ra.deg, PLACE.dec.deg
    wcs.wcs.crpix = (n + 1) / 2 + dither[0], (n + 1) / 2 + dither[1]
    turn = np.deg2rad(angle)
    axes = np.array([[-1, 0], [0, 1]]) @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    if flip:
        axes = axes @ np.diag([-1, 1])
    wcs.wcs.cd = axes * scale / 3600
    wcs.array_shape = (n, n)
    grid = PixelGrid.from_wcs(wcs, (n, n), reference=PLACE)
    k, edge = 8, 6
    x, y = grid.pad(edge).refine(k).centers_arcsec()
    ax, ay = LENS.deflection_arcsec(x, y)
    fine = SOURCE.surface_brightness(x - ax, y - ay)
    fine = gaussian_filter(fine, FWHM.value / 2.3548 / scale * k)
    image = fine.reshape(n + 2 * edge, k, n + 2 * edge, k).mean(axis=(1, 3))[edge:-edge, edge:-edge]
    noise = 0.0 if rng is None else rng.normal(0, sigma, image.shape)
    return CCDData(
        image + noise,
        unit="adu",
        uncertainty=StdDevUncertainty(np.full(image.shape, sigma)),
        wcs=wcs,
        psf=gaussian_psf(FWHM, scale / 4 * u.arcsec),
    )


def opened(ccd):
    return Observation.from_nddata(ccd, reference=PLACE, **PSF)


@pytest.fixture(scope="module")
def joint():
    rng = np.random.default_rng(0)
    observations = [opened(expose(rng=rng)), opened(expose((0.5, -0.3), 35, 0.1, 36, rng, flip=True))]
    grid = PixelGrid((80, 80), 0.0125 * u.arcsec, reference=PLACE)
    return JointForwardModel([ForwardModel(o, LENS, factor=2, source_grid=grid) for o in observations])


def test_parts_are_stacked(joint):
    source = np.random.default_rng(1).normal(size=joint.in_shape)
    first, second = joint.split(joint.forward(source))
    np.testing.assert_array_equal(first, joint.parts[0].forward(source))
    np.testing.assert_array_equal(second, joint.parts[1].forward(source))
    assert joint.chi2(source) == pytest.approx(sum(part.chi2(source) for part in joint.parts))
    assert joint.out_shape == (1, 32**2 + 36**2)


def test_adjoint_and_batches(joint):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(3, *joint.in_shape)), rng.normal(size=(3, *joint.out_shape))
    np.testing.assert_allclose(np.sum(joint.forward(x) * y), np.sum(x * joint.adjoint(y)), rtol=1e-11)
    tensor = torch.tensor(x[0], requires_grad=True)
    (joint.forward(tensor) * torch.tensor(y[0])).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), joint.adjoint(y[0]), atol=1e-10)


def test_rotated_and_flipped_exposures_see_one_source(joint):
    """Each part reproduces its own noiseless exposure from the same source: the WCS is honoured."""
    truth = np.zeros(joint.in_shape)
    for dx, dy in product((-0.25, 0.25), repeat=2):
        x, y = joint.source_grid.to_offset(*np.meshgrid(np.arange(80) + dx, np.arange(80) + dy))
        truth += SOURCE.surface_brightness(x, y) / 4
    for part, ccd in zip(joint.parts, [expose(), expose((0.5, -0.3), 35, 0.1, 36, flip=True)], strict=True):
        assert np.abs(part.forward(truth) - ccd.data).max() < 0.015 * ccd.data.max()


def test_weights_go_to_their_parts(joint):
    weights = joint.weights.copy()
    weights[0, : 32**2] = 0
    other = joint.with_weights(weights)
    assert not other.parts[0].weights.any()
    np.testing.assert_array_equal(other.parts[1].weights, joint.parts[1].weights)
    source = np.ones(joint.in_shape)
    assert other.chi2(source) == pytest.approx(joint.parts[1].chi2(source))
    assert joint.parts[0].weights.any()


def test_coarser_model_of_several(joint):
    coarse = joint.coarser()
    assert [part.factor for part in coarse.parts] == [part.factor // 2 for part in joint.parts]
    assert coarse.source_grid == joint.source_grid
    # one part has the pixels of its data already
    assert JointForwardModel([joint.parts[0], coarse.parts[1]]).coarser() is None


def test_one_part_is_that_part():
    mock = random_mock(1, shape=(16, 16))
    one = SuperResolver(mock.lens, 1, solver=SOLVER, rng=1)(mock.observation)
    (same,) = SuperResolver(mock.lens, 1, solver=SOLVER, rng=1).joint([mock.observation])
    np.testing.assert_allclose(same.source.data, one.source.data, rtol=1e-6, atol=1e-9)
    assert same.reduced_chi2 == pytest.approx(one.reduced_chi2)
    assert same.log_evidence == pytest.approx(one.log_evidence)


def test_dithers_show_more_than_one_exposure(monkeypatch):
    """Four exposures with pixels larger than the PSF, half a pixel apart, against one of them."""
    monkeypatch.setattr("lenssuper.superres.result.judge_result", lambda *_: None)  # takes as long again
    grid = PixelGrid((28, 28), 0.035 * u.arcsec, reference=PLACE)
    solver = LogNormal(max_evaluations=6, n_draws=4)
    resolver = SuperResolver(LENS, 2, solver=solver, rng=1, source_grid=grid)
    truth = SOURCE.surface_brightness(*grid.centers_arcsec())
    errors, deviations = [], []
    # hyper-parameters of one exposure vary with its noise: of four seeds, errors are 0.57 to 0.85 times those
    # of one, and standard deviations 0.62 to 0.87
    for seed in (2, 3):
        rng = np.random.default_rng(seed)
        exposures = [
            opened(expose(dither, scale=0.2, n=22, rng=rng, sigma=3 * SIGMA))
            for dither in ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5))
        ]
        alone, together = resolver(exposures[0]), resolver.joint(exposures)
        both = alone, together[0]
        one, four = (np.sqrt(np.mean((result.source.data - truth) ** 2)) for result in both)
        errors.append(four / one)
        one, four = (np.mean(result.source.uncertainty.array) for result in both)
        deviations.append(four / one)
        for result in together:
            np.testing.assert_array_equal(result.source.data, together[0].source.data)
            assert 0.8 < result.reduced_chi2 < 1.2
            assert result.meta["observations_of_the_source"] == 4
    assert np.mean(errors) < 0.9
    assert np.mean(deviations) < 0.8


def test_bands_share_a_lens_with_a_reference():
    """A cutout of another size and place: its lens is where the first one's is."""
    exposure = opened(expose((3.0, -2.0), angle=20, n=40))
    resolver = SuperResolver(LENS, 2, solver=SOLVER, source_grid=COARSE)
    result = resolver(exposure)
    assert result.observation.grid.reference.separation(PLACE) < 1e-6 * u.arcsec
    assert result.chi2 < 0.3 * result.n_pixels  # there is no noise


def test_offsets_register_exposures():
    """An exposure whose WCS is off by 0.1", and put right."""
    rng = np.random.default_rng(6)
    first, second = expose(rng=rng), expose(rng=rng)
    second.wcs = second.wcs.deepcopy()
    second.wcs.wcs.crpix += [0.1 / 0.12, 0]  # every pixel is now taken to be 0.1" further east
    first, second = (Observation.from_nddata(each, **PSF) for each in (first, second))
    resolver = SuperResolver(LENS, 2, solver=SOLVER, source_grid=COARSE)
    wrong = resolver.joint([first, second])
    right = resolver.joint([first, second], offsets=[[0, 0], [0.1, 0]] * u.arcsec)
    assert sum(r.chi2 for r in right) < 0.8 * sum(r.chi2 for r in wrong)
    assert 0.8 < right[1].reduced_chi2 < 1.2


def test_bands_have_sources_of_their_own_and_offsets():
    """A band in which all is twice as bright, and whose WCS is off by 0.1"."""
    rng = np.random.default_rng(6)
    first, second = expose(rng=rng), expose(rng=rng)
    second.data *= 2
    second.uncertainty.array *= 2
    second.wcs = second.wcs.deepcopy()
    second.wcs.wcs.crpix += [0.1 / 0.12, 0]
    # counted from one position on the sky, which the WCS has wrong
    wrong = SuperResolver(LENS, 2, solver=SOLVER, source_grid=COARSE, rng=0)([opened(first), opened(second)])
    first, second = (Observation.from_nddata(each, **PSF) for each in (first, second))
    resolver = SuperResolver(LENS, 2, solver=SOLVER, source_grid=COARSE, rng=0)
    alone = resolver(first)
    right = resolver([first, second], offsets=[[0, 0], [0.1, 0]] * u.arcsec)
    np.testing.assert_allclose(right[0].source.data, alone.source.data, atol=1e-9)
    assert 0.8 < right[1].reduced_chi2 < 1.2
    bright = alone.source.data > 0.3 * alone.source.data.max()
    ratio = right[1].source.data[bright].sum() / alone.source.data[bright].sum()
    assert ratio == pytest.approx(2, rel=0.1)
    assert right[1].log_evidence > wrong[1].log_evidence + 10
    with pytest.raises(TypeError, match="must be a list"):
        resolver(first, offsets=[[0, 0]] * u.arcsec)
    with pytest.raises(ValueError, match="for each of 2 observations"):
        resolver([first, second], offsets=[[0, 0]] * u.arcsec)


def test_errors_say_what_to_do(joint):
    first, second = joint.parts
    with pytest.raises(ValueError, match="at least one"):
        JointForwardModel([])
    with pytest.raises(TypeError, match="must be ForwardModels"):
        JointForwardModel([first, 3])
    finer = second.with_source_grid(joint.source_grid.refine(2))
    with pytest.raises(ValueError, match="same source_grid"):
        JointForwardModel([first, finer])
    resolver = SuperResolver(LENS, solver=SOLVER)
    with pytest.raises(ValueError, match="at least one"):
        resolver.joint([])
    with pytest.raises(TypeError, match="offsets must be a Quantity"):
        resolver.joint([expose()], offsets=[[0, 0]])
    with pytest.raises(ValueError, match="for each of 1 observations"):
        resolver.joint([expose()], offsets=[0, 0, 1] * u.arcsec)
    elsewhere = Observation.from_nddata(expose(), grid=PixelGrid((32, 32), 0.12 * u.arcsec))
    with pytest.raises(ObservationError, match="not known"):
        resolver.joint([expose(), elsewhere])
