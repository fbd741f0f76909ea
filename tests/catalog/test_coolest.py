"""COOLEST templates as a catalogue: what is read of them, and what is written back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits

from lenssuper import SIE, ExternalShear, LensFit, LensModel, PixelGrid, SuperResolution
from lenssuper.catalog import FitLens, Prepare, read_catalogue, run
from lenssuper.catalog.coolest import read_template
from lenssuper.exceptions import FileFormatError
from lenssuper.simulate import Instrument, SersicSource, mock_lens
from lenssuper.solvers import Gaussian, GradientPrior

LENS = SIE(theta_E=0.8 * u.arcsec, q=0.8, phi=30 * u.deg, x=0.03 * u.arcsec) + ExternalShear(
    gamma1=0.02, gamma2=-0.01
)
SOURCE = SersicSource(0.12 * u.arcsec, 1.0, q=0.7, x=0.08 * u.arcsec, y=-0.05 * u.arcsec)
N, SIDE = 30, 0.12
FIELD = {"field_of_view_x": [-N * SIDE / 2, N * SIDE / 2], "field_of_view_y": [-N * SIDE / 2, N * SIDE / 2]}


def grid_of(name, field=FIELD, n=N):
    return {"fits_file": {"path": name}, **field, "num_pix_x": n, "num_pix_y": n}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Two templates of one lens, with the files they name in a directory of their own."""
    directory = tmp_path_factory.mktemp("coolest")
    (directory / "data").mkdir()
    camera = Instrument.gaussian(SIDE * u.arcsec, 0.16 * u.arcsec)
    mock = mock_lens(LENS, SOURCE, camera, shape=(N, N), peak_snr=40, rng=1)
    image, psf = mock.observation, mock.observation.psf
    fits.writeto(directory / "data" / "image.fits", image.data)
    fits.writeto(directory / "data" / "noise.fits", image.uncertainty.array)
    fits.writeto(directory / "data" / "psf.fits", psf)
    used = np.ones((N, N), dtype=np.int16)
    used[2, 3] = 0
    fits.writeto(directory / "data" / "mask.fits", used)
    half = len(psf) * SIDE / 2
    extent = {"field_of_view_x": [-half, half], "field_of_view_y": [-half, half]}
    template = LENS.to_coolest(z_lens=0.5)
    template["lensing_entities"].append(
        {"type": "Galaxy", "name": "a source", "redshift": 1.5, "mass_model": [], "light_model": []}
    )
    template |= {
        "coordinates_origin": {"ra": "10h00m24s", "dec": "-02d12m00s"},
        "observation": {
            "pixels": grid_of("data/image.fits"),
            "noise": {"type": "NoiseMap", "noise_map": grid_of("data/noise.fits")},
        },
        "instrument": {
            "pixel_size": SIDE,
            "psf": {"type": "PixelatedPSF", "pixels": grid_of("data/psf.fits", extent, len(psf))},
        },
        "likelihoods": [{"type": "ImagingDataLikelihood", "mask": grid_of("data/mask.fits")}],
    }
    for name in ("one", "two"):
        (directory / f"{name}.json").write_text(json.dumps(template))
    (directory / "notes.json").write_text('{"of": "somebody"}')
    return directory, mock, template


def changed(survey, tmp_path, change):
    """The template with a change, beside links to the files."""
    directory, _, template = survey
    (tmp_path / "data").symlink_to(directory / "data")
    content = json.loads(json.dumps(template))
    change(content)
    (tmp_path / "x.json").write_text(json.dumps(content))
    return tmp_path / "x.json"


