"""Headline pictures of the page on validation, from the tables that the benchmarks wrote there."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure

PAGE = Path(__file__).parent.parent / "validation.rst"


def _table(mark):
    """Return the rows of the list-table between two marks, each a list of texts; the first is the heading."""
    text = PAGE.read_text(encoding="utf-8")
    (body,) = re.findall(rf"\.\. {mark} table: begin\n(.*?)\.\. {mark} table: end", text, re.DOTALL)
    rows = re.split(r"\n   \* ", body)[1:]
    return [
        [cell.strip(" -") for cell in re.split(r"\n     -|^- ", row) if cell is not None][1:] for row in rows
    ]


def _number(text):
    return float(text.replace("%", "").replace("−", "-").replace(",", "") or "nan")


def draw_quality():
    """Errors over those of interpolation, coverage of the error bars and seconds, by method."""
    heading, *rows = _table("quality")
    columns = {name: k for k, name in enumerate(heading)}
    names = [row[0].replace("`", "").replace(", 64 x 64 source", "") for row in rows]
    colours = ["tab:orange" if "default" in name else "tab:blue" for name in names]
    figure = Figure(figsize=(11, 3.4))
    axes = figure.subplots(1, 3, sharey=True, gridspec_kw={"wspace": 0.08})
    for ax, column, title, aim in (
        (axes[0], "Gain (dB)", "Gain over interpolation (dB)", None),
        (axes[1], "Image in 1 sigma", "Bright pixels within 1 sigma (%)", 68),
        (axes[2], "Time (s)", "Seconds of a processor", None),
    ):
        values = [_number(row[columns[column]]) for row in rows]
        ax.barh(names, [0 if value != value else value for value in values], color=colours)
        ax.set_title(title, fontsize=11)
        if aim:
            ax.axvline(aim, color="black", linestyle="--", linewidth=1)
    axes[0].invert_yaxis()
    return figure


def draw_light():
    """Error of a fit to a galaxy against the number of Sersic profiles, by method."""
    heading, *rows = _table("light")
    columns = [k for k, name in enumerate(heading) if name.startswith("K =")]
    figure = Figure(figsize=(6.5, 3.8))
    ax = figure.subplots()
    for row in rows:
        values = [_number(row[k]) for k in columns]
        name = row[0].replace("`", "")
        if values[-1] != values[-1]:
            if name == "Noise alone":
                ax.axhline(values[0], color="black", linestyle="--", linewidth=1, label=name)
            continue
        ax.plot(range(1, len(values) + 1), values, "o-", label=name)
    ax.set(xlabel="number of Sersic profiles", ylabel="error, % of the range", ylim=(0, None))
    ax.legend(frameon=False, fontsize=9)
    return figure


def draw_ablation():
    """Gain of a short training, by network and loss."""
    heading, *rows = _table("ablation")
    gain = heading.index("gain in dB")
    rows = [row for row in rows if row[0] != "cubic interpolation"]
    figure = Figure(figsize=(8.5, 4.6))
    ax = figure.subplots()
    colours = ["tab:grey" if "truth" in row[0] or "zero-shot" in row[0] else "tab:blue" for row in rows]
    ax.barh([row[0] for row in rows], [_number(row[gain]) for row in rows], color=colours)
    ax.invert_yaxis()
    ax.set_xlabel("gain over cubic interpolation (dB)")
    return figure
