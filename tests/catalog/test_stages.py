"""What is done to a lens of a catalogue before it is super-resolved, and what is left of it on the disk."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import QTable
from matplotlib.figure import Figure

from lenssuper import (
    SIE,
    LensFit,
    LensModel,
    Observation,
    PixelGrid,
    SuperResolution,
    SuperResolver,
    prepare,
    write_observation,
)
from lenssuper.catalog import FitLens, FitLight, Prepare, read_catalogue, run, summarise
from lenssuper.catalog.stages import Read, SuperResolve, Work, check_stages
from lenssuper.catalog.table import Entry
from lenssuper.exceptions import LensSuperWarning
from lenssuper.light import ForegroundFit
from lenssuper.preparation import noise_map
from lenssuper.simulate import Instrument, SersicSource, mock_lens
from lenssuper.solvers import Gaussian, GradientPrior

CAMERA = Instrument.gaussian(0.12 * u.arcsec, 0.16 * u.arcsec)
LENS = SIE(theta_E=0.8 * u.arcsec, q=0.8, phi=30 * u.deg)
SOURCE = SersicSource(0.12 * u.arcsec, 1.0, q=0.7, x=0.08 * u.arcsec, y=-0.05 * u.arcsec)
GALAXY = SersicSource(0.4 * u.arcsec, 3.0, q=0.8, phi=30 * u.deg, amplitude=2.0)
NEIGHBOUR = SersicSource(0.08 * u.arcsec, 1.0, x=1.45 * u.arcsec, amplitude=1.0)
STAGES = [Prepare(rescale=False), FitLight(1, modes=0), FitLens(["ExternalShear"], factor=1)]


def options(executor):
    return {
        "solver": Gaussian(GradientPrior(), dense_limit=2000),
        "factor": 2,
        "executor": executor,
        "pictures": False,
    }


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A raw cutout with a galaxy in front, one with nothing in it, and what comes out of both."""
    directory = tmp_path_factory.mktemp("survey")
    monkeypatch = pytest.MonkeyPatch()
    # pictures are tested with what they show
    monkeypatch.setattr("lenssuper.superres.section.plot_result", lambda result: Figure(figsize=(1, 1)))
    for kind in (ForegroundFit, LensFit):
        monkeypatch.setattr(kind, "plot", lambda self: Figure(figsize=(1, 1)))
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(32, 32), peak_snr=40, lens_light=GALAXY, rng=1)
    raw = mock.observation
    raw.data += 0.3  # a sky
    write_observation(Observation.from_nddata(raw, grid=mock.grid), directory / "ring.fits")
    blank = raw.copy()
    blank.psf = raw.psf
    blank.data = raw.uncertainty.array * np.random.default_rng(1).standard_normal(raw.shape)
    write_observation(Observation.from_nddata(blank, grid=mock.grid), directory / "blank.fits")
    catalogue = QTable({"file": ["ring.fits", "blank.fits"], "theta_E": [0.88, 0.8] * u.arcsec})
    catalogue.write(directory / "catalogue.ecsv")
    with ThreadPoolExecutor(1) as executor:
        summary = run(
            directory / "catalogue.ecsv",
            directory / "out",
            stages=STAGES,
            **{**options(executor), "pictures": True},
        )
    monkeypatch.undo()
    return directory, summary


def test_lens_is_found_behind_its_galaxy(survey):
    directory, summary = survey
    assert list(summary["status"]) == ["done", "failed"]
    assert abs(summary["EPL.theta_E"][0] / LENS.parameters["theta_E"] - 1) < 0.01
    assert abs(summary["EPL.q"][0] - 0.8) < 0.05
    result = SuperResolution.read(directory / "out" / "ring.fits")
    fit = LensFit.read(directory / "out" / "ring_lens.json")
    assert result.lens.parameters == fit.lens.parameters
    assert result.lens.parameters == LensModel.read(directory / "out" / "ring_lens.json").parameters
    assert summary["einstein_radius"][0] == fit.lens.einstein_radius()
    assert 0.8 < summary["lens_reduced_chi2"][0] < 1.2
    assert 0.8 < summary["light_reduced_chi2"][0] < 1.2