def test_what_a_template_holds(survey):
    directory, mock, _ = survey
    image, kind = read_template(directory / "one.json")
    np.testing.assert_array_equal(image.data, mock.observation.data)
    np.testing.assert_array_equal(image.uncertainty.array, mock.observation.uncertainty.array)
    np.testing.assert_array_equal(image.psf, mock.observation.psf)
    assert np.argwhere(image.mask).tolist() == [[2, 3]]
    assert (kind["psf_oversampling"], kind["psf_includes_pixel"]) == (1, True)
    np.testing.assert_allclose(kind["grid"].vertices_arcsec(), mock.grid.vertices_arcsec(), atol=1e-12)
    assert kind["grid"].reference.separation(SkyCoord("10h00m24s", "-02d12m00s")) < 1e-6 * u.arcsec


def test_a_directory_and_a_table_are_catalogues(survey):
    directory, *_ = survey
    entries = read_catalogue(directory)
    assert [entry.name for entry in entries] == ["one", "two"]
    for entry in entries:
        np.testing.assert_allclose(
            entry.lens_model().rays_arcsec(0.7, 0.3), LENS.rays_arcsec(0.7, 0.3), rtol=1e-12
        )
    assert {name.rpartition("/")[2] for name in entries[0].files()} == {
        "one.json", "image.fits", "noise.fits", "psf.fits", "mask.fits"
    }  # fmt: skip
    (directory / "list.csv").write_text("file\ntwo.json\n")
    assert [entry.name for entry in read_catalogue(directory / "list.csv")] == ["two"]
    with pytest.raises(FileFormatError, match="without COOLEST templates"):
        read_catalogue(directory / "data")


@pytest.fixture(scope="module")
def results(survey, tmp_path_factory):
    directory, *_ = survey
    output = tmp_path_factory.mktemp("out") / "results"
    options = {"solver": Gaussian(GradientPrior(), dense_limit=2000), "factor": 1, "pictures": False}
    fit = FitLens(["ExternalShear"], factor=1)
    with ThreadPoolExecutor(1) as executor:
        summary = run(directory, output, stages=[fit], executor=executor, shard=(1, 2), **options)
    assert list(summary["status"]) == ["done"], summary["reason"][0]
    return output


def test_result_is_a_template_with_fit_and_source(survey, results):
    """Read by this package: the fitted lens, its errors, and the source on its grid."""
    written, result = results / "one_coolest.json", SuperResolution.read(results / "one.fits")
    lens, fit = LensModel.read(written), LensFit.read(results / "one_lens.json")
    np.testing.assert_allclose(lens.rays_arcsec(0.7, 0.3), fit.lens.rays_arcsec(0.7, 0.3), rtol=1e-9)
    content = json.loads(written.read_text())
    theta_E = content["lensing_entities"][0]["mass_model"][0]["parameters"]["theta_E"]
    error = fit.errors["SIE.theta_E"].to_value(u.arcsec)
    width = theta_E["posterior_stats"]["percentile_84th"] - theta_E["posterior_stats"]["mean"]
    assert width == pytest.approx(error)
    (profile,) = content["lensing_entities"][2]["light_model"]
    pixels = profile["parameters"]["pixels"]
    source = fits.getdata(results / pixels["fits_file"]["path"])
    ny, nx = result.source.shape
    np.testing.assert_array_equal(source[:ny, :nx], result.source.data)
    x, y = result.source_grid.centers_arcsec()
    step = (pixels["field_of_view_x"][1] - pixels["field_of_view_x"][0]) / pixels["num_pix_x"]
    assert pixels["field_of_view_x"][0] + step / 2 == pytest.approx(x.min())
    assert pixels["field_of_view_y"][0] + step / 2 == pytest.approx(y.min())
    again, _ = read_template(written)
    np.testing.assert_array_equal(again.data, survey[1].observation.data)


def test_the_coolest_library_loads_what_is_written(survey, results):
    json_module = pytest.importorskip("coolest.template.json")
    for path in (survey[0] / "one", results / "one_coolest"):
        loaded = json_module.JSONSerializer(str(path)).load(skip_jsonpickle=True, verbose=False)
        np.testing.assert_array_equal(loaded.observation.pixels.get_pixels(), survey[1].observation.data)
    profile = loaded.lensing_entities[2].light_model[0]
    assert profile.parameters["pixels"].get_pixels().max() > 0


