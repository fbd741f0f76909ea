"""Killed by a signal that no program can catch, a training goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from lenssuper.training import train
from lenssuper.training.checkpoint import read_state

SCRIPT = """
import os, signal, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
import tiny
from lenssuper.training import module
from lenssuper.training.train import train

before = module.weighted_sum
calls = []

def killing(*arguments):
    calls.append(1)
    if len(calls) == 9:  # in the third round, two checkpoints have been written
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments)

module.weighted_sum = killing
train(tiny.network(), tiny.lenses(6), output={output!r}, **{options!r})
"""


def test_kill_9(whole, lenses, tiny, tmp_path):
    output = tmp_path / "net.safetensors"
    script = SCRIPT.format(here=str(Path(__file__).parent), output=str(output), options=tiny.OPTIONS)
    done = subprocess.run(
        [sys.executable, "-c", script],
        timeout=200,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors.checkpoint"]
    assert read_state(tmp_path / "net.safetensors.checkpoint")["global_step"] == 6
    result = train(tiny.network(seed=5), lenses, output=output, resume=True, **tiny.OPTIONS)
    assert output.read_bytes() == whole.read_bytes()
    assert output.with_suffix(".md").read_text() == whole.with_suffix(".md").read_text()
    assert [check["step"] for check in result.history] == [3, 6, 9, 10]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.md", "net.safetensors"]