def test_verdict_is_in_the_record_and_the_summary(survey):
    directory, summary = survey
    record = json.loads((directory / "out" / "ring.json").read_text())
    result = SuperResolution.read(directory / "out" / "ring.fits")
    fit = LensFit.read(directory / "out" / "ring_lens.json")
    assert result.verdict != "wrong", result.reasons
    assert [each for each in result.reasons if "lens light" not in each] == []
    assert list(summary["verdict"]) == [result.verdict, ""]
    assert (record["verdict"], tuple(record["reasons"])) == (result.verdict, result.reasons)
    assert summary["reasons"][0] == "; ".join(result.reasons)
    assert record["measures"]["positive_chi2"] == pytest.approx(result.measures["positive_chi2"])
    # the galaxy's place came with the observation
    assert fit.measures["center_offset"] < 0.03
    assert result.measures["lens_fit.center_offset"] == fit.measures["center_offset"]
    assert f'class="badge {fit.verdict}"' in (directory / "out" / "ring.html").read_text(encoding="utf-8")


def test_parameters_and_errors_are_in_the_summary(survey):
    directory, summary = survey
    fit = LensFit.read(directory / "out" / "ring_lens.json")
    written = QTable.read(directory / "out" / "summary.ecsv")
    assert fit.names == ("EPL.theta_E", "EPL.gamma", "EPL.q", "EPL.phi", "EPL.x", "EPL.y")
    for table in (summary, written):
        for name in fit.names:
            for column, expected in ((name, fit.lens.parameters[name]), (name + "_err", fit.errors[name])):
                np.testing.assert_allclose(u.Quantity(table[column][0].unmasked), expected, rtol=1e-12)
                assert table[column].mask.tolist() == [False, True]
        assert table["EPL.phi"].unit == u.deg
        assert table["EPL.theta_E_err"].unit == u.arcsec
        assert "ExternalShear.gamma1" not in table.colnames


def test_what_was_subtracted_is_kept(survey):
    """The image that was super-resolved and the light beside it make the prepared image."""
    directory, _ = survey
    ready = prepare(directory / "ring.fits", lens=LENS, rescale=False)
    used = SuperResolution.read(directory / "out" / "ring.fits").observation
    light = CCDData.read(directory / "out" / "ring_light.fits")
    np.testing.assert_allclose(used.data + light.data, ready.data, rtol=0, atol=1e-12 * light.data.max())
    np.testing.assert_allclose(
        used.sigma, np.hypot(ready.uncertainty.array, light.uncertainty.array), rtol=1e-12
    )
    assert light.unit == ready.unit
    sky = used.grid.reference
    assert PixelGrid.from_nddata(light).reference.separation(sky) < 1e-6 * u.arcsec


def test_page_has_fit_and_light(survey):
    page = (survey[0] / "out" / "ring.html").read_text(encoding="utf-8")
    assert page.count("<img") == 3
    for file in ("ring.fits", "ring_lens.json", "ring_light.fits"):
        assert f'href="{file}"' in page
    assert "EPL.theta_E" in page
    assert "Sersic 1" in page


def test_failure_says_at_which_stage(survey):
    directory, summary = survey
    assert summary["reason"][1].startswith("light of the lens galaxy: ObservationError: ")
    assert not (directory / "out" / "blank.fits").exists()


def test_a_lens_that_cannot_be_fitted_fails_alone_and_says_so(survey, tmp_path):
    directory, _ = survey
    with ThreadPoolExecutor(1) as executor:
        summary = run(
            QTable({"file": [str(directory / "blank.fits")], "theta_E": [1.0] * u.arcsec}),
            tmp_path,
            stages=[FitLens()],
            **options(executor),
        )
    assert summary["reason"][0].startswith(
        "fit of the lens: ObservationError: no pixel of the observation is significantly above"
    )


def test_lens_errors_are_in_the_error_bars_when_asked_for(survey, monkeypatch):
    """The fit is then among the systematics, for which error bars are tested with `SuperResolver`."""
    directory, _ = survey
    fit = LensFit.read(directory / "out" / "ring_lens.json")
    result = SuperResolution.read(directory / "out" / "ring.fits")
    given = []

    class Resolver(SuperResolver):
        def __call__(self, observation):
            given.append(self.systematics)
            return result

    monkeypatch.setattr(import_module("lenssuper.catalog.stages"), "SuperResolver", Resolver)
    work = Work(None, fit.lens, np.random.default_rng(1), result.observation, fit=fit)
    for lens_errors in (False, True):
        SuperResolve(1, Gaussian(), lens_errors)(work)
    assert given[0] is None
    assert given[1].lens is fit