def _uniform(content):
    content["observation"]["noise"] = {"type": "UniformGaussianNoise", "std_dev": 0.25}


def _finer_psf(content):
    size = content["instrument"]["psf"]["pixels"]
    for name in ("field_of_view_x", "field_of_view_y"):
        size[name] = [value / 3 for value in size[name]]


def _gaussian_psf(content):
    content["instrument"]["psf"] = {"type": "GaussianPSF", "fwhm": 1.5}


def test_other_kinds_of_noise_and_psf(survey, tmp_path):
    def change(content):
        _uniform(content)
        _finer_psf(content)

    image, kind = read_template(changed(survey, tmp_path, change))
    assert (image.uncertainty.array == 0.25).all()
    assert (kind["psf_oversampling"], kind["psf_includes_pixel"]) == (3, False)


def test_gaussian_psf_is_in_pixels(survey, tmp_path):
    psf = read_template(changed(survey, tmp_path, _gaussian_psf))[0].psf
    assert psf.sum() == pytest.approx(1)
    x = np.arange(len(psf)) - len(psf) // 2
    variance = (psf.sum(axis=0) * x**2).sum()  # of the Gaussian and of the pixel
    assert variance == pytest.approx((1.5 / 2.3548) ** 2 + 1 / 12, rel=1e-2)


def test_noise_that_is_not_known_is_measured(survey, tmp_path):
    def change(content):
        content["observation"]["noise"] = {"type": "InstrumentalNoise"}

    path, output = changed(survey, tmp_path, change), tmp_path / "out"
    options = {"solver": Gaussian(GradientPrior(), dense_limit=2000), "factor": 1, "pictures": False}
    with ThreadPoolExecutor(1) as executor:
        bare = run(tmp_path, output, executor=executor, **options)
        assert "x.json has no map of the noise" in bare["reason"][0]
        ready = run(tmp_path, tmp_path / "b", executor=executor, stages=[Prepare()], **options)
    assert list(ready["status"]) == ["done"], ready["reason"][0]
    assert path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("observation"), '"observation"'),
        (lambda c: c.pop("instrument"), '"instrument"'),
        (lambda c: c["observation"].update(pixels=None), '"observation.pixels"'),
        (lambda c: c["observation"]["pixels"].update(num_pix_x=31), "31"),
        (lambda c: c["observation"]["pixels"].update(field_of_view_x=[0, 0, 0]), "field_of_view|values"),
        (lambda c: c["observation"]["pixels"]["fits_file"].update(path="data/no.fits"), "no such file"),
        (lambda c: c["observation"]["pixels"]["fits_file"].update(path=None), "names no FITS file"),
        (lambda c: c["observation"].update(noise={"type": "NoiseMap"}), "noise_map"),
        (lambda c: c["instrument"]["psf"].update(type="Moffat"), "PixelatedPSF or a GaussianPSF"),
        (lambda c: c["instrument"]["psf"]["pixels"].update(field_of_view_x=[-1, 1]), "whole number"),
    ],
)
def test_templates_that_cannot_be_read_say_why(survey, tmp_path, change, message):
    with pytest.raises(FileFormatError, match=message) as error:
        read_template(changed(survey, tmp_path, change))
    assert "x.json" in str(error.value)


def test_grid_on_a_mirrored_field(survey, tmp_path):
    """Where x decreases along the columns the grid follows, and is not on the sky."""

    def change(content):
        content["observation"]["pixels"]["field_of_view_x"].reverse()

    grid = read_template(changed(survey, tmp_path, change))[1]["grid"]
    assert isinstance(grid, PixelGrid)
    assert grid.reference is None
    np.testing.assert_allclose(grid.matrix, [[-SIDE, 0.0], [0.0, SIDE]])
