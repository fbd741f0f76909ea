"""Two processes train one network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lenssuper.networks.weights import read_card, read_network

pytest.importorskip("lightning")

SCRIPT = """
import sys
import torch

sys.path.insert(0, {here!r})
import tiny
from lenssuper.training import train

torch.set_num_threads(1)
# three lenses to train on, and one to watch, which leaves none for the other process
result = train(
    tiny.network(), tiny.lenses(3), validation=tiny.lenses(1, first=3), output={output!r}, steps=3,
    check_every=2, batch_size=1, source_pixels=32, accelerator="cpu", devices=2, strategy="ddp",
    progress=False,
)
sums = torch.tensor([float(p.double().abs().sum()) for p in result.network.parameters()])
both = [torch.zeros_like(sums) for _ in range(2)]
torch.distributed.all_gather(both, sums)
assert torch.equal(*both), both
"""


def test_two_processes(tmp_path, tiny):
    script, output = tmp_path / "run.py", tmp_path / "net.safetensors"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), output=str(output)))
    done = subprocess.run(
        [sys.executable, str(script)],
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert read_card(output)["training"]["processes"] == 2
    trained = read_network(output).state_dict()
    assert any((value != trained[name]).any() for name, value in tiny.network().state_dict().items())
    assert not (tmp_path / "net.safetensors.checkpoint").exists()
