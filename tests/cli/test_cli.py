"""The command line: what it reads, writes, prints and answers when something is wrong."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from matplotlib.figure import Figure
from scipy.ndimage import zoom

from lenssuper import (
    SIE,
    ForwardModel,
    LensModel,
    Observation,
    SuperResolution,
    __version__,
    datasets,
    read_observation,
    write_observation,
)
from lenssuper import simulate as simulation
from lenssuper.cli import _parser, main
from lenssuper.cli._common import _EXAMPLES
from lenssuper.exceptions import LensSuperWarning
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.solvers import Posterior

random_mock = simulation.random_mock  # before a test makes smaller ones of it


class StandIn:
    """A SuperResolver that finds a uniform source at once, and remembers what it was asked."""

    calls = ()

    def __init__(self, lens, factor=2, **options):
        self.lens, self.factor, self.options = lens, factor, options

    def __call__(self, observation):
        StandIn.calls = (*StandIn.calls, (self, observation))
        grid = square_source_grid(Observation.of(observation), self.lens, self.factor, 16)
        model = ForwardModel(observation, self.lens, factor=self.factor, source_grid=grid)
        mean = np.full(model.in_shape, 0.1)
        draws = np.stack([mean, 1.1 * mean])
        return SuperResolution.from_posterior(
            model, Posterior(mean=mean, std=0.1 * mean, draws=draws, effective_modes=1.0), solver="StandIn"
        )


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr("lenssuper.superres.superresolver.SuperResolver", StandIn)
    monkeypatch.setattr(StandIn, "calls", ())
    # what the picture shows is tested elsewhere, and takes its time; so does the verdict
    monkeypatch.setattr(SuperResolution, "plot", lambda self: Figure(figsize=(1, 1)))
    monkeypatch.setattr("lenssuper.superres.comparison.plot_comparison", lambda *_: Figure(figsize=(1, 1)))
    monkeypatch.setattr("lenssuper.superres.result.judge_result", lambda *_: None)
    return StandIn


@pytest.fixture
def small(monkeypatch):
    def small_mock(rng, **options):
        return random_mock(rng, **{**options, "shape": (20, 24)})

    monkeypatch.setattr(simulation, "random_mock", small_mock)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """An observation and its lens, as files."""
    directory = tmp_path_factory.mktemp("inputs")
    mock = random_mock(2, shape=(20, 24))
    write_observation(Observation.from_nddata(mock.observation), directory / "ring.fits")
    mock.lens.write(directory / "lens.json")
    return directory


@pytest.fixture
def run(inputs, stand_in, tmp_path, monkeypatch):
    """Call ``lenssuper run`` on them in an empty directory, and give the observation that was solved."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, lens=None):
        status = main(
            ["run", str(inputs / "ring.fits"), "--lens", str(lens or inputs / "lens.json"), *arguments]
        )
        return status, stand_in.calls[-1][1] if stand_in.calls else None

    return call


