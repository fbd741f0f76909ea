"""Memory that is freed stays with the process."""

import ctypes
import platform

import pytest

from lenssuper._utils.memory import keep_freed_memory

GNU = platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not GNU, reason="only the GNU C library has the setting")
def test_freed_memory_is_kept():
    assert keep_freed_memory() is True


def test_other_libraries_do_without(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_freed_memory() is False
