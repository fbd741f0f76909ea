"""What the tests of training share: small lenses and networks, see tiny.py."""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import warnings
from functools import cache
from pathlib import Path

import pytest
import torch

from lenssuper import ForwardModel, Observation


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
    """Six lenses (observation, lens, truth); opened, as every training would open them again."""
    return [(Observation.of(image), lens, truth) for image, lens, truth in tiny.lenses(6)]


@pytest.fixture(scope="session")
def unopened(tiny):
    """Six lenses (image, lens, truth) that are a little larger, not opened."""
    return tiny.lenses(6, shape=(24, 24))


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


_model = cache(ForwardModel)


@pytest.fixture(scope="module")
def one_model_each():
    """Have the forward model of each lens made once for all trainings, which takes half of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lenssuper.training.data.ForwardModel", _model)
        yield


@pytest.fixture
def in_fork():
    """A function that calls others, each in a fork of this process, and returns their exit codes."""
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork has no threads of its own to wait for

    def call(*functions):
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=function) for function in functions]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            for process in processes:
                process.start()
        for process in processes:
            process.join(120)
            if process.exitcode is None:
                process.kill()
        return [process.exitcode for process in processes]

    yield call
    torch.set_num_threads(torch_threads)
