"""The gradient of lensed images with respect to lensed corners, sources and lens parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy import units as u
from torch.autograd import forward_ad

from lenssuper import SIE, SIS, ExternalShear, PixelGrid
from lenssuper.operators import OverlapOperator
from lenssuper.operators.overlap.differentiable import _Overlap, lens_differentiable

ARCSEC = u.arcsec
LENSES = {
    "SIS": SIS(theta_E=1.2 * ARCSEC, x=0.013 * ARCSEC, y=0.02 * ARCSEC),
    "SIE+shear": SIE(theta_E=1.2 * ARCSEC, q=0.7, phi=40 * u.deg, x=0.013 * ARCSEC, y=0.02 * ARCSEC)
    + ExternalShear(gamma1=0.03, gamma2=-0.02),
}
IMAGE_GRID = PixelGrid(shape=(30, 28), pixel_scale=0.13 * ARCSEC, rotation=15 * u.deg)
SOURCE_GRID = PixelGrid(shape=(24, 26), pixel_scale=0.1 * ARCSEC)


def structured_source():
    x, y = SOURCE_GRID.centers_arcsec()
    smooth = np.exp(-((x - 0.3) ** 2 + (y + 0.2) ** 2) / 0.3)
    return torch.from_numpy(smooth + 0.2 * np.random.default_rng(0).uniform(size=SOURCE_GRID.shape))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("spread", [0.15, 0.6])
def test_corners_against_finite_differences(k, spread, order):
    """Bow-ties, folds, and pixels that reach over the border of the source grid."""
    rng = np.random.default_rng(1)
    ny, nx = 3, 4
    i, j = np.mgrid[: k * ny + 1, : k * nx + 1] / k
    corners = np.stack([1.4 * j - 0.6, 1.3 * i + 0.7]) + spread / k * rng.normal(size=(2, *i.shape))
    source = torch.from_numpy(rng.normal(size=(4, 5)))
    weights = torch.from_numpy(rng.normal(size=(ny, nx)))

    def total(u, v):
        return (weights * _Overlap.apply(u, v, source, k, (ny, nx), order)).sum()

    u, v = (torch.tensor(c, requires_grad=True) for c in corners)
    total(u, v).backward()
    gradient = np.stack([u.grad, v.grad])
    step = 1e-5
    for place in np.ndindex(corners.shape):
        sides = []
        for sign in (1, -1):
            moved = corners.copy()
            moved[place] += sign * step
            sides.append(float(total(*torch.from_numpy(moved))))
        assert gradient[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=2e-7, abs=2e-8)


def test_share_of_one_cell():
    """A pixel that grows over a cell it covers: its share falls as one over the area."""
    u = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64) * 4 - 1.25
    v = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64) * 3 - 1.5
    u.requires_grad_()
    source = torch.zeros(1, 1, dtype=torch.float64) + 1
    share = _Overlap.apply(u, v, source, 1, (1, 1))
    share.sum().backward()
    # each triangle holds its part of the cell; moving the right side in shrinks both
    assert share.item() == pytest.approx(1 / 12)
    assert u.grad[:, 1].sum().item() == pytest.approx(-1 / 12 / 4, rel=1e-12)
    assert u.grad[:, 0].sum().item() == pytest.approx(1 / 12 / 4, rel=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("subdivide", [1, 2])
@pytest.mark.parametrize("name", LENSES)
def test_lens_parameters_against_finite_differences(name, subdivide, order):
    lens, source = LENSES[name], structured_source()
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=IMAGE_GRID.shape))

    def total(values):
        grids = IMAGE_GRID, SOURCE_GRID
        image = lens_differentiable(source, lens, *grids, values, subdivide=subdivide, order=order)
        return (weights * image).sum()

    floats = lens.values()
    values = {key: torch.tensor(v, dtype=torch.float64, requires_grad=True) for key, v in floats.items()}
    total(values).backward()
    for key, value in floats.items():
        # smooth sources allow a longer step, and so less rounding
        step, rel = (1e-7, 1e-5) if order == 0 else (1e-5, 1e-6)
        sides = [float(total({**floats, key: value + sign * step})) for sign in (1, -1)]
        assert float(values[key].grad) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=rel), key


def test_image_is_that_of_the_operator():
    """But for the pixel with the centre, which is not opened."""
    source = structured_source()
    lens = LENSES["SIE+shear"]
    for k, order in ((1, 0), (3, 0), (1, 1), (3, 2)):
        image = lens_differentiable(source, lens, IMAGE_GRID, SOURCE_GRID, subdivide=k, order=order).numpy()
        op = OverlapOperator(lens, IMAGE_GRID, SOURCE_GRID, subdivide=k, order=order)
        px, py = IMAGE_GRID.to_pixel(*lens.centers_arcsec()[0])
        difference = np.abs(image - op.lens(source.numpy()))
        difference[round(py), round(px)] = 0
        assert difference.max() < 1e-12


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, on first use of jvp
@pytest.mark.parametrize("order", [0, 1, 2])
def test_forward_and_backward_agree(order):
    """The change of all pixels by one parameter, against the gradient of single pixels."""
    lens, source = LENSES["SIE+shear"], structured_source()
    theta_E = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    more = torch.from_numpy(np.random.default_rng(5).normal(size=SOURCE_GRID.shape))

    def image(theta_E, source):
        values = {"SIE.theta_E": theta_E}
        return lens_differentiable(source, lens, IMAGE_GRID, SOURCE_GRID, values, order=order)

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(theta_E.detach(), torch.ones_like(theta_E))
        change = forward_ad.unpack_dual(image(dual, source)).tangent
        both = forward_ad.unpack_dual(image(dual, forward_ad.make_dual(source, more))).tangent
    np.testing.assert_allclose(both - change, image(theta_E, more).detach(), rtol=0, atol=1e-12)
    for place in ((4, 13), (15, 3), (20, 20), (8, 8)):
        (slope,) = torch.autograd.grad(image(theta_E, source)[place], theta_E)
        assert float(change[place]) == pytest.approx(float(slope), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_gradient_is_continuous(order):
    """As a pixel is moved over a knot; that of pixels of constant brightness jumps there."""
    source = torch.from_numpy(np.random.default_rng(4).normal(size=(5, 5)))
    slopes = {0: [], order: []}
    for n in slopes:
        for x in (2 - 1e-9, 2 + 1e-9):
            i, j = np.mgrid[:2, :2].astype(float)
            u, v = (torch.tensor(c, requires_grad=True) for c in (0.8 * j + x + 0.01 * i, 0.7 * i + 2.2))
            _Overlap.apply(u, v, source, 1, (1, 1), n).sum().backward()
            slopes[n].append(np.stack([u.grad, v.grad]))
    assert abs(slopes[order][1] - slopes[order][0]).max() < 1e-7
    moved = [s.sum(axis=(1, 2))[0] for s in slopes[0]]
    assert abs(moved[1] - moved[0]) > 0 or abs(slopes[0][1] - slopes[0][0]).max() > 1e-3


def test_source_gradient_is_the_transpose():
    source = structured_source().requires_grad_()
    weights = torch.from_numpy(np.random.default_rng(3).normal(size=IMAGE_GRID.shape))
    image = lens_differentiable(source, LENSES["SIS"], IMAGE_GRID, SOURCE_GRID)
    (weights * image).sum().backward()
    # linear in the source
    assert (source * source.grad).sum().item() == pytest.approx((weights * image).sum().item(), rel=1e-12)


def test_batch_and_precision():
    sources = torch.stack([structured_source(), 2 * structured_source() ** 2])
    theta_E = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)

    def images(sources):
        return lens_differentiable(sources, LENSES["SIS"], IMAGE_GRID, SOURCE_GRID, {"theta_E": theta_E})

    together = images(sources)
    assert together.shape == (2, *IMAGE_GRID.shape)
    together.square().sum().backward()
    gradient = theta_E.grad.clone()
    theta_E.grad = None
    for source, image in zip(sources, together, strict=True):
        np.testing.assert_allclose(images(source).detach(), image.detach(), rtol=1e-12)
        images(source).square().sum().backward()
    assert float(theta_E.grad) == pytest.approx(float(gradient), rel=1e-12)
    single = images(sources.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.detach(), together.detach(), atol=1e-5)


def test_recovers_the_einstein_radius():
    """Gradient descent on theta_E through the operator finds the truth."""
    source, lens = structured_source(), LENSES["SIS"]
    truth = lens_differentiable(source, lens, IMAGE_GRID, SOURCE_GRID)
    theta_E = torch.tensor(1.17, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([theta_E], max_iter=30, line_search_fn="strong_wolfe")

    def misfit():
        optimizer.zero_grad()
        image = lens_differentiable(source, lens, IMAGE_GRID, SOURCE_GRID, {"theta_E": theta_E})
        loss = (image - truth).square().sum()
        loss.backward()
        return loss

    optimizer.step(misfit)
    assert theta_E.item() == pytest.approx(1.2, abs=1e-6)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros(SOURCE_GRID.shape), TypeError, "source must be a tensor of real numbers"),
        (
            torch.zeros(SOURCE_GRID.shape, dtype=torch.int64),
            TypeError,
            "source must be a tensor of real numbers",
        ),
        (torch.zeros(3, 4), ValueError, r"source must have shape \(..., 24, 26\).*got \(3, 4\)"),
    ],
)
def test_wrong_sources_are_named(source, error, message):
    with pytest.raises(error, match=message):
        lens_differentiable(source, LENSES["SIS"], IMAGE_GRID, SOURCE_GRID)


def test_wrong_lens_is_named():
    with pytest.raises(TypeError, match="lens must be a LensModel"):
        lens_differentiable(structured_source(), None, IMAGE_GRID, SOURCE_GRID)
    with pytest.raises(ValueError, match="subdivide must be at least 1"):
        lens_differentiable(structured_source(), LENSES["SIS"], IMAGE_GRID, SOURCE_GRID, subdivide=0)
    with pytest.raises(ValueError, match="unknown parameter 'mass'"):
        lens_differentiable(structured_source(), LENSES["SIS"], IMAGE_GRID, SOURCE_GRID, {"mass": 1.0})