def test_lens_errors_need_a_fit_and_are_a_setting(survey):
    directory, _ = survey
    catalogue = directory / "catalogue.ecsv"
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(ValueError, match=r"lens_errors must be False without FitLens\(\)"):
            run(catalogue, directory / "new", lens_errors=True, **options(executor))
        with pytest.raises(ValueError, match="other settings"):
            run(catalogue, directory / "out", stages=STAGES, lens_errors=True, **options(executor))
    assert not (directory / "new").exists()


def test_a_missing_fit_is_made_again_and_what_is_whole_is_not(survey, tmp_path, monkeypatch):
    directory, _ = survey
    again = tmp_path / "out"
    shutil.copytree(directory / "out", again)
    todo = []
    monkeypatch.setattr(
        import_module("lenssuper.catalog.run"), "Queue", lambda engine, jobs: todo.extend(jobs) or jobs
    )
    with ThreadPoolExecutor(1) as executor:
        run(directory / "catalogue.ecsv", again, stages=STAGES, **options(executor))
        assert todo == []
        (again / "ring_lens.json").unlink()
        run(directory / "catalogue.ecsv", again, stages=STAGES, **options(executor))
    assert [job.entry.name for job in todo] == ["ring"]


def test_other_stages_need_another_directory(survey):
    directory, _ = survey
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="other settings"):
        run(directory / "catalogue.ecsv", directory / "out", stages=STAGES[:2], **options(executor))


def test_lenses_of_several_kinds_share_a_summary(tmp_path):
    """What a lens does not have is masked, and the fits beside the records are not taken for lenses."""
    records = [
        {"lens": {"SIE.theta_E": [1.2, 0.01, "arcsec"], "SIE.q": [0.8, 0.02, ""]}},
        {"lens": {"EPL.theta_E": [1.1, 0.02, "arcsec"], "EPL.phi": [20.0, 1.5, "deg"]}},
        {"status": "failed", "reason": "reading: OSError: none"},
    ]
    for name, record in zip("abc", records, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "status": "done"} | record))
        (tmp_path / f"{name}_lens.json").write_text("{}")
    summarise(tmp_path).write(tmp_path / "summary.ecsv")
    table = QTable.read(tmp_path / "summary.ecsv")
    assert list(table["name"]) == ["a", "b", "c"]
    assert table["SIE.theta_E"].mask.tolist() == [False, True, True]
    assert table["EPL.phi_err"].mask.tolist() == [True, False, True]
    assert table["EPL.phi_err"][1].unmasked == 1.5 * u.deg
    assert table["SIE.q"][0].unmasked == 0.8
    assert np.isnan(table["einstein_radius"]).all()


# Reading


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """A field with noise map and PSF, and a catalogue of a place in it."""
    directory = tmp_path_factory.mktemp("mosaic")
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(90, 90), peak_snr=40, rng=1)
    image = mock.observation
    image.write(directory / "field.fits")
    fits.PrimaryHDU(np.ones((3, 3)) / 9).writeto(directory / "psf.fits")
    place = image.wcs.pixel_to_world(30, 40)
    columns = {"file": ["field.fits"], "theta_E": [1.0] * u.arcsec}
    columns |= {"ra": [place.ra.deg] * u.deg, "dec": [place.dec.deg] * u.deg, "size": [3.6] * u.arcsec}
    QTable({**columns, "name": ["plain"]}).write(directory / "plain.ecsv")
    QTable({**columns, "name": ["psf"], "psf": ["psf.fits"]}).write(directory / "psf.ecsv")
    return directory, image


def begun(catalogue):
    (entry,) = read_catalogue(catalogue)
    return Work(entry, LensModel.from_dict(entry.lens), np.random.default_rng(1))


@pytest.mark.parametrize("stage", [Read(), Prepare(rescale=False, subtract_sky=False)])
def test_a_lens_is_cut_out_of_a_mosaic(mosaic, stage):
    directory, image = mosaic
    part = np.s_[40 - 15 : 40 + 16, 30 - 15 : 30 + 16]
    observation = stage(begun(directory / "plain.ecsv")).observation
    np.testing.assert_array_equal(observation.data[~observation.mask], image.data[part][~observation.mask])
    np.testing.assert_allclose(observation.sigma[15], image.uncertainty.array[part][15])
    np.testing.assert_allclose(observation.psf, image.psf)
    # the lens's coordinates are counted from the place in the catalogue
    np.testing.assert_allclose(observation.grid.to_offset(15, 15), 0, atol=1e-6)
    other = stage(begun(directory / "psf.ecsv")).observation
    np.testing.assert_allclose(other.psf, 1 / 9)


