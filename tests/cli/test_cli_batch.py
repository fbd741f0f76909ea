"""``lenssuper batch``: what its options ask for, and what it says."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import QTable

from lenssuper import catalog
from lenssuper.catalog import FitLens, FitLight, Prepare
from lenssuper.cli import main


@pytest.fixture
def asked(monkeypatch):
    """A run that does nothing but remember what it was asked for."""
    calls = []

    def run(catalogue, output, **options):
        calls.append((catalogue, output, options))
        return QTable({"name": ["a", "b"], "status": ["done", "failed"], "reason": ["", "reading: none"]})

    monkeypatch.setattr(catalog, "run", run)
    return calls


def test_batch_super_resolves_what_is_ready(asked, capsys):
    assert main(["batch", "lenses.ecsv", "--output", "out", "--shard", "2/5"]) == 0
    ((catalogue, output, options),) = asked
    assert (str(catalogue), str(output)) == ("lenses.ecsv", "out")
    assert options["stages"] == []
    assert options["shard"] == (2, 5)
    assert options["solver"] is None
    assert options["pictures"]
    out = capsys.readouterr().out
    assert "1 of 2 lenses" in out
    assert "b: reading: none" in out


def test_batch_does_what_is_asked_before(asked):
    before = ["--fit-lens", "--fit-light", "--prepare", "--fix", "SIE.x", "SIE.y"]
    assert main(["batch", "lenses.ecsv", "--output", "out", *before]) == 0
    ((_, _, options),) = asked
    assert options["stages"] == [Prepare(), FitLight(), FitLens(("SIE.x", "SIE.y"))]
    assert main(["batch", "lenses.ecsv", "--output", "out", "--prepare", "--no-rescale"]) == 0
    assert asked[1][2]["stages"] == [Prepare(rescale=False)]


def test_batch_takes_fewer_draws(asked, capsys):
    assert main(["batch", "lenses.ecsv", "--output", "out", "--draws", "4"]) == 0
    assert main(["batch", "lenses.ecsv", "--output", "out", "--draws", "6", "--network", "hst"]) == 0
    kinds = [(type(options["solver"]).__name__, options["solver"].n_draws) for _, _, options in asked]
    assert kinds == [("LogNormal", 4), ("NetworkSolver", 6)]
    with pytest.raises(SystemExit):
        main(["batch", "lenses.ecsv", "--output", "out", "--draws", "5"])
    assert "must be even" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["--fix", "SIE.x"], "add --fit-lens"), (["--no-rescale"], "add --prepare")],
)
def test_options_of_what_is_not_done(asked, arguments, complaint, capsys):
    assert main(["batch", "lenses.ecsv", "--output", "out", *arguments]) == 1
    assert complaint in capsys.readouterr().err
    assert asked == []


def test_batch_fails_if_no_lens_can_be_done(monkeypatch, capsys):
    failed = QTable({"name": ["a"], "status": np.array(["failed"]), "reason": ["reading: none"]})
    monkeypatch.setattr(catalog, "run", lambda *_, **__: failed)
    assert main(["batch", "lenses.ecsv", "--output", "out"]) == 1
    assert "no lens could be super-resolved" in capsys.readouterr().err
