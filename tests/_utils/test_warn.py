"""The line that a warning names, and the version of a tree that was never built."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import lenssuper
from lenssuper._utils.warn import warn
from lenssuper.exceptions import LensSuperWarning


def test_warning_names_the_line_outside_of_the_package():
    inside = Path(lenssuper.__file__).parent / "anywhere.py"
    code = compile(
        "def outer(warn):\n    inner(warn)\ndef inner(warn):\n    warn('look')\n", str(inside), "exec"
    )
    names = {}
    exec(code, names)
    with pytest.warns(LensSuperWarning, match="look") as caught:
        names["outer"](warn)
    assert caught[0].filename == __file__


def test_warning_from_nowhere_else_is_still_a_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("look")
    assert caught[0].filename == __file__


def test_a_tree_that_was_never_built_has_a_version_everywhere(tmp_path):
    package = Path(lenssuper.__file__).parent
    shutil.copytree(
        package, tmp_path / "lenssuper", ignore=shutil.ignore_patterns("_version.py", "__pycache__")
    )
    code = (
        "import lenssuper, lenssuper.simulate, lenssuper.datasets, lenssuper.superres, lenssuper.cli;"
        "print(lenssuper.__version__, lenssuper.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    version, file = done.stdout.split()
    assert version[0].isdigit()
    assert file.startswith(str(tmp_path))
