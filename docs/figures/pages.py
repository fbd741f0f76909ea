"""Pictures of the pages for a browser; they need Chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import astropy.units as u
import numpy as np
from astropy.table import QTable
from matplotlib.figure import Figure
from matplotlib.image import imread

from lenssuper import SuperResolver
from lenssuper.datasets import cosmos_web_ring
from lenssuper.plotting.pages import write_index
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian, GradientPrior


def _screenshot(page, width, height):
    """Return a figure that is the picture of a page in a window."""
    browser, picture = shutil.which("chromium"), page.with_suffix(".png")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=4000",
    ]
    command = [browser, *options, f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri()]
    try:
        subprocess.run(command, capture_output=True, timeout=60, check=True)
    except subprocess.TimeoutExpired:  # some versions do not end by themselves
        pass
    figure = Figure(figsize=(width / 90, height / 90), dpi=90)
    figure.figimage(imread(picture), origin="upper")
    return figure


def draw_view_page():
    """The page of ``result.view()``."""
    ring = cosmos_web_ring()
    result = SuperResolver(ring.lens, rng=0, progress=False)(ring.observation)
    with TemporaryDirectory() as folder:
        page = Path(folder) / "COSMOS-Web ring.html"
        result.view(page)
        return _screenshot(page, 1000, 790)


def draw_index_page():
    """The index of ``lenssuper batch``, of five simulated lenses."""
    with TemporaryDirectory() as folder:
        rows = []
        for k in range(5):
            mock = random_mock(k + 3)
            solver = Gaussian(GradientPrior())
            result = SuperResolver(mock.lens, solver=solver, rng=1, progress=False)(mock.observation)
            (Path(folder) / f"mock{k}_small.png").write_bytes(result.thumbnail())
            (Path(folder) / f"mock{k}.html").touch()
            rows.append(
                (
                    f"mock{k}",
                    mock.lens.einstein_radius(),
                    result.reduced_chi2,
                    result.effective_modes,
                    result.log_evidence,
                )
            )
        names, radii, chi2, modes, evidence = zip(*rows, strict=True)
        table = QTable({"name": names, "status": ["done"] * 5, "einstein_radius": u.Quantity(radii)})
        table["reduced_chi2"], table["effective_modes"], table["log_evidence"] = chi2, modes, evidence
        table["warnings"] = table["reason"] = np.full(5, "")
        page = Path(folder) / "index.html"
        write_index(table, page)
        return _screenshot(page, 1000, 700)
