"""Derivatives by perturbers and their information, against finite differences and dense algebra."""

import math
from copy import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg

from lenssuper import Observation
from lenssuper.lens import DPIE
from lenssuper.lensfit.evidence import SourceBasis, SourcePrior, invert
from lenssuper.lensfit.exposure import Exposure
from lenssuper.lensfit.refine import climbed
from lenssuper.lensfit.sourceplane import envelope
from lenssuper.solvers import GradientPrior
from lenssuper.substructure.fitted import fit
from lenssuper.substructure.parameters import Clumps
from lenssuper.substructure.scan import Marginal
from tests.substructure.conftest import observed

POSITIONS = [
    *[(0.75, 0.45), (-0.6, 0.7), (0.1, -0.95), (-0.9, -0.2), (0.3, 0.2)],
    *[(0.95, -0.1), (-0.2, 1.0), (-0.7, -0.65), (0.6, -0.75), (-0.35, 0.4)],
]


@pytest.fixture(scope="module")
def corners(fitted):
    return np.array([fitted.columns.nearest(*position) for position in POSITIONS])


@pytest.fixture(scope="module")
def derivatives(fitted, corners, jaffe):
    return fitted.columns.at(jaffe.lens(1e8).deflection_arcsec, corners)[0]


def perturbed(fitted, halo, amplitude):
    """The lens of a fit, with the deflection of a halo times an amplitude."""

    def rays_arcsec(x, y):
        rays, bending = fitted.lens.rays_arcsec(x, y), halo.deflection_arcsec(x, y)
        return tuple(ray - amplitude * alpha for ray, alpha in zip(rays, bending, strict=True))

    return (SimpleNamespace(rays_arcsec=rays_arcsec),)


def test_derivatives_are_those_of_the_model(fitted, corners, jaffe, derivatives):
    inversion = fitted.inversion
    for (x, y), found in zip(fitted.columns.offsets(corners), derivatives.T, strict=True):
        halo = jaffe.lens(1e8, x, y)
        ends = []
        for sign in (-1, 1):
            lensing = inversion.plane.lensing(perturbed(fitted, halo, sign * 0.1))
            ends.append(inversion.plane.observe(lensing, inversion.source.reshape(1, -1))[:, 0])
        difference = (ends[1] - ends[0]).astype(float) / 0.2
        assert np.linalg.norm(found - difference) < 0.01 * np.linalg.norm(difference)


def test_fields_of_deflection_give_the_same(fitted, corners):
    # of a clump with a core, as fields are taken between the middles of cells
    columns = fitted.columns
    x, y = np.broadcast_arrays(*columns.cells.centers_arcsec())
    clump = DPIE(theta_E=0.01 * u.arcsec, r_core=0.3 * u.arcsec, r_trunc=0.6 * u.arcsec)
    places = [clump.replace(x=a * u.arcsec, y=b * u.arcsec) for a, b in columns.offsets(corners)]
    fields = np.array([place.deflection_arcsec(x, y) for place in places])
    for found, expected in zip(columns.of(fields), columns.at(clump.deflection_arcsec, corners), strict=True):
        np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())


def test_information_is_that_of_dense_matrices(fitted, derivatives):
    inversion, marginal = fitted.inversion, fitted.marginal
    n = len(inversion.basis.shapes)
    jacobian = inversion.design.data(np.eye(n)) / np.sqrt(inversion.strength)
    assert jacobian.shape[1] == n
    q = np.linalg.inv(np.eye(len(jacobian)) + jacobian @ jacobian.T)
    nuisances = marginal.nuisances
    matrix = nuisances.T @ q @ nuisances + marginal.precision
    of_nuisances = derivatives.T @ q @ nuisances
    fixed = np.einsum("ij,ik,kj->j", derivatives, q, derivatives)
    expected = fixed - np.einsum("ij,jk,ik->i", of_nuisances, np.linalg.inv(matrix), of_nuisances)
    information, with_fixed = marginal.information(derivatives)
    np.testing.assert_allclose(with_fixed, fixed, rtol=1e-3)
    np.testing.assert_allclose(information, expected, rtol=3e-3)


def test_information_is_that_of_conjugate_gradients(fitted, derivatives):
    # all of the source, not only the shapes of the basis
    inversion, side = fitted.inversion, fitted.source.clearest.part.grid.side_arcsec
    shape, plane = inversion.grid.shape, inversion.plane
    prior = SourcePrior(GradientPrior().precision(shape), envelope(inversion.source, inversion.grid, side))
    lensing = plane.lensing(fitted.lenses)
    size = int(2.5 * inversion.modes)
    basis = SourceBasis.of(prior, plane, lensing, size, np.random.default_rng(3))
    reduced = invert(plane, basis, fitted.lenses, inversion.strength)
    marginal = fitted.marginal
    nuisances = marginal.nuisances, marginal.precision, marginal.slope
    _, found = Marginal(reduced, *nuisances).information(derivatives)

    def system(xi):
        data = plane.observe(lensing, prior.source(xi.reshape(1, -1).astype(np.float32)))
        return xi + prior.adjoint(plane.adjoint(lensing, data))[0].astype(float) / inversion.strength

    operator = LinearOperator((shape[0] * shape[1],) * 2, matvec=system, dtype=float)
    for column, information in zip(derivatives.T, found, strict=True):
        right = prior.adjoint(plane.adjoint(lensing, column[:, None]))[0].astype(float)
        solution, failed = cg(operator, right, rtol=1e-5)
        assert not failed
        expected = float(column @ column) - float(right @ solution) / inversion.strength
        assert information == pytest.approx(expected, rel=5e-3)


