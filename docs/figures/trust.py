"""
Are the error bars right, and what is gained at which noise? Drawn from what the benchmarks wrote.

``calibration.jsonl``, ``wrong_inputs.jsonl`` and ``noise_limits.jsonl`` are the results of the benchmarks of
these names; ``calibration_hard.jsonl`` those of lenses beneath a galaxy, and those that end in ``_network``
those of the network.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri
from scipy.stats import norm

FOLDER = Path(__file__).parent
LEVELS = (0.5, 0.68, 0.9, 0.95)
NUMBERS = ("flux", "half_light_radius", "axis_ratio", "magnification", "image_flux", "theta_E")
# What is wrong, and what a budget calls it
CASES = {
    "right": ("nothing", None),
    "psf": ("PSF\n10%", "PSF width"),
    "theta_E": ("radius\n1%", "SIE.theta_E"),
    "sky": ("sky\n1 sigma", "sky"),
    "neighbour": ("a star", "sky"),
}
CALIBRATIONS = {
    "calibration": ("alone, default", "o", "tab:blue"),
    "calibration_network": ("alone, network", "o", "tab:cyan"),
    "calibration_hard": ("beneath a galaxy, default", "s", "tab:red"),
    "calibration_hard_network": ("beneath a galaxy, network", "s", "tab:orange"),
}
SOLVERS = {"default": "default solver", "positive": "Positive", "network": "network"}


def _rows(name):
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "failed" not in row]


def _pixels(rows, plane, key):
    return np.concatenate([np.asarray(row[plane][key], dtype=float) for row in rows])


def _held(z, level=0.68):
    return 100 * np.mean(np.abs(z) < ndtri(0.5 + level / 2))


def _by(ax, rows, plane, key, edges, label):
    """Share of pixels in 68% error bars against something, with the scatter of the mean over lenses."""
    middles, shares, errors = [], [], []
    for low, high in pairwise(edges):
        each = []
        for row in rows:
            values, z = (np.asarray(row[plane][k], dtype=float) for k in (key, "z"))
            among = (values >= low) & (values < high)
            if np.count_nonzero(among) > 4:
                each.append(_held(z[among]))
        if len(each) > 2:
            middles.append(np.sqrt(low * high))
            shares.append(np.mean(each))
            errors.append(np.std(each) / np.sqrt(len(each)))
    ax.errorbar(middles, shares, errors, marker="o", capsize=3, label=label)


def _expected_68(ax):
    ax.axhline(68, color="black", linestyle="--", linewidth=1)
    ax.set(ylim=(0, 100), ylabel="in 68% error bars (%)")


def draw_calibration():
    """Coverage by brightness, magnification and distance from the caustic; z-scores, ranks and TARP."""
    rows = _rows("calibration")
    figure = Figure(figsize=(13, 7.6), layout="constrained")
    (a, b, c), (d, e, f) = figure.subplots(2, 3)
    for plane, colour in (("image", "tab:blue"), ("source", "tab:orange")):
        z, light = _pixels(rows, plane, "z"), _pixels(rows, plane, "brightness")
        for low, high, style in ((0.03, 0.1, ":"), (0.1, 0.3, "--"), (0.3, 1.01, "-")):
            among = (light > low) & (light <= high)
            held = [_held(z[among], level) for level in LEVELS]
            label = f"{plane}, {low:g} to {min(high, 1):g} of the peak"
            a.plot(100 * np.array(LEVELS), held, style, marker="o", color=colour, label=label)
        _by(b, rows, plane, "magnification", np.geomspace(1, 64, 7), plane)
        d.hist(z, np.linspace(-4, 4, 33), density=True, histtype="step", color=colour, label=plane)
        e.hist(
            _pixels(rows, plane, "rank"), 10, (0, 1), density=True, histtype="step", color=colour, label=plane
        )
    a.plot([45, 100], [45, 100], color="black", linewidth=1)
    a.set(xlabel="error bar (%)", ylabel="truth within it (%)", title="Coverage by brightness")
    b.set(xscale="log", xlabel="magnification", title="By magnification")
    b.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"], minor=False)
    b.set_xticks([], minor=True)
    _by(c, rows, "source", "caustic", np.geomspace(0.005, 1, 7), "source")
    c.set(xscale="log", xlabel="distance from the caustic (arcsec)", title="By distance from the caustic")
    for ax in (b, c):
        _expected_68(ax)
    x = np.linspace(-4, 4, 100)
    d.plot(x, norm.pdf(x), color="black", linewidth=1)
    d.set(xlabel="(truth - estimate) / error", title="z-scores")
    e.axhline(1, color="black", linewidth=1)
    e.set(xlabel="share of draws below the truth", title="Ranks", ylim=(0, None))
    grid = np.linspace(0, 1, 101)
    for name in ("image", "source", *NUMBERS):
        if name in ("image", "source"):
            fractions = np.concatenate([row[f"{name}_tarp"] for row in rows])
        else:
            fractions = np.array([row["numbers"][name]["tarp"] for row in rows])
        f.plot(grid, np.mean(fractions[:, None] < grid, axis=0), label=name.replace("_", " "))
    f.plot([0, 1], [0, 1], color="black", linewidth=1)
    f.set(xlabel="credibility", ylabel="expected coverage", title=f"TARP, {len(rows)} lenses")
    for ax in (a, b, d, e, f):
        ax.legend(frameon=False, fontsize=8)
    return figure


def draw_coverage():
    """Share of the truths within error bars of 68 and 95%, of pixels and of what is measured."""
    names = ("image", "source", *NUMBERS)
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    for ax, level in zip(figure.subplots(1, 2, sharey=True), (0.68, 0.95), strict=True):
        for k, (file, (label, marker, colour)) in enumerate(CALIBRATIONS.items()):
            rows = _rows(file)
            held = np.array([[_held_in(row, name, level) for name in names] for row in rows])
            errors = np.std(held, axis=0) / np.sqrt(len(rows))
            look = {"fmt": marker, "color": colour, "markersize": 5, "label": f"{label}: {len(rows)}"}
            y = np.arange(len(names)) + 0.15 * (k - 1.5)
            ax.errorbar(held.mean(axis=0), y, xerr=errors, capsize=2, **look)
        ax.axvline(100 * level, color="black", linestyle="--", linewidth=1)
        ax.set(xlabel=f"in {level:.0%} error bars (%)", xlim=(30, 102))
    ax.set_yticks(range(len(names)), ["pixels of image", "pixels of source", *map(_plain, NUMBERS)])
    ax.invert_yaxis()
    ax.legend(frameon=False, fontsize=8, loc="lower left", title="lenses")
    return figure


def _held_in(row, name, level):
    """Share of the bright pixels of a lens in error bars, in percent; of a number it is 0 or 100."""
    if name in NUMBERS:
        return _held(row["numbers"][name]["z"], level)
    z, light = np.array(row[name]["z"]), np.array(row[name]["brightness"])
    return _held(z[light > 0.1], level)


def _plain(name):
    return {"image_flux": "flux of the images", "half_light_radius": "half-light radius"}.get(
        name, name.replace("_", " ")
    )


def draw_wrong_inputs():
    """Share of bright pixels in 68% error bars if an input is wrong, and what says that it is."""
    rows = _rows("wrong_inputs")
    groups = {case: [row for row in rows if row["case"] == case] for case in CASES}
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    (image, source), (verdict, score) = figure.subplots(2, 2)
    at = np.arange(len(CASES))
    for ax, plane in ((image, "image"), (source, "source")):
        for shift, key, label in ((-0.2, "off", "without a budget"), (0.2, "on", "with the budget")):
            each = [[100 * row[f"{plane}_{key}"] for row in own] for own in groups.values()]
            ax.bar(at + shift, [np.mean(values) for values in each], 0.38, label=label, alpha=0.75)
            for k, values in enumerate(each):
                ax.plot(np.full(len(values), k + shift), values, "k.", markersize=3)
        _expected_68(ax)
        ax.set(title=f"Error bars of the {plane}")
        ax.legend(frameon=False, fontsize=8, loc="lower left")
    below = np.zeros(len(CASES))
    for grade, colour in (("look", "tab:orange"), ("wrong", "tab:red")):
        share = [100 * np.mean([row["verdict"] == grade for row in own]) for own in groups.values()]
        verdict.bar(at, share, 0.6, bottom=below, color=colour, alpha=0.75, label=grade)
        below += share
    verdict.set(ylabel="share of the lenses (%)", ylim=(0, 100), title="Verdicts that are not trusted")
    verdict.legend(frameon=False, fontsize=8)
    _draw_scores(score, groups)
    for ax in (image, source, verdict):
        ax.set_xticks(at, [label for label, _ in CASES.values()], fontsize=9)
    return figure


def _draw_scores(ax, groups):
    """Draw the scores of what is wrong, beside those of the same when nothing is."""
    cases = [case for case, (_, name) in CASES.items() if name]
    for k, case in enumerate(cases):
        name = CASES[case][1]
        for shift, own, colour in ((-0.15, "right", "0.6"), (0.15, case, "tab:purple")):
            scores = [abs(row["sigma"][name]) for row in groups[own] if row["sigma"][name] is not None]
            label = ("right inputs" if own == "right" else "wrong") if k == 0 else None
            ax.plot(np.full(len(scores), k + shift), scores, ".", color=colour, label=label)
    ax.axhline(3, color="black", linestyle="--", linewidth=1)
    ax.set(yscale="log", ylabel="score (sigma)", ylim=(0.03, None), title="Score of the budget")
    ax.set_xticks(range(len(cases)), [f"{CASES[case][0]}\n({CASES[case][1]})" for case in cases], fontsize=9)
    ax.legend(frameon=False, fontsize=8)


def draw_noise_limits():
    """Gain, resolution, coverage and verdict against the S/N of the brightest pixel."""
    rows = _rows("noise_limits")
    ratios = np.array(sorted({row["snr"] for row in rows}))
    figure = Figure(figsize=(12, 8), layout="constrained")
    (gain, limit), (held, trusted) = figure.subplots(2, 2)

    def curve(ax, values, label, colour, style="-", statistic=np.median, band=False):
        each = [[values(row) for row in rows if row["snr"] == ratio] for ratio in ratios]
        each = [[value for value in found if value is not None] for found in each]
        seen = [k for k, found in enumerate(each) if found]
        x, found = ratios[seen], [each[k] for k in seen]
        look = {"color": colour, "label": label, "marker": "o" if style == "-" else None, "markersize": 4}
        ax.plot(x, [statistic(values) for values in found], style, **look)
        if band:
            low, high = np.transpose([np.percentile(values, (16, 84)) for values in found])
            ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)

    for k, (name, label) in enumerate(SOLVERS.items()):
        colour = f"C{k}"
        curve(gain, _value(name, "psnr", less="cubic"), label, colour, band=True)
        curve(limit, _value(name, "limit"), label, colour, band=True)
        curve(held, _value(name, "covered", scale=100), label, colour, band=True)
        curve(trusted, _value(name, "verdict"), label, colour, statistic=np.mean)
    curve(gain, _value("expected", "gain"), "expected_resolution", "black", "--")
    curve(gain, _value("smoothed", "psnr", less="cubic"), "interpolation, smoothed at best", "0.5", ":")
    curve(limit, _value("expected", "limit"), "expected_resolution", "black", "--")
    curve(limit, _value("cubic", "limit"), "cubic interpolation", "0.5", "-.")
    gain.axhline(0, color="black", linewidth=1)
    gain.set(ylabel="gain over cubic interpolation (dB)", title="Gain")
    limit.set(ylabel="coherence falls to 1/2 at (Nyquist)", ylim=(0, 2.05), title="Resolution")
    _expected_68(held)
    held.set(ylim=(0, 103), title="Error bars of bright pixels")
    trusted.set(ylabel="trusted (%)", ylim=(-3, 103), title="Verdict")
    for ax in (gain, limit, held, trusted):
        ax.set(xscale="log", xlabel="S/N of the brightest pixel")
        ax.set_xticks([3, 10, 30, 100, 300, 1000, 1e4], ["3", "10", "30", "100", "300", "1000", "no noise"])
        ax.set_xticks([], minor=True)
        ax.legend(frameon=False, fontsize=8)
    return figure


def _value(name, key, *, less=None, scale=1.0):
    """Return a function that takes a number from a record of the limits in noise, or None."""

    def value(row):
        if key not in row.get(name, {}):
            return None
        if key == "verdict":
            return 100.0 * (row[name][key] == "trusted")
        return scale * (row[name][key] - (row[less][key] if less else 0.0))

    return value
