"""Pages on results: what is on them, and that nothing in a file becomes markup."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from matplotlib.image import imread

from lenssuper import SuperResolver
from lenssuper.report import thumbnail, write_index, write_report
from lenssuper.simulate import random_mock
from lenssuper.solvers import Gaussian, GradientPrior


@pytest.fixture(scope="module")
def result():
    mock = random_mock(1, shape=(24, 24))
    observation = mock.observation.copy()
    observation.psf = mock.observation.psf
    observation.mask = np.zeros((24, 24), dtype=bool)
    observation.mask[:4] = True
    return SuperResolver(mock.lens, 2, solver=Gaussian(GradientPrior()), rng=1)(observation)


class Page(HTMLParser):
    """The tags of a page, with every opened one closed."""

    VOID = ("meta", "img", "br", "link")

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
        self.text += data


def test_page_holds_picture_and_summary(result, tmp_path):
    path = tmp_path / "lens.html"
    write_report(result, path, links={"result": "lens.fits"})
    page = Page(path.read_text(encoding="utf-8"))
    (picture,) = [a for tag, a in page.tags if tag == "img"]
    kind, _, content = picture["src"].partition(",")
    assert kind == "data:image/png;base64"
    assert imread(io.BytesIO(base64.b64decode(content))).shape[0] > 500
    assert ("a", {"href": "lens.fits"}) in page.tags
    assert f"reduced {result.reduced_chi2:.3f}" in page.text
    assert "SIE(" in page.text
    assert not [a for tag, a in page.tags if tag in ("link", "script")]
    with pytest.raises(FileExistsError):
        write_report(result, path)


def test_thumbnail_shows_data_image_and_source(result):
    picture = imread(io.BytesIO(thumbnail(result, size=48)))
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


def summary():
    table = QTable()
    table["name"] = ["a", "b<b>", "c"]
    table["status"] = ["done", "failed", "missing"]
    for name, values in {
        "reduced_chi2": [1.05, np.nan, np.nan],
        "n_pixels": [4096, np.nan, np.nan],
        "effective_modes": [311.2, np.nan, np.nan],
        "log_evidence": [-123.4, np.nan, np.nan],
    }.items():
        table[name] = values
    table["time"] = [6.5, 0.1, np.nan] * u.s
    table["warnings"] = ["", "", ""]
    table["reason"] = ["", "ValueError: <script>alert(1)</script>", ""]
    return table


def test_index_lists_all_and_links_what_is_there(tmp_path):
    (tmp_path / "a.html").touch()
    (tmp_path / "a_small.png").touch()
    write_index(summary(), tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    page = Page(re.sub("(?s)<script>.*</script>", "", text))
    assert [a["href"] for tag, a in page.tags if tag == "a"] == ["a.html"]
    assert [a["src"] for tag, a in page.tags if tag == "img"] == ["a_small.png"]
    assert "1 done, 1 failed, 1 missing" in page.text
    assert "ValueError: <script>alert(1)</script>" in page.text
    assert "<script>alert" not in text
    values = [a.get("data-value") for tag, a in page.tags if tag == "td" and a.get("class") == "number"]
    assert values[:5] == ["1.05", "4096", "311.2", "-123.4", "6.5"]
    with pytest.raises(FileExistsError):
        write_index(summary(), tmp_path / "index.html")
