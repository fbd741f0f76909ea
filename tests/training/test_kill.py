"""Killed by a signal that no program can catch, a training can be resumed as if nothing had happened."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from lenssuper.training import train
from lenssuper.training.checkpoint import read_state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def train_until_killed(lenses, network, output, options):
    """Train; SIGKILL in the third round, after two checkpoints."""
    from lenssuper.training import module

    before, calls = module.weighted_sum, []

    def killing(*arguments):
        calls.append(1)
        if len(calls) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments)

    module.weighted_sum = killing
    train(network, lenses, output=output, **options)


def test_kill_9(whole, lenses, tiny, in_fork, tmp_path):
    output = tmp_path / "net.safetensors"
    (status,) = in_fork(lambda: train_until_killed(lenses, tiny.network(), output, tiny.OPTIONS))
    assert status == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors.checkpoint"]
    assert read_state(tmp_path / "net.safetensors.checkpoint")["global_step"] == 6
    result = train(tiny.network(seed=5), lenses, output=output, resume=True, **tiny.OPTIONS)
    assert output.read_bytes() == whole.read_bytes()
    assert output.with_suffix(".md").read_text() == whole.with_suffix(".md").read_text()
    assert [check["step"] for check in result.history] == [3, 6, 9, 10]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.md", "net.safetensors"]
