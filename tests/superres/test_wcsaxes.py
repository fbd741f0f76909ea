"""Images of a result on the axes of astropy: where a position on the sky is drawn."""

from __future__ import annotations

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lenssuper import Observation, SuperResolver
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian


@pytest.fixture(scope="module")
def result():
    mock = random_mock(3, shape=(20, 26))
    grid = square_source_grid(Observation.of(mock.observation), mock.lens, 2, 20)
    solver = Gaussian(n_draws=2)
    return SuperResolver(mock.lens, solver=solver, source_grid=grid, rng=1, progress=False)(mock.observation)


@pytest.mark.parametrize(
    ("name", "grid"), [("image", "fine_grid"), ("model", None), ("source", "source_grid")]
)
def test_wcsaxes(result, name, grid):
    image = getattr(result, name)
    grid = result.observation.grid if grid is None else getattr(result, grid)
    figure = plt.figure()
    try:
        ax = figure.add_subplot(projection=image.wcs)
        ax.imshow(image.data, origin="lower")
        sky = grid.offset_to_sky(0.31 * u.arcsec, -0.17 * u.arcsec)
        drawn = ax.get_transform("icrs").transform([[sky.ra.deg, sky.dec.deg]])
        pixel = grid.to_pixel(0.31, -0.17)
        np.testing.assert_allclose(drawn, ax.transData.transform([pixel]), atol=0.01)
        assert [coordinate.coord_type for coordinate in ax.coords] == ["longitude", "latitude"]
        figure.canvas.draw()
    finally:
        plt.close(figure)


def test_extensions_of_the_file_have_the_wcs_that_ds9_reads(result, tmp_path):
    result.write(tmp_path / "result.fits")
    grids = {"IMAGE": result.fine_grid, "SOURCE": result.source_grid, "MODEL": result.observation.grid}
    with fits.open(tmp_path / "result.fits") as hdus:
        for name, grid in grids.items():
            sky = WCS(hdus[name].header).pixel_to_world(4, 7)
            expected = grid.offset_to_sky(*(u.Quantity(grid.to_offset(4, 7)) * u.arcsec))
            assert sky.separation(expected) < 1e-5 * u.arcsec
