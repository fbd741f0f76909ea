"""``lenssuper fit-lens``, and what it writes going on to ``lenssuper run``."""

import numpy as np
import pytest
from astropy.io import fits

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


def test_light_of_the_galaxy_is_fitted_too(files, mock, capsys):
    x, y = mock.grid._centers()
    light = mock.observation.data.max() * np.exp(-np.hypot(x, y) / 0.2)
    bright = mock.observation.copy()
    bright.data = bright.data + light
    write_observation(Observation.from_nddata(bright, grid=mock.grid), "bright.fits")
    fits.writeto("light.fits", 0.7 * light)
    fixed = ["--fix", "SIE.q", "SIE.phi", "SIE.x", "SIE.y", "ExternalShear"]
    options = [
        "--lens-light",
        "light.fits",
        "--fit-lens-light",
        "--annulus",
        "0",
        "1.6",
        "--output",
        "l.json",
    ]
    assert main(["fit-lens", "bright.fits", "--lens", "guess.json", *fixed, *options]) == 0
    radius = LensFit.read("l.json").lens.parameters["SIE.theta_E"]
    assert radius.to_value("arcsec") == pytest.approx(0.9, rel=0.005)
    assert LensFit.read("l.json").reduced_chi2 < 1.15


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lens", "guess.json", "--fit-lens-light"], "--fit-lens-light needs --lens-light"),
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
