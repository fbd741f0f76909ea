"""The search for substructure as a stage of a catalogue."""

import json
from concurrent.futures import ThreadPoolExecutor

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from lenssuper import SIE, Observation, write_observation
from lenssuper.catalog import FindSubstructure, read_catalogue, run
from lenssuper.simulate import Instrument, SersicSource, mock_lens
from lenssuper.solvers import Gaussian, GradientPrior

LENS = SIE(theta_E=0.8 * u.arcsec, q=0.8, phi=30 * u.deg)
SOURCE = SersicSource(0.12 * u.arcsec, 1.0, q=0.7, x=0.08 * u.arcsec, y=-0.05 * u.arcsec)
CAMERA = Instrument.gaussian(0.12 * u.arcsec, 0.16 * u.arcsec)


def test_the_stage_leaves_maps_and_numbers(tmp_path):
    mock = mock_lens(LENS, SOURCE, CAMERA, shape=(20, 20), peak_snr=40, rng=1)
    write_observation(Observation.from_nddata(mock.observation, grid=mock.grid), tmp_path / "ring.fits")
    LENS.write(tmp_path / "lens.json")
    row = {"file": ["ring.fits"], "lens": ["lens.json"], "z_lens": [0.3], "z_source": [1.2]}
    QTable(row).write(tmp_path / "catalogue.ecsv")
    (entry,) = read_catalogue(tmp_path / "catalogue.ecsv")
    assert entry.redshifts == (0.3, 1.2)
    assert "1.2" in entry.known
    with ThreadPoolExecutor(1) as executor:
        summary = run(
            tmp_path / "catalogue.ecsv",
            tmp_path / "out",
            stages=[FindSubstructure(candidates=0)],
            solver=Gaussian(GradientPrior()),
            factor=1,
            executor=executor,
            pictures=False,
        )
    assert list(summary["status"]) == ["done"], summary["reason"][0]
    assert summary["subhaloes"][0] == 0
    assert summary["subhalo_verdict"][0] in ("trusted", "look")
    assert np.isnan(summary["subhalo_ln_z"][0])
    assert summary["subhalo_sensitivity"].unit == u.Msun
    assert (tmp_path / "out" / "ring_substructure.fits").is_file()
    assert "subhaloes" in json.loads((tmp_path / "out" / "ring.json").read_text())


def test_redshifts_are_checked_at_once():
    with pytest.raises(ValueError, match="z_source must be above z_lens"):
        FindSubstructure(z_lens=1.0, z_source=0.5)
