"""The profiles of an analytic source as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.table import QTable

__all__ = ["sersic_table"]

_UNITS = {
    "x": u.arcsec,
    "y": u.arcsec,
    "R_e": u.arcsec,
    "n": None,
    "q": None,
    "phi": u.deg,
    "amplitude": None,
}


def sersic_table(hyperparameters: Mapping[str, float]) -> QTable:
    """
    Make a table of what `~lenssuper.solvers.Sersics` found.

    Parameters
    ----------
    hyperparameters : mapping of str to float
        Those of a `~lenssuper.SuperResolution`, also of one that was read from a file.

    Returns
    -------
    `~astropy.table.QTable`
        One profile a row, the brightest first, each column followed by that of its standard errors: centre x
        (west) and y (north), half-light radius R_e on the intermediate axis, index n, axis ratio q, angle phi
        of the major axis counter-clockwise from +x, all in the source plane, and the brightness at R_e in the
        unit of the data.

    Raises
    ------
    ValueError
        If these are the hyper-parameters of another solver.

    Examples
    --------
    >>> from lenssuper import SuperResolver
    >>> from lenssuper.light import sersic_table
    >>> from lenssuper.simulate import random_mock
    >>> from lenssuper.solvers import Sersics
    >>> mock = random_mock(1, shape=(20, 20))
    >>> sr = SuperResolver(mock.lens, solver=Sersics())(mock.observation)
    >>> sersic_table(sr.hyperparameters).colnames[:4]
    ['x', 'x_err', 'y', 'y_err']
    """
    numbers = range(1, 1 + sum(name.startswith("R_e_") for name in hyperparameters) // 2)
    if not numbers:
        raise ValueError(
            "hyperparameters must be those of the solver Sersics, with R_e_1, n_1, ...; "
            f"got {sorted(hyperparameters)}"
        )
    columns = {}
    for name, unit in _UNITS.items():
        for column, ending in ((name, ""), (f"{name}_err", "_error")):
            values = np.array([hyperparameters[f"{name}_{k}{ending}"] for k in numbers])
            if name == "phi":
                values = np.degrees(values)
            columns[column] = values if unit is None else values << unit
    return QTable(columns)
