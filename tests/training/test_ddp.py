"""Two processes train one network."""

from __future__ import annotations

import os
import socket
import sys

import pytest
import torch

from lenssuper.networks.weights import read_card, read_network
from lenssuper.training import train

pytest.importorskip("lightning")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def train_as(rank, port, tiny, lenses, output):
    """Be one of two processes, as a cluster starts them."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    # three lenses to train on, and one to watch, which leaves none for the other process
    result = train(
        tiny.network(),
        lenses[:3],
        validation=lenses[3:4],
        output=output,
        steps=3,
        check_every=2,
        batch_size=1,
        source_pixels=32,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        progress=False,
    )
    sums = torch.tensor([float(p.detach().double().abs().sum()) for p in result.network.parameters()])
    both = [torch.zeros_like(sums) for _ in range(2)]
    torch.distributed.all_gather(both, sums)
    assert torch.equal(*both), both


def test_two_processes(tmp_path, tiny, lenses, in_fork):
    output = tmp_path / "net.safetensors"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [lambda rank=rank: train_as(rank, port, tiny, lenses, output) for rank in range(2)]
    assert in_fork(*ranks) == [0, 0]
    assert read_card(output)["training"]["processes"] == 2
    trained = read_network(output).state_dict()
    assert any((value != trained[name]).any() for name, value in tiny.network().state_dict().items())
    assert not (tmp_path / "net.safetensors.checkpoint").exists()
