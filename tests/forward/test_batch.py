import pickle

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import SIE, SIS, ExternalShear, ForwardModel, ForwardModelBatch, Observation, PixelGrid
from lenssuper.simulate import Instrument

arcsec = u.arcsec
SHAPE = (20, 24)
LENSES = [
    SIE(theta_E=0.6 * arcsec, q=0.7, phi=30 * u.deg, x=0.03 * arcsec, y=-0.02 * arcsec),
    SIS(theta_E=0.5 * arcsec) + ExternalShear(gamma1=0.05, gamma2=-0.02),
    SIE(theta_E=0.7 * arcsec, q=0.9, phi=120 * u.deg, x=0 * arcsec, y=0.05 * arcsec),
]
GRIDS = [
    PixelGrid((18, 16), scale * arcsec, center=(x, 0) * arcsec)
    for scale, x in ((0.05, 0), (0.07, 0.1), (0.06, 0))
]
PSFS = [Instrument.gaussian(0.08 * arcsec, fwhm * arcsec).psf for fwhm in (0.16, 0.12, 0.2)]


def models(psfs=PSFS, factor=2, grids=GRIDS, shapes=(SHAPE,) * 3):
    rng = np.random.default_rng(11)
    made = []
    for lens, psf, grid, shape in zip(LENSES, psfs, grids, shapes, strict=True):
        image = CCDData(
            rng.normal(size=shape),
            unit="",
            uncertainty=StdDevUncertainty(rng.uniform(0.5, 2, shape)),
            mask=rng.uniform(size=shape) < 0.1,
            psf=psf,
        )
        observation = Observation.from_nddata(image, grid=PixelGrid(shape, 0.08 * arcsec))
        made.append(ForwardModel(observation, lens, factor=factor, source_grid=grid))
    return made


CASES = {
    "PSFs of three sizes": {},
    "one PSF": {"psfs": [PSFS[0]] * 3},
    "no PSF": {"psfs": [None] * 3},
    "one without PSF": {"psfs": [PSFS[0], None, PSFS[2]]},
    "factor 1": {"factor": 1},
    "factor 3": {"factor": 3},
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request):
    single = models(**request.param)
    return single, ForwardModelBatch(single)


@pytest.fixture(scope="module")
def batch():
    return ForwardModelBatch(models())


def test_same_as_one_by_one(case):
    single, batch = case
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=batch.in_shape), rng.normal(size=batch.out_shape)
    for name, argument in (
        ("forward", x),
        ("adjoint", y),
        ("lensed_image", x),
        ("whiten", y),
        ("residuals", x),
    ):
        expected = np.stack(
            [getattr(model, name)(part) for model, part in zip(single, argument, strict=True)]
        )
        np.testing.assert_allclose(getattr(batch, name)(argument), expected, rtol=0, atol=1e-12, err_msg=name)
    for name in ("data", "weights"):
        np.testing.assert_array_equal(getattr(batch, name), np.stack([getattr(m, name) for m in single]))


def test_adjoint(case):
    _, batch = case
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=batch.in_shape), rng.normal(size=batch.out_shape)
    ax, aty = batch.forward(x), batch.adjoint(y)
    assert abs(np.vdot(ax, y) - np.vdot(x, aty)) < 1e-12 * np.linalg.norm(ax) * np.linalg.norm(y)
    assert np.linalg.norm(ax) > 1


def test_more_axes(batch):
    x = np.random.default_rng(3).normal(size=(2, 4, *batch.in_shape))
    found = batch.forward(x)
    assert found.shape == (2, 4, *batch.out_shape)
    np.testing.assert_allclose(found[1, 2], batch.forward(x[1, 2]), rtol=0, atol=1e-13)
    assert batch.adjoint(found).shape == x.shape


