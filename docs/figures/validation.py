"""Headline pictures of the page on validation, from the tables that the benchmarks wrote there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from matplotlib.figure import Figure

PAGE = Path(__file__).parent.parent / "validation.rst"
ABLATION = Path(__file__).with_name("ablation.json")


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
    """Gain of networks and losses after equal computing, and how each training went."""
    rows = json.loads(ABLATION.read_text(encoding="utf-8"))["rows"]
    shown = {name: row for name, row in rows.items() if row["gain"] > 0}
    figure = Figure(figsize=(11.5, 3.8))
    gains, course = figure.subplots(1, 2, gridspec_kw={"wspace": 0.12})
    colours = {name: f"C{k}" for k, name in enumerate(row for row in shown if "history" in shown[row])}
    labels = [row["label"] for row in shown.values()]
    gains.barh(labels, [row["gain"] for row in shown.values()], color=[colours.get(n, "0.7") for n in shown])
    gains.invert_yaxis()
    gains.set_xlabel("gain over cubic interpolation (dB)")
    for name, colour in colours.items():
        row = shown[name]
        minutes = [check["step"] / row["steps"] * row["minutes"] for check in row["history"]]
        course.plot(minutes, [check["held_out_chi2"] for check in row["history"]], color=colour)
    course.set(xlabel="training (minutes of a processor)", ylabel="held-out chi-square per pixel")
    course.yaxis.tick_right()
    course.yaxis.set_label_position("right")
    return figure
