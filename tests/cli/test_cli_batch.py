"""``lenssuper batch``: what its options ask for, and what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.table import QTable

from lenssuper import catalog
from lenssuper.catalog import FitLens, FitLight, Prepare
from lenssuper.cli import main


def table(names, states, verdicts, reasons):
    columns = {"name": names, "status": states, "verdict": verdicts, "reason": reasons}
    return QTable({name: np.array(values) for name, values in columns.items()})


@pytest.fixture(autouse=True)
def catalogue(tmp_path, monkeypatch):
    """A file of that name is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenses.ecsv").touch()


@pytest.fixture
def asked(monkeypatch):
    """A run that does nothing but remember what it was asked for."""
    calls = []

    def run(catalogue, output, **options):
        calls.append((catalogue, output, options))
        return table(["a", "b"], ["done", "failed"], ["look", ""], ["", "reading: none"])

    monkeypatch.setattr(catalog, "run", run)
    return calls


def test_batch_super_resolves_what_is_ready(asked, capsys):
    assert main(["batch", "lenses.ecsv", "--output", "out", "--shard", "2/5"]) == 3
    ((catalogue, output, options),) = asked
    assert (str(catalogue), str(output)) == ("lenses.ecsv", "out")
    assert options["stages"] == []
    assert options["shard"] == (2, 5)
    assert options["solver"] is None
    assert options["pictures"]
    out = capsys.readouterr().out
    assert "1 of 2 lenses" in out
    assert "b: reading: none" in out
    assert out.splitlines()[-1] == "verdicts: 0 trusted, 1 look, 0 wrong"


def test_batch_does_what_is_asked_before(asked):
    before = ["--fit-lens", "--fit-light", "--prepare", "--fix", "SIE.x", "SIE.y"]
    assert main(["batch", "lenses.ecsv", "--output", "out", *before]) == 3
    ((_, _, options),) = asked
    assert options["stages"] == [Prepare(), FitLight(), FitLens(("SIE.x", "SIE.y"))]
    assert main(["batch", "lenses.ecsv", "--output", "out", "--prepare", "--no-rescale"]) == 3
    assert asked[1][2]["stages"] == [Prepare(rescale=False)]


def test_batch_takes_fewer_draws(asked, capsys):
    assert main(["batch", "lenses.ecsv", "--output", "out", "--draws", "4"]) == 3
    assert main(["batch", "lenses.ecsv", "--output", "out", "--draws", "6", "--network", "hst"]) == 3
    kinds = [(type(options["solver"]).__name__, options["solver"].n_draws) for _, _, options in asked]
    assert kinds == [("LogNormal", 4), ("NetworkSolver", 6)]
    with pytest.raises(SystemExit):
        main(["batch", "lenses.ecsv", "--output", "out", "--draws", "5"])
    assert "must be even" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fix", "SIE.x"], "add --fit-lens"),
        (["--lens-errors"], "add --fit-lens"),
        (["--no-rescale"], "add --prepare"),
    ],
)
def test_options_of_what_is_not_done(asked, arguments, complaint, capsys):
    assert main(["batch", "lenses.ecsv", "--output", "out", *arguments]) == 1
    assert complaint in capsys.readouterr().err
    assert asked == []


def test_batch_fails_if_no_lens_can_be_done(monkeypatch, capsys):
    failed = table(["a"], ["failed"], [""], ["reading: none"])
    monkeypatch.setattr(catalog, "run", lambda *_, **__: failed)
    assert main(["batch", "lenses.ecsv", "--output", "out"]) == 1
    assert "no lens could be super-resolved" in capsys.readouterr().err


def test_exit_status_is_0_if_all_are_done(monkeypatch):
    done = table(["a"], ["done"], ["trusted"], [""])
    monkeypatch.setattr(catalog, "run", lambda *_, **__: done)
    assert main(["batch", "lenses.ecsv", "--output", "out"]) == 0


def test_sigterm_ends_it_as_ctrl_c_does(monkeypatch, capsys):
    """What is to be cleaned up is, and the handler of the process is as it was."""
    before, cleaned = signal.getsignal(signal.SIGTERM), []

    def run(*_, **__):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(catalog, "run", run)
    assert main(["batch", "lenses.ecsv", "--output", "out"]) == 143
    assert cleaned == [True]
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("without", [(), ("distributed",)])
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_workers_end_when_their_parent_is_killed(tmp_path, without):
    """With dask and without."""
    script = """
import sys, time
for name in sys.argv[2:]:
    sys.modules[name] = None
if __name__ == "__main__":
    import tests_of_workers
    from lenssuper.catalog.engine import open_engine
    with open_engine(workers=2) as engine:
        futures = [engine.submit(tests_of_workers.begin, sys.argv[1]) for _ in range(2)]
        [future.result() for future in futures]
"""
    (tmp_path / "parent.py").write_text(script)
    (tmp_path / "tests_of_workers.py").write_text(
        "import os, time\n"
        "from lenssuper._utils.threads import end_with_parent\n"
        "def begin(path):\n"
        "    end_with_parent()\n"
        "    open(os.path.join(path, f'{os.getpid()}.pid'), 'w').close()\n"
        "    time.sleep(100)\n"
    )
    paths = [str(tmp_path), *sys.path]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), PYTHONWARNINGS="ignore")
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path), *without],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2, 90)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_for(lambda: not any(runs(pid) for pid in workers), 10)


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def runs(pid):
    """Whether a process is there, and is no zombie that nobody has asked for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
