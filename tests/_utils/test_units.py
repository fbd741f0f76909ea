import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Angle

from lenssuper._utils.units import arcsec, to_arcsec, to_number, to_radian
from lenssuper.exceptions import ConvergenceWarning, FileFormatError, LensSuperWarning, ObservationError


def test_scalars_become_floats_in_the_right_unit():
    assert to_arcsec(1 * u.deg, "x") == pytest.approx(3600, rel=1e-15)
    assert type(to_arcsec(2 * u.arcsec, "x")) is float
    assert to_arcsec(np.pi * u.rad, "x") == pytest.approx(180 * 3600, rel=1e-15)
    assert to_radian(180 * u.deg, "phi") == pytest.approx(np.pi, rel=1e-15)
    assert to_arcsec(Angle("0d0m5s"), "x") == pytest.approx(5, rel=1e-14)
    assert to_number(0.5, "q") == 0.5
    assert to_number(50 * u.percent, "q") == 0.5
    assert type(to_number(1, "q")) is float


def test_arrays_are_float64_copies():
    values = np.arange(6, dtype=np.float32).reshape(2, 3) * u.arcsec
    numbers = to_arcsec(values, "x")
    assert numbers.dtype == np.float64
    assert numbers.shape == (2, 3)
    numbers[:] = -1
    assert values[0, 1] == 1 * u.arcsec
    # Also where no conversion is needed.
    values = np.ones(3) * u.arcsec
    to_arcsec(values, "x")[0] = 7
    assert values[0] == 1 * u.arcsec


def test_arcsec_does_not_copy():
    values = np.zeros(3)
    quantity = arcsec(values)
    assert quantity.unit == u.arcsec
    assert np.shares_memory(quantity, values)
    assert arcsec(1.5) == 1.5 * u.arcsec


@pytest.mark.parametrize("value", [1.2, 1, np.ones(2), "1.2 arcsec", None])
def test_bare_number_is_refused_with_the_way_to_write_it(value):
    with pytest.raises(TypeError, match=r"theta_E must be a Quantity .* e\.g\. 1\.2 \* u\.arcsec; got "):
        to_arcsec(value, "theta_E")
    with pytest.raises(TypeError, match=r"phi must be a Quantity .* e\.g\. 45 \* u\.deg; got "):
        to_radian(value, "phi")


def test_wrong_kind_of_unit_names_the_argument():
    for kind in (TypeError, ValueError, u.UnitConversionError, u.UnitTypeError):
        with pytest.raises(kind, match=r"theta_E must have an angular unit, .* got 3\.0 km"):
            to_arcsec(3 * u.km, "theta_E")
    with pytest.raises(u.UnitConversionError, match="phi must have an angular unit"):
        to_radian(3 * u.dimensionless_unscaled, "phi")
    with pytest.raises(u.UnitConversionError, match=r"q must be a number without a unit; got 0\.5 arcsec"):
        to_number(0.5 * u.arcsec, "q")


@pytest.mark.parametrize("value", ["half", True, 1j, [None], np.array(["a"])])
def test_number_of_another_kind_is_refused(value):
    with pytest.raises(TypeError, match="q must be a real number; got "):
        to_number(value, "q")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad):
    with pytest.raises(ValueError, match="x must be finite; got "):
        to_arcsec([0, bad] * u.arcsec, "x")
    with pytest.raises(ValueError, match="phi must be finite"):
        to_radian(bad * u.deg, "phi")
    with pytest.raises(ValueError, match="q must be finite"):
        to_number(bad, "q")
    assert np.array_equal(to_arcsec([0, bad] * u.arcsec, "x", finite=False), [0, bad], equal_nan=True)


def test_errors_can_be_caught_as_their_python_kind():
    assert issubclass(ObservationError, ValueError)
    assert issubclass(FileFormatError, ValueError)
    assert issubclass(ConvergenceWarning, LensSuperWarning)
    assert issubclass(LensSuperWarning, UserWarning)
