"""The verdict on a super-resolution: in its file, its words and its page."""

from dataclasses import replace

import astropy.units as u
import pytest

from lenssuper import Observation, SuperResolution, SuperResolver
from lenssuper.forward.judgement import Verdict
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian
from lenssuper.superres import resultfile

SOLVER = Gaussian(n_draws=2, dense_limit=1000)


@pytest.fixture(scope="module")
def mock():
    """As bright as a source of 44 pixels can explain."""
    return random_mock(1, shape=(32, 32), peak_snr=(18, 18))


def resolved(mock, lens, side=44):
    grid = square_source_grid(Observation.of(mock.observation), lens, 1, side)
    return SuperResolver(lens, 1, solver=SOLVER, source_grid=grid, rng=1)(mock.observation)


@pytest.fixture(scope="module")
def result(mock):
    return resolved(mock, mock.lens)


def test_right_lens_is_trusted_and_a_wrong_one_is_not(mock, result):
    assert result.verdict == "trusted", result.reasons
    wrong = mock.lens.replace(**{"SIE.theta_E": 1.2 * mock.lens.parameters["SIE.theta_E"]})
    wrong = resolved(random_mock(1, shape=(32, 32), peak_snr=(25, 25)), wrong)
    assert wrong.verdict == "wrong"
    assert any("negative light" in reason for reason in wrong.reasons)
    assert wrong.summary().splitlines()[-len(wrong.reasons) - 1].split() == ["verdict", "wrong"]


def test_verdict_of_the_fit_counts(result):
    fit = Verdict("look", ("it is odd",), {"shear": 0.3})
    both = result.judged_with(fit)
    assert (both.verdict, both.reasons) == ("look", ("lens fit: it is odd",))
    assert both.measures["lens_fit.shear"] == 0.3
    assert result.judged_with(None).judgement == result.judgement
    assert replace(result, judgement=None).judged_with(fit).judgement == fit


def test_file_gives_the_verdict_back(result, tmp_path, monkeypatch):
    odd = result.judged_with(Verdict("look", ("it is odd",)))
    odd.write(tmp_path / "odd.fits")
    again = SuperResolution.read(tmp_path / "odd.fits")
    assert (again.verdict, again.reasons) == (odd.verdict, odd.reasons)
    assert dict(again.measures) == pytest.approx(dict(odd.measures), nan_ok=True)

    info = resultfile._info
    monkeypatch.setattr(
        resultfile, "_info", lambda given: {k: v for k, v in info(given).items() if k != "judgement"}
    )
    odd.write(tmp_path / "old.fits")  # as earlier versions wrote it
    old = SuperResolution.read(tmp_path / "old.fits")
    assert (old.verdict, old.reasons, dict(old.measures)) == (None, (), {})
    assert "verdict" not in old.summary()


def test_lens_beside_the_field_is_said(mock):
    lens = mock.lens.replace(**{"SIE.x": 0.7 * u.arcsec})
    beside = resolved(mock, lens, 24)
    assert any("from the middle of the field" in reason for reason in beside.reasons)
