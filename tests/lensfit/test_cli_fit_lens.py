"""``lenssuper fit-lens``, and what it writes going on to ``lenssuper run``."""

import json
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from matplotlib.figure import Figure

from lenssuper import LensFit, Observation, SuperResolution, read_observation, write_observation
from lenssuper.cli import main
from lenssuper.solvers import Gaussian

FIXED = ["--fix", "SIE.q", "SIE.phi", "SIE.x", "SIE.y", "ExternalShear"]
# of ``lenssuper run``
QUICK = ["--factor", "1", "--quiet"]


@pytest.fixture(scope="module")
def observation(mock):
    """The middle of the image, which holds all arcs."""
    return Observation.from_nddata(mock.observation, grid=mock.grid)[3:-3, 3:-3]


@pytest.fixture
def files(observation, truth, tmp_path, monkeypatch):
    """A directory with an observation and a guess; what ``run`` does is quick."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lenssuper.superres.superresolver.LogNormal", lambda: Gaussian(n_draws=2))
    monkeypatch.setattr(SuperResolution, "plot", lambda self: Figure(figsize=(1, 1)))
    monkeypatch.setattr("lenssuper.cli._common._DPI", 50)
    write_observation(observation, "obs.fits")
    truth.write("guess.json")
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """Spare a fit its picture."""
    monkeypatch.setattr(LensFit, "plot", lambda self: Figure(figsize=(1, 1)))


@pytest.mark.parametrize("options", [[], ["--fit-light"]])
def test_a_radius_beyond_the_field_is_refused_at_once(files, observation, capsys, monkeypatch, options):
    monkeypatch.setattr("lenssuper.lensfit.fitter.LensedSource", pytest.fail)
    monkeypatch.setattr("lenssuper.lensfit.fitter.fit_in_turn", pytest.fail)
    half = 0.5 * np.hypot(*observation.shape) * observation.grid.side_arcsec
    radius = f"{1.01 * half:.5f}"
    assert main(["fit-lens", "obs.fits", "--einstein-radius", radius, *options]) == 1
    said = capsys.readouterr().err
    assert "exceeds the field" in said
    assert f"{float(radius):.4g} arcsec" in said
    assert not Path("obs_lens.json").exists()


def test_fit_goes_on_to_run(files, truth, capsys):
    assert main(["fit-lens", "obs.fits", "--lens", "guess.json", *FIXED]) == 0
    out = capsys.readouterr().out
    assert "SIE.theta_E" in out
    fit = LensFit.read("obs_lens.json")
    assert f"verdict  {fit.judgement.words}" in out
    assert fit.names == ("SIE.theta_E",)
    assert (files / "obs_lens.png").stat().st_size > 10_000
    assert main(["fit-lens", "obs.fits", "--lens", "guess.json"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    content = json.loads(Path("obs_lens.json").read_text())
    assert (
        main(["run", "obs.fits", "--lens", "obs_lens.json", "--output", "with.fits", "--seed", "1", *QUICK])
        == 0
    )
    exact = ["--exact-lens", "--output", "without.fits", "--seed", "1", *QUICK]
    assert main(["run", "obs.fits", "--lens", "obs_lens.json", *exact]) == 0
    errors, known = SuperResolution.read("with.fits"), SuperResolution.read("without.fits")
    assert "errors of image and source are those of noise, prior of the source, lens" in errors.messages[-1]
    assert np.mean(errors.lensed_std**2) > 1.02 * np.mean(known.lensed_std**2)
    network = ["run", "obs.fits", "--lens", "obs_lens.json", "--network", "space", "--seed", "1", "--quiet"]
    assert main([*network, "--output", "net.fits"]) == 0
    assert not any("errors of image" in each for each in SuperResolution.read("net.fits").messages)
    # more draws than a budget has by default
    assert main([*network, "--no-exact-lens", "--output", "both.fits", "--measure", "70"]) == 0
    assert QTable.read("both_measures.ecsv").meta["draws"] == 70
    assert "prior of the source, lens" in SuperResolution.read("both.fits").messages[-1]
    content["fit"].update(verdict="wrong", reasons=["it is odd"])
    Path("obs_lens.json").write_text(json.dumps(content))
    assert main(["run", "obs.fits", "--lens", "obs_lens.json", "--output", "out.fits", *QUICK[:2]]) == 0
    assert SuperResolution.read("out.fits").verdict == "wrong"
    assert "lens fit: it is odd" in capsys.readouterr().out


def test_light_and_lens_are_fitted_in_turn(files, mock, truth, undrawn, capsys):
    x, y = mock.grid.centers_arcsec()
    bright = mock.observation.copy()
    bright.data = bright.data + bright.data.max() * np.exp(-np.hypot(x, y) / 0.2)
    bright.psf = mock.observation.psf
    write_observation(Observation.from_nddata(bright, grid=mock.grid), "bright.fits")
    options = ["--fit-light", "--factor", "1", "--quiet", "--subtracted", "arcs.fits"]
    assert main(["fit-lens", "bright.fits", "--lens", "guess.json", *FIXED, *options]) == 0
    fit = LensFit.read("bright_lens.json")
    assert abs(fit.lens.parameters["SIE.theta_E"] / truth.parameters["SIE.theta_E"] - 1) < 0.02
    with fits.open("arcs.fits") as hdus:
        middle = np.s_[12:16, 12:16]
        assert abs(hdus[0].data[middle].sum()) < 0.1 * bright.data[middle].sum()
        errors = hdus["LIGHTERR"].data
    # what `run` takes from the file
    np.testing.assert_array_equal(read_observation("arcs.fits").light_errors, errors)
    assert errors[:, *middle].any()
    capsys.readouterr()
    assert main(["show", "arcs.fits"]) == 0
    assert "3 images of errors of light" in capsys.readouterr().out


def test_light_of_the_galaxy_is_fitted_too(files, mock, undrawn):
    x, y = mock.grid.centers_arcsec()
    light = mock.observation.data.max() * np.exp(-np.hypot(x, y) / 0.2)
    bright = mock.observation.copy()
    bright.data = bright.data + light
    write_observation(Observation.from_nddata(bright, grid=mock.grid), "bright.fits")
    fits.writeto("light.fits", 0.7 * light)
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
    assert main(["fit-lens", "bright.fits", "--lens", "guess.json", *FIXED, *options]) == 0
    radius = LensFit.read("l.json").lens.parameters["SIE.theta_E"]
    assert radius.to_value("arcsec") == pytest.approx(0.9, rel=0.005)
    assert LensFit.read("l.json").reduced_chi2 < 1.15


@pytest.fixture
def second(files, observation):
    """The same lens cut out elsewhere, with a WCS that is off by 0.03 arcsec."""
    moved = observation[2:, 1:].moved_by([-0.03, 0] * u.arcsec)
    # its own centre is the zero of what a file is read as
    write_observation(Observation.from_nddata(moved.to_nddata()), "second.fits")
    return files


def test_bands_go_on_to_run(second, capsys):
    both = ["obs.fits", "second.fits"]
    options = ["--annulus", "0.3", "1.6", "--output", "fit.json"]
    assert main(["fit-lens", *both, "--lens", "guess.json", *FIXED, *options]) == 0
    assert "image 2" in capsys.readouterr().out
    fit = LensFit.read("fit.json")
    assert len(fit.parts) == 2
    assert fit.offsets[1, 0].to_value("arcsec") == pytest.approx(0.03, abs=3e-3)
    assert fit.offsets[1, 1].to_value("arcsec") == pytest.approx(0, abs=3e-3)
    assert (second / "fit.png").stat().st_size > 10_000
    assert main(["run", *both, "--lens", "fit.json", "--output", "out", *QUICK]) == 0
    for name in both:
        result = SuperResolution.read(second / "out" / name.replace(".fits", "_lenssuper.fits"))
        assert result.reduced_chi2 < 1.15
        assert (second / "out" / name.replace(".fits", "_lenssuper.png")).is_file()


def test_exposures_have_one_source(second, undrawn, capsys):
    both = ["obs.fits", "second.fits", "--exposures"]
    assert main(["fit-lens", *both, "--lens", "guess.json", *FIXED]) == 0
    assert LensFit.read("obs_lens.json").offsets[1, 0].to_value("arcsec") == pytest.approx(0.03, abs=2e-3)
    assert main(["run", *both, "--lens", "obs_lens.json", *QUICK]) == 0
    sources = [SuperResolution.read(f"{name}_lenssuper.fits").source.data for name in ("obs", "second")]
    np.testing.assert_array_equal(*sources)
    # what belongs together
    assert main(["run", "second.fits", "--lens", "obs_lens.json", "--overwrite"]) == 1
    assert "was fitted to 2 observations: give all of them, in the same order" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["obs.fits", "second.fits", "--png", "a.png"], "--png is for one observation"),
        (["obs.fits", "obs.fits"], "each must have a name of its own"),
        (["obs.fits", "second.fits", "--output", "guess.json"], "--output must be a directory for several"),
        (["obs.fits", "none.fits"], "none.fits"),
    ],
)
def test_what_several_cannot_be(second, arguments, complaint, capsys):
    assert main(["run", *arguments, "--lens", "guess.json"]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lens", "guess.json", "--fit-lens-light"], "--fit-lens-light needs --lens-light"),
        (["--lens", "guess.json", "--subtracted", "a.fits"], "--subtracted is for --fit-light"),
        (["--lens", "guess.json", "--fit-light", "--fit-lens-light"], "--fit-light is for one observation"),
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
