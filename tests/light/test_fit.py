"""SersicFit: what it tells, and that files give it back."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from lenssuper import Observation, PixelGrid, SersicFit, SersicFitter
from lenssuper.exceptions import FileFormatError
from lenssuper.light.sersic.profile import sersic_averages, sersic_flux
from lenssuper.simulate import GaussianPSF

SKY = SkyCoord(150.0, 2.0, unit="deg")
# rotated, flipped, with pixels that are not square
MATRIX = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]) @ np.diag([-0.11, 0.09])
GRID = PixelGrid.from_affine((40, 44), MATRIX, -MATRIX @ [21.5, 19.5], (150.0, 2.0))
ROWS = np.array([[0.1, -0.2, 0.4, 2.5, 0.5, 0.9, 2.0], [-0.3, 0.1, 0.9, 1.0, 0.8, 2.0, 0.5]])


def observation(psf=True, grid=GRID, sigma=0.05, seed=1):
    light = sum(row[6] * sersic_averages(grid.matrix, grid.origin, grid.shape, row[:6]) for row in ROWS)
    data = light + 0.2 + np.random.default_rng(seed).normal(0, sigma, grid.shape)
    mask = np.zeros(grid.shape, dtype=bool)
    mask[3:6, 7] = True
    return Observation.from_nddata(
        CCDData(
            data,
            unit="electron / s",
            uncertainty=StdDevUncertainty(np.full(grid.shape, sigma)),
            mask=mask,
            psf=GaussianPSF(0.25 * u.arcsec).effective(0.1 * u.arcsec) if psf else None,
            meta={"OBJECT": "galaxy"},
        ),
        grid=grid,
    )


def covariance():
    spread = np.concatenate([np.tile([0.01, 0.01, 0.02, 0.1, 0.02, 0.05], 2), [0.1, 0.02], [0.003]])
    mixed = 0.3 * np.ones((15, 15)) + 0.7 * np.eye(15)
    return mixed * np.outer(spread, spread)


def fit(**options):
    return SersicFit.from_parameters(
        observation(psf=False), ROWS, 0.2, covariance(), method="by hand", **options
    )


@pytest.fixture(scope="module")
def fitted():
    return SersicFitter(2, mask_neighbors=False)(observation())


def test_parameters_come_back_in_the_table():
    table = fit().table
    assert table["x"].to_value(u.arcsec).tolist() == pytest.approx(ROWS[:, 0])
    assert table["R_e"].to_value(u.arcsec).tolist() == pytest.approx(ROWS[:, 2])
    assert table["phi"].to_value(u.rad).tolist() == pytest.approx(ROWS[:, 5])
    assert table["phi_err"].to_value(u.rad).tolist() == pytest.approx([0.05, 0.05])
    assert table["n_err"].tolist() == pytest.approx([0.1, 0.1])
    assert table["amplitude"].unit == u.electron / u.s
    assert table["amplitude_err"].value.tolist() == pytest.approx([0.1, 0.02])
    assert fit().sky_error == pytest.approx(0.003)
    assert set(fit().errors) == {"x", "y", "R_e", "n", "q", "phi", "amplitude", "flux", "sky"}


def test_flux_is_what_all_pixels_add_up_to_with_its_error():
    result = fit()
    total = ROWS[:, 6] * sersic_flux(ROWS[:, 2], ROWS[:, 3]) / GRID.area_arcsec2
    np.testing.assert_allclose(result.table["flux"].value, total, rtol=1e-10)
    small = SersicFit.from_parameters(observation(), ROWS[1:] * [1, 1, 0.3, 1, 1, 1, 1])
    assert small.component_images().sum() == pytest.approx(small.table["flux"].value[0], rel=2e-3)
    draws = result.samples(20000, 1)
    fluxes = draws[..., 6] * sersic_flux(draws[..., 2], draws[..., 3]) / GRID.area_arcsec2
    np.testing.assert_allclose(result.table["flux_err"].value, fluxes.std(axis=0), rtol=0.05)


def test_astropy_models_are_functions_of_pixels():
    result = fit()
    row, column = np.mgrid[:40, :44]
    for model, parameters in zip(result.components, ROWS, strict=True):
        # at a pixel's centre, where the profile is smooth, brightness and mean over the pixel agree
        image = parameters[6] * sersic_averages(GRID.matrix, GRID.origin, GRID.shape, parameters[:6])
        far = np.hypot(column - model.x_0, row - model.y_0) > 6
        np.testing.assert_allclose(model(column, row)[far], image[far], rtol=0.02)
    square = PixelGrid((40, 40), 0.1 * u.arcsec)
    model = SersicFit.from_parameters(observation(False, square), ROWS).components[0]
    assert model.r_eff.value == pytest.approx(0.4 / np.sqrt(0.5) / 0.1)
    assert model.ellip.value == pytest.approx(0.5)
    assert model.theta.value == pytest.approx(0.9)
    assert (model.x_0.value, model.y_0.value) == pytest.approx((20.5, 17.5))


def test_images_belong_to_the_data():
    result = fit()
    data = result.observation
    expected = 0.2 + sum(
        row[6] * sersic_averages(GRID.matrix, GRID.origin, GRID.shape, row[:6]) for row in ROWS
    )
    np.testing.assert_allclose(result.model.data, expected, rtol=1e-8)
    used = ~data.mask
    np.testing.assert_allclose(result.residual.data[used], (data.data - expected)[used], atol=1e-9)
    assert np.all(result.residual.data[~used] == 0)
    assert result.model.unit == data.unit
    assert result.model.wcs.wcs.ctype[0].startswith("RA")
    np.testing.assert_array_equal(result.residual.mask, data.mask)
    result.model.data[:] = 0  # a copy
    assert result.model.data.max() > 0


def test_quality_follows_from_the_residual():
    result = fit(n_free=15)
    data = result.observation
    used = ~data.mask
    left = (data.data - result.model.data)[used]
    assert result.n_pixels == 40 * 44 - 3
    assert result.chi2 == pytest.approx(np.sum(left**2) / 0.05**2)
    assert result.reduced_chi2 == pytest.approx(result.chi2 / (result.n_pixels - 15))
    assert 0.9 < result.reduced_chi2 < 1.1
    assert result.bic == pytest.approx(result.chi2 + 15 * np.log(result.n_pixels))
    assert result.r2 == pytest.approx(
        1 - np.sum(left**2) / np.sum((data.data[used] - data.data[used].mean()) ** 2)
    )
    correlated = fit(n_free=15, noise_correlation=2.0)
    assert correlated.bic == pytest.approx(result.chi2 / 2 + 15 * np.log(result.n_pixels / 2))


def test_samples_have_the_covariance():
    result = fit()
    draws = result.samples(20000, 3)
    assert draws.shape == (20000, 2, 7)
    np.testing.assert_allclose(draws.mean(axis=0), ROWS, atol=0.01)
    np.testing.assert_allclose(draws.std(axis=0), result._errors(), rtol=0.06)
    assert np.corrcoef(draws[:, 0, 0], draws[:, 1, 1])[0, 1] == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(result.samples(2, 5), result.samples(2, 5))


def test_samples_stay_ellipses():
    spread = np.zeros((8, 8))
    spread[3, 3] = spread[4, 4] = spread[2, 2] = 0.3**2
    near = np.array([[0.0, 0.0, 0.2, 0.5, 0.95, 0.3, 1.0]])
    draws = SersicFit.from_parameters(observation(), near, 0.0, spread).samples(1000, 1)[:, 0]
    assert np.all((draws[:, 4] > 0) & (draws[:, 4] <= 1))
    assert np.all(draws[:, 2:4] > 0)
    turned = draws[:, 5] > 1.0
    assert 0.3 < turned.mean() < 0.6
    assert draws[turned, 5].tolist() == pytest.approx([0.3 + np.pi / 2] * turned.sum())


def test_unknown_errors_are_nan():
    result = SersicFit.from_parameters(observation(), ROWS)
    assert np.isnan(result.table["R_e_err"]).all()
    assert np.isnan(result.sky_error)
    with pytest.raises(ValueError, match="covariance of this fit is not known"):
        result.samples(3)
    assert "±" not in result.summary()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((0, 7)), "shape .K, 7."),
        (ROWS[0], "shape .K, 7."),
        (ROWS[:, :6], "shape .K, 7."),
        (ROWS * [1, 1, -1, 1, 1, 1, 1], "R_e and n positive"),
        (ROWS * [1, 1, 1, np.nan, 1, 1, 1], "finite"),
        (ROWS * [1, 1, 1, 1, 3, 1, 1], "q must lie in"),
    ],
)
def test_wrong_parameters_are_told(rows, words):
    with pytest.raises(ValueError, match=words):
        SersicFit.from_parameters(observation(), rows)


def test_wrong_covariance_is_told():
    with pytest.raises(ValueError, match=r"shape \(15, 15\); got \(3, 3\)"):
        SersicFit.from_parameters(observation(), ROWS, 0.0, np.eye(3))


def test_a_fit_cannot_be_changed():
    result = fit()
    with pytest.raises(FrozenInstanceError):
        result.sky = 3
    with pytest.raises(ValueError, match="read-only"):
        result.parameters[0, 0] = 1


def test_summary_tells_parameters_and_quality(fitted):
    text = fitted.summary()
    assert text.count("R_e=") == 2
    assert "40 x 44 pixels" in text
    assert "1757 used" in text
    assert "least_squares" in text
    assert f"{fitted.reduced_chi2:.3f}" in text
    assert repr(fitted).startswith("<SersicFit: 2 components")


# Files


def same(a, b):
    for name in ("parameters", "covariance"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("sky", "chi2", "bic", "n_free", "noise_correlation", "method", "messages"):
        assert getattr(a, name) == getattr(b, name)
    np.testing.assert_array_equal(a.model.data, b.model.data)
    np.testing.assert_array_equal(a.component_images(), b.component_images())
    assert a.observation.grid == b.observation.grid
    assert a.observation.unit == b.observation.unit
    assert b.observation.meta["OBJECT"] == "galaxy"


def test_a_file_gives_the_fit_back(fitted, tmp_path):
    path = tmp_path / "fit.fits"
    fitted.write(path)
    same(fitted, SersicFit.read(path))
    same(fitted, pickle.loads(pickle.dumps(fitted)))
    with pytest.raises(FileExistsError):
        fitted.write(path)
    fitted.write(path, overwrite=True)
    with fits.open(path) as hdus:
        assert hdus["COMPONENTS"].data["R_e"].tolist() == pytest.approx(fitted.parameters[:, 2])
        assert "MODEL" in hdus
        assert hdus["RESIDUAL"].header["BUNIT"] == "electron / s"


def test_a_fit_without_psf_and_errors_is_written_too(tmp_path):
    plain = SersicFit.from_parameters(observation(psf=False), ROWS, 0.1, messages=["a note"])
    plain.write(tmp_path / "fit.fits")
    back = SersicFit.read(tmp_path / "fit.fits")
    assert back.observation.psf is None
    assert back.messages == ("a note",)
    assert np.isnan(back.covariance).all()


def test_damaged_files_are_told(fitted, tmp_path):
    path = tmp_path / "fit.fits"
    fitted.write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=r"fit\.fits"):
        SersicFit.read(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    path.write_bytes(flipped)
    with pytest.raises(FileFormatError, match=r"corrupt|cannot be read"):
        SersicFit.read(path)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path, overwrite=True)
    with pytest.raises(FileFormatError, match="not a fit of Sersics"):
        SersicFit.read(path)
    path.write_text("no FITS file")
    with pytest.raises(FileFormatError):
        SersicFit.read(path)
    with pytest.raises(FileNotFoundError):
        SersicFit.read(tmp_path / "nothing.fits")


def test_plot_draws(fitted):
    from matplotlib.figure import Figure

    assert isinstance(fitted.plot(), Figure)
