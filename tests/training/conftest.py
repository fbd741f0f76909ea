"""What the tests of training share: small lenses and networks, see tiny.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def tiny():
    """The module tiny.py, which is also what other processes of the tests import."""
    if "tiny" not in sys.modules:
        spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
        sys.modules["tiny"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["tiny"]


@pytest.fixture(scope="session")
def lenses(tiny):
    """Six lenses (observation, lens, truth)."""
    return tiny.lenses(6)


@pytest.fixture(scope="session")
def whole(lenses, tiny, tmp_path_factory):
    """The file of a training that was not interrupted."""
    pytest.importorskip("lightning")
    from lenssuper.training import train

    output = tmp_path_factory.mktemp("whole") / "net.safetensors"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(tiny.network(), lenses, output=output, **tiny.OPTIONS)
    yield output
    torch.set_num_threads(threads)
