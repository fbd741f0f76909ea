"""The pages of the documentation: pictures have words, and code fits beside a sidebar."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    path
    for path in [ROOT / "README.rst", *sorted(DOCS.rglob("*.rst"))]
    if not {"generated", "gallery", "changes", "_build"} & set(path.relative_to(ROOT).parts)
]
WIDTH = 78


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_figure_is_there_and_has_words(page):
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)\.\. (figure|image):: (\S+)\n((?:\1 {3}.*\n|\n)*)", text, re.MULTILINE):
        kind, name, body = found.group(2), found.group(3), found.group(4)
        base = DOCS if name.startswith("/") else page.parent
        assert name == "floors.svg" or (base / name.lstrip("/")).is_file(), (
            name
        )  # that one is drawn by the build
        options, _, caption = body.partition("\n\n")
        alt = re.search(r":alt: (.*(?:\n\s{9,}.*)*)", options)
        assert alt, f"{name} has no text for those who cannot see it"
        assert len(alt.group(1).split()) > 3, name  # more than a title
        assert kind == "image" or caption.strip(), f"{name} has no caption"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_is_not_wider_than_a_page(page):
    code, indent = False, ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if begin := re.match(r"( *)\.\. code-block:: python", line):
            code, indent = True, begin.group(1)
        elif line.strip() and not line.startswith(indent + "   "):
            code = False
        if code or re.match(r" *(>>>|\.\.\.) ", line):
            assert len(line.strip()) <= WIDTH, line


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("plot_*.py")), ids=lambda path: path.stem)
def test_code_of_the_gallery_is_not_wider_than_a_page(path):
    _, words, code = path.read_text(encoding="utf-8").split('"""', 2)
    assert words.strip()
    for line in code.splitlines():
        assert line.startswith("#") or len(line) <= WIDTH, line
