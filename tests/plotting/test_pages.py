"""Pages on results: what is on them, and that nothing in a file becomes markup."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

from lenssuper import LensFitter, Observation, SuperResolver
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.light import ForegroundFitter
from lenssuper.plotting.pages import write_index, write_report
from lenssuper.simulate import HST_ACS_F814W, SersicSource, mock_lens, random_mock
from lenssuper.solvers import Gaussian, GradientPrior


@pytest.fixture(scope="module")
def result():
    mock = random_mock(1, shape=(24, 24))
    observation = mock.observation.copy()
    observation.psf = mock.observation.psf
    observation.mask = np.zeros((24, 24), dtype=bool)
    observation.mask[:4] = True
    grid = square_source_grid(Observation.of(observation), mock.lens, 2, 24)
    solver = Gaussian(GradientPrior())
    return SuperResolver(mock.lens, 2, solver=solver, source_grid=grid, rng=1)(observation)


@pytest.fixture
def small_pictures(monkeypatch):
    """Pictures that are drawn fast, and an empty one of the super-resolution."""
    monkeypatch.setattr("lenssuper.plotting.pages.page._DPI", 30)
    monkeypatch.setattr("lenssuper.superres.section.plot_result", lambda result: Figure(figsize=(1, 1)))


class Page(HTMLParser):
    """The tags of a page, with every opened one closed."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def test_page_holds_picture_and_summary(result, tmp_path):
    path = tmp_path / "lens.html"
    write_report(result, path, links={"result": "lens.fits"})
    page = Page(path.read_text(encoding="utf-8"))
    (picture,) = [a for tag, a in page.tags if tag == "img"]
    kind, _, content = picture["src"].partition(",")
    assert kind == "data:image/webp;base64"
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).shape[0] > 500
    assert ("a", {"href": "lens.fits"}) in page.tags
    assert f"reduced {result.reduced_chi2:.3f}" in page.text
    assert picture["alt"].startswith("Six images")
    assert "Data, model and residuals; super-resolved image" in page.text  # the caption
    cells = page.text.split()
    angle = float(cells[cells.index("SIE.phi") + 1])
    assert angle == pytest.approx(result.lens.parameters["SIE.phi"].to_value(u.deg), abs=1e-4)
    place = cells.index("north")  # the same, east of north
    assert float(cells[place + 1]) == pytest.approx((angle - 90) % 180, abs=1e-3)
    # nothing is fetched from elsewhere
    assert not [
        a for tag, a in page.tags if tag == "link" or ("src" in a and not a["src"].startswith("data:"))
    ]
    with pytest.raises(FileExistsError):
        write_report(result, path)


