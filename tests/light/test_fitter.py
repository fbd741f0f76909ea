"""SersicFitter on galaxies whose profiles are known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, NDData, StdDevUncertainty

from lenssuper import Observation, PixelGrid, SersicFitter
from lenssuper.exceptions import ArgumentUnitError, ConvergenceWarning, LensSuperWarning, ObservationError
from lenssuper.light.sersic.profile import sersic_averages, sersic_b
from lenssuper.operators import BlurAndBin
from lenssuper.simulate import GaussianPSF, SersicSource
from lenssuper.simulate.render import pixel_averages

GRID = PixelGrid((48, 48), 0.1 * u.arcsec)
OPTICS = GaussianPSF(0.28 * u.arcsec)
PSF = OPTICS.effective(0.1 * u.arcsec)


def source(x, y, R_e, n, q, phi, amplitude=1.0):
    angles = {"x": x * u.arcsec, "y": y * u.arcsec, "phi": phi * u.rad}
    return SersicSource(R_e * u.arcsec, n, q=q, amplitude=amplitude, **angles)


def seen(light, grid=GRID, factor=5, optics=OPTICS):
    """Light as observed, by the renderer of the simulations: rays on fine pixels, and an optical PSF."""
    scale = grid.pixel_scale / factor
    blur = BlurAndBin(optics.optical(scale), factor, grid.shape, oversampling=factor, includes_pixel=False)
    fine = grid.pad(blur.pad).refine(factor)
    return blur.forward(pixel_averages(light.surface_brightness, fine, tol=1e-5))


def galaxy(data, sigma, seed=None, psf=PSF, grid=GRID, mask=None):
    if seed is not None:
        data = data + np.random.default_rng(seed).normal(0, sigma, data.shape)
    noise = StdDevUncertainty(np.full(data.shape, sigma))
    return CCDData(data, unit="adu", uncertainty=noise, psf=psf, wcs=grid.wcs, mask=mask)


def one(parameters, sigma=0.01, seed=1, sky=0.0, **options):
    return galaxy(seen(source(*parameters)) + sky, sigma, seed, **options)


DISK = (0.03, -0.05, 0.5, 1.0, 0.6, 0.7)
BULGE = (0.03, -0.05, 0.4, 4.0, 0.8, 2.0)


def values(fit, k=0):
    return fit.parameters[k]


# What comes out is what went in


@pytest.mark.parametrize(
    "parameters", [DISK, BULGE, (0.2, 0.1, 0.6, 2.0, 0.35, 3.0), (0, 0, 0.5, 0.6, 1.0, 0)]
)
def test_a_galaxy_is_recovered_within_its_errors(parameters):
    fit = SersicFitter()(one(parameters, sky=0.3))
    table = fit.table[0]
    got, truth = values(fit), np.array([*parameters, 1.0])
    error = fit._errors()[0]
    offset = got - truth
    offset[5] = (offset[5] + np.pi / 2) % np.pi - np.pi / 2
    if parameters[4] == 1:
        offset[4:6] = 0  # q cannot scatter to both sides of one
    assert np.all(np.abs(offset) < 3.5 * error)
    assert abs(fit.sky - 0.3) < 4 * fit.sky_error
    assert 0.93 < fit.reduced_chi2 < 1.07
    assert table["n_err"] < 0.1 * table["n"]


@pytest.mark.parametrize("parameters", [DISK, BULGE])
def test_data_without_noise_give_the_parameters_back(parameters):
    data = galaxy(seen(source(*parameters), factor=9), 0.01, psf=OPTICS.optical(0.02 * u.arcsec))
    fit = SersicFitter()(Observation.from_nddata(data, psf_oversampling=5, psf_includes_pixel=False))
    truth = np.array(parameters)
    # limited by the rays and the fine pixels of the simulation
    np.testing.assert_allclose(values(fit)[2:5], truth[2:5], rtol=5e-4)
    np.testing.assert_allclose(values(fit)[:2], truth[:2], atol=2e-5)


def test_data_without_noise_and_psf_give_the_parameters_back_exactly():
    image = sersic_averages(GRID.matrix, GRID.origin, GRID.shape, BULGE, tol=1e-10)
    fit = SersicFitter()(galaxy(image, 0.01, psf=None))
    np.testing.assert_allclose(values(fit), [*BULGE, 1.0], rtol=1e-5)


def test_without_its_psf_a_galaxy_looks_different():
    image = one((0.0, 0.0, 0.25, 2.0, 0.8, 0.5), 0.02)
    assert values(SersicFitter()(image))[3] == pytest.approx(2.0, abs=0.15)
    blind = CCDData(image.data, unit="adu", uncertainty=image.uncertainty, wcs=image.wcs)
    assert values(SersicFitter()(blind))[3] < 1.3


def test_errors_cover_the_scatter():
    # the same galaxy with different noise: 40 values for each of six parameters
    clean = seen(source(*DISK))
    pulls = []
    for seed in range(40):
        fit = SersicFitter(mask_neighbors=False)(galaxy(clean, 0.02, 100 + seed))
        pulls.append((values(fit) - np.array([*DISK, 1.0])) / fit._errors()[0])
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(axis=0)) < 3.5 / np.sqrt(40))
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.76
    assert np.all((pulls.std(axis=0) > 0.7) & (pulls.std(axis=0) < 1.3))


def test_a_rotated_and_flipped_image_gives_the_same_galaxy():
    matrix = 0.1 * np.array([[-np.cos(0.5), np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    turned = PixelGrid.from_affine((48, 48), matrix, -matrix @ [23.5, 23.5])
    fit = SersicFitter()(galaxy(seen(source(*DISK), turned), 0.01, 3, grid=turned))
    assert np.all(np.abs(values(fit) - [*DISK, 1.0]) < 4 * fit._errors()[0])


def test_the_unit_does_not_matter():
    image = one(DISK)
    faint = galaxy(1e-22 * image.data, 1e-24)
    a, b = SersicFitter()(image), SersicFitter()(faint)
    np.testing.assert_allclose(values(a)[:6], values(b)[:6], rtol=1e-5)
    np.testing.assert_allclose(values(a)[6], 1e22 * values(b)[6], rtol=1e-5)
    np.testing.assert_allclose(a._errors()[0][6], 1e22 * b._errors()[0][6], rtol=1e-3)


# Other codes


def test_astropy_finds_the_same():
    from astropy.modeling.fitting import TRFLSQFitter
    from astropy.modeling.models import Sersic2D

    # astropy looks at pixel centres only: a flat core seen in pixels so small that this is the same
    grid = PixelGrid((40, 40), 0.1 * u.arcsec)
    image = pixel_averages(source(0.04, -0.02, 0.8, 0.7, 0.6, 0.7).surface_brightness, grid, tol=1e-6)
    image = image + np.random.default_rng(1).normal(0, 0.02, image.shape)
    fit = SersicFitter(sky=False)(galaxy(image, 0.02, psf=None, grid=grid))
    row, column = np.mgrid[:40, :40]
    start = Sersic2D(1.5, 9, 1, 19, 20, 0.3, 0.5)
    theirs = TRFLSQFitter()(start, column, row, image, weights=np.full(image.shape, 50.0))
    ours = fit.components[0]
    for name in ("amplitude", "r_eff", "n", "x_0", "y_0", "ellip", "theta"):
        assert getattr(ours, name).value == pytest.approx(getattr(theirs, name).value, rel=4e-3, abs=4e-3), (
            name
        )


def test_lenstronomy_sees_the_same_image():
    light_model = pytest.importorskip("lenstronomy.LightModel.light_model")
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    fit = SersicFitter()(one(DISK))
    x, y, R_e, n, q, phi, amplitude = values(fit)
    e1, e2 = phi_q2_ellipticity(phi, q)
    theirs = light_model.LightModel(["SERSIC_ELLIPSE"]).surface_brightness
    centers = GRID.refine(15).centers_arcsec()
    px, py = (np.ravel(np.broadcast_to(c, (720, 720))) for c in centers)
    b, their_b = sersic_b(n), 1.9992 * n - 0.3271  # the same profile with another scale
    kwargs = {
        "amp": amplitude * np.exp(b - their_b),
        "R_sersic": R_e * (their_b / b) ** n,
        "n_sersic": n,
        "e1": e1,
        "e2": e2,
        "center_x": x,
        "center_y": y,
    }
    image = theirs(px, py, [kwargs]).reshape(48, 15, 48, 15).mean((1, 3))
    observation = Observation.from_nddata(one(DISK, psf=None))
    sharp = type(fit).from_parameters(observation, fit.parameters)
    assert np.abs(sharp.model.data - image).max() < 1e-3 * image.max()


# Several profiles


def two_profiles(sigma=0.01, seed=2):
    light = source(0.0, 0.0, 0.2, 2.5, 0.9, 0.3, 4.0) + source(0.0, 0.0, 1.0, 1.0, 0.5, 0.7)
    return galaxy(seen(light), sigma, seed)


def test_bulge_and_disk_are_told_apart():
    fit = SersicFitter(2, link_centers=True)(two_profiles())
    order = np.argsort(fit.parameters[:, 2])
    bulge, disk = fit.parameters[order]
    assert bulge[2] == pytest.approx(0.2, rel=0.1)
    assert disk[2] == pytest.approx(1.0, rel=0.03)
    assert disk[4] == pytest.approx(0.5, abs=0.03)
    assert disk[3] == pytest.approx(1.0, abs=0.1)
    np.testing.assert_array_equal(fit.parameters[0, :2], fit.parameters[1, :2])
    assert 0.93 < fit.reduced_chi2 < 1.07


def test_bic_takes_as_many_as_there_are():
    assert len(SersicFitter(None)(one(DISK, 0.02)).parameters) == 1
    fit = SersicFitter(None, max_components=4)(two_profiles())
    assert len(fit.parameters) == 2
    assert fit.bic < SersicFitter(1)(two_profiles()).bic
    capped = SersicFitter(None, max_components=1)(two_profiles())
    assert len(capped.parameters) == 1


def test_more_profiles_never_fit_worse():
    image = two_profiles(0.02)
    chi2 = [SersicFitter(k)(image).chi2 for k in (1, 2, 3)]
    assert chi2[0] > chi2[1] >= chi2[2]


# Fixed, bounded, initial


def test_fixed_parameters_stay():
    fit = SersicFitter(fixed={"n": 4, "phi": 40 * u.deg, "x": 0.03 * u.arcsec})(one(BULGE))
    assert values(fit)[[0, 3]].tolist() == pytest.approx([0.03, 4.0], abs=1e-12)
    assert fit.table["phi"][0].to_value("deg") == pytest.approx(40)
    assert fit.table["n_err"][0] == 0
    assert fit.n_free == 5


def test_bounds_are_kept_and_told():
    fit = SersicFitter(bounds={"n": (0.5, 2.0), "q": (0.2, 0.9)})(one(BULGE))
    assert values(fit)[3] == pytest.approx(2.0, rel=1e-3)
    assert any("n of component 1 is at its bound" in m for m in fit.messages)


def test_each_profile_may_have_its_own():
    fit = SersicFitter(2, fixed=[{"n": 1}, {"n": 4.0}])(two_profiles())
    assert fit.parameters[:, 3].tolist() == pytest.approx([1.0, 4.0])


def test_a_former_fit_is_a_start():
    image = one(DISK)
    first = SersicFitter()(image)
    again = SersicFitter()(image, initial=first)
    np.testing.assert_allclose(values(again), values(first), rtol=1e-4)
    row = {"x": 0 * u.arcsec, "y": 0 * u.arcsec, "R_e": 0.4 * u.arcsec, "n": 1.5, "q": 0.8, "phi": 30 * u.deg}
    np.testing.assert_allclose(values(SersicFitter()(image, initial=[row])), values(first), rtol=1e-3)
    np.testing.assert_allclose(values(SersicFitter()(image, initial=first.table)), values(first), rtol=1e-4)


def test_a_search_that_was_cut_short_warns(monkeypatch):
    from lenssuper.light import search

    whole = search.fit
    monkeypatch.setattr(search, "fit", lambda *args, **kwargs: whole(*args, **kwargs | {"max_iter": 1}))
    with pytest.warns(ConvergenceWarning, match="before it converged"):
        SersicFitter()(one(DISK))


# What is in the image besides


def test_a_neighbour_is_left_out():
    light = seen(source(*DISK) + source(1.7, 1.6, 0.15, 1.0, 0.9, 0.0, 2.0))
    fit = SersicFitter()(galaxy(light, 0.01, 4))
    assert fit.observation.mask[23 + 16, 23 + 17]
    assert values(fit)[2] == pytest.approx(0.5, rel=0.03)
    with_it = SersicFitter(mask_neighbors=False)(galaxy(light, 0.01, 4))
    assert abs(values(with_it)[2] - 0.5) > 3 * abs(values(fit)[2] - 0.5)
    assert with_it.n_pixels == 48**2


def test_bad_pixels_do_not_matter():
    image = one(DISK)
    image.data[20:24, 25] = np.nan
    image.mask = np.zeros(GRID.shape, dtype=bool)
    image.mask[30, 10:20] = True
    image.data[30, 10:20] = 1e6
    fit = SersicFitter()(image)
    assert values(fit)[2] == pytest.approx(0.5, rel=0.03)
    assert np.isfinite(fit.model.data).all()


def test_a_galaxy_off_the_edge_is_fitted():
    light = seen(source(2.6, 0.3, 0.8, 1.0, 0.8, 0.5))  # its centre is two pixels outside
    fit = SersicFitter()(galaxy(light, 0.003, 6))
    assert values(fit)[0] == pytest.approx(2.6, abs=0.1)
    assert values(fit)[2] == pytest.approx(0.8, rel=0.15)


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_components": 0}, ValueError, "n_components must be at least 1"),
        ({"n_components": 1.5}, TypeError, "n_components must be an integer"),
        ({"method": "mcmc"}, ValueError, "method must be one of 'least_squares', 'cnn', 'ppo'; got 'mcmc'"),
        ({"sky": "yes"}, TypeError, "sky must be True or False"),
        ({"fixed": {"radius": 1}}, ValueError, "the name in fixed.'radius'. must be one of 'x', 'y', 'R_e'"),
        ({"fixed": {"R_e": 1.0}}, TypeError, "must be a Quantity"),
        ({"fixed": {"R_e": 1.0 * u.s}}, ArgumentUnitError, "angular unit"),
        ({"fixed": {"q": 1.2}}, ValueError, "fixed.'q'. must lie in .0, 1."),
        ({"fixed": {"n": -1}}, ValueError, "positive"),
        ({"fixed": 4}, TypeError, "fixed must be a mapping"),
        ({"n_components": 2, "fixed": [{"n": 1}]}, ValueError, "one for each of n_components=2; got 1"),
        ({"bounds": {"n": 4}}, TypeError, "two values"),
        ({"bounds": {"n": (4, 1)}}, ValueError, "the lower first"),
        ({"bounds": {"x": (0, 1)}}, TypeError, "must be a Quantity"),
        ({"max_components": 0}, ValueError, "max_components"),
        ({"weights": 3}, TypeError, "weights must be the name of a file"),
        ({"weights": "a.safetensors"}, ValueError, "method is 'least_squares'"),
        ({"progress": 1}, TypeError, "progress"),
    ],
)
def test_wrong_options_are_told(options, error, words):
    with pytest.raises(error, match=words):
        SersicFitter(**options)


def test_images_that_cannot_be_fitted_are_told():
    fitter, good = SersicFitter(), one(DISK)
    with pytest.raises(TypeError, match="must be an astropy NDData"):
        fitter(good.data)
    with pytest.raises(ObservationError, match="no uncertainty"):
        fitter(NDData(good.data, wcs=good.wcs))
    with pytest.raises(ObservationError, match="no pixel"):
        fitter(one(DISK, mask=np.ones(GRID.shape, dtype=bool)))
    with pytest.raises(ObservationError, match=r"constant, 3 in all pixels"):
        fitter(galaxy(np.full(GRID.shape, 3.0), 0.1))
    with pytest.raises(ObservationError):
        fitter(galaxy(np.zeros(GRID.shape), 0.1, 1))
    few = np.ones(GRID.shape, dtype=bool)
    few[20, 20:25] = False
    hidden = pytest.warns(LensSuperWarning, match="the mask hides")
    with hidden, pytest.raises(ObservationError, match="5 pixels"):
        fitter(one(DISK, mask=few))


def test_wrong_starts_are_told():
    image = one(DISK)
    with pytest.raises(TypeError, match="initial must be"):
        SersicFitter()(image, initial=3)
    with pytest.raises(ValueError, match="must have x, y, R_e"):
        SersicFitter()(image, initial=[{"x": 0 * u.arcsec}])
    with pytest.raises(ValueError, match="n_components=2"):
        SersicFitter(2)(image, initial=SersicFitter()(image))


def test_a_missing_package_is_named(monkeypatch):
    import builtins

    from lenssuper.exceptions import LensSuperError

    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "lenssuper.light.learned.additions":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LensSuperError, match="method 'cnn' needs torch, which is not installed"):
        SersicFitter(method="cnn")(one(DISK))


def test_learned_methods_give_the_same_kind_of_result(monkeypatch):
    from lenssuper.light.learned import additions

    near = np.array([0.0, 0.0, 0.6, 1.5, 0.8, 0.5, 0.7])
    monkeypatch.setattr(additions, "add_components", lambda observation, n, *rest: [near] * n)
    image = one(DISK, sky=0.5)
    fit = SersicFitter(method="ppo")(image)
    assert fit.method == "ppo"
    np.testing.assert_array_equal(fit.parameters, [near])
    assert np.isnan(fit.table["n_err"][0])
    assert fit.sky == pytest.approx(0.5, abs=0.1)
    polished = SersicFitter(method="ppo", polish=True)(image)
    assert "polished" in polished.method
    assert values(polished)[2] == pytest.approx(0.5, rel=0.03)
    with pytest.raises(ValueError, match="initial is for the method 'least_squares'"):
        SersicFitter(method="cnn")(image, initial=fit)


def test_the_input_is_not_changed():
    image = one(DISK)
    before = image.data.copy()
    SersicFitter()(image)
    np.testing.assert_array_equal(image.data, before)
    assert image.mask is None


def test_components_of_the_result_are_those_that_were_rendered():
    fit = SersicFitter()(one(DISK))
    images = fit.component_images()
    np.testing.assert_allclose(images.sum(axis=0) + fit.sky, fit.model.data, rtol=1e-12)