def only_error(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("lenssuper: error: ")
    return line


# Without a command


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"lenssuper {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["sharpen"], "invalid choice: 'sharpen'"),
        (["run", "ring.fits"], "--lens"),
        (["run", "--lens", "lens.json"], "OBS.fits"),
        (["run", "a.fits", "--lens", "b", "--factor", "0"], "must be an integer, 1 or more; got '0'"),
        (["demo", "--factor", "1.5"], "must be an integer, 1 or more; got '1.5'"),
        (["demo", "--seed", "-1"], "--seed"),
        (["simulate"], "--output"),
        (["simulate", "--output", "x", "--instrument", "hst"], "hst-acs-f814w"),
        (["simulate", "--output", "x", "--n", "0"], "1 or more"),
        (["simulate", "--output", "x", "--dark-matter", "warm"], "vortex"),
        (["simulate", "--output", "x", "--no-split", "--split", "1", "0", "0"], "not allowed with"),
    ],
)
def test_wrong_usage_ends_with_two(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_run_measures(inputs, stand_in, tmp_path, capsys):
    arguments = ["run", str(inputs / "ring.fits"), "--lens", str(inputs / "lens.json")]
    arguments += ["--output", str(tmp_path / "out.fits"), "--measure", "2", "--z-source", "1.5"]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert str(tmp_path / "out_measures.ecsv") in said["files"]
    table = QTable.read(tmp_path / "out_measures.ecsv")
    assert said["measured"]["flux"]["p84"] == pytest.approx(table["flux"][2].value)
    assert said["measured"]["radius_kpc"]["unit"] == "kpc"
    assert len(table.meta["images"]) == len([n for n in table.colnames if n.startswith("magnification_")])
    assert main([*arguments, "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert "half light radius" in printed
    assert "aperture share" in printed
    assert main([*arguments[:6], "--z-source", "1.5", "--overwrite"]) == 1
    assert "add --measure" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "simulate", "run"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--factor" in capsys.readouterr().out


@pytest.mark.parametrize("command", _EXAMPLES)
def test_help_ends_with_an_example_that_is_understood(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.endswith(f"Example: lenssuper {command} {_EXAMPLES[command]}".rstrip())
    options = _parser().parse_args([command, *_EXAMPLES[command].split()])
    assert callable(options.command)


def test_help_says_units_and_defaults():
    """Of every option that takes a value."""
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    units = "arcsec|pixels|in seconds|minutes|unit of the data|"
    units += "solar masses|redshift|"
    units += "variance|standard deviations|shares|S/N|angles|rate"  # these have no dimension
    silent = []
    for name, command in commands.choices.items():
        for action in command._actions:
            if action.nargs == 0 or not action.option_strings or action.dest == "help":
                continue
            words = action.help or ""
            if not action.required and "default" not in words:
                silent.append(f"{name} {action.dest}: default")
            if action.type is float and not re.search(units, words):
                silent.append(f"{name} {action.dest}: unit")
    assert not silent


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom lenssuper.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "lenssuper", "run", "nothing.fits"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: lenssuper run")


# run


def test_run_writes_a_result_and_a_picture(run, stand_in, tmp_path, capsys, inputs):
    status, _ = run("--factor", "3", "--seed", "4")
    assert status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ring_lenssuper.fits", "ring_lenssuper.png"]
    result = SuperResolution.read("ring_lenssuper.fits")
    assert result.image.shape == (60, 72)
    assert result.lens == LensModel.read(inputs / "lens.json")
    assert (tmp_path / "ring_lenssuper.png").read_bytes().startswith(b"\x89PNG")
    solver = stand_in.calls[0][0]
    assert (solver.factor, solver.options["rng"], solver.options["progress"]) == (3, 4, None)
    out, err = capsys.readouterr()
    assert f"reduced {result.reduced_chi2:.3f}" in out
    assert "ring_lenssuper.fits" in out
    assert err == ""


def test_run_with_a_network(run, stand_in, tmp_path):
    from lenssuper.networks import Unrolled
    from lenssuper.networks.weights import write_network
    from lenssuper.solvers import NetworkSolver

    write_network(tmp_path / "own.safetensors", Unrolled(n_stages=1, widths=(4, 8)), {})
    assert run()[0] == 0
    assert run("--overwrite", "--network", "euclid", "--refine")[0] == 0
    assert run("--overwrite", "--network", str(tmp_path / "own.safetensors"))[0] == 0
    default, shipped, own = (call[0].options["solver"] for call in stand_in.calls)
    assert default is None
    assert isinstance(shipped, NetworkSolver)
    assert shipped.refine
    assert shipped.network.n_stages == 4
    assert own.network.n_stages == 1
    assert not own.refine


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--refine"], "add --network"),
        (["--network", "gemini"], "euclid, hst, jwst"),
        (["--network", "hst", "--factor", "3"], "factor must be 2"),
    ],
)
def test_run_with_no_such_network(run, options, complaint, capsys):
    assert run(*options)[0] == 1
    assert complaint in only_error(capsys)


def test_run_solves_the_observation_as_it_is(run, inputs):
    _, solved = run()
    given = read_observation(inputs / "ring.fits")
    np.testing.assert_array_equal(solved.data, given.data)
    np.testing.assert_allclose(solved.weights, given.weights, rtol=1e-14)
    np.testing.assert_array_equal(solved.psf, given.psf)
    assert solved.grid == given.grid
    assert (solved.psf_oversampling, solved.psf_includes_pixel) == (1, True)


def test_run_names_its_files_as_asked(run, tmp_path):
    (tmp_path / "sub").mkdir()
    run("--output", "sub/a.fits", "--png", "b.png")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.fits", "b.png"]


def test_run_replaces_only_when_asked(run, stand_in, tmp_path, capsys):
    (tmp_path / "a.png").write_text("mine")
    status, _ = run("--output", "a.fits")
    assert status == 1
    assert only_error(capsys) == "lenssuper: error: a.png exists; add --overwrite to replace it"
    assert stand_in.calls == ()  # and not after the work is done
    assert (tmp_path / "a.png").read_text() == "mine"
    status, _ = run("--output", "a.fits", "--overwrite", "--quiet")
    assert status == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_quiet_prints_nothing(run, stand_in, capsys):
    run("--quiet")
    assert capsys.readouterr() == ("", "")
    assert stand_in.calls[0][0].options["progress"] is False


def test_run_takes_a_psf(run, tmp_path):
    psf = np.zeros((15, 15))
    psf[5:10, 5:10] = 1 / 25
    fits.writeto(tmp_path / "psf.fits", psf)
    _, solved = run("--psf", "psf.fits", "--psf-oversampling", "3", "--optical-psf")
    np.testing.assert_allclose(solved.psf, psf)
    assert (solved.psf_oversampling, solved.psf_includes_pixel) == (3, False)


@pytest.mark.filterwarnings("ignore:the model is off")  # the light is none
def test_run_subtracts_the_light_of_the_lens(run, inputs, tmp_path):
    given = read_observation(inputs / "ring.fits").data
    light = np.arange(480.0).reshape(20, 24)
    fits.writeto(tmp_path / "light.fits", light)
    _, solved = run("--lens-light", "light.fits", "--output", "a.fits")
    np.testing.assert_allclose(solved.data, given - light)
    with fits.open(inputs / "ring.fits") as hdus:
        hdus.append(fits.ImageHDU(2 * light, name="LENSLIGHT"))
        hdus[0].header["LSNEXT"] += 1
        hdus.writeto(tmp_path / "ring.fits", checksum=True)
    status = main(["run", "ring.fits", "--lens", str(inputs / "lens.json"), "--lens-light", "lenslight"])
    assert status == 0
    np.testing.assert_allclose(StandIn.calls[-1][1].data, given - 2 * light)


def test_run_masks(run, inputs, tmp_path):
    bad = np.zeros((20, 24), dtype=np.uint8)
    bad[2, 3] = 7
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(bad)]).writeto(tmp_path / "bad.fits")
    _, solved = run("--mask", "bad.fits")
    assert np.argwhere(solved.mask).tolist() == [[2, 3]]


