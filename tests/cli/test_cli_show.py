"""``lenssuper show``, ``doctor``, ``--json`` and completion."""

from __future__ import annotations

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from lenssuper import SIE, ExternalShear, SersicFitter, SuperResolver
from lenssuper.cli import main
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.networks.pretrained import path_of
from lenssuper.observation import Observation, write_observation
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian

LENS = SIE(theta_E=0.7 * u.arcsec, q=0.8, phi=30 * u.deg) + ExternalShear(gamma1=0.02, gamma2=0.01)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of each kind."""
    here = tmp_path_factory.mktemp("files")
    mock = random_mock(3, shape=(24, 24))
    seen = Observation.from_nddata(mock.observation, grid=mock.grid)
    write_observation(seen, here / "seen.fits")
    LENS.write(here / "lens.json")
    grid, solver = square_source_grid(seen, mock.lens, 2, 20), Gaussian(n_draws=2)
    result = SuperResolver(mock.lens, solver=solver, source_grid=grid, rng=1, progress=False)(seen)
    result.write(here / "result.fits")
    SersicFitter(n_components=1)(mock.observation).write(here / "sersic.fits")
    Table({"name": ["a", "b"], "status": ["done", "failed"]}).write(here / "table.ecsv")
    return here, result


def shown(capsys, *arguments):
    assert main(["show", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("seen.fits", "observation", ["24 x 24", "electron / s", "peak S/N"]),
        ("lens.json", "lens model", ["SIE(theta_E=0.7 arcsec", "phi=30 deg [PA 120 deg E of N]"]),
        ("result.fits", "result of a super-resolution", ["Gaussian", "chi2", "factor 2"]),
        ("sersic.fits", "fit of Sersics", ["method", "BIC"]),
        ("table.ecsv", "table of 2 rows", ["failed"]),
    ],
)
def test_show(files, capsys, name, kind, words):
    here, _ = files
    text = shown(capsys, here / name)
    assert text.startswith(f"{here / name}: {kind}")
    for word in words:
        assert word in text
    found = json.loads(shown(capsys, "--json", here / name))
    assert found["kind"] == kind


def test_show_a_network(capsys):
    assert "unrolled-1" in shown(capsys, path_of("space"))
    assert json.loads(shown(capsys, "--json", path_of("space")))["parameters"] > 1e5


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What ``simulate`` writes."""
    here = tmp_path_factory.mktemp("simulated")
    assert main(["simulate", "--output", str(here), "--no-split", "--size", "24", "--quiet"]) == 0
    return here


def test_show_what_simulate_writes(simulated, capsys):
    truth = next(simulated.glob("*_truth.fits"))
    text = shown(capsys, truth)
    assert text.startswith(f"{truth}: truth of a simulated lens\nlens")
    assert "SIE(theta_E=" in text
    assert "24 x 24 pixels" in text
    found = json.loads(shown(capsys, "--json", truth))
    assert found["lens"][0]["type"] == "SIE"
    text = shown(capsys, simulated / "dataset.json")
    assert "settings of a set of lenses\nnumber       1\n" in text
    assert "24, 24" in text


def test_show_what_batch_writes(tmp_path, capsys):
    """The settings and records as `lenssuper.catalog.run` writes them."""
    settings = {"factor": 2, "solver": "LogNormal(n_draws=4)", "seed": 7, "stages": ["Read()", "FitLens()"]}
    record = {"name": "one", "status": "failed", "reason": "no light", "warnings": ["a", "b"], "stages": {}}
    record |= {"elapsed": {"reading": 0.25}, "lens": {"SIE.theta_E": [1.25, 0.125, "arcsec"]}}
    for name, content in {"settings": settings, "one": record}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    text = shown(capsys, tmp_path / "settings.json")
    for words in ("settings of the results of a catalogue", "LogNormal(n_draws=4)", "Read(), FitLens()"):
        assert words in text
    text = shown(capsys, tmp_path / "one.json")
    for words in ("record of a lens", "failed", "no light", "0.25 s", "1.25 +- 0.12 arcsec"):
        assert words in text
    assert json.loads(shown(capsys, "--json", tmp_path / "one.json"))["status"] == "failed"


def test_what_cannot_be_shown_does_not_stop_the_others(files, capsys):
    here, _ = files
    (here / "other.json").write_text("{}")
    names = ("gone.fits", "other.json", "lens.json", "table.ecsv")
    assert main(["show", *(str(here / name) for name in names)]) == 1
    said = capsys.readouterr()
    assert "lens.json: lens model" in said.out
    assert "table.ecsv: table of 2 rows" in said.out
    errors = said.err.splitlines()
    assert len(errors) == 2
    assert "gone.fits: No such file" in errors[0]
    assert "other.json" in errors[1]


def test_json_has_the_numbers_of_the_result(files, capsys):
    here, result = files
    found = json.loads(shown(capsys, "--json", here / "result.fits"))
    assert found["chi2"] == pytest.approx(result.chi2)
    assert found["log_evidence"] == pytest.approx(result.log_evidence)
    assert found["lens"][0]["type"] == "SIE"
    assert np.isfinite(found["reduced_chi2"])


def test_what_cannot_be_shown(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 1
    assert "without a set of lenses" in capsys.readouterr().err
    (tmp_path / "a.txt").write_text("text")
    assert main(["show", str(tmp_path / "a.txt")]) == 1
    assert "cannot be read as a FITS image" in capsys.readouterr().err


def test_doctor(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test"]["wrong"] == []
    assert found["versions"]["numpy"] == np.__version__


def test_run_prints_json_and_nothing_else(files, capsys, tmp_path):
    here, result = files
    result.lens.write(tmp_path / "lens.json")
    arguments = [here / "seen.fits", "--lens", tmp_path / "lens.json", "--output", tmp_path / "out.fits"]
    assert main(["run", *map(str, arguments), "--network", "space", "--json", "--seed", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [str(tmp_path / "out.fits"), str(tmp_path / "out.png")]
    assert found["solver"] == "NetworkSolver"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["--print-completion", shell]) == 0
    assert "fit-lens" in capsys.readouterr().out
