"""The table of an analytic source."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from lenssuper.light import sersic_table
from lenssuper.light.sersic.components import NAMES


def test_one_profile_a_row_with_units():
    names = (*NAMES, "amplitude")
    values = {f"{name}_{k}": float(10 * k + i) for k in (1, 2) for i, name in enumerate(names)}
    errors = {f"{name}_error": value / 100 for name, value in values.items()}
    table = sersic_table(values | errors)
    assert len(table) == 2
    np.testing.assert_allclose(table["R_e"], [12, 22] * u.arcsec)
    np.testing.assert_allclose(table["R_e_err"], [0.12, 0.22] * u.arcsec)
    np.testing.assert_allclose(table["phi"], np.degrees([15, 25]) * u.deg)
    np.testing.assert_allclose(table["n"], [13, 23])


def test_of_another_solver():
    with pytest.raises(ValueError, match="must be those of the solver Sersics"):
        sersic_table({"std": 1.0, "slope": 3.0})
