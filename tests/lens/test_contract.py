"""What every lens model must do, one suite over all of them."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from astropy import units as u

from lenssuper.lens import (
    DPIE,
    CompositeLens,
    ExternalShear,
    LensModel,
    Multipole1,
    Multipole3,
    Multipole4,
    PointMass,
)


def _tensors(*arrays):
    return [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]


def _norm(*components):
    return np.sqrt(sum(np.asarray(c) ** 2 for c in components))


def _close(found, expected, rtol):
    """Compare vectors component by component, relative to their length."""
    length = _norm(*expected)
    for f, e in zip(found, expected, strict=True):
        assert np.max(np.abs(np.asarray(f) - np.asarray(e)) / length) < rtol


def test_potential_gradient_is_the_deflection(lens, positions):
    x, y = _tensors(*positions)
    gradient = torch.autograd.grad(lens.potential_arcsec2(x, y).sum(), (x, y))
    _close([g.numpy() for g in gradient], lens.deflection_arcsec(*positions), 1e-10)


def test_deflection_gradient_is_the_hessian_and_curl_free(lens, positions):
    x, y = _tensors(*positions)
    alpha_x, alpha_y = lens.deflection_arcsec(x, y)
    xx, xy = torch.autograd.grad(alpha_x.sum(), (x, y), retain_graph=True)
    yx, yy = torch.autograd.grad(alpha_y.sum(), (x, y))
    hessian = lens.hessian(*positions)
    _close([xx.numpy(), yy.numpy(), xy.numpy()], hessian, 1e-10)
    _close([yx.numpy(), xx.numpy() + yy.numpy()], [hessian[2], hessian[0] + hessian[1]], 1e-9)


def test_public_methods_say_the_same(lens, positions):
    x, y = (p * u.arcsec for p in positions)
    psi_xx, psi_yy, psi_xy = lens.hessian(*positions)
    kappa, (gamma1, gamma2) = lens.convergence(x, y), lens.shear(x, y)
    assert kappa.unit == gamma1.unit == u.dimensionless_unscaled
    np.testing.assert_allclose(2 * kappa.value, psi_xx + psi_yy, atol=1e-15)
    np.testing.assert_allclose(2 * gamma1.value, psi_xx - psi_yy, atol=1e-15)
    np.testing.assert_allclose(gamma2.value, psi_xy)
    jacobian = lens.jacobian(x, y)
    assert jacobian.shape == (*x.shape, 2, 2)
    np.testing.assert_allclose(np.linalg.det(jacobian.value) * lens.magnification(x, y).value, 1, rtol=1e-9)
    alpha, beta = lens.deflection(x, y), lens.ray_shooting(x, y)
    assert alpha[0].unit == beta[0].unit == u.arcsec
    for theta, a, b in zip((x, y), alpha, beta, strict=True):
        np.testing.assert_array_equal(b, theta - a)
    assert lens.potential(x, y).unit == u.arcsec**2


def test_numpy_and_torch_agree(lens, positions):
    tensors = [torch.tensor(p) for p in positions]
    for method in (lens.deflection_arcsec, lens.hessian):
        for from_torch, from_numpy in zip(method(*tensors), method(*positions), strict=True):
            assert from_torch.dtype == torch.float64
            np.testing.assert_allclose(from_torch.numpy(), from_numpy, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("single", [np.float32, torch.float32])
def test_single_precision_stays_single(lens, positions, single):
    if single is np.float32:
        x, y = (p.astype(np.float32) for p in positions)
    else:
        x, y = (torch.tensor(p, dtype=single) for p in positions)
    for found, expected in zip(lens.deflection_arcsec(x, y), lens.deflection_arcsec(*positions), strict=True):
        assert found.dtype == single
        np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-3, atol=2e-4)
    assert lens.potential_arcsec2(x, y).dtype == single
    assert all(part.dtype == single for part in lens.hessian(x, y))


def test_everything_stays_on_the_device_of_the_positions(lens):
    """Plain parameters follow the positions; the meta device has no values, so nothing may be read back."""
    x = torch.zeros(3, device="meta")
    results = (*lens.deflection_arcsec(x, x), lens.potential_arcsec2(x, x), *lens.hessian(x, x))
    assert all(result.device.type == "meta" and result.shape == (3,) for result in results)


def test_parameter_gradients(lens, positions):
    """Automatic differentiation through every parameter against central differences."""
    x, y = (p[:50] for p in positions)
    weight = np.random.default_rng(1).normal(size=(2, len(x)))
    values = lens.values()
    tensors = dict(zip(values, _tensors(*values.values()), strict=True))
    alpha = lens.deflection_arcsec(torch.tensor(x), torch.tensor(y), tensors)
    sum(torch.sum(torch.tensor(w) * a) for w, a in zip(weight, alpha, strict=True)).backward()

    def total(**changed):
        return np.sum(weight * lens.deflection_arcsec(x, y, values | changed))

    for name, value in values.items():
        if value == 1 and name.endswith("q"):
            # the range ends here: a one-sided difference of second order
            h = 1e-5
            slope = (3 * total(**{name: 1.0}) - 4 * total(**{name: 1 - h}) + total(**{name: 1 - 2 * h})) / (
                2 * h
            )
        else:
            h = 1e-6
            slope = (total(**{name: value + h}) - total(**{name: value - h})) / (2 * h)
        assert abs(tensors[name].grad.item() - slope) < 1e-6 * (1 + abs(slope)), name


def test_batches_of_parameters(lens, positions):
    values = {name: torch.full((3, 1), value, dtype=torch.float64) for name, value in lens.values().items()}
    x, y = (torch.tensor(p) for p in positions)
    found = lens.deflection_arcsec(x, y, values)[0]
    assert found.shape == (3, len(x))
    torch.testing.assert_close(found[2], lens.deflection_arcsec(x, y)[0])


def test_centre_is_plugged_and_gradients_are_finite(lens):
    centers = [(part.values()["x"], part.values()["y"]) for part in lens.components]
    values = dict(zip(lens.values(), _tensors(*lens.values().values()), strict=True))
    for part in lens.components:
        own = part.deflection_arcsec(part.values()["x"], part.values()["y"])
        assert float(own[0]) == 0
        assert float(own[1]) == 0
    x, y = (torch.tensor(c, dtype=torch.float64, requires_grad=True) for c in zip(*centers, strict=True))
    quantities = (
        *lens.deflection_arcsec(x, y, values),
        lens.potential_arcsec2(x, y, values),
        *lens.hessian(x, y, values),
    )
    assert all(torch.isfinite(q).all() for q in quantities)
    total = sum(q.sum() for q in quantities)
    gradients = torch.autograd.grad(total, (x, y, *values.values()), allow_unused=True)
    assert all(g is None or torch.isfinite(g).all() for g in gradients)


def test_public_methods_at_a_singular_centre(lens):
    for part in lens.components:
        if not part.centers_arcsec() or not part.singular:
            continue
        x, y = part.x, part.y
        assert lens.convergence(x, y) == np.inf
        assert lens.magnification(x, y) == 0
        assert np.all(np.isnan(lens.jacobian(x, y)))
        assert np.isnan(lens.shear(x, y)[0])


def test_moves_with_its_centre(lens, positions):
    x, y = positions
    shift = {
        name: value + 0.3 * u.arcsec for name, value in lens.parameters.items() if name.split(".")[-1] == "x"
    }
    moved = lens.replace(**shift)
    _close(moved.deflection_arcsec(x + 0.3, y), lens.deflection_arcsec(x, y), 1e-12)


def test_turns_with_its_axes(lens, positions):
    x, y = positions
    turn = 0.7
    c, s = np.cos(turn), np.sin(turn)
    changes = {}
    for name in lens.values():
        prefix = name[: name.rfind(".") + 1]
        v = {
            key.removeprefix(prefix): value for key, value in lens.values().items() if key.startswith(prefix)
        }
        changes[f"{prefix}x"] = (c * v["x"] - s * v["y"]) * u.arcsec
        changes[f"{prefix}y"] = (s * v["x"] + c * v["y"]) * u.arcsec
        if "phi" in v:
            changes[f"{prefix}phi"] = (v["phi"] + turn) * u.rad
        if "gamma2" in v:
            changes[f"{prefix}gamma1"] = np.cos(2 * turn) * v["gamma1"] - np.sin(2 * turn) * v["gamma2"]
            changes[f"{prefix}gamma2"] = np.sin(2 * turn) * v["gamma1"] + np.cos(2 * turn) * v["gamma2"]
    alpha = lens.deflection_arcsec(x, y)
    turned = lens.replace(**changes).deflection_arcsec(c * x - s * y, s * x + c * y)
    _close(turned, (c * alpha[0] - s * alpha[1], s * alpha[0] + c * alpha[1]), 1e-12)


def test_sum_adds_deflections(lens, positions):
    other = PointMass(theta_E=0.3 * u.arcsec, x=-1 * u.arcsec)
    total = lens + other
    assert isinstance(total, CompositeLens)
    assert total.components == (*lens.components, other)
    for method in ("deflection_arcsec", "hessian"):
        parts = [getattr(each, method)(*positions) for each in (lens, other)]
        for found, *terms in zip(getattr(total, method)(*positions), *parts, strict=True):
            np.testing.assert_allclose(found, sum(terms), rtol=1e-12, atol=1e-13)
    assert total.centers_arcsec() == [*lens.centers_arcsec(), *other.centers_arcsec()]


def test_equality_hash_copy_and_pickle(lens):
    for twin in (copy.copy(lens), copy.deepcopy(lens), pickle.loads(pickle.dumps(lens)), lens.replace()):
        assert twin == lens
        assert hash(twin) == hash(lens)
        assert repr(twin) == repr(lens)
    name = next(iter(lens.parameters))
    changed = lens.replace(**{name: 0.011 * u.arcsec if "gamma" not in name else 0.011})
    assert changed != lens
    assert lens != "a lens"
    assert len({lens, copy.copy(lens), changed}) == 2


def test_immutable(lens):
    with pytest.raises(AttributeError, match="immutable"):
        lens.x = 1 * u.arcsec
    with pytest.raises(AttributeError, match="immutable"):
        del lens.x
    before = lens.values()
    for value in lens.parameters.values():
        if isinstance(value, u.Quantity):
            value[...] = 0 * value.unit
    lens.values().clear()
    assert lens.values() == before


def test_parameters_and_values_share_keys(lens):
    assert list(lens.parameters) == list(lens.values())
    with pytest.raises(ValueError, match="unknown parameter 'nonsense'"):
        lens.replace(nonsense=1)
    with pytest.raises(ValueError, match="unknown parameter 'nonsense'"):
        lens.deflection_arcsec(0.5, 0.5, {"nonsense": 1})


def test_degrees_are_converted(lens, positions):
    same = lens.replace(
        **{name: value.to(u.deg) for name, value in lens.parameters.items() if isinstance(value, u.Quantity)}
    )
    _close(same.deflection_arcsec(*positions), lens.deflection_arcsec(*positions), 1e-12)
    x, y = (p * u.arcsec for p in positions)
    degrees = lens.deflection(x.to(u.deg), y.to(u.deg))
    _close([d.to_value(u.arcsec) for d in degrees], lens.deflection_arcsec(*positions), 1e-10)


def test_positions_are_checked(lens):
    with pytest.raises(TypeError, match="x must be a Quantity"):
        lens.deflection(1.0, 1 * u.arcsec)
    with pytest.raises(u.UnitConversionError, match="y must have an angular unit"):
        lens.convergence(1 * u.arcsec, 1 * u.kpc)
    with pytest.raises(ValueError, match=r"x and y must broadcast; got shapes \(3,\) and \(4,\)"):
        lens.potential(np.zeros(3) * u.arcsec, np.zeros(4) * u.arcsec)
    with pytest.raises(ValueError, match="x must be finite"):
        lens.magnification(np.nan * u.arcsec, 1 * u.arcsec)


def test_scalars_and_broadcasting(lens):
    x, y = np.array([0.5, 1.0, 2.0]) * u.arcsec, np.array([[0.3], [0.7]]) * u.arcsec
    alpha_x, _ = lens.deflection(x, y)
    assert alpha_x.shape == lens.convergence(x, y).shape == lens.potential(x, y).shape == (2, 3)
    assert lens.jacobian(x, y).shape == (2, 3, 2, 2)
    one, _ = lens.deflection(x[1], y[1, 0])
    assert one.isscalar
    assert one == alpha_x[1, 1]


def test_round_trip_through_a_dictionary(lens):
    text = json.dumps(lens.to_dict())
    assert LensModel.from_dict(json.loads(text)) == lens


def _unknown_to_lenstronomy(part):
    """Its pseudo-Jaffe profile is round and has a core, its elliptical multipoles lie along x."""
    if isinstance(part, DPIE):
        return part.q < 1 or part.singular
    return isinstance(part, Multipole1 | Multipole3 | Multipole4) and part.q < 1 and part.phi != 0


@pytest.mark.parametrize("x_axis", ["west", "east"])
def test_round_trip_through_lenstronomy(lens, positions, x_axis):
    if any(map(_unknown_to_lenstronomy, lens.components)):
        with pytest.raises(ValueError, match=r"lenstronomy's .*; got"):
            lens.to_lenstronomy(x_axis=x_axis)
        return
    twin = LensModel.from_lenstronomy(*lens.to_lenstronomy(x_axis=x_axis), x_axis=x_axis)
    assert [type(part) for part in twin.components] == [type(part) for part in lens.components]
    _close(twin.deflection_arcsec(*positions), lens.deflection_arcsec(*positions), 1e-12)


def test_round_trip_through_coolest(lens, positions):
    lens = lens.replace(**{n: 0 * u.arcsec for n in lens.parameters if n in ("x", "y")})
    known = all(type(part).__name__ in ("SIS", "SIE", "EPL", "ExternalShear") for part in lens.components)
    if not known:
        with pytest.raises(ValueError, match="COOLEST has no profile"):
            lens.to_coolest()
        return
    twin = LensModel.from_coolest(json.loads(json.dumps(lens.to_coolest())))
    assert len(twin.components) == len(lens.components)
    _close(twin.deflection_arcsec(*positions), lens.deflection_arcsec(*positions), 1e-12)


def test_shear_has_no_centre():
    assert ExternalShear(gamma1=0.1, gamma2=0.0).centers_arcsec() == []
