"""Runs over a catalogue: results, resumption, failures, dying workers, full disks."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import current_process
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from lenssuper import SIE, Observation, SuperResolution, SuperResolver, write_observation
from lenssuper.catalog import StorageFullError, job, run, summarise
from lenssuper.catalog.engine import Engine, open_engine
from lenssuper.catalog.job import Job, read_record
from lenssuper.catalog.queue import Queue
from lenssuper.catalog.run import _differences as differences_of
from lenssuper.catalog.stages import FitLens, Read, SuperResolve
from lenssuper.catalog.table import read_catalogue
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian, GradientPrior

SOLVER = Gaussian(GradientPrior())
STAGES = (Read(), SuperResolve(1, SOLVER))
N = 3


@pytest.fixture(scope="module")
def lenses(tmp_path_factory):
    """A catalogue of three lenses, and of a file that is none."""
    directory = tmp_path_factory.mktemp("lenses")
    rows = []
    for i in range(N):
        mock = random_mock(i, shape=(16, 16))
        write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), directory / f"{i}.fits")
        mock.lens.write(directory / f"{i}.json")
        rows.append((f"lens-{i}", f"{i}.fits", f"{i}.json"))
    (directory / "junk.fits").write_bytes(b"junk")
    rows.insert(1, ("junk", "junk.fits", "0.json"))
    Table(rows=rows, names=["name", "file", "lens"]).write(directory / "catalogue.ecsv")
    return directory


@pytest.fixture(autouse=True)
def unjudged(monkeypatch):
    """Spare all but the lenses of `first` a verdict, which takes a third of the time of such small ones."""
    monkeypatch.setattr("lenssuper.superres.result.judge_result", lambda *_: None)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def run_here(lenses, output, executor, **options):
    options = {"solver": SOLVER, "factor": 1, "pictures": False, "executor": executor, **options}
    return run(lenses / "catalogue.ecsv", output, **options)


@pytest.fixture(scope="module")
def first(lenses, tmp_path_factory):
    """What a run over the catalogue leaves. For tests that change nothing in it."""
    output = tmp_path_factory.mktemp("first")
    with ThreadPoolExecutor(2) as executor:
        run_here(lenses, output, executor)
    return output


@pytest.fixture
def finished(first, tmp_path):
    """Its copy, to be changed."""
    return shutil.copytree(first, tmp_path / "finished")


@pytest.fixture
def one_is_left(finished):
    """The same before the last lens."""
    for name in ("lens-2.fits", "lens-2.json"):
        (finished / name).unlink()
    return finished


def contents(directory):
    """When the results and records were written."""
    kinds = (".fits", ".json")
    return {path.name: path.stat().st_mtime_ns for path in directory.iterdir() if path.suffix in kinds}


def test_every_lens_gets_its_result_and_a_bad_one_fails_alone(lenses, tmp_path, threads, monkeypatch):
    monkeypatch.setattr("lenssuper.plotting.pages.page._DPI", 20)  # small pictures, for speed
    summary = run_here(lenses, tmp_path, threads, pictures=True)
    assert list(summary["name"]) == ["lens-0", "junk", "lens-1", "lens-2"]
    assert list(summary["status"]) == ["done", "failed", "done", "done"]
    assert summary["reason"][1].startswith("reading: FileFormatError: ")
    assert "junk.fits" in summary["reason"][1]
    assert np.isnan(summary["chi2"][1])
    for row in summary[summary["status"] == "done"]:
        result = SuperResolution.read(tmp_path / f"{row['name']}.fits")
        assert result.chi2 == pytest.approx(row["chi2"])
        assert result.reduced_chi2 == pytest.approx(row["reduced_chi2"])
        assert (tmp_path / f"{row['name']}_small.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{row['name']}.html").exists()
        assert row["einstein_radius"] == result.lens.einstein_radius()
        assert row["time"] > 0 * u.s
        assert row["cpu_time"] > 0 * u.s
        assert 20 * u.MB < row["memory"] < 20 * u.GB
    written = QTable.read(tmp_path / "summary.ecsv")
    assert list(written["status"]) == list(summary["status"])
    assert not any(name.startswith("SIE") for name in written.colnames)
    assert written["time"].unit == u.s
    assert sorted(summarise(tmp_path)["name"]) == sorted(summary["name"])


def test_result_is_that_of_a_single_call(lenses, first, tmp_path, threads):
    """Neither the number of workers nor the order nor what else is in the catalogue changes a result."""
    run_here(lenses, tmp_path, threads, shard=(4, 4))
    one, other = (SuperResolution.read(path / "lens-2.fits") for path in (first, tmp_path))
    np.testing.assert_array_equal(one.source.uncertainty.array, other.source.uncertainty.array)
    mock = random_mock(2, shape=(16, 16))
    rng = np.random.default_rng([0, read_catalogue(lenses / "catalogue.ecsv")[3].number])
    alone = SuperResolver(mock.lens, 1, solver=SOLVER, rng=rng)(mock.observation)
    np.testing.assert_allclose(one.source.data, alone.source.data, rtol=1e-6, atol=1e-9)


def test_what_is_done_is_not_done_again(lenses, finished, threads):
    before = contents(finished)
    again = run_here(lenses, finished, threads)
    assert contents(finished) == before
    assert (again["status"] == "done").sum() == N
    (finished / "lens-1.fits").write_bytes(b"cut off")
    (finished / "lens-2.json").write_text('{"name"')
    run_here(lenses, finished, threads)
    after = contents(finished)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"lens-1.fits", "lens-1.json", "lens-2.fits", "lens-2.json"}
    assert SuperResolution.read(finished / "lens-1.fits").n_pixels == 16**2


def test_failures_are_tried_again_when_asked(lenses, finished, threads):
    before = contents(finished)
    run_here(lenses, finished, threads, retry_failed=True)
    after = contents(finished)
    assert {name for name in before if after[name] != before[name]} == {"junk.json"}


def test_what_changed_is_done_again(tmp_path, threads):
    """A row of the catalogue or a file that is another one; not one that was merely copied."""
    mocks = [random_mock(i, shape=(16, 16)) for i in range(3)]
    for i, mock in enumerate(mocks):
        write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), tmp_path / f"{i}.fits")
    radii = [1.0, 1.0, 1.0]

    def go():
        shape = {"theta_E": radii * u.arcsec, "q": [0.8] * 3, "phi": [10.0] * 3 * u.deg}
        table = QTable({"file": ["0.fits", "1.fits", "2.fits"], **shape})
        table.write(tmp_path / "catalogue.ecsv", overwrite=True)
        before = contents(tmp_path / "out") if (tmp_path / "out").exists() else {}
        assert set(run_here(tmp_path, tmp_path / "out", threads)["status"]) == {"done"}
        after = contents(tmp_path / "out")
        return sorted(name for name in after if after[name] != before.get(name) and name[0].isdigit())

    assert len(go()) == 6
    assert go() == []
    radii[1] = 1.1
    assert go() == ["1.fits", "1.json"]
    assert SuperResolution.read(tmp_path / "out" / "1.fits").lens.theta_E == 1.1 * u.arcsec
    size = (tmp_path / "2.fits").stat().st_size
    image = mocks[2].observation
    image.data += 0.01
    write_observation(Observation.from_nddata(image, grid=mocks[2].grid), tmp_path / "2.fits", overwrite=True)
    assert (tmp_path / "2.fits").stat().st_size == size
    (tmp_path / "0.copy").write_bytes((tmp_path / "0.fits").read_bytes())
    (tmp_path / "0.copy").replace(tmp_path / "0.fits")
    assert go() == ["2.fits", "2.json"]


def test_failure_is_tried_again_when_its_input_changes_and_leaves_no_old_result(tmp_path, threads):
    mock = random_mock(0, shape=(16, 16))
    path = tmp_path / "a.fits"
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), path)
    whole = path.read_bytes()
    mock.lens.write(tmp_path / "lens.json")
    Table({"file": ["a.fits"], "lens": ["lens.json"]}).write(tmp_path / "catalogue.ecsv")
    for content, state in ((whole, "done"), (whole[:3000], "failed"), (whole, "done")):
        path.write_bytes(content)
        assert list(run_here(tmp_path, tmp_path / "out", threads)["status"]) == [state]
        assert (tmp_path / "out" / "a.fits").exists() == (state == "done")


def test_records_of_earlier_versions_are_taken_as_they_are(lenses, finished, threads):
    record = json.loads((finished / "lens-1.json").read_text())
    del record["input"]
    (finished / "lens-1.json").write_text(json.dumps(record))
    before = contents(finished)
    run_here(lenses, finished, threads)
    assert contents(finished) == before


def test_records_and_settings_are_json(lenses, finished):
    def refuse(constant):
        raise AssertionError(constant)

    assert len(list(finished.glob("lens-*.json"))) == N
    for path in finished.glob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)
    assert json.loads((finished / "settings.json").read_text())["factor"] == 1
    job.write_record(
        Job(read_catalogue(lenses / "catalogue.ecsv")[0], os.fspath(finished), STAGES, 0, False),
        {"name": "lens-0", "status": "done", "chi2": math.nan, "lens": {"SIE.q": [0.8, math.inf, ""]}},
    )
    summary = summarise(finished, ["lens-0", "lens-1"])
    assert np.isnan(summary["chi2"][0])
    assert np.isnan(summary["SIE.q_err"][0].unmasked)


def test_inputs_and_files_of_others_are_not_replaced(lenses, tmp_path, threads):
    mock = random_mock(0, shape=(16, 16))
    ring = tmp_path / "ring.fits"
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), ring)
    mock.lens.write(tmp_path / "shape.json")
    Table({"file": ["ring.fits"], "lens": ["shape.json"]}).write(tmp_path / "catalogue.ecsv")
    before = ring.read_bytes()
    with pytest.raises(ValueError, match=r"ring\.fits is an input"):
        run_here(tmp_path, tmp_path, threads)
    assert ring.read_bytes() == before
    assert not (tmp_path / "settings.json").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ring.fits").write_text("of somebody")
    with pytest.raises(ValueError, match=r"no results of a catalogue, .* ring\.fits"):
        run_here(tmp_path, tmp_path / "out", threads)
    assert (tmp_path / "out" / "ring.fits").read_text() == "of somebody"


def test_what_killed_processes_had_begun_is_removed(lenses, one_is_left, threads):
    mine, other = ".0123456789ab.lens-2.fits", ".0123456789ab.thesis.fits"
    for name in (mine, other):
        (one_is_left / name).write_text("half")
    run_here(lenses, one_is_left, threads)
    assert not (one_is_left / mine).exists()
    assert (one_is_left / other).exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError("Not enough space on disk: requested 1000, available 3."),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("unable to write: [Errno 28] No space left on device"),
    ],
)
def test_full_disk_is_known_without_a_number(lenses, one_is_left, threads, monkeypatch, error):
    """Also where it is the cause of another error; the lens is no failure, and the next call does it."""

    def full(self, work, path):
        raise RuntimeError("could not write") from error

    monkeypatch.setattr(SuperResolve, "write", full)
    with pytest.raises(StorageFullError):
        run_here(lenses, one_is_left, threads)
    monkeypatch.undo()
    assert not (one_is_left / "lens-2.json").exists()
    assert list(run_here(lenses, one_is_left, threads)["status"]).count("done") == N


def test_shards_make_the_whole(lenses, tmp_path, threads):
    names = [list(run_here(lenses, tmp_path, threads, shard=(i, 2))["name"]) for i in (1, 2)]
    assert names == [["lens-0", "lens-1"], ["junk", "lens-2"]]
    assert (tmp_path / "summary-1-of-2.ecsv").exists()
    assert len(summarise(tmp_path)) == N + 1


def test_other_settings_need_another_directory(lenses, first, threads):
    with pytest.raises(ValueError, match="other settings") as error:
        run_here(lenses, first, threads, factor=2)
    said = str(error.value).partition("other settings: ")[2]
    assert said.startswith("factor was ")
    assert said.endswith(" and is now 2: choose another directory")
    assert "(" not in said  # nothing of the solver, which is the same


def test_a_parameter_that_no_lens_has_is_refused_before_any_is_fitted(lenses, tmp_path, threads):
    with pytest.raises(ValueError, match=r"SIE\.z"):
        run_here(lenses, tmp_path / "out", threads, stages=[Read(), FitLens(fixed=["SIE.z"])])
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_named_first(tmp_path, threads):
    table = QTable({"name": ["a", "b"], "file": ["a.fits", "b.fits"], "lens": ["a.json", "b.json"]})
    table.write(tmp_path / "c.ecsv")
    SIE(theta_E=1 * u.arcsec, q=0.8, phi=0 * u.deg).write(tmp_path / "b.json")
    rows = run(tmp_path / "c.ecsv", tmp_path / "out", solver=SOLVER, executor=threads)
    for row, name, kind in zip(rows, ("a.json", "b.fits"), ("ValueError", "FileNotFoundError"), strict=True):
        assert row["reason"] == f"reading: {kind}: {tmp_path / name}: No such file or directory"


def test_what_is_wrong_with_a_row_is_said_once(tmp_path, threads):
    table = QTable({"name": ["one"], "file": ["one.fits"], "theta_E": [1.0] * u.arcsec, "q": [2.0]})
    table.write(tmp_path / "c.ecsv")
    (row,) = run(tmp_path / "c.ecsv", tmp_path / "out", solver=SOLVER, executor=threads)
    assert row["reason"].count("Error") == 1
    assert row["reason"].startswith("reading: ValueError: ")


def test_settings_that_differ_are_named_one_by_one():
    solver = "LogNormal(max_evaluations=10, n_draws={}, turnover=None)"
    one, other = ({"seed": 0, "solver": solver.format(n)} for n in (4, 8))
    assert differences_of(one, other) == ": n_draws was 4 and is now 8"
    network = "NetworkSolver(device='cpu', network=<unrolled-1: 5 weights, {}>, refine={})"
    one, other = {"solver": network.format("ab", False)}, {"solver": network.format("cd", False)}
    assert differences_of(one, other) == (
        ": network was <unrolled-1: 5 weights, ab> and is now <unrolled-1: 5 weights, cd>"
    )
    one, other = {"seed": 0}, {"seed": 1, "stages": ["Read()", "FitLens(fixed=(), factor=2)"]}
    assert differences_of(one, other) == (
        ": seed was 0 and is now 1, stages was not set and is now Read(), FitLens(fixed=(), factor=2)"
    )


def test_warnings_are_kept(lenses, tmp_path, threads):
    mock = random_mock(0, shape=(16, 16))
    blind = mock.observation.copy()
    blind.psf = None
    write_observation(Observation.from_nddata(blind, grid=mock.grid), tmp_path / "blind.fits")
    mock.lens.write(tmp_path / "lens.json")
    table = Table({"file": [str(tmp_path / "blind.fits")], "lens": [str(tmp_path / "lens.json")]})
    summary = run(table, tmp_path / "out", solver=SOLVER, factor=1, executor=threads, pictures=False)
    assert "no psf" in summary["warnings"][0]


def test_full_disk_ends_the_run_and_loses_nothing(lenses, tmp_path, threads, monkeypatch):
    whole = job.atomic_write
    writes = []

    def full(path, **options):
        writes.append(path)
        if len(writes) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return whole(path, **options)

    monkeypatch.setattr(job, "atomic_write", full)
    with ThreadPoolExecutor(1) as one, pytest.raises(StorageFullError, match="No space left"):
        run_here(lenses, tmp_path, one)
    states = list(summarise(tmp_path)["status"])
    assert states.count("done") >= 1
    monkeypatch.undo()
    assert list(run_here(lenses, tmp_path, threads)["status"]).count("done") == N


def test_disk_without_room_for_all_is_refused_after_the_first(lenses, tmp_path, threads, monkeypatch):
    """By the size of what the first lens left; that is kept, and the same call resumes."""

    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with ThreadPoolExecutor(1) as one, pytest.raises(StorageFullError, match=r"\d more lenses need"):
        run_here(lenses, tmp_path, one)
    assert list(summarise(tmp_path)["status"]).count("done") >= 1
    monkeypatch.undo()
    assert list(run_here(lenses, tmp_path, threads)["status"]).count("done") == N


@dataclass(frozen=True)
class DeadlyEntry:
    """Whoever unpickles it dies, as by SIGKILL."""

    name: str
    problem: str = ""
    number: int = 0

    def __reduce__(self):
        return os._exit, (9,)


def test_worker_that_dies_takes_no_other_lens_with_it(lenses, tmp_path):
    entries = [entry for entry in read_catalogue(lenses / "catalogue.ecsv") if entry.name != "junk"]
    entries.insert(1, DeadlyEntry("deadly"))  # the next one waits in the pool that breaks
    jobs = [Job(entry, os.fspath(tmp_path), STAGES, 0, False) for entry in entries]
    from lenssuper.catalog.engine import _Processes

    engine = _Processes(1)
    try:
        names = [finished.entry.name for finished in Queue(engine, jobs)]
    finally:
        engine.close()
    assert sorted(names) == sorted(entry.name for entry in entries)
    summary = summarise(tmp_path)
    states = dict(zip(summary["name"], summary["status"], strict=True))
    assert states == {"lens-0": "done", "lens-1": "done", "lens-2": "done", "deadly": "failed"}
    assert "died" in read_record(tmp_path / "deadly.json")["reason"]


class BrokenPool(ThreadPoolExecutor):
    """What a pool of processes does from the death of one of them on."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_exception(BrokenProcessPool("a process died"))
        return future