def test_an_observation_gets_the_psf_of_the_catalogue(survey, mosaic):
    table = QTable({"file": [str(survey[0] / "ring.fits")], "theta_E": [1.0] * u.arcsec})
    table["psf"] = [str(mosaic[0] / "psf.fits")]
    for stage in (Read(), Prepare()):
        np.testing.assert_allclose(stage(begun(table)).observation.psf, 1 / 9)


def test_what_the_catalogue_says_of_the_exposure_makes_the_noise_map(mosaic, tmp_path):
    _, image = mosaic
    raw = image.copy()
    raw.uncertainty = None
    raw.psf = image.psf
    time = raw.meta.pop("EXPTIME") * u.s
    raw.write(tmp_path / "raw.fits")
    table = QTable({"file": [str(tmp_path / "raw.fits")], "theta_E": [1.0] * u.arcsec})
    with pytest.warns(LensSuperWarning, match="the photon noise of the light is not known"):
        plain = Prepare(rescale=False)(begun(table)).observation
    table["exposure_time"] = u.Quantity([time])
    known = Prepare(rescale=False)(begun(table)).observation
    expected = noise_map(known.data, plain.sigma[0, 0], unit=known.unit, exposure_time=time)
    np.testing.assert_allclose(known.sigma, expected)
    assert known.sigma.max() > 1.5 * plain.sigma.max()


def test_a_rough_radius_masks_less(tmp_path):
    """What is a neighbour of a lens that is known may be an arc of one that is not."""
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(60, 60), peak_snr=40, lens_light=NEIGHBOUR, rng=1)
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), tmp_path / "two.fits")
    table = QTable({"file": [str(tmp_path / "two.fits")], "theta_E": [0.8] * u.arcsec})
    rough = Prepare()(begun(table)).observation
    table["q"] = [0.8]
    known = Prepare()(begun(table)).observation
    x, y = np.broadcast_arrays(*known.grid.centers_arcsec())
    at = np.hypot(x - 1.45, y) < 0.1
    assert known.mask[at].all()
    assert not rough.mask[at].any()


# What can be asked for


def test_stages_are_checked():
    assert check_stages([]) == (Read(),)
    assert check_stages([Prepare(), FitLens()]) == (Prepare(), FitLens())
    with pytest.raises(TypeError, match=r"e\.g\. FitLens\(\)"):
        check_stages([FitLens])
    with pytest.raises(ValueError, match="each kind once"):
        check_stages([FitLens(), FitLens(["SIE.x"])])
    with pytest.raises(ValueError, match="Prepare must be the first"):
        check_stages([FitLight(), Prepare()])
    with pytest.raises(ValueError, match="n_components"):
        FitLight(0)
    with pytest.raises(TypeError, match="list of names"):
        FitLens("SIE.x")


def test_stages_tell_their_settings():
    assert repr(FitLens(["SIE.x"])) == "FitLens(fixed=('SIE.x',), factor=2)"
    assert repr(Prepare(rescale=False)) == "Prepare(rescale=False, subtract_sky=True)"
    assert repr(SuperResolve(2, Gaussian(GradientPrior()))).startswith("SuperResolve(factor=2, solver=")


@pytest.mark.parametrize("prepared", [False, True])
def test_offsets_are_counted_from_the_position_in_the_catalogue(tmp_path, prepared):
    """To a thousandth of a pixel, wherever in its pixel the position is."""
    rng = np.random.default_rng(4)
    grid = PixelGrid((61, 61), 0.1 * u.arcsec, reference=SkyCoord(150.1, 2.2, unit=u.deg))
    image = CCDData(rng.normal(0, 1, (61, 61)), unit=u.adu, wcs=grid.wcs, psf=np.ones((3, 3)) / 9)
    image.uncertainty = StdDevUncertainty(np.ones((61, 61)))
    write_observation(Observation.from_nddata(image), tmp_path / "field.fits")
    center = grid.wcs.pixel_to_world(30.45, 29.55)
    entry = Entry(
        "a",
        str(tmp_path / "field.fits"),
        LENS.to_dict(),
        center=center,
        size=4 * u.arcsec,
    )
    stage = Prepare(rescale=False, subtract_sky=False) if prepared else Read()
    found = stage(Work(entry, LENS, rng)).observation.grid
    x, y = found.sky_to_offset(center)
    assert np.hypot(x, y) < 1e-4 * u.arcsec
    column, row = found.to_pixel(0.0, 0.0)
    assert (column % 1, row % 1) == pytest.approx((0.45, 0.55), abs=1e-3)
