"""Bars: when they appear, and what is printed beside them."""

from __future__ import annotations

import logging
import sys

from lenssuper._utils.progress import progress_bar
from lenssuper.cli import _BesideBars


def test_items_of_many_seconds_have_a_bar_from_the_beginning(monkeypatch, capsys):
    monkeypatch.setattr("lenssuper._utils.progress.is_shown", lambda progress: True)
    with progress_bar(None, total=3, unit="lens"):
        pass
    assert capsys.readouterr().err.strip() == ""
    with progress_bar(None, total=3, unit="lens", at_once=True):
        assert "0/3" in capsys.readouterr().err


def test_a_message_has_a_line_of_its_own(capsys):
    log = logging.Logger("bars")
    log.addHandler(_BesideBars(sys.stderr))
    with progress_bar(True, total=3, file=sys.stderr):
        log.warning("compiling")
        lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert "compiling" in lines
