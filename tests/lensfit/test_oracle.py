"""A fitted lens and its source, seen through another code."""

import numpy as np
import pytest

from lenssuper import LensModel

pytest.importorskip("lenstronomy")


def seen_by_lenstronomy(fit, fwhm):
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel as TheirLens
    from lenstronomy.LightModel.light_model import LightModel

    grid, behind = fit.observation.grid, fit.source_grid
    image = ImageData(
        image_data=fit.observation.data,
        ra_at_xy_0=grid.to_offset(0, 0)[0],
        dec_at_xy_0=grid.to_offset(0, 0)[1],
        transform_pix2angle=grid.matrix,
    )
    names, kwargs_lens = fit.lens.to_lenstronomy(x_axis="west")
    source = {
        "image": fit.source.data,
        "amp": 1.0,
        "center_x": behind.middle_arcsec()[0],
        "center_y": behind.middle_arcsec()[1],
        "phi_G": 0.0,
        "scale": behind.side_arcsec,
    }
    model = ImageModel(
        image,
        PSF(psf_type="GAUSSIAN", fwhm=fwhm, pixel_size=grid.side_arcsec, truncation=5),
        lens_model_class=TheirLens(names),
        source_model_class=LightModel(["INTERPOL"]),
        kwargs_numerics={"supersampling_factor": 5, "supersampling_convolution": True},
    )
    # theirs is the flux in a pixel of a surface brightness per square arcsec
    return model.image(kwargs_lens, [source]) / grid.area_arcsec2


def test_lenstronomy_finds_the_same_chi2(fit):
    image = seen_by_lenstronomy(fit, 0.2)
    theirs = np.sum((image - fit.observation.data) ** 2 * fit.observation.weights)
    assert theirs == pytest.approx(fit.chi2, rel=0.02)
    assert np.max(np.abs(image - fit.model.data)) < 0.03 * fit.model.data.max()


def test_fitted_lens_survives_coolest_and_lenstronomy(fit):
    for back in (
        LensModel.from_coolest(fit.lens.to_coolest()),
        LensModel.from_lenstronomy(*fit.lens.to_lenstronomy(x_axis="west"), x_axis="west"),
    ):
        found, expected = back.values(), fit.lens.values()
        for name in expected:
            difference = abs(found[name] - expected[name])
            if name.endswith("phi"):  # half a turn leaves an ellipse as it is
                difference = min(difference % np.pi, -difference % np.pi)
            assert difference < 1e-9