def test_run_uses_an_annulus(run, inputs, tmp_path):
    SIE(theta_E=0.5 * u.arcsec, q=0.8, x=0.3 * u.arcsec, y=-0.2 * u.arcsec).write(tmp_path / "off.json")
    _, solved = run("--annulus", "0.2", "0.7", lens=tmp_path / "off.json")
    x, y = (c.to_value(u.arcsec) for c in solved.grid.centers)
    radius = np.hypot(x - 0.3, y + 0.2)
    np.testing.assert_array_equal(solved.mask, (radius < 0.2) | (radius > 0.7))
    assert 0 < solved.mask.sum() < solved.mask.size


@pytest.mark.parametrize(
    "options", [(), ("--annulus", "0.2", "0.7"), ("--annulus", "0.2", "0.7", "--exposures")]
)
def test_run_reads_once_and_measures_the_noise_once_in_all_of_the_image(run, stand_in, monkeypatch, options):
    from lenssuper import observation

    pixels, paths = [], []
    measure, read = observation.image.measure_covariance, observation.read_observation

    def counted(data, weights, mask):
        pixels.append(np.count_nonzero(~mask))
        return measure(data, weights, mask)

    def noted(path, **given):
        paths.append(path)
        return read(path, **given)

    monkeypatch.setattr(observation.image, "measure_covariance", counted)
    monkeypatch.setattr(observation, "read_observation", noted)
    status, _ = run(*options)
    assert status == 0
    assert len(paths) == 1
    assert pixels == [480]


def test_run_scales_the_noise(run, inputs):
    _, solved = run("--noise-scale", "0.5")
    np.testing.assert_allclose(solved.sigma, 0.5 * read_observation(inputs / "ring.fits").sigma)


