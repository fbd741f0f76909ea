"""The search as a whole: what is injected is found, what is not there is not, files, figures and errors."""

import json
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lenssuper import (
    SIS,
    ExternalShear,
    LensModel,
    Observation,
    PixelGrid,
    SubstructureMap,
    write_observation,
)
from lenssuper.cli import main
from lenssuper.cli.show import _described
from lenssuper.lensfit.parameters import FreeParameters
from lenssuper.substructure import Candidate, PointClump, Rival
from lenssuper.substructure.judgement import judged, remarks
from lenssuper.substructure.parameters import Clumps, ClumpyLens, smooth_lens
from lenssuper.substructure.search import Found


def test_an_injected_clump_is_found(found, injected):
    x, y, mass = injected
    (clump,) = found.detections
    assert np.hypot(clump.x - x, clump.y - y) < 0.1
    assert abs(np.log(clump.mass / mass)) < 3 * clump.errors[2]
    assert found.reduced_chi2[1] < found.reduced_chi2[0]
    # what is left is less than it was
    assert found.rescan.significance.max() < 0.6 * found.maps.significance.max()


def test_nothing_is_found_in_a_smooth_lens(plain, smooth, jaffe):
    result = SubstructureMap(smooth, jaffe, candidates=1, factor=1, rng=1)(plain)
    assert result.detections == ()
    assert result.lens.components[-1].parameters.keys() >= {"a", "b"}  # a multipole: no clump is in it


def test_sensitivity_is_where_the_arcs_are(found):
    seen = found.sensitivity(5.0)
    assert seen.unit == u.Msun
    known = ~seen.mask
    assert known.any()
    at_best = np.unravel_index(np.argmin(np.where(known, seen.data, np.inf)), seen.data.shape)
    x, y = found.grid.to_offset(float(at_best[1]), float(at_best[0]))
    assert 0.5 < np.hypot(x, y) < 1.4
    # a clump of this mass is seen with 5 sigma: by the scan of the nearest mass within the steps of masses
    assert np.all(found.sensitivity(2.0).data[known] <= seen.data[known])


def test_free_correction_has_mass_at_the_clump(found, injected):
    free = found.correction
    assert free.gain > 5
    column, row = found.grid.to_pixel(*injected[:2])
    peak = np.unravel_index(free.convergence.argmax(), free.convergence.shape)
    assert np.hypot(peak[1] - column, peak[0] - row) * found.grid.side_arcsec < 0.35


def test_maps_are_those_of_the_numbers(found, injected):
    values = found.at(injected[0] * u.arcsec, injected[1] * u.arcsec)
    assert values["significance"] == pytest.approx(values["amplitude"] / values["sigma"])
    assert values["significance"] > 4
    assert values["mass"].unit == u.Msun
    with pytest.raises(ValueError, match="in the field of the maps"):
        found.at(9 * u.arcsec, 0 * u.arcsec)


def test_the_vector_of_a_clumpy_lens(smooth, jaffe):
    clumps = Clumps(jaffe, 2, (0.0, 0.0), 0.5)
    registration = ClumpyLens(smooth_lens(smooth, (3, 4)), (3, 4), clumps)
    vector = registration.start
    vector[-6:] = 0.3, 0.4, np.log(1e9), -0.5, 0.1, np.log(2e8)
    vector[-10:-6] = 0.004, -0.003, 0.002, 0.001
    lens = registration.lens(vector)
    expected = registration.without_clumps(vector)
    assert len(expected) == len(vector) - 6
    main, multipole = lens.components[0], lens.components[2]
    assert multipole.values()["a"] == pytest.approx(0.004)
    assert {multipole.values()[n] == main.values()[n] for n in ("q", "phi", "x", "y")} == {True}
    assert lens.components[-2].values() == pytest.approx(jaffe.lens(1e9, 0.3, 0.4).values())
    residuals, rows = registration.prior_residuals(vector)
    shifted, _ = registration.prior_residuals(vector + 1e-6)
    np.testing.assert_allclose((shifted - residuals) / 1e-6, rows.sum(axis=1), rtol=1e-4, atol=1e-6)


