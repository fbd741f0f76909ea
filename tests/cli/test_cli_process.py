"""The command as a process of its own: what is set before anything large is loaded."""

from __future__ import annotations

import os

import pytest

from lenssuper import cli


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_sleep_unless_told_otherwise(monkeypatch, given):
    monkeypatch.setattr(cli, "main", lambda: os.environ["OMP_WAIT_POLICY"])
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(cli.gc, "set_threshold", lambda *_: None)
    monkeypatch.setattr(cli.gc, "freeze", lambda: None)
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    assert cli.run_process() == (given or "PASSIVE")
    os.environ.pop("OMP_WAIT_POLICY", None)