def test_broken_executor_of_the_user_is_named(tmp_path):
    jobs = [Job(DeadlyEntry("deadly"), os.fspath(tmp_path), STAGES, 0, False)]
    with BrokenPool(1) as pool, pytest.raises(RuntimeError, match="a worker was killed"):
        list(Queue(Engine(pool, 1), jobs))


def test_no_more_lenses_are_on_their_way_than_workers_need():
    class Counting(Engine):
        most = 0
        open = 0

        def submit(self, function, argument):
            self.open += 1
            self.most = max(self.most, self.open)
            future = self._executor.submit(lambda: None)
            future.add_done_callback(lambda _: None)
            return future

    with ThreadPoolExecutor(2) as pool:
        engine = Counting(pool, 2)
        for _ in Queue(engine, (object() for _ in range(50))):
            engine.open -= 1
    assert engine.most <= 4


def test_dask_is_the_default_engine(lenses, tmp_path):
    pytest.importorskip("distributed")
    with open_engine(workers=1) as engine:
        assert type(engine._executor).__module__.startswith("distributed")
        entry = read_catalogue(lenses / "catalogue.ecsv")[0]
        (finished,) = Queue(engine, [Job(entry, os.fspath(tmp_path), STAGES, 0, False)])
    assert finished.result.exists()


def test_script_without_a_guard_is_told(monkeypatch):
    """A worker imports the script that started it: it is told, and so is who waits for it."""
    distributed = pytest.importorskip("distributed")

    def fails(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", fails)
    with (
        pytest.raises(RuntimeError, match=r"no worker.*Nanny.*__name__ == '__main__'"),
        open_engine(workers=1),
    ):
        pass
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match=r"below such a line"), open_engine(workers=1):
        pass


def test_bad_arguments(lenses, tmp_path, threads):
    with pytest.raises(TypeError, match="solver must be a Solver"):
        run_here(lenses, tmp_path, threads, solver=3)
    for shard in ((0, 2), (3, 2), "1/2", (1,)):
        with pytest.raises(ValueError, match="shard must be"):
            run_here(lenses, tmp_path, threads, shard=shard)
    with pytest.raises(TypeError, match=r"executor must be a concurrent\.futures\.Executor"):
        run_here(lenses, tmp_path, 3)
