"""
Draw the pictures of these pages that are kept beside the text: ``python docs/figures [NAME ...]``.

Each function ``draw_NAME`` of the files here returns a figure, which is written to ``NAME.webp`` beside them.
They are drawn when what they show has changed, and not with every build of the documentation: lenses are
super-resolved for them, which takes a minute or two.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
FOLDER = Path(__file__).parent


def drawings():
    """Return the functions that draw, by the name of their picture."""
    sys.path.insert(0, str(FOLDER))
    found = {}
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        functions = vars(importlib.import_module(path.stem))
        found |= {name[5:]: function for name, function in functions.items() if name.startswith("draw_")}
    return found


def main(names):
    """Draw the pictures of these names, or all."""
    known = drawings()
    for name in names or known:
        path = FOLDER / f"{name}.webp"
        figure = known[name]()
        dpi = min(90, 1200 / figure.get_figwidth())  # no wider than a page
        figure.savefig(path, dpi=dpi, bbox_inches="tight", pil_kwargs={"quality": 75, "method": 6})
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
