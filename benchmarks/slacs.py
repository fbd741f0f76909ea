"""Lenses of SLACS from their cutouts and a rough radius: how far off, and what the verdict says.

    python benchmarks/slacs.py DIRECTORY --lines even --output results

``DIRECTORY`` holds a file for each lens and ``lenses.csv``, with the columns name, theta_E (of one author),
b_SIE_bolton2008 (of another) and grade_good. Each lens goes through preparation, light and lens in turn, and
super-resolution, from the radius of Bolton et al. (2008, ApJ 682, 964) rounded to 0.1 arcsec. Where the two
published radii differ by 10% or more, there is no truth. Settings were tuned on the lenses of odd lines.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from lenssuper.catalog import FitLens, FitLight, Prepare, run

# Relative difference from which the published radii disagree, and up to which a radius is right
AGREE, RIGHT = 0.10, 0.05


def catalogue(directory: Path, lines: str, path: Path) -> Table:
    """Write the catalogue of the lenses of odd, even or all lines; return their published numbers."""
    published = Table.read(directory / "lenses.csv")
    first, step = {"odd": (0, 2), "even": (1, 2), "all": (0, 1)}[lines]
    published = published[first::step]
    rough = np.round(published["b_SIE_bolton2008"], 1) * u.arcsec
    files = [str(directory.resolve() / f"{name}.fits") for name in published["name"]]
    QTable({"name": published["name"], "file": files, "theta_E": rough}).write(path, overwrite=True)
    return published


def row(published, record: dict) -> dict:
    """Return the line of the table on one lens."""
    lens = record.get("lens", {})
    radius, error = next((v[:2] for name, v in lens.items() if name.endswith("theta_E")), (np.nan, np.nan))
    others = float(published["theta_E"]), float(published["b_SIE_bolton2008"])
    off = [radius / other - 1 for other in others]
    truth = abs(others[0] / others[1] - 1) < AGREE and published["grade_good"] == "Yes"
    return {
        "name": published["name"],
        "truth": truth,
        "theta_E": radius,
        "error": error,
        "off": 100 * min(off, key=abs),
        "right": bool(min(map(abs, off)) <= RIGHT),
        "center": record.get("measures", {}).get("center_offset", np.nan),
        "verdict": record.get("verdict", record["status"]),
        "cpu": record["cpu_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--lines", choices=["odd", "even", "all"], default="odd")
    parser.add_argument("--output", type=Path, default=Path("slacs"))
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "slacs.ecsv"
    published = catalogue(options.directory, options.lines, path)
    stages = [Prepare(), FitLight(), FitLens()]
    run(path, options.output / "lenses", stages=stages, workers=options.workers)
    records = (options.output / "lenses" / f"{name}.json" for name in published["name"])
    table = Table([row(each, json.loads(r.read_text())) for each, r in zip(published, records, strict=True)])
    for name in ("theta_E", "error", "center"):
        table[name].format = ".3f"
    table["off"].format, table["cpu"].format = "+.1f", ".0f"
    table.pprint_all()
    known = table[table["truth"]]
    trusted = known["verdict"] == "trusted"
    print(f"right {known['right'].sum()} of {len(known)}, of them trusted {(known['right'] & trusted).sum()}")
    print(
        f"wrong and trusted {(~known['right'] & trusted).sum()}; median {np.median(table['cpu']):.0f} CPU s"
    )


if __name__ == "__main__":
    main()
