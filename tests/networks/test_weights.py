"""Files of networks: what is written comes back, and nothing else is taken for one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lenssuper._utils.weightfile import write_weights
from lenssuper.exceptions import FileFormatError
from lenssuper.networks import Unrolled
from lenssuper.networks.weights import architectures, card_path, read_card, read_network, write_network

CARD = {"data": {"lenses": 3}, "command": "lenssuper train here", "scores": {"chi2": 1.02345678}}


@pytest.fixture
def network():
    torch.manual_seed(1)
    made = Unrolled(n_stages=2, cg_steps=3, cg_steps_used=4, widths=(4, 8))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    return made


@pytest.fixture
def file(network, tmp_path):
    write_network(tmp_path / "net.safetensors", network, CARD)
    return tmp_path / "net.safetensors"


def changed(file, tensors=None, **header):
    """Write the file anew with something changed, and without a digest, as earlier versions did."""
    with file.open("rb") as opened:
        size = int(np.frombuffer(opened.read(8), "<u8")[0])
        known = json.loads(json.loads(opened.read(size))["__metadata__"]["lenssuper"])
    del known["digest"]
    content = load_file(file)
    content.update(tensors or {})
    save_file(content, file, metadata={"lenssuper": json.dumps(known | header)})


def test_it_comes_back(network, file):
    again = read_network(file)
    assert type(again) is Unrolled
    assert again.config == network.config
    assert not again.training
    for (name, value), (other, found) in zip(
        network.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, found)
    assert read_card(file) == CARD


def test_the_card_can_be_read(file):
    text = card_path(file).read_text()
    assert card_path(file).name == "net.md"
    for words in (
        "# net.safetensors",
        "unrolled-1",
        "`lenssuper train here`",
        "- chi2: 1.02346",
        "- n stages: 2",
    ):
        assert words in text


def test_architectures():
    known = architectures()
    assert known["unrolled-1"] is Unrolled
    assert {name.rpartition("-")[0] for name in known} >= {"unrolled", "cnn", "unet", "transformer"}


def test_nothing_is_overwritten_unasked(network, file):
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match=r"net\.safetensors exists"):
        write_network(file, network, {})
    file.unlink()
    with pytest.raises(FileExistsError, match=r"net\.md exists"):
        write_network(file, network, {})
    assert not file.exists()
    write_network(file, network, CARD, overwrite=True)
    assert file.read_bytes() == before


def test_weights_that_are_not_finite_are_not_written(network, file):
    before = file.read_bytes()
    with torch.no_grad():
        network.keep[0] = float("nan")
    with pytest.raises(ValueError, match=r"not finite.*keep"):
        write_network(file, network, CARD, overwrite=True)
    assert file.read_bytes() == before


def test_other_endings(network, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        write_network(tmp_path / "net.pt", network, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"architecture": "other-1"}, "'other-1'; known are"),
        ({"architecture": None}, "known are"),
        ({"config": {"n_stages": 3}}, "does not fit"),
        ({"config": {"n_stages": 0}}, "settings that make no Unrolled"),
        ({"config": {"depth": 3}}, "settings that make no Unrolled"),
        ({"config": None}, "settings that make no Unrolled"),
        ({"config": {"widths": [10**7, 10**7]}}, "does not fit"),
        ({"tensors": {"keep": torch.full((2,), float("inf"))}}, "not finite: keep"),
        ({"tensors": {"keep": torch.zeros(3)}}, "does not fit"),
        ({"tensors": {"more": torch.zeros(3)}}, "does not fit"),
    ],
)
def test_files_that_do_not_fit(file, change, words):
    changed(file, **change)
    with pytest.raises(FileFormatError, match=words):
        read_network(file)


def test_damaged_files(file, tmp_path):
    content = file.read_bytes()
    for damaged in (b"", content[:100], content[:-10], b"\x80\x04pickle"):
        file.write_bytes(damaged)
        with pytest.raises(FileFormatError, match="cannot be read as weights"):
            read_network(file)
    with pytest.raises(FileNotFoundError):
        read_network(tmp_path / "nowhere.safetensors")
    save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(FileFormatError, match="not one of lenssuper's"):
        read_network(file)


def test_weights_for_something_else(tmp_path):
    write_weights(tmp_path / "w", {"x": torch.zeros(2)}, {"architecture": "cnn-1-of-Sersics"})
    with pytest.raises(FileFormatError, match="known are"):
        read_network(tmp_path / "w")
    with pytest.raises(FileFormatError, match="no model card"):
        read_card(tmp_path / "w")
