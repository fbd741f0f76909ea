"""Rules and verdicts: the worst rules, and files give them back."""

import json
import math
import pickle

import pytest

from lenssuper.forward.judgement import LENS_RULES, LIGHT_RULES, Verdict, judge
from lenssuper.forward.judgement.rules import Rule

RULES = (
    Rule("above", 2.0, 5.0, "above is {above:.0f}"),
    Rule("below", 0.3, 0.1, "below is {below:.2f}", below=True),
    Rule("both", 1.0, 9.0, "both", only_if=("sure", 3.0)),
)


@pytest.mark.parametrize(
    ("measures", "verdict", "reasons"),
    [
        ({"above": 2.0, "below": 0.3}, "trusted", ()),
        ({"above": 3.0}, "look", ("above is 3",)),
        ({"above": 3.0, "below": 0.05}, "wrong", ("below is 0.05", "above is 3")),
        ({"above": math.nan, "below": math.nan}, "trusted", ()),
        ({"both": 5.0}, "trusted", ()),
        ({"both": 5.0, "sure": 2.0}, "trusted", ()),
        ({"both": 5.0, "sure": 4.0}, "look", ("both",)),
    ],
)
def test_worst_rule_decides(measures, verdict, reasons):
    found = judge(measures, RULES)
    assert (found.verdict, found.reasons) == (verdict, reasons)
    assert dict(found.measures) == pytest.approx(measures, nan_ok=True)


@pytest.mark.parametrize("rule", LENS_RULES + LIGHT_RULES, ids=lambda rule: rule.measure)
def test_rules_are_in_order(rule):
    sign = -1 if rule.below else 1
    assert sign * rule.wrong >= sign * rule.look
    named = "runner_up_radius", "center_sigma", "structure_sigma", "axis_ratio", "psf_change"
    numbers = dict.fromkeys(named, 1.0)
    beyond = rule.look - sign * -1e-3
    numbers |= {rule.measure: beyond}
    if rule.only_if is not None:
        numbers[rule.only_if[0]] = rule.only_if[1] + 1
    assert rule.grade(numbers) != "trusted"
    assert judge(numbers, [rule]).reasons[0]


def test_file_gives_it_back():
    verdict = Verdict("look", ["it is odd"], {"a": 1.5, "b": math.nan})
    again = Verdict.from_dict(json.loads(json.dumps(verdict.to_dict(), allow_nan=False)))
    assert (again.verdict, again.reasons) == (verdict.verdict, verdict.reasons)
    assert dict(again.measures) == pytest.approx({"a": 1.5, "b": math.nan}, nan_ok=True)
    assert pickle.loads(pickle.dumps(again)).reasons == again.reasons
    assert str(verdict) == "look at it — it is odd"
    for damaged in ({"verdict": "fine", "reasons": [], "measures": {}}, {"verdict": "look"}, {"measures": 3}):
        with pytest.raises(ValueError, match="verdict"):
            Verdict.from_dict(damaged)


def test_image_carries_it():
    verdict = Verdict("wrong", ("too dark", "too flat"))
    assert Verdict.in_cards(verdict.cards()) == verdict
    assert Verdict.in_cards(Verdict("trusted").cards()) == Verdict("trusted")
    assert Verdict.in_cards({"FGVERDIC": "what"}) is None
    assert Verdict.in_cards({}) is None


def test_worse_of_two_rules():
    fine, odd = Verdict("trusted", (), {"a": 1.0}), Verdict("look", ("odd", "flat"), {"b": 2.0})
    both = fine.joined(odd, "lens fit")
    assert both.verdict == "look"
    assert both.reasons == ("lens fit: odd", "lens fit: flat")
    assert dict(both.measures) == {"a": 1.0, "lens_fit.b": 2.0}
    assert fine.joined(None, "lens fit") is fine
    wrong = Verdict("wrong", ("flat",)).joined(odd, "lens fit")
    assert wrong.verdict == "wrong"
    assert wrong.reasons == ("flat", "lens fit: odd")
    assert odd.joined(Verdict("wrong", ("off",)), "lens fit").reasons == ("lens fit: off", "odd", "flat")