def test_gain_is_that_of_the_evidence(fitted, corners, jaffe):
    # with the smooth lens fixed, for haloes of one to three sigma, from lenses a small step away
    inversion, marginal = fitted.inversion, fitted.marginal
    deflection = jaffe.lens(1e8).deflection_arcsec
    derivatives, determinant = fitted.columns.at(deflection, corners)
    _, information = marginal.information(derivatives)
    slopes = derivatives.T @ inversion.residuals - determinant
    for k, (x, y) in enumerate(fitted.columns.offsets(corners)):
        halo, step = jaffe.lens(1e8, x, y), 0.2 * information[k] ** -0.5
        costs = [
            invert(inversion.plane, inversion.basis, perturbed(fitted, halo, t), inversion.strength).cost
            for t in (-step, 0.0, step)
        ]
        curvature = (costs[0] - 2 * costs[1] + costs[2]) / step**2
        assert curvature == pytest.approx(information[k], rel=0.15)
        slope = (costs[0] - costs[2]) / (2 * step)
        # the draws of the determinant; without it the first is off by 0.16
        assert abs(slope - slopes[k]) < 0.05 * information[k] ** 0.5


def test_map_does_not_depend_on_where_the_smooth_lens_stopped(fitted, corners, jaffe):
    # a lens away from its maximum leaves residuals, which are like those of haloes
    plane, basis, strength = fitted.inversion.plane, fitted.inversion.basis, fitted.inversion.strength
    signs = np.random.default_rng(2).choice([-1, 1], len(fitted.registration))
    vector = fitted.refined.vector + np.linalg.cholesky(fitted.covariance) @ signs
    inversion = invert(plane, basis, fitted.source.lenses(vector), strength)
    aside = replace(fitted, refined=replace(fitted.refined, vector=vector, inversions=(inversion,)))
    deflection, found, raw = jaffe.lens(1e8).deflection_arcsec, [], []
    for each in (fitted, aside):
        derivatives, determinant = each.columns.at(deflection, corners)
        error = np.sqrt(each.marginal.information(derivatives)[0])
        found.append(each.marginal.numerator(derivatives, determinant) / error)
        raw.append(derivatives.T @ each.inversion.residuals / error)
    changes = [np.abs(each[1] - each[0]).max() for each in (found, raw)]
    assert changes[1] > 0.5
    # not zero, as the information of the nuisances is that of Gauss and Newton
    assert changes[0] < 0.25 * changes[1]


def test_draws_of_the_noise_have_the_errors_of_the_map(fitted, derivatives):
    marginal = fitted.marginal
    draws = marginal.noise(derivatives, 4000, np.random.default_rng(1))
    information, _ = marginal.information(derivatives)
    np.testing.assert_allclose(draws.std(axis=0), np.sqrt(information), rtol=0.05)
    assert np.all(np.abs(draws.mean(axis=0)) < 0.06 * np.sqrt(information))


@dataclass(frozen=True, eq=False)
class Scaled:
    """A clump whose mass is an amplitude: its size does not change with it."""

    clump: DPIE
    mass: float

    def lens(self, mass, x, y, concentration):
        theta_e = self.clump.theta_E * (mass / self.mass)
        return self.clump.replace(theta_E=theta_e, x=x * u.arcsec, y=y * u.arcsec)


def gain_of_fit(fitted, perturber, begin):
    """Return twice the gain in log evidence by a fit with a clump at a place, on the same source grid."""
    registration = fitted.registration.with_clumps(Clumps(perturber, 1, begin[:2], 1.0))
    (inversion,) = fitted.refined.inversions
    plane = copy(inversion.plane)
    plane.source = replace(fitted.source, registration=registration)
    found = replace(fitted.refined, inversions=(replace(inversion, plane=plane),))
    n, vector = len(fitted.refined.vector), np.append(fitted.refined.vector, begin)
    for _ in range(3):
        found = climbed(found, vector, [n, n + 1], np.random.default_rng(0))
        vector = found.vector
    mean, std = registration.clumps.priors
    pulls = (registration.of_clumps(vector) - mean) / std
    return 2 * (fitted.refined.cost - found.cost + 0.5 * pulls @ pulls)


def test_gain_is_that_of_fits_with_the_smooth_lens(smooth, jaffe, fitted):
    x, y, mass = 0.75, 0.45, 1e9
    exposure = Exposure.of(Observation.of(observed(smooth + jaffe.lens(mass, x, y), 1)), None)
    registration, prior, rng = fitted.registration, GradientPrior(), np.random.default_rng(1)
    found = fit(exposure, registration, registration.start, 2, prior, rng, lambda share, what: None)
    columns, clump = found.columns, jaffe.lens(mass)
    corner = columns.nearest(x, y)[None]
    derivatives, determinant = columns.at(clump.deflection_arcsec, corner)
    (information,), (fixed,) = found.marginal.information(derivatives)
    (numerator,) = found.marginal.numerator(derivatives, determinant)
    log_mass = math.log(mass * numerator / information)
    gain = gain_of_fit(found, Scaled(clump, mass), [*columns.offsets(corner)[0], log_mass])
    assert 0.75 * gain < numerator**2 / information < 1.1 * gain
    # with the smooth lens fixed it would be far off
    assert numerator**2 / fixed < 0.75 * gain
