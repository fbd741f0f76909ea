"""``lenssuper fit-light``: what it reads, writes, prints and answers when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from matplotlib.figure import Figure

from lenssuper import SIE, Observation, read_observation, write_observation
from lenssuper.cli import main
from lenssuper.light import ForegroundFit
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens

LENS = SIE(theta_E=0.7 * u.arcsec, q=0.8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An observation of a galaxy in front of a ring, and the lens."""
    folder = tmp_path_factory.mktemp("inputs")
    source = SersicSource(0.12 * u.arcsec, 1.0, x=0.05 * u.arcsec)
    light = SersicSource(0.25 * u.arcsec, 2.5, q=0.8, amplitude=1.5)
    mock = mock_lens(LENS, source, HST_ACS_F814W, shape=(48, 48), peak_snr=25, lens_light=light, rng=1)
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), folder / "obs.fits")
    LENS.write(folder / "lens.json")
    return folder


@pytest.fixture
def fit_light(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ForegroundFit, "plot", lambda self: Figure(figsize=(1, 1)))
    return lambda *options: main(["fit-light", str(files / "obs.fits"), *options])


def test_writes_the_observation_without_the_galaxy(fit_light, files, tmp_path, capsys):
    assert fit_light("--components", "1") == 0
    before, after = read_observation(files / "obs.fits"), read_observation(tmp_path / "obs_subtracted.fits")
    assert after.shape == before.shape
    assert after.data.max() < 0.5 * before.data.max()
    assert np.all(after.sigma > before.sigma)
    np.testing.assert_allclose(after.psf, before.psf)
    assert (tmp_path / "obs_subtracted.png").exists()
    out = capsys.readouterr().out
    assert "Sersic 1" in out
    assert "obs_subtracted.fits" in out
    # nothing is replaced unasked
    assert fit_light("--components", "1") == 1
    assert "--overwrite" in capsys.readouterr().err


def test_arcs_as_an_annulus_or_a_file(fit_light, files, tmp_path):
    image = read_observation(files / "obs.fits")
    x, y = image.grid.centers_arcsec()
    ring = np.abs(np.hypot(x, y) - 0.7) < 0.3
    fits.writeto(tmp_path / "arcs.fits", ring.astype(np.uint8))
    common = ("--components", "1", "--modes", "0", "--quiet")
    assert fit_light("--arcs-annulus", "0.4", "1.0", "--output", "a.fits", *common) == 0
    assert fit_light("--arcs", "arcs.fits", "--output", "b.fits", "--png", "b_picture.png", *common) == 0
    a, b = (read_observation(tmp_path / name) for name in ("a.fits", "b.fits"))
    # the galaxy is not quite in the middle of the image, and so is the annulus
    assert np.median(np.abs(a.data - b.data) / a.sigma) < 0.3
    assert (tmp_path / "b_picture.png").exists()


def test_together_with_the_source(fit_light, files, capsys):
    assert fit_light("--components", "1", "--lens", str(files / "lens.json"), "--output", "c.fits") == 0
    assert "through the lens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--arcs-annulus", "2", "1"), "--arcs-annulus must be two distances"),
        (("--lens", "nothing.json"), "nothing.json"),
        (("--arcs", "nothing.fits"), "nothing.fits"),
        (("--output", "same.png"), "must not have the name of the picture"),
    ],
)
def test_errors_are_one_line(fit_light, capsys, options, complaint):
    assert fit_light(*options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lenssuper: error: ")
    assert complaint in line


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--components", "0"), "1 or more"),
        (("--components", "many"), "1 or more"),
        (("--arcs", "a.fits", "--arcs-annulus", "1", "2"), "not allowed with"),
    ],
)
def test_wrong_usage_ends_with_two(fit_light, capsys, options, complaint):
    with pytest.raises(SystemExit) as stop:
        fit_light(*options)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err
