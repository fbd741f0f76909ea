"""Lenses of other radii that are almost as likely as a fitted one."""

from types import SimpleNamespace

import numpy as np
import pytest

from lenssuper.lensfit import search
from lenssuper.lensfit.refine import Refined

# log Einstein radius, and another parameter
KNOWN = np.array([0.2, 0.5])


def refined(vector, cost, *, error=0.02):
    return Refined(np.array(vector), (), np.diag([error**-2, 1.0]), cost, True, 0.1)


@pytest.fixture
def sources(monkeypatch):
    """One source, and a record of from where lenses were improved, on which pixels, and where this led."""
    registration = SimpleNamespace(
        parameters=SimpleNamespace(is_radius=np.array([True, False])), begin=lambda vector: vector
    )
    rough = SimpleNamespace(registration=registration, clearest=SimpleNamespace(signal=1.0))
    fine = SimpleNamespace(rough=rough, registration=registration, clearest=rough.clearest)
    calls, ends = [], {"best": refined(KNOWN, -50.0), "lower": None, "higher": None}

    def refine(given, vector, rng, report, **options):
        calls.append((given[0] is rough, float(vector[0] - KNOWN[0])))
        side = "best" if abs(vector[0] - KNOWN[0]) < 1e-9 else "lower" if vector[0] < KNOWN[0] else "higher"
        found = ends[side]
        if found is None:
            raise np.linalg.LinAlgError("astray")
        return found(given) if callable(found) else found

    monkeypatch.setattr(search, "refine", refine)
    monkeypatch.setattr(search, "seen_by", lambda sources, found, rng: found)
    return [fine], calls, ends


def improved(sources):
    return search.improve(sources, [KNOWN], np.random.default_rng(0), lambda share, what: None)


def test_a_lens_almost_as_likely_is_returned(sources):
    given, calls, ends = sources
    ends["lower"] = refined([0.1, 0.4], -45.0)
    ends["higher"] = refined([0.3, 0.4], -49.0)
    best, *others = improved(given)
    assert best is ends["best"]
    assert others == [ends["higher"], ends["lower"]]
    # from 16% to both sides: on the larger pixels first, then on those of the data
    assert calls[2:] == [
        (True, pytest.approx(-0.16)),
        (False, pytest.approx(-0.1)),
        (True, pytest.approx(0.16)),
        (False, pytest.approx(0.1)),
    ]


def test_a_lens_that_is_much_better_takes_its_place(sources):
    given, _, ends = sources
    ends["lower"] = refined([0.1, 0.4], -101.0)
    best, *others = improved(given)
    assert best is ends["lower"]
    assert others == [ends["best"]]
    ends["lower"] = refined([0.1, 0.4], -99.0)
    assert improved(given)[0] is ends["best"]


@pytest.mark.parametrize("other", [refined([0.16, 0.4], -45.0), refined([0.1, 0.4], 251.0), None])
def test_the_same_radius_and_unlikely_lenses_are_no_rivals(sources, other):
    given, calls, ends = sources
    ends["lower"] = other
    assert improved(given) == [ends["best"]]
    assert all(rough for rough, moved in calls if moved)


def test_a_lens_that_comes_back_on_the_pixels_of_the_data_is_no_rival(sources):
    given, calls, ends = sources
    rough, fine = refined([0.1, 0.4], -45.0), refined([0.19, 0.4], -50.5)
    ends["lower"] = lambda sources: rough if sources[0] is given[0].rough else fine
    assert improved(given) == [ends["best"]]
    assert (False, pytest.approx(-0.1)) in calls


def test_nothing_is_tried_where_errors_leave_no_room(sources):
    given, calls, ends = sources
    # 16% are 25 standard deviations: 312 in ln Z
    ends["best"] = refined(KNOWN, -50.0, error=0.16 / 25)
    ends["lower"] = refined([0.1, 0.4], -45.0)
    assert improved(given) == [ends["best"]]
    assert len(calls) == 2
    ends["best"] = refined(KNOWN, -50.0, error=0.16 / 24)
    assert len(improved(given)) == 2
