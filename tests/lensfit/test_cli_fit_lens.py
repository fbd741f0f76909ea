"""``lenssuper fit-lens``, and what it writes going on to ``lenssuper run``."""

import pytest

from lenssuper import LensFit, Observation, write_observation
from lenssuper.cli import main


@pytest.fixture
def files(mock, truth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), "obs.fits")
    truth.write("guess.json")
    return tmp_path


def test_fit_goes_on_to_run(files, truth, capsys):
    fixed = ["SIE.q", "SIE.phi", "SIE.x", "SIE.y", "ExternalShear"]
    assert main(["fit-lens", "obs.fits", "--lens", "guess.json", "--fix", *fixed]) == 0
    assert "SIE.theta_E" in capsys.readouterr().out
    fit = LensFit.read("obs_lens.json")
    assert fit.names == ("SIE.theta_E",)
    assert (files / "obs_lens.png").stat().st_size > 10_000
    assert main(["fit-lens", "obs.fits", "--lens", "guess.json"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["run", "obs.fits", "--lens", "obs_lens.json", "--output", "out.fits", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--einstein-radius", "-1"], "an Einstein radius must be one positive angle"),
        (["--lens", "guess.json", "--fix", "SIE.z"], "fixed has 'SIE.z'"),
        (["--lens", "none.json"], "none.json"),
        (["--lens", "guess.json", "--output", "x.png"], "must not have the name of the picture"),
        (["--lens", "guess.json", "--annulus", "2", "1"], "--annulus must be two distances"),
    ],
)
def test_what_cannot_be(files, arguments, complaint, capsys):
    assert main(["fit-lens", "obs.fits", *arguments]) == 1
    assert complaint in capsys.readouterr().err


def test_a_guess_is_needed(files, capsys):
    with pytest.raises(SystemExit):
        main(["fit-lens", "obs.fits"])
    assert "--einstein-radius" in capsys.readouterr().err