def test_run_passes_on_how_the_noise_is_correlated(run, stand_in):
    _, solved = run()
    assert solved.noise_given is None
    _, solved = run("--noise-correlation", "1.5", "--overwrite")
    assert solved.noise_given == 1.5


def test_run_reads_coolest(run, tmp_path, stand_in):
    lens = SIE(theta_E=0.7 * u.arcsec, q=0.8, phi=20 * u.deg)
    (tmp_path / "coolest.json").write_text(json.dumps(lens.to_coolest(z_lens=0.5)))
    status, _ = run(lens=tmp_path / "coolest.json")
    assert status == 0
    assert stand_in.calls[0][0].lens.theta_E.to_value(u.arcsec) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--psf", "nothing.fits"], "nothing.fits: No such file or directory"),
        (["--psf", "text.fits"], "text.fits cannot be read as a FITS image"),
        (["--psf", "empty.fits"], "empty.fits holds no image"),
        (
            ["--mask", "even.fits"],
            "--mask must have the shape of the image, (20, 24); PRIMARY of",
        ),
        (["--lens-light", "LENSLIGHT"], "'LENSLIGHT' is neither a file nor an image in"),
        (["--lens-light", "even.fits"], "--lens-light must have the shape"),
        (["--annulus", "2", "1"], "--annulus must be two distances, the smaller first; got 2.0 and 1.0"),
        (["--annulus", "50", "60"], "no pixel is left to use: all are masked"),
        (["--noise-scale", "0"], "--noise-scale must be positive; got 0.0"),
        (["--output", "no/where.fits"], "the directory no does not exist"),
        (["--output", "."], ". is a directory"),
        (["--html", "a.fits", "--output", "a.fits"], "each output must have a name of its own"),
        (["--overwrite", "--output", "/dev/null", "--png", "a.png"], "/dev/null is a pipe or a device"),
        (["--output", "out.png"], "must not have the name of the picture, out.png"),
    ],
)
def test_run_says_what_is_wrong(run, stand_in, tmp_path, capsys, arguments, complaint):
    (tmp_path / "text.fits").write_text("text")
    fits.writeto(tmp_path / "even.fits", np.ones((4, 4)))
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    status, _ = run(*arguments)
    assert status == 1
    assert complaint in only_error(capsys)
    assert stand_in.calls == ()


def test_run_keeps_its_inputs(inputs, tmp_path, capsys, stand_in):
    """Whatever the option that names an input, an output must not replace it."""
    before = (inputs / "ring.fits").read_bytes()
    (tmp_path / "link.fits").symlink_to(inputs / "ring.fits")
    (tmp_path / "other.fits").write_bytes(before)
    lens = ["--lens", str(inputs / "lens.json")]
    for given in ([inputs / "ring.fits"], [tmp_path / "other.fits", "--psf", inputs / "ring.fits"]):
        for output in (inputs / "ring.fits", tmp_path / "link.fits"):
            assert main(["run", *map(str, given), *lens, "--overwrite", "--output", str(output)]) == 1
            assert "is an input" in only_error(capsys)
    assert (inputs / "ring.fits").read_bytes() == before
    assert stand_in.calls == ()


