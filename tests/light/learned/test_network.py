"""Actions, the networks, and the files of their weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lenssuper._utils.weightfile import load_into, read_weights, write_weights
from lenssuper.exceptions import FileFormatError
from lenssuper.light.learned import actions
from lenssuper.light.learned.actions import parameters_of, shapes_of
from lenssuper.light.learned.network import PolicyNetwork, SersicNetwork, action_of_bin, beta_of, roll_out
from lenssuper.light.learned.torchsersic import render_shapes


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return SersicNetwork()


def images(n=2):
    shapes = shapes_of(torch.linspace(-0.4, 0.4, 7 * n).reshape(n, 7))
    return render_shapes(shapes, (64, 64))


def test_actions_reach_their_bounds_and_stay_inside():
    ends = torch.stack([-torch.ones(7), torch.ones(7)]).double()
    low, high = shapes_of(ends)
    assert low[:2].tolist() == [0, 0]
    assert high[:2].tolist() == [1, 1]
    np.testing.assert_allclose([low[2], high[2]], actions.R_E)
    np.testing.assert_allclose([low[3], high[3]], actions.INDEX)
    assert low[6] == 0
    # corners of the square are on the largest ellipticity, not beyond it
    np.testing.assert_allclose(torch.hypot(high[4], high[5]), actions.ELLIPTICITY)
    q = parameters_of(shapes_of(2 * torch.rand(1000, 7, generator=torch.manual_seed(0)) - 1))[:, 4]
    assert q.min() > (1 - actions.ELLIPTICITY) / (1 + actions.ELLIPTICITY) - 1e-6
    assert q.max() <= 1


def test_the_last_action_is_the_brightness_near_the_centre():
    shapes = shapes_of(torch.tensor([[0.0, 0, 0.2, n, 0, 0, 0.4] for n in (-0.9, 0.0, 0.9)]).double())
    _, _, R_e, n, _, _, amplitude = shapes.unbind(-1)
    radius = 0.5 / actions.SIZE
    from lenssuper.light.learned.torchsersic import sersic_b

    near = amplitude * torch.exp(-sersic_b(n) * ((radius / R_e) ** (1 / n) - 1))
    np.testing.assert_allclose(near, actions.BRIGHTNESS * 0.7**2)


def test_house_parameters_draw_the_same_image(render):
    shapes = shapes_of(2 * torch.rand(5, 7, generator=torch.manual_seed(3)).double() - 1)
    torch.testing.assert_close(render(parameters_of(shapes), (32, 32)), render_shapes(shapes, (32, 32)))


def test_network_is_small_and_answers_with_actions(network):
    assert sum(p.numel() for p in network.parameters()) < 500_000
    answer = network(images(), torch.zeros(2, 64, 64))
    assert answer.shape == (2, 7)
    assert answer.abs().max() < 1


def test_network_looks_at_both_images(network):
    image = images(1)
    first, second = network(image, 0 * image), network(image, image)
    assert not torch.allclose(first, second)


def test_roll_out_subtracts_what_was_answered(network):
    image = images()
    answers, residuals = roll_out(network, image, 3)
    assert answers.shape == (2, 3, 7)
    model = torch.zeros_like(image)
    for k in range(3):
        torch.testing.assert_close(answers[:, k], network(image - model, model))
        model = model + render_shapes(shapes_of(answers[:, k]), (64, 64), oversampling=1)
        torch.testing.assert_close(residuals[:, k], image - model)


def test_gradients_reach_the_first_component_from_the_last_residual():
    torch.manual_seed(0)
    network = SersicNetwork()
    answers, residuals = roll_out(network, images(), 2)
    (slope,) = torch.autograd.grad(residuals[:, 1].square().sum(), answers, allow_unused=True)
    assert slope is None  # the stack is not on the way
    residuals[:, 1].square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_policy_answers_with_the_mean():
    torch.manual_seed(0)
    policy = PolicyNetwork()
    image = images()
    alpha, beta = beta_of(policy.last(policy.features(image[:, None])))
    assert min(alpha.min(), beta.min()) > 1
    mean = torch.distributions.Beta(alpha, beta).mean
    torch.testing.assert_close(policy(image, None), 2 * mean - 1)


def test_discrete_policy_answers_with_the_middle_of_a_bin():
    torch.manual_seed(0)
    answer = PolicyNetwork(bins=5)(images())
    steps = (answer + 1) / 2 * 5 - 0.5
    torch.testing.assert_close(steps, steps.round())
    torch.testing.assert_close(action_of_bin(torch.arange(5), 5), torch.tensor([-0.8, -0.4, 0.0, 0.4, 0.8]))


def test_weights_round_trip(network, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, network.state_dict(), {"architecture": "cnn-1", "seed": 3})
    tensors, metadata = read_weights(path, "cnn-1")
    assert metadata["seed"] == 3
    other = SersicNetwork()
    load_into(other, tensors, path)
    image = images()
    torch.testing.assert_close(other(image, 0 * image), network(image, 0 * image), rtol=0, atol=0)
    assert path.stat().st_size < 2e6


def test_weights_are_not_overwritten_unasked(network, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists"):
        write_weights(path, network.state_dict(), {})
    assert path.read_text() == "mine"


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "pickle"])
def test_damaged_weights_are_refused(network, tmp_path, damage):
    path = tmp_path / "w.safetensors"
    write_weights(path, network.state_dict(), {"architecture": "cnn-1"})
    whole = path.read_bytes()
    if damage == "pickle":
        torch.save(network.state_dict(), path)
    else:
        path.write_bytes(
            {"truncated": whole[: len(whole) // 2], "text": b"not weights", "empty": b""}[damage]
        )
    with pytest.raises(FileFormatError, match=r"w\.safetensors cannot be read as weights"):
        read_weights(path)


def test_weights_of_others_are_refused(network, tmp_path):
    path = tmp_path / "w.safetensors"
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, path)
    with pytest.raises(FileFormatError, match="not one of lenssuper's"):
        read_weights(path)
    save_file(weights, path, metadata={"lenssuper.light": json.dumps({"version": 99})})
    with pytest.raises(FileFormatError, match="version 99"):
        read_weights(path)
    write_weights(path, network.state_dict(), {"architecture": "another"}, overwrite=True)
    with pytest.raises(FileFormatError, match="'another'; 'cnn-1' is needed"):
        read_weights(path, "cnn-1")


@pytest.mark.parametrize("damage", ["shape", "missing", "nan"])
def test_weights_that_do_not_fit_are_refused(network, damage):
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    if damage == "shape":
        tensors["last.bias"] = torch.zeros(8)
    elif damage == "missing":
        del tensors["last.bias"]
    else:
        tensors["last.bias"][0] = torch.nan
    with pytest.raises(FileFormatError, match=r"last\.bias"):
        load_into(SersicNetwork(), tensors, "w.safetensors")
