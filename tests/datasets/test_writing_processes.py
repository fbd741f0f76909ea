"""Simulated sets written by several processes, and by processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lenssuper.datasets import read_dataset, write_dataset
from lenssuper.simulate import AxionVortex, NoSubstructure, random_sersics

SMALL = {"shape": (16, 16), "sources": random_sersics, "progress": False}


def test_several_processes_write_the_same(tmp_path, contents):
    given = {**SMALL, "dark_matter": [NoSubstructure(), AxionVortex(points=4)]}
    write_dataset(tmp_path / "one", 4, layout="hdf5", **given)
    write_dataset(tmp_path / "two", 4, layout="hdf5", workers=2, **given)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


KILLED = """
import sys
from lenssuper.datasets import write_dataset
from lenssuper.simulate import random_sersics, NoSubstructure, AxionVortex

if __name__ == "__main__":
    write_dataset(
        sys.argv[1], 7, layout=sys.argv[2], workers=int(sys.argv[3]), shape=(16, 16), sources=random_sersics,
        dark_matter=[NoSubstructure(), AxionVortex(points=4)], progress=False,
    )
"""


@pytest.mark.parametrize(("layout", "workers"), [("fits", 2), ("hdf5", 1)])
def test_killed_and_begun_again(tmp_path, layout, workers, contents):
    """SIGKILL leaves no chance to tidy up."""
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(tmp_path / "killed"), layout, str(workers)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: finished_lenses(tmp_path / "killed") >= 2)
        time.sleep(0.02)  # for it to be in the middle of something
        children = children_of(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(children) >= workers if workers > 1 and os.path.isdir("/proc/self") else not children
    wait_until(lambda: not any(running(pid) for pid in children))  # none waits for work for ever
    assert finished_lenses(tmp_path / "killed") < 7, "it was too fast to be killed"
    with pytest.warns(match="not finished"):
        early = read_dataset(tmp_path / "killed")  # what is there can be used
    assert early[0].truth is not None
    given = {**SMALL, "dark_matter": [NoSubstructure(), AxionVortex(points=4)]}
    for name in ("killed", "whole"):
        write_dataset(tmp_path / name, 7, layout=layout, **given)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def children_of(pid):
    """Where there is /proc."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return file.read().split()
    except OSError:
        return []


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def finished_lenses(directory):
    """Observations come last of the files of a lens."""
    found = [path for path in directory.rglob("mock_*") if not path.name.startswith(".")]
    return sum(path.suffix == ".h5" or (path.stem[5:].isdigit() and path.suffix == ".fits") for path in found)


def wait_until(condition, timeout=100):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_processes_need_functions_they_can_import(tmp_path):
    with pytest.raises(TypeError, match="must be importable"):
        write_dataset(tmp_path, 2, workers=2, **{**SMALL, "sources": lambda rng: random_sersics(rng)})