def test_the_smooth_lens_is_a_power_law_with_shear():
    lens = smooth_lens(SIS(theta_E=1 * u.arcsec), (4,))
    assert [type(part).__name__ for part in lens.components] == ["EPL", "ExternalShear"]
    x, y = np.array([0.5, -1.3]), np.array([0.2, 0.8])
    np.testing.assert_allclose(
        lens.deflection_arcsec(x, y), SIS(theta_E=1 * u.arcsec).deflection_arcsec(x, y), rtol=1e-9
    )
    assert FreeParameters(lens).names
    with pytest.raises(ValueError, match="pass multipoles="):
        smooth_lens(ExternalShear(gamma1=0.1, gamma2=0.0), (3,))


def test_file_holds_maps_and_candidates(found, tmp_path):
    path = tmp_path / "maps.fits"
    found.write(path)
    with fits.open(path) as hdus:
        np.testing.assert_allclose(hdus["SIGNIF"].data, found.significance.data, rtol=1e-6)
        header = hdus["SIGNIF"].header
        assert PixelGrid.from_wcs(found.significance.wcs, found.grid.shape).shape == (
            header["NAXIS2"],
            header["NAXIS1"],
        )
        assert {"KAPPA", "MASS", "SENSITIV", "SIGMA", "REMAINS", "RESIDUAL", "INFO"} <= {
            hdu.name for hdu in hdus
        }
    table = Table.read(path, hdu="CANDIDAT")
    assert table["delta_ln_z"][0] == pytest.approx(found.candidates[0].gain)
    with pytest.raises(FileExistsError):
        found.write(path)


def test_figure_marks_the_candidates(found):
    figure = found.plot()
    titles = [ax.get_title() for ax in figure.axes]
    assert "Significance of a perturber" in titles
    section = found.section()
    assert any("Delta ln Z" in text for _, text in section.rows)
    assert "detected" in found.summary()
    assert repr(found).startswith("<SubstructureResult: 1 detected")


def test_no_label_of_the_figure_is_cut_off(found):
    kappa = found.correction.convergence
    long = replace(found.correction, convergence=0.004 * kappa / np.abs(kappa).max())  # ticks as -0.004
    figure = replace(found, correction=long).plot()
    figure.canvas.draw()
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


def test_a_candidate_needs_a_decisive_evidence():
    common = {"x": 0.0, "y": 0.0, "mass": 1e9, "concentration": 1.0, "errors": (0.1,) * 3, "peak": 5.0}
    assert Candidate(**common, gain=13.0, lens=None).detected
    assert not Candidate(**common, gain=12.0, lens=None).detected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "z_lens and z_source must be given"),
        ({"multipoles": (2,)}, "orders 1, 3 and 4"),
        ({"multipoles": (3, 3)}, "each order once"),
        ({"candidates": 4}, "at most 3"),
        ({"concentration": True, "profile": PointClump(0.2, 0.6)}, "profile that has none"),
        ({"mass": -1 * u.Msun}, "mass must be positive"),
    ],
)
def test_bad_options_are_refused(smooth, jaffe, options, message):
    if options and "profile" not in options:
        options = {"profile": jaffe, **options}
    with pytest.raises(ValueError, match=message):
        SubstructureMap(smooth, **options)


def test_a_lens_that_is_no_fit_is_refused(plain, jaffe):
    with pytest.raises(ValueError, match="lens must be fitted to the observation"):
        SubstructureMap(SIS(theta_E=0.4 * u.arcsec), jaffe, multipoles=())(plain)


