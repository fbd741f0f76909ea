"""The choice between lenses that explain the data alike."""

from dataclasses import replace

import numpy as np
import pytest

from lenssuper import ExternalShear
from lenssuper.forward.judgement import Verdict
from lenssuper.lensfit.credibility import between_rivals, most_credible, of_rivals
from lenssuper.lensfit.parameters import FreeParameters


def fits(fit, *lenses):
    """Return fits with other Einstein radii, in units of 0.9 arcsec, and ln Z."""
    radius = fit.lens.parameters["SIE.theta_E"]
    return [
        replace(fit, lens=fit.lens.replace(**{"SIE.theta_E": share * radius}), log_evidence=evidence)
        for share, evidence in lenses
    ]


def test_the_evidence_decides_between_lenses_of_one_radius(fit):
    found = fits(fit, (1.0, 5.0), (1.01, 12.0), (1.02, 8.0))
    best = most_credible(found, fit.lens)
    assert best.log_evidence == 12.0
    assert [evidence for _, evidence in best.optima] == [12.0, 8.0, 5.0]


def test_another_radius_than_the_one_given_needs_a_larger_evidence(fit):
    # the logarithm of the radius is known to 0.2, and 100 in ln Z count as much as 1: 50 (0.3 / 0.2)^2 = 112
    far = float(np.exp(-0.3))
    close, behind = fits(fit, (far, 110.0), (1.0, 0.0)), fits(fit, (far, 115.0), (1.0, 0.0))
    assert most_credible(close, fit.lens).log_evidence == 0.0
    assert most_credible(behind, fit.lens).log_evidence == 115.0


def test_wrong_lenses_are_left_out_if_there_are_others(fit):
    found = fits(fit, (1.0, 50.0), (1.0, 5.0))
    found[0] = replace(found[0], judgement=Verdict("wrong", ("it is",)))
    best = most_credible(found, fit.lens)
    assert best.log_evidence == 5.0
    assert len(best.optima) == 1
    assert most_credible(found[:1], fit.lens).log_evidence == 50.0


def test_a_lens_with_a_worse_verdict_is_no_rival(fit):
    found = fits(fit, (1.0, 0.0), (0.9, -5.0), (1.2, -5.0))
    found[0] = replace(found[0], judgement=Verdict("trusted"))
    found[1] = replace(found[1], judgement=Verdict("look", ("it may be another",)))
    found[2] = replace(found[2], judgement=Verdict("trusted"))
    best = most_credible(found, fit.lens)
    assert [evidence for _, evidence in best.optima] == [0.0, -5.0]
    assert best.optima[1][0] == found[2].lens
    found[0] = replace(found[0], judgement=Verdict("look", ("it may be another",)))
    assert len(most_credible(found, fit.lens).optima) == 3


def test_a_rival_of_almost_the_same_credibility_is_said(fit):
    best = most_credible(fits(fit, (1.0, 0.0), (float(np.exp(-0.3)), 60.0)), fit.lens)
    doubt = of_rivals(best, fit.lens)
    assert doubt.verdict == "look"
    assert "an Einstein radius of 0.6" in doubt.reasons[0]
    assert doubt.reasons[0].endswith("is almost as credible: its ln Z is 60 higher")
    (said,) = of_rivals(best, fit.lens, " before it rained").reasons
    assert said.endswith("was almost as credible before it rained: its ln Z was 60 higher")
    assert doubt.measures["runner_up"] == -60.0
    assert doubt.measures["runner_up_log_odds"] == pytest.approx(0.5 * 1.5**2 - 60 / 100, rel=1e-6)
    far = most_credible(fits(fit, (1.0, 0.0), (float(np.exp(-0.3)), 40.0)), fit.lens)
    trusted = of_rivals(far, fit.lens)
    assert trusted.verdict == "trusted"
    assert trusted.measures["runner_up"] == -40.0


def test_errors_reach_to_a_rival(fit):
    parameters = FreeParameters(fit.lens)
    share = float(np.exp(-0.3))
    best = most_credible(fits(fit, (1.0, 0.0), (share, 60.0)), fit.lens)
    odds = np.exp(0.5 * 1.5**2 - 60 / 100)
    k = list(parameters.names).index("SIE.theta_E")
    found = between_rivals(best, fit.lens, parameters)
    # the logarithm of the radius is what is fitted
    assert found[k, k] == pytest.approx(0.3**2 / (1 + odds))
    assert np.count_nonzero(np.abs(found) > 1e-20) == 1
    alone = most_credible(fits(fit, (1.0, 0.0), (0.97, -1.0)), fit.lens)
    assert not between_rivals(alone, fit.lens, parameters).any()


def test_a_lens_of_the_same_radius_is_no_rival(fit):
    best = most_credible(fits(fit, (1.0, 0.0), (0.97, -1.0)), fit.lens)
    assert of_rivals(best, fit.lens) == Verdict("trusted", (), {})


def test_without_a_radius_the_evidence_decides(fit):
    given = ExternalShear(gamma1=0.1, gamma2=0.0)
    assert most_credible(fits(fit, (1.0, 0.0), (0.5, 1.0)), given).log_evidence == 1.0
