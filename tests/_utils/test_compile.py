"""Compiled kernels: where they are kept."""

from __future__ import annotations

from pathlib import Path

import lenssuper
from lenssuper._utils.compile import _say_that_it_compiles, compiled
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


def test_the_first_compilation_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    _say_that_it_compiles.cache_clear()
    with caplog.at_level("INFO", logger="lenssuper"):
        for value in (3, 3.0):
            assert compiled(double.py_func)(value) == 6
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "compiling numerical kernels, kept for later runs"
    ]
    caplog.clear()
    _say_that_it_compiles.cache_clear()
    with caplog.at_level("INFO", logger="lenssuper"):  # what is kept is not compiled again
        assert compiled(double.py_func)(3) == 6
    assert not caplog.records


def test_without_a_directory_kernels_are_compiled_in_every_process(monkeypatch):
    def refuse(*args):
        raise RuntimeError("no locator available")

    monkeypatch.setattr("lenssuper._utils.compile._UserCache", refuse)
    assert compiled(double.py_func)(3) == 6