def test_run_names_a_file_it_cannot_read(run, inputs, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    assert run(lens=tmp_path / "bad.json")[0] == 1
    assert "bad.json cannot be read as a JSON file" in only_error(capsys)
    assert run(lens=tmp_path / "no.json")[0] == 1
    assert "no.json: No such file" in only_error(capsys)
    assert main(["run", "no.fits", "--lens", str(inputs / "lens.json")]) == 1
    assert "no.fits: No such file" in only_error(capsys)


def fail_with(monkeypatch, error):
    def fail(self, observation):
        raise error

    monkeypatch.setattr(StandIn, "__call__", fail)


def test_an_error_is_one_line_and_debug_shows_the_rest(run, monkeypatch, capsys, tmp_path):
    fail_with(monkeypatch, RuntimeError("the matrix\n is singular"))
    assert run()[0] == 1
    line = only_error(capsys)
    assert line == "lenssuper: error: RuntimeError: the matrix is singular (--debug shows where)"
    with pytest.raises(RuntimeError, match="singular"):
        run("--debug")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_behind(run, monkeypatch, capsys, tmp_path):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert run()[0] == 130
    assert capsys.readouterr() == ("", "lenssuper: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_the_picture_is_drawn(run, monkeypatch, tmp_path):
    def interrupt(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupt)
    assert run()[0] == 130
    # the result is whole, and nothing else is there
    assert [path.name for path in tmp_path.iterdir()] == ["ring_lenssuper.fits"]
    SuperResolution.read("ring_lenssuper.fits")


def test_a_warning_is_one_line(run, monkeypatch, capsys):
    resolve = StandIn.__call__

    def warn(self, observation):
        warnings.warn("the psf\nis odd", LensSuperWarning, stacklevel=1)
        return resolve(self, observation)

    monkeypatch.setattr(StandIn, "__call__", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert run("--quiet")[0] == 0
    assert capsys.readouterr().err == "lenssuper: warning: the psf is odd\n"


# simulate


def test_simulate_writes_what_run_reads(tmp_path, capsys):
    directory = tmp_path / "mocks"
    options = ["--n", "2", "--no-split", "--size", "44", "--snr", "30", "31"]
    assert main(["simulate", "--output", str(directory), *options]) == 0
    names = sorted(path.name for path in directory.iterdir())
    endings = (".fits", "_lens.json", "_truth.fits")
    assert names == ["dataset.json", *(f"mock_00000{i}{end}" for i in (0, 1) for end in endings)]
    observation = read_observation(directory / "mock_000001.fits")
    lens = LensModel.read(directory / "mock_000001_lens.json")
    assert observation.shape == (44, 44)
    assert capsys.readouterr().out == f"wrote    {directory}: 2 lenses\n"
    with fits.open(directory / "mock_000001_truth.fits") as hdus:
        image, noiseless = hdus["IMAGE"].data, hdus["MODEL"].data
        snr = (noiseless / observation.sigma).max()
        assert hdus["IMAGE"].shape == (88, 88)
        assert hdus["SOURCE"].header["CTYPE1"] == "RA---TAN"
        assert u.Unit(hdus["IMAGE"].header["BUNIT"]) == observation.unit
    # the truth is what was observed, but for PSF and noise
    assert 29 < snr < 32
    assert np.median(np.abs(observation.data - noiseless) / observation.sigma) < 1.0
    assert image.mean() == pytest.approx(noiseless.mean(), rel=0.1)
    assert lens.components[0].theta_E > 0.9 * u.arcsec


def test_simulated_lenses_do_not_depend_on_how_many(tmp_path):
    options = ["--size", "16", "--seed", "3", "--sources", "sersic", "--quiet"]
    main(["simulate", "--output", str(tmp_path / "one"), "--n", "1", *options])
    main(["simulate", "--output", str(tmp_path / "two"), "--n", "2", *options])
    one, two, other = (
        read_observation(tmp_path / name).data
        for name in (
            "one/train/mock_000000.fits",
            "two/train/mock_000000.fits",
            "two/train/mock_000001.fits",
        )
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_simulate_with_an_instrument(tmp_path):
    options = ["--instrument", "euclid-vis", "--size", "16", "--factor", "3", "--quiet"]
    assert main(["simulate", "--output", str(tmp_path), *options]) == 0
    (item,) = datasets.read_dataset(tmp_path)
    assert item.observation.grid.pixel_scale.to_value(u.arcsec) == pytest.approx(0.1)
    assert item.truth.image.shape == (48, 48)


@pytest.mark.parametrize(("name", "size"), [("jwst-nircam-f150w", 171), ("lsst-i", 64)])
def test_a_simulated_field_has_room_for_the_ring(name, size, monkeypatch, tmp_path, capsys):
    def remember(directory, n, *, shape, **options):
        assert shape == (size, size)
        raise ValueError("seen")

    monkeypatch.setattr(datasets, "write_dataset", remember)
    assert main(["simulate", "--output", str(tmp_path), "--instrument", name, "--quiet"]) == 1
    assert "seen" in capsys.readouterr().err


def test_simulate_goes_on_and_replaces_only_when_asked(tmp_path, capsys):
    directory = tmp_path / "set"
    (directory / "train").mkdir(parents=True)
    (directory / "train" / "mock_000001_truth.fits").write_text("mine")
    options = ["simulate", "--output", str(directory), "--n", "2", "--size", "16", "--quiet"]
    assert main(options) == 1
    assert "mock_000001_truth.fits exists" in only_error(capsys)
    assert len(list(directory.rglob("*.*"))) == 1
    assert main([*options, "--overwrite"]) == 0
    assert len(list(directory.rglob("*.*"))) == 7
    assert main([*options[:-1], "--seed", "1"]) == 1
    assert "other settings: seed was 0 and is now 1" in only_error(capsys)
    assert main(options) == 0


def test_simulate_a_divided_set_with_dark_matter_and_sersics(tmp_path, capsys):
    options = ["--n", "10", "--size", "16", "--sources", "sersic", "--layout", "hdf5"]
    options += ["--dark-matter", "none", "cdm-points"]
    assert main(["simulate", "--output", str(tmp_path), *options]) == 0
    assert capsys.readouterr().out == f"wrote    {tmp_path}: 8 train, 1 validation, 1 test\n"
    dataset = datasets.read_dataset(tmp_path)
    assert {item.truth.dark_matter for item in dataset} == {"none", "cdm"}
    assert all(len(item.lens.components) == 2 for item in dataset)
    assert dataset.settings["sources"].endswith("random_sersics")


def test_simulate_with_images_of_galaxies(tmp_path, capsys):
    h5py = pytest.importorskip("h5py")
    galaxies = tmp_path / "galaxies"
    galaxies.mkdir()
    y, x = np.mgrid[:41, :41] - 20.0
    noise = np.random.default_rng(0).normal(0, 0.01, x.shape)
    fits.writeto(galaxies / "a.fits", np.exp(-(x**2 + 4 * y**2) / 50) + noise)
    options = ["simulate", "--output", str(tmp_path / "set"), "--size", "16", "--quiet"]
    assert main([*options, "--sources", str(galaxies)]) == 0
    assert str(galaxies) in datasets.read_dataset(tmp_path / "set").settings["sources"]
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as file:  # in the layout of that set
        bright = (200 * np.exp(-(x**2 + y**2) / 50) + 10).astype(np.uint8)
        file["images"] = np.stack([bright] * 3, axis=-1)[None]
        for name in ("ans", "ra", "dec", "redshift", "pxscale"):
            file[name] = np.ones(1, dtype=int)
    assert main([*options, "--overwrite", "--sources", str(tmp_path / "Galaxy10.h5")]) == 0
    assert "ImageSources(Galaxy10(" in datasets.read_dataset(tmp_path / "set").settings["sources"]
    assert main([*options, "--sources", str(tmp_path / "nothing")]) == 1
    assert "--sources must be spiral, sersic, galaxy10 or a directory" in only_error(capsys)


def test_simulate_on_another_angular_scale(tmp_path, capsys):
    options = [
        "simulate",
        "--n",
        "3",
        "--size",
        "16",
        "--no-split",
        "--sources",
        "sersic",
        "--quiet",
        "--output",
    ]
    assert main([*options, str(tmp_path / "one")]) == 0
    assert main([*options, str(tmp_path / "half"), "--angles", "0.5"]) == 0
    one, half = (datasets.read_dataset(tmp_path / name) for name in ("one", "half"))
    for whole, small in zip(one, half, strict=True):
        sie, less = whole.lens.components[0], small.lens.components[0]
        assert less.theta_E.to_value(u.arcsec) == pytest.approx(0.5 * sie.theta_E.to_value(u.arcsec))
        assert less.x.to_value(u.arcsec) == pytest.approx(0.5 * sie.x.to_value(u.arcsec))
        assert less.q == sie.q
    assert main([*options, str(tmp_path / "none"), "--angles", "0"]) == 1
    assert "--angles must be positive; got 0" in only_error(capsys)
    (tmp_path / "galaxies").mkdir()
    fits.writeto(tmp_path / "galaxies" / "a.fits", np.ones((9, 9)))
    options[options.index("sersic")] = str(tmp_path / "galaxies")
    assert main([*options, str(tmp_path / "none"), "--angles", "0.5"]) == 1
    assert "--angles is for sources that are drawn" in only_error(capsys)


# demo


def test_demo(stand_in, small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--seed", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    names = ["demo.fits", "demo.html", "demo.png", "lens.json", "observation.fits"]
    assert sorted(path.name for path in (tmp_path / "lenssuper-demo").iterdir()) == names
    result = SuperResolution.read("lenssuper-demo/demo.fits")
    for word in ("chi2", f"reduced {result.reduced_chi2:.3f}", "dB over cubic interpolation", "time "):
        assert word in out

    # the gain, by hand
    mock = random_mock(2, shape=(20, 24), factor=2)
    truth = mock.image(2)
    np.testing.assert_allclose(
        read_observation("lenssuper-demo/observation.fits").data, mock.observation.data
    )

    def psnr(image):
        return -10 * np.log10(np.mean(((image - truth) / truth.max()) ** 2))

    cubic = psnr(zoom(mock.observation.data, 2, order=3, mode="nearest", grid_mode=True))
    assert f"{psnr(result.image.data) - cubic:+.1f} dB" in out
    assert f"(PSNR {cubic:.1f} to {psnr(result.image.data):.1f})" in out

    # the command that is printed works, and the demo runs again
    command = shlex.split(next(line for line in out.splitlines() if line.startswith("try")))[1:]
    assert command[0] == "lenssuper"
    assert main(command[1:]) == 0
    assert main(["demo", "--seed", "2", "--quiet"]) == 0


def test_demo_elsewhere(stand_in, small, tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path / "a" / "b"), "--factor", "1", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert SuperResolution.read(tmp_path / "a" / "b" / "demo.fits").factor == 1


def test_demo_of_the_real_lens(stand_in, tmp_path, capsys):
    from lenssuper.datasets import cosmos_web_ring

    assert main(["demo", "--real", "--output", str(tmp_path), "--factor", "1"]) == 0
    out = capsys.readouterr().out
    assert "COSMOS-Web ring" in out
    assert "dB" not in out  # nobody knows the truth
    ring = cosmos_web_ring()
    result = SuperResolution.read(tmp_path / "demo.fits")
    np.testing.assert_allclose(result.observation.data, ring.observation.data)
    np.testing.assert_allclose(result.observation.noise_covariance, ring.observation.noise_covariance)
    assert result.lens.to_dict() == ring.lens.to_dict()
    with pytest.raises(SystemExit):
        main(["demo", "--real", "--seed", "1"])


# Mistakes


MISTAKES = [
    (["run", "no.fits", "--lens", "lens.json"], "no.fits: No such file or directory"),
    (["run", "text.fits", "--lens", "lens.json"], "text.fits cannot be read as a FITS image"),
    (["run", "ring.fits", "--lens", "text.fits"], "text.fits cannot be read as a JSON file"),
    (["run", "ring.fits", "--lens", "lens.json", "--mask", "no.fits"], "no.fits: No such file"),
    (["run", "ring.fits", "--lens", "lens.json", "--network", "gemini"], "euclid, hst, jwst"),
    (["fit-light", "ring.fits", "--arcs", "text.fits"], "text.fits cannot be read as a FITS image"),
    (["train", "nowhere", "--output", "net.safetensors"], "nowhere: No such file or directory"),
    (["batch", "no.ecsv", "--output", "out"], "no.ecsv: No such file or directory"),
    (["prepare", "ring.fits", "--output", "no/where.fits"], "the directory no does not exist"),
]


@pytest.fixture(scope="module")
def answers(inputs, tmp_path_factory):
    """What one process answers to all mistakes in turn: status, output, errors, what is loaded by then."""
    directory = tmp_path_factory.mktemp("mistakes")
    for name in ("ring.fits", "lens.json"):
        (directory / name).write_bytes((inputs / name).read_bytes())
    (directory / "text.fits").write_text("text")
    code = (
        "import contextlib, io, json, sys\nfrom lenssuper.cli import main\nanswers = []\n"
        f"for arguments in {[arguments for arguments, _ in MISTAKES]!r}:\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        status = main(arguments)\n"
        "    loaded = sorted({'torch', 'matplotlib', 'scipy'} & set(sys.modules))\n"
        "    answers.append([status, out.getvalue(), err.getvalue(), loaded])\n"
        "print(json.dumps(answers))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=directory
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda number: " ".join(MISTAKES[number][0]))
def test_mistakes_answer_before_anything_slow_is_loaded(number, answers):
    status, out, err, loaded = answers[number]
    assert MISTAKES[number][1] in err
    assert (status, out, loaded) == (1, "", [])