class TestTorch:
    def test_same_numbers(self, batch):
        x = np.random.default_rng(4).normal(size=batch.in_shape)
        y = np.random.default_rng(5).normal(size=batch.out_shape)
        for name, argument in (
            ("forward", x),
            ("adjoint", y),
            ("lensed_image", x),
            ("whiten", y),
            ("residuals", x),
        ):
            found = getattr(batch, name)(torch.tensor(argument))
            assert found.dtype == torch.float64
            np.testing.assert_allclose(found.numpy(), getattr(batch, name)(argument), rtol=0, atol=1e-12)

    def test_product_of_other_devices(self, batch, monkeypatch):
        """What runs on a GPU, run here: torch's sparse product instead of scipy's."""
        from lenssuper.operators.matrix import StoredMatrix

        expected = {}
        x = np.random.default_rng(4).normal(size=(2, *batch.in_shape))
        y = np.random.default_rng(5).normal(size=(2, *batch.out_shape))
        expected = batch.forward(x), batch.adjoint(y)
        calls = []

        def multiply(self, images, shape):
            calls.append(shape)
            return self._tensor_product(images).reshape(tuple(images.shape[:-2]) + shape)

        monkeypatch.setattr(StoredMatrix, "multiply", multiply)
        found = batch.forward(torch.tensor(x)), batch.adjoint(torch.tensor(y))
        assert len(calls) == 2  # one product for all lenses
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=1e-12)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_gpu(self, batch):
        values = np.random.default_rng(4).normal(size=batch.in_shape)
        x = torch.tensor(values, device="cuda", requires_grad=True)
        chi2 = (batch.residuals(x) ** 2).sum()
        chi2.backward()
        assert x.grad.device.type == "cuda"
        expected = -2 * batch.adjoint(batch.whiten(batch.residuals(values)))
        np.testing.assert_allclose(x.grad.cpu().numpy(), expected, rtol=1e-9, atol=1e-9)

    def test_gradient(self, batch):
        x = torch.tensor(np.random.default_rng(4).normal(size=batch.in_shape), requires_grad=True)
        chi2 = (batch.residuals(x) ** 2).sum()
        chi2.backward()
        values = x.detach().numpy()
        assert chi2.item() == pytest.approx((batch.residuals(values) ** 2).sum())
        expected = -2 * batch.adjoint(batch.whiten(batch.residuals(values)))
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=0, atol=1e-10)

    def test_gradient_of_the_lensed_image(self, batch):
        x = torch.tensor(np.random.default_rng(4).normal(size=batch.in_shape), requires_grad=True)
        batch.lensed_image(x).sum().backward()
        # linear: the gradient does not depend on the source
        assert float(torch.vdot(x.grad.ravel(), x.detach().ravel())) == pytest.approx(
            batch.lensed_image(x.detach().numpy()).sum()
        )

    def test_float32(self, batch):
        x = np.random.default_rng(4).normal(size=batch.in_shape)
        single = torch.tensor(x, dtype=torch.float32)
        for found in (batch.residuals(single).numpy(), batch.residuals(x.astype(np.float32))):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, batch.residuals(x), rtol=0, atol=1e-5)


def test_masked_pixels_never_enter(batch):
    masked = batch.weights == 0
    assert masked.any()
    x = np.random.default_rng(4).normal(size=batch.in_shape)
    assert (batch.residuals(x)[masked] == 0).all()


def test_shapes(batch):
    assert batch.in_shape == (3, 18, 16)
    assert batch.out_shape == (3, *SHAPE)
    assert len(batch) == 3
    assert batch.factor == 2
    assert [model.lens for model in batch.models] == LENSES
    assert repr(batch) == "<ForwardModelBatch: 3 sources (18, 16) -> images (20, 24), factor 2>"


def test_cannot_be_changed_by_accident(batch):
    with pytest.raises(ValueError, match="read-only"):
        batch.data[0] = 0


def test_pickle(batch):
    x = np.random.default_rng(4).normal(size=batch.in_shape)
    batch.residuals(torch.tensor(x))  # which keeps tensors
    other = pickle.loads(pickle.dumps(batch))
    np.testing.assert_array_equal(other.residuals(x), batch.residuals(x))


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"grids": [GRIDS[0], GRIDS[1], PixelGrid((18, 17), 0.06 * arcsec)]},
                r"shape of the source grid; got \(18, 16\) at index 0 and \(18, 17\) at index 2; "
                "give every ForwardModel a source_grid of one shape",
            ),
            (
                {"shapes": [SHAPE, (20, 22), SHAPE]},
                r"shape of the observation; got \(20, 24\) at index 0 and \(20, 22\) at index 1",
            ),
        ],
    )
    def test_mixed_shapes(self, options, message):
        with pytest.raises(ValueError, match=message):
            ForwardModelBatch(models(**options))

    def test_mixed_factors(self):
        with pytest.raises(ValueError, match="agree in the factor; got 2 at index 0 and 1 at index 1"):
            ForwardModelBatch([models()[0], models(factor=1)[1]])

    def test_no_models(self):
        with pytest.raises(ValueError, match="at least one ForwardModel"):
            ForwardModelBatch([])

    def test_a_model_alone(self):
        with pytest.raises(TypeError, match="must be a list of ForwardModel; got <ForwardModel"):
            ForwardModelBatch(models()[0])

    def test_something_else(self):
        with pytest.raises(TypeError, match="at index 1"):
            ForwardModelBatch([models()[0], LENSES[0]])

    @pytest.mark.parametrize("name", ["forward", "adjoint", "lensed_image", "whiten", "residuals"])
    @pytest.mark.parametrize("shape", [(18, 16), (2, 18, 16), (3, 16, 18)])
    def test_wrong_shape(self, batch, name, shape):
        with pytest.raises(ValueError, match=r"must have shape \(\.\.\., 3, (18, 16|20, 24)\)"):
            getattr(batch, name)(np.ones(shape))
