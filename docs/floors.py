"""
Draw the rooms of the package on their floors: a room stands above all rooms that import from it.

    python docs/floors.py floors.svg

What imports what is read from the source, imports inside functions and those for type checkers included.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

PACKAGE = "lenssuper"


def rooms_below() -> dict[str, set[str]]:
    """Return, for each room of the package, the rooms that import from it."""
    import grimp  # of the extra "docs": the tests, which collect this file, do without

    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=False, cache_dir=None)
    below = {room_of(module): set() for module in graph.modules if "." in module}
    for module in graph.modules:
        for used in graph.find_modules_directly_imported_by(module):
            if "." in module and "." in used and room_of(module) != room_of(used):
                below[room_of(used)].add(room_of(module))
    # the version is written by the build, and the command line's way in is no room
    return {
        room: users - {"__main__"} for room, users in below.items() if room not in ("_version", "__main__")
    }


def room_of(module: str) -> str:
    """Return the room of a dotted module name: ``lenssuper.lens.models`` is in ``lens``."""
    return module.split(".")[1]


def floors(below: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms floor by floor, the top floor first; each as low as what it uses allows."""
    above = {room: {other for other, users in below.items() if room in users} for room in below}

    @cache
    def depth(room: str) -> int:
        return 1 + max(map(depth, above[room]), default=-1)

    levels = {room: depth(room) for room in below}
    return [sorted(room for room in below if levels[room] == k) for k in range(max(levels.values()) + 1)]


def needed(below: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows that no longer way replaces: their transitive reduction."""

    def reached(room: str) -> set[str]:
        return below[room].union(*map(reached, below[room]))

    return {room: users - set().union(*map(reached, users)) for room, users in below.items()}


def described(room: str) -> tuple[str, int]:
    """Return the first sentence of what a room says of itself, and its number of lines."""
    place = Path(__file__).parent.parent / PACKAGE / room
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    first = place / "__init__.py" if place.is_dir() else files[0]
    text = ast.get_docstring(ast.parse(first.read_text(encoding="utf-8")))
    summary = re.split(r"[.;]\s|\.$|\n\n", text)[0].replace("``", "")
    return summary, sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def draw(path: Path) -> None:
    """Write the picture, as PNG or SVG by the suffix of ``path``."""
    below = rooms_below()
    storeys = floors(below)
    figure = Figure(figsize=(9, 0.72 * len(storeys)))
    axes = figure.add_axes((0, 0, 1, 1))
    where = {
        room: ((k + 0.5) / len(rooms), -level)
        for level, rooms in enumerate(storeys)
        for k, room in enumerate(rooms)
    }
    for room, users in needed(below).items():
        for user in users:
            (x0, y0), (x1, y1) = where[room], where[user]
            axes.plot([x0, x1], [y0 - 0.3, y1 + 0.3], color="0.6", lw=0.8, zorder=0)
    for room, (x, y) in where.items():
        summary, lines = described(room)
        width = min(0.46, 0.96 / len(storeys[-round(y)]))
        box = FancyBboxPatch(
            (x - width / 2, y - 0.3),
            width,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.01",
            fc="#eef3f8",
            ec="#33689b",
        )
        axes.add_patch(box)
        axes.text(
            x, y + 0.14, f"{room}  ({lines:,} lines)", ha="center", va="center", weight="bold", size=8.5
        )
        words = fill(summary, min(58, round(165 * width)))
        axes.text(x, y - 0.12, words, ha="center", va="center", size=7, linespacing=1.1)
    axes.set(xlim=(0, 1), ylim=(-len(storeys) + 0.5, 0.5))
    axes.axis("off")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
