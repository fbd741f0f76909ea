"""The weights that come with the package: what they can do, and what is written down of them."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import torch

from lenssuper._utils.weightfile import read_weights
from lenssuper.cli import _parser
from lenssuper.light.learned.additions import SHIPPED, load_network, shipped
from lenssuper.light.learned.network import roll_out
from lenssuper.simulate import galaxy_stamp
from lenssuper.training.light.images import error_of, prepare_images

# Percent of the error of a constant that is allowed after six Sersics, noise and all.
LIMITS = {"cnn": 0.75, "ppo": 0.82, "ppo_discrete": 0.86}


@pytest.fixture(scope="module")
def images():
    """Galaxies that no training has seen."""
    return prepare_images([galaxy_stamp(np.random.default_rng([777, i])) for i in range(40)])


def method_of(name):
    return name.partition("_")[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_they_do_better_than_a_constant(images, name):
    network = load_network(method_of(name), name)
    with torch.no_grad():
        actions, residuals = roll_out(network, images, 6)
    errors = error_of(residuals)
    medians = images.flatten(1).median(1).values[:, None, None]
    constant = 100 * (images - medians).abs().mean().item()
    assert errors[5] < LIMITS[name] * constant
    assert errors[5] < errors[0]
    # few actions within a hundredth of the range from a bound
    assert (actions.abs() > 0.98).float().mean() < 0.1


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_is_small_and_says_how_it_was_made(name):
    assert shipped(name).stat().st_size < 2e6
    metadata = read_weights(shipped(name))[1]
    words = shlex.split(metadata["command"])
    assert words[0] == "lenssuper"
    options = _parser().parse_args(words[1:])  # the command is one that still exists
    assert options.method == name.replace("_", "-")
    assert options.seed == metadata["seed"]
    assert metadata["images"] == options.simulated
    assert not options.galaxies
    assert len(metadata["held_out_error_percent"]) == metadata["components"] == 6


def test_the_card_has_every_command():
    card = (shipped("cnn").parent / "README.rst").read_text(encoding="utf-8")
    for name in SHIPPED:
        assert read_weights(shipped(name))[1]["command"] in card
