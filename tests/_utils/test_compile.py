"""Compiled kernels: where they are kept."""

from __future__ import annotations

import math
from pathlib import Path

import lenssuper
from lenssuper._utils.compile import Said, compiled
from lenssuper.operators.overlap import clip


@compiled
def double(x):
    return 2 * x


def test_kernels_are_not_kept_in_the_package():
    kept = Path(clip.fill._cache.cache_path)
    assert kept.is_dir()
    assert Path(lenssuper.__file__).parent not in kept.parents


def test_the_directory_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    kernel = compiled(double.py_func)
    assert kernel(3) == 6
    assert any(tmp_path.rglob("*.nbi"))


def test_compilations_are_said_but_not_each(tmp_path, monkeypatch, caplog):
    """The first one, and another after some seconds of silence; what is kept is not compiled again."""
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Said, "at", -math.inf)
    with caplog.at_level("INFO", logger="lenssuper"):
        for value in (3, 3.0, 3j):
            assert compiled(double.py_func)(value) == 2 * value
            if isinstance(value, float):
                Said.at -= 60
        Said.at -= 60
        assert compiled(double.py_func)(3) == 6
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "compiling numerical kernels, kept for later runs",
        "still compiling",
    ]


def test_without_a_directory_kernels_are_compiled_in_every_process(monkeypatch):
    def refuse(*args):
        raise RuntimeError("no locator available")

    monkeypatch.setattr("lenssuper._utils.compile._UserCache", refuse)
    assert compiled(double.py_func)(3) == 6
