"""Two hundred damaged files: refused in words, or read with the numbers that were written, or warned of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"

pytestmark = [
    pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not part of an installed package"),
    pytest.mark.skipif(sys.platform != "linux", reason="limits of memory as Linux has them"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def fuzz():
    pytest.importorskip("h5py")
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kinds(fuzz, tmp_path_factory):
    """A good file of each kind."""
    return fuzz.kinds(tmp_path_factory.mktemp("kinds"))


def test_damaged_files(fuzz, kinds, monkeypatch):
    monkeypatch.setattr(fuzz, "kinds", lambda directory: kinds)
    counts, faults = fuzz.run([], 30, 5000)
    assert not faults
    assert sum(sum(found.values()) for found in counts.values()) >= 200
    for name, found in counts.items():
        assert found["refused"] > 0, name


def test_weights_that_were_changed(fuzz, kinds):
    """One bit of one weight: the network would work, and answer otherwise."""
    kind = kinds["weights"]
    content = bytearray(kind.original)
    content[-3] ^= 1
    found, words = fuzz.outcome(kind, bytes(content))
    assert found == "refused"
    assert "does not agree with its digest" in words


def test_header_that_asks_for_more_than_there_is(kinds):
    """Hundreds of GiB are refused before memory is asked for, in whichever file."""
    from lenssuper.exceptions import FileFormatError

    for name in ("pixels", "result"):
        kind = kinds[name]
        for old, new in ((b"NAXIS1  =                   18", b"NAXIS1  =         100000000000"),):
            assert old in kind.original
            kind.mutable.write_bytes(kind.original.replace(old, new))
            with pytest.raises(FileFormatError, match="truncated or damaged"):
                kind.read(kind.path)