def test_thumbnail_shows_data_image_and_source(result):
    picture = imread(io.BytesIO(result.thumbnail(size=48)))
    assert picture.shape == (48, 3 * 48 + 8, 4)
    bright = picture[..., :3].sum(axis=2)[::-1]  # rows from the bottom, as images have them
    panels = [bright[:, k * 52 : k * 52 + 48] for k in range(3)]
    data = np.where(result.observation.mask, -np.inf, result.observation.data)
    row, column = np.unravel_index(np.argmax(data), (24, 24))
    brightest = panels[0][2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    assert brightest.min() >= np.quantile(panels[0][8:], 0.99)
    grey = picture[::-1][:8, :48, :3]
    np.testing.assert_allclose(grey, 0.5, atol=0.01)
    row, column = np.unravel_index(np.argmax(result.image.data), (48, 48))
    assert panels[1][row, column] >= np.quantile(panels[1], 0.99)


def last(cells, name):
    return len(cells) - 1 - cells[::-1].index(name)


def test_page_shows_the_fit_of_the_lens(result, tmp_path, small_pictures):
    fit = LensFitter(result.lens, fixed=["ExternalShear"], factor=1, rng=1)(result.observation)
    write_report(result, tmp_path / "lens.html", fit=fit)
    page = Page((tmp_path / "lens.html").read_text(encoding="utf-8"))
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2
    assert f"reduced {fit.reduced_chi2:.3f}" in page.text
    cells = page.text.split()
    place = last(cells, "SIE.theta_E")  # the first is that of the lens as used
    radius, error, unit = cells[place + 1 : place + 4]
    assert unit == "arcsec"
    assert float(radius) == pytest.approx(fit.lens.parameters["SIE.theta_E"].to_value(u.arcsec), abs=1e-4)
    assert float(error) == pytest.approx(fit.errors["SIE.theta_E"].to_value(u.arcsec), rel=0.05)
    place = last(cells, "SIE.phi")
    angle, error, unit = cells[place + 1 : place + 4]
    assert unit == "deg"
    assert float(angle) == pytest.approx(fit.lens.parameters["SIE.phi"].to_value(u.deg), abs=float(error))
    assert float(error) == pytest.approx(fit.errors["SIE.phi"].to_value(u.deg), rel=0.05)
    assert cells[last(cells, "ExternalShear.gamma1") + 2] == "fixed"


def test_page_shows_the_light_that_was_taken_off(result, tmp_path, small_pictures):
    galaxy = SersicSource(0.2 * u.arcsec, 1.0, q=0.8)
    mock = mock_lens(
        result.lens, galaxy, HST_ACS_F814W, shape=(24, 24), peak_snr=40, lens_light=5.0 * galaxy, rng=1
    )
    light = ForegroundFitter(1, arcs=None, modes=0)(mock.observation)
    write_report(result, tmp_path / "lens.html", light=light)
    page = Page((tmp_path / "lens.html").read_text(encoding="utf-8"))
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2
    assert f"{light.reduced_chi2:.3f} per pixel" in page.text
    assert "Sersic 1" in page.text


def summary():
    table = QTable()
    table["name"] = ["a", "b<b>", "c"]
    table["status"] = ["done", "failed", "missing"]
    table["verdict"] = ["look", "", ""]
    table["reasons"] = ["q = 0.2", "", ""]
    for name, values in {
        "reduced_chi2": [1.05, np.nan, np.nan],
        "n_pixels": [4096, np.nan, np.nan],
        "effective_modes": [311.2, np.nan, np.nan],
        "log_evidence": [-123.4, np.nan, np.nan],
    }.items():
        table[name] = values
    table["warnings"] = ["", "", ""]
    table["reason"] = ["", "ValueError: <script>alert(1)</script>", ""]
    return table


def index_of(table, directory):
    """The page of an index without its script, and what the script is given."""
    write_index(table, directory / "index.html", overwrite=True)
    text = (directory / "index.html").read_text(encoding="utf-8")
    data, *_ = re.findall(r'<script id="lenses" type="application/json">(.*)</script>', text)
    return Page(re.sub("(?s)<script.*</script>", "", text)), text, json.loads(data)


def test_index_lists_all_and_links_what_is_there(tmp_path):
    (tmp_path / "a.html").touch()
    (tmp_path / "a_small.png").touch()
    page, text, lenses = index_of(summary(), tmp_path)
    assert lenses[0] == ["a", 1, 1, "done", "look", "q = 0.2", "1.050", "311", "-123.4"]
    assert lenses[1][:6] == ["b<b>", 0, 0, "failed", "", "ValueError: <script>alert(1)</script>"]
    assert lenses[2] == ["c", 0, 0, "missing", "", "", "", "", ""]
    assert "<script>alert" not in text
    assert "1 done, 1 failed, 1 missing" in page.text
    with pytest.raises(FileExistsError):
        write_index(summary(), tmp_path / "index.html")


def test_index_has_a_column_for_what_the_summary_has(tmp_path):
    table = summary()
    table["einstein_radius"] = [1.2, np.nan, np.nan] * u.arcsec
    table["lens_reduced_chi2"] = [0.98, np.nan, np.nan]
    table["time"] = [0.75, np.nan, np.nan] * u.min
    table["cpu_time"] = [0.5, np.nan, np.nan] * u.min
    page, _, lenses = index_of(table, tmp_path)
    headings = [line.strip() for line in page.text.splitlines() if line.strip()]
    assert headings[headings.index("status") : headings.index("notes")] == [
        "status", "verdict", "θ_E (″)", "reduced χ²", "lens fit", "modes", "ln Z",
        "elapsed (s)", "processor (s)",
    ]  # fmt: skip
    assert lenses[0][6:] == ["1.200", "1.050", "0.980", "311", "-123.4", "45.0", "30.0"]


def test_page_tells_elapsed_time_from_that_of_a_processor(result, tmp_path, small_pictures):
    write_report(result, tmp_path / "lens.html", times={"fit of the lens": (7.25, 3.5)})
    cells = Page((tmp_path / "lens.html").read_text(encoding="utf-8")).text.split()
    place = last(cells, "elapsed")
    assert cells[place : place + 4] == ["elapsed", "(s)", "processor", "(s)"]
    assert cells[place + 4 : place + 10] == ["fit", "of", "the", "lens", "7.2", "3.5"]


def test_index_of_many_lenses_is_small(tmp_path):
    """A browser is given no more than a hundred bytes a lens, and lays out a hundred lenses at a time."""
    n = 2000
    table = QTable({"name": [f"J{i}" for i in range(n)], "status": ["done"] * n, "reduced_chi2": np.ones(n)})
    table["reason"] = table["warnings"] = [""] * n
    page, text, lenses = index_of(table, tmp_path)
    assert len(lenses) == n
    assert len(text) < 10_000 + 100 * n
    assert len(page.tags) < 100