def test_command(plain, smooth, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_observation(Observation.from_nddata(plain), "arcs.fits")
    smooth.write("lens.json")
    common = ["substructure", "arcs.fits", "--lens", "lens.json", "--candidates", "0"]
    assert main(common) == 1
    assert "--z-lens and --z-source must be given" in capsys.readouterr().err
    masses = ["--z-lens", "0.2", "--z-source", "0.6", "--profile", "jaffe", "--factor", "1"]
    assert main([*common, *masses, "--html", "page.html"]) == 0
    assert "pseudo-Jaffe clump" in capsys.readouterr().out
    assert (tmp_path / "arcs_substructure.fits").is_file()
    assert (tmp_path / "arcs_substructure.png").is_file()
    page = (tmp_path / "page.html").read_text()
    assert "Search for substructure" in page
    assert "pseudo-Jaffe clump" in page
    assert isinstance(LensModel.read("lens.json"), LensModel)


def test_a_smooth_lens_far_from_its_priors_is_not_believed(fitted, jaffe, found):
    """The pulls are those of the prior; the largest one rules the verdict, and is named."""
    registration, vector = fitted.registration, fitted.refined.vector.copy()
    vector[-1] = 5 * 0.01 * 0.9  # of an Einstein radius of 0.9
    pulls = registration.pulls(vector)
    residuals, _ = registration.prior_residuals(vector)
    assert max(map(abs, pulls.values())) == pytest.approx(np.abs(residuals).max())
    assert pulls["Multipole4.b"] == pytest.approx(5.0)
    assert pulls["EPL.gamma"] == pytest.approx((registration.lens(vector).components[0].gamma - 2.0) / 0.2)
    pulled = replace(fitted, refined=replace(fitted.refined, vector=vector))
    outcome = Found(fitted, pulled, found.maps, found.rescan, found.candidates)
    verdict = judged(outcome)
    assert verdict.verdict == "look"
    assert verdict.measures["prior_pull"] == pytest.approx(5.0)
    assert judged(Found(fitted, fitted, found.maps, found.rescan, ())).verdict == "trusted"
    (message,) = remarks(outcome)
    assert "Multipole4.b (+5.0 sigma)" in message


def test_the_cost_of_another_lens_is_that_of_its_evidence(fitted):
    vector, covariance = fitted.refined.vector, fitted.covariance

    def cost(other):
        return fitted.climbed(other, range(len(vector))).refined.cost

    assert cost(vector) == pytest.approx(fitted.refined.cost, abs=0.01)
    # close to the maximum it rises as the information says, along the axis that is known best
    step = 0.5 * covariance[:, 0] / np.sqrt(covariance[0, 0])
    rise = np.mean([cost(vector + sign * step) for sign in (-1, 1)]) - fitted.refined.cost
    assert rise == pytest.approx(0.125, rel=0.3)


def test_another_place_that_is_nearly_as_good_is_not_trusted(fitted, found):
    (candidate,) = found.candidates
    x, y = candidate.x + 0.3, candidate.y - 0.4
    rivalled = replace(candidate, rivals=(Rival(x, y, 2e9, -1.5),))
    verdict = judged(Found(fitted, fitted, found.maps, found.rescan, (rivalled,)))
    assert verdict.verdict == "look"
    assert verdict.measures["rival_distance"] == pytest.approx(0.5)
    assert "0.50 arcsec from a detected one" in verdict.reasons[0]
    assert "mass 10^9.30 Msun, where ln Z is 1.5 lower" in replace(found, candidates=(rivalled,)).summary()


def test_the_verdict_is_on_the_result_and_in_the_file(found, tmp_path):
    assert found.verdict == "trusted"
    assert found.section().judgement is found.judgement
    assert "trusted" in found.summary()
    found.write(tmp_path / "maps.fits")
    kind, text, numbers = _described(tmp_path / "maps.fits")  # what ``lenssuper show`` says of it
    assert kind == "a search for substructure"
    assert found.profile.described() in text
    assert len(numbers["candidates"]) == len(found.table)
    with fits.open(tmp_path / "maps.fits") as hdus:
        info = dict(zip(hdus["INFO"].data["NAME"], hdus["INFO"].data["JSON"], strict=True))
    assert json.loads(info["verdict"]) == "trusted"
    assert "prior_pull" in json.loads(info["measures"])
