"""A search keeps many fits, which must be small; and what they leave out is made again as it was."""

import tracemalloc

import numpy as np

from lenssuper.lensfit.evidence import invert
from lenssuper.lensfit.refine import refine
from lenssuper.substructure.maps import scan
from lenssuper.substructure.parameters import Clumps

MATRICES = "lensing", "design", "factor"


def test_matrices_that_are_made_again_are_the_same(fitted):
    old = fitted.refined.inversions[0]
    known = invert(old.plane, old.basis, old.lenses, old.strength)
    again = known.bare()
    assert not any(name in vars(again) for name in MATRICES)
    np.testing.assert_array_equal(again.factor, known.factor)
    assert again.grid == known.grid


def test_a_fit_holds_no_matrices(fitted, jaffe):
    refined = refine(
        [fitted.source], fitted.refined.vector, np.random.default_rng(1), lambda *_: None, rounds=1
    )
    aside = fitted.climbed(fitted.refined.vector + 0.01 * fitted.registration.spread)
    maps = scan(fit := fitted.copy(), jaffe, 1e9, np.random.default_rng(0))
    assert np.isfinite(maps.significance).all()
    for each in (refined, aside.refined, fit.refined):
        assert not any(name in vars(inversion) for inversion in each.inversions for name in MATRICES)
    # nor does a scan leave anything behind
    assert not {"inversion", "columns", "marginal"} & vars(fit).keys()


def test_lenses_with_other_clumps_share_the_deflections_that_they_know(fitted, jaffe):
    registration = fitted.registration.with_clumps(Clumps(jaffe, 1, (0.0, 0.0), 0.5))
    assert registration.trial(registration.start, 0).known is fitted.lenses[0].known


def test_a_scan_makes_no_copies_of_the_derivatives_at_all_positions(fitted, jaffe):
    fit = fitted.copy()
    columns, marginal = fit.columns, fit.marginal
    ny, nx = columns.cells.shape
    corners = np.stack([v.ravel() for v in np.meshgrid(np.arange(8, nx - 8), np.arange(8, ny - 8))], axis=1)
    deflection = jaffe.lens(1e9).deflection_arcsec
    marginal.information(columns.at(deflection, corners[:1])[0])  # what is made once
    tracemalloc.start()
    try:
        derivatives, determinant = columns.at(deflection, corners)
        marginal.information(derivatives)
        marginal.numerator(derivatives, determinant)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(corners) > 1000
    assert peak < 1.7 * derivatives.nbytes
