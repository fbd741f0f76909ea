"""Checks of arguments: what passes, and what the errors say."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest

from lenssuper._utils.checks import (
    check_angle,
    check_choice,
    check_count,
    check_interval,
    check_kind,
    check_length,
    check_number,
    check_quantity,
    check_rng,
    check_shape,
)


def test_what_passes_is_given_back_as_plain_values():
    assert check_count(np.int64(3), "n") == 3
    assert type(check_count(np.int64(3), "n")) is int
    assert check_shape(np.array([4, 5])) == (4, 5)
    assert check_number(np.float32(0.5), "q", above=0, most=1) == 0.5
    assert check_length(1 * u.arcmin, "size", above=0) == 60.0
    assert check_angle(180 * u.deg, "phi") == np.pi
    assert check_quantity(2 * u.min, "time", u.s, "3 * u.s") == 120 * u.s
    assert check_interval([1, 2], "range") == (1.0, 2.0)
    assert check_interval((1, 2) * u.arcsec, "range", check_length) == (1.0, 2.0)
    assert check_kind(None, "lens", dict | None) is None
    assert check_kind(np.True_, "progress", bool | None)
    assert check_choice("a", "method", ("a", "b")) == "a"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_kind(3, "lens", dict), TypeError, "lens must be a dict; got 3"),
        (lambda: check_kind(3, "n", ValueError | None), TypeError, "n must be a ValueError or None; got 3"),
        (lambda: check_kind(3, "progress", bool | None), TypeError, "must be True, False or None; got 3"),
        (
            lambda: check_kind(1, "x", int.__class__, "a class, e.g. int"),
            TypeError,
            "a class, e.g. int; got 1",
        ),
        (lambda: check_choice(3, "method", ("a", 1)), ValueError, "method must be one of 'a', 1; got 3"),
        (lambda: check_count(True, "n"), TypeError, "n must be an integer; got True"),
        (lambda: check_count(2.0, "n"), TypeError, "n must be an integer; got 2.0"),
        (lambda: check_count(0, "n"), ValueError, "n must be at least 1; got 0"),
        (lambda: check_count(3, "n", 2, even=True), ValueError, "n must be even; got 3"),
        (lambda: check_shape(3), TypeError, "shape must be two integers (ny, nx); got 3"),
        (lambda: check_shape((3, 4, 5)), ValueError, "shape must be two integers (ny, nx); got (3, 4, 5)"),
        (lambda: check_shape((3, 0)), ValueError, "shape must be at least 1; got 0"),
        (lambda: check_number("a", "q"), TypeError, "q must be a real number; got 'a'"),
        (lambda: check_number([1, 2], "q"), ValueError, "q must be one value; got an array of shape (2,)"),
        (lambda: check_number(np.nan, "q"), ValueError, "q must be finite; got nan"),
        (lambda: check_number(0, "q", above=0), ValueError, "q must be positive; got 0"),
        (lambda: check_number(1, "q", above=1), ValueError, "q must be above 1; got 1"),
        (lambda: check_number(-1, "q", least=0), ValueError, "q must be at least 0; got -1"),
        (lambda: check_number(3, "q", most=2), ValueError, "q must be at most 2; got 3"),
        (lambda: check_number(0, "q", above=0, most=1), ValueError, "q must lie in (0, 1]; got 0"),
        (lambda: check_number(1, "q", least=0, below=1), ValueError, "q must lie in [0, 1); got 1"),
        (
            lambda: check_length(1, "x"),
            TypeError,
            "Quantity with an angular unit, e.g. 1.2 * u.arcsec; got 1",
        ),
        (
            lambda: check_length(1 * u.arcsec, "x", least=2),
            ValueError,
            "x must be at least 2 arcsec; got 1.0 arcsec",
        ),
        (
            lambda: check_quantity(1, "time", u.s, "3 * u.s"),
            TypeError,
            "time must be a Quantity with a unit like s, e.g. 3 * u.s; got 1",
        ),
        (
            lambda: check_quantity(1 * u.m, "time", u.s, "3 * u.s"),
            u.UnitConversionError,
            "time must have a unit like s, e.g. 3 * u.s; got 1.0 m",
        ),
        (lambda: check_interval(3, "x"), TypeError, "x must be two values (low, high); got 3"),
        (lambda: check_interval((2, 1), "x"), ValueError, "(low, high), the lower first; got (2, 1)"),
    ],
)
def test_errors_name_argument_rule_and_what_came(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_random_numbers():
    rng = np.random.default_rng(5)
    assert check_rng(rng) is rng
    assert check_rng(7).integers(1000) == np.random.default_rng(7).integers(1000)
    assert check_rng(np.int64(7)).integers(1000) == check_rng(7).integers(1000)
    assert isinstance(check_rng(None), np.random.Generator)


@pytest.mark.parametrize("rng", ["a", 1.5, True, -1])
def test_what_gives_no_random_numbers(rng):
    with pytest.raises((TypeError, ValueError), match=r"^rng must be"):
        check_rng(rng)
