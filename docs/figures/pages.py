"""Pictures of the pages for a browser; they need Chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from astropy.table import QTable
from matplotlib.figure import Figure
from matplotlib.image import imread

from lenssuper import SuperResolver, catalog
from lenssuper.datasets import cosmos_web_ring
from lenssuper.simulate import random_mock


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
        files, lenses = [], []
        for k in range(5):
            mock = random_mock(k + 3)
            files.append(Path(folder) / f"mock{k}.fits")
            lenses.append(files[-1].with_suffix(".json"))
            mock.observation.write(files[-1])
            mock.lens.write(lenses[-1])
        catalogue = QTable({"name": [file.stem for file in files], "file": files, "lens": lenses})
        catalog.run(catalogue, Path(folder) / "results", workers=1, progress=False)
        return _screenshot(Path(folder) / "results" / "index.html", 1150, 690)
