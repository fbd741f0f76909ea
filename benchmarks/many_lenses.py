"""
A survey of mock lenses, from raw cutouts and rough radii: what a lens costs, and how good the lenses are.

    python benchmarks/many_lenses.py mocks results --n 200 --workers 2
    python benchmarks/many_lenses.py mocks results-space --n 200 --workers 2 --network space --draws 4

The same command goes on where an earlier one ended. See README.rst beside this file for the numbers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import QTable

from lenssuper import LensModel, Observation, write_observation
from lenssuper.catalog import FitLens, FitLight, Prepare, run
from lenssuper.simulate import MockLens, SersicSource, random_lens, random_mock, random_source
from lenssuper.solvers import LogNormal

SEED, SNR = 7, 40.0
# Brightness of the lens galaxy at the Einstein radius, in units of the brightest arc, and error of the radii.
SHARE, ROUGH = (0.05, 0.5), 0.15


def mock(number: int) -> tuple[MockLens, float]:
    """A lens with its galaxy in front, and by how much the radius in the catalogue is wrong."""
    parts = [np.random.default_rng([SEED, number, k]) for k in (1, 2, 3, 4)]
    lens, source, rng = random_lens(parts[0]), random_source(parts[1]), parts[2]
    p = lens.parameters
    place = {name: p[f"SIE.{name}"] for name in ("q", "phi", "x", "y")}
    settings = {"lens": lens, "source": source, "peak_snr": (SNR, SNR)}
    arcs = random_mock(np.random.default_rng([SEED, number, 4]), **settings).noiseless
    shape = {"R_e": rng.uniform(0.4, 1.0) * u.arcsec, "n": rng.uniform(2.5, 4.5)}
    share = np.exp(rng.uniform(*np.log(SHARE)))
    angle = np.linspace(0, 2 * np.pi, 50)
    x, y, radius = (p[f"SIE.{name}"].to_value(u.arcsec) for name in ("x", "y", "theta_E"))
    unit = SersicSource(**shape, **place)
    ring = np.mean(unit.surface_brightness(x + radius * np.cos(angle), y + radius * np.sin(angle)))
    galaxy = SersicSource(**shape, **place, amplitude=share * arcs.max() / ring)
    return random_mock(parts[3], **settings, lens_light=galaxy), rng.uniform(1 - ROUGH, 1 + ROUGH)


def simulate(directory: Path, n: int) -> Path:
    """Write what is not there yet of n cutouts, and a catalogue of them that has names and radii only."""
    directory.mkdir(exist_ok=True)
    rows = []
    for number in range(n):
        name = f"m{number:03d}"
        truth, rough = directory / f"{name}_truth.json", directory / f"{name}_rough.json"
        if not rough.exists():
            lens, wrong = mock(number)
            observation = Observation.from_nddata(lens.observation, grid=lens.grid)
            write_observation(observation, directory / f"{name}.fits", overwrite=True)
            lens.lens.write(truth, overwrite=True)
            rough.write_text(json.dumps(wrong), encoding="utf-8")
        wrong = json.loads(rough.read_text(encoding="utf-8"))
        rows.append((name, f"{name}.fits", wrong * LensModel.read(truth).parameters["SIE.theta_E"]))
    catalogue = QTable(rows=rows, names=["name", "file", "theta_E"])
    path = directory / f"catalogue-{n}.ecsv"
    catalogue.write(path, overwrite=True)
    return path


def report(summary: QTable, mocks: Path, results: Path) -> None:
    """Print what it cost and how good the lenses are."""
    done = summary[summary["status"] == "done"]
    print(f"done, failed           {len(done)}, {len(summary) - len(done)}")
    for row in summary[summary["status"] != "done"]:
        print(f"                       {row['name']}: {row['reason']}")
    if not len(done):
        return
    cpu, first = done["cpu_time"].to_value(u.s), np.isin(done["name"], summary["name"][:20])
    twenties = [f"{np.mean(part):.1f}" for part in np.split(cpu, range(20, len(done), 20))]
    print(f"cpu seconds a lens     {cpu.mean():.1f}; the first twenty {cpu[first].mean():.1f}")
    print(f"  of each twenty       {', '.join(twenties)}")
    records = [json.loads((results / f"{name}.json").read_text(encoding="utf-8")) for name in done["name"]]
    for what in records[0]["stages"]:
        print(f"  {what:<26} {np.mean([record['stages'][what] for record in records]):.2f}")
    # in the order in which they were done
    order = np.argsort([(results / f"{name}.json").stat().st_mtime for name in done["name"]])
    memory = done["memory"].to_value("Mibyte")[order]
    print(
        "most memory, MiB       "
        + ", ".join(f"{part.max():.0f}" for part in np.array_split(memory, min(10, len(done))))
    )
    files = [path for name in done["name"] for path in results.glob(f"{name}[._]*")]
    print(f"bytes a lens           {sum(path.stat().st_size for path in files) / len(done):.3g}")
    truths = [LensModel.read(mocks / f"{name}_truth.json").parameters["SIE.theta_E"] for name in done["name"]]
    radii, errors = u.Quantity(done["EPL.theta_E"]), u.Quantity(done["EPL.theta_E_err"])
    wrong = (radii / u.Quantity(truths) - 1).to_value(u.one)
    print(
        "theta_E within         "
        + ", ".join(f"{x:.1%}: {np.mean(abs(wrong) < x):.3f}" for x in (0.003, 0.01))
    )
    print(f"  median, worst error  {np.median(abs(wrong)):.5f}, {abs(wrong).max():.4f}")
    within = np.mean(abs(wrong * u.Quantity(truths)) < errors)
    print(f"  within its error bar {within:.3f}")
    for column in ("reduced_chi2", "lens_reduced_chi2", "light_reduced_chi2"):
        quantiles = np.quantile(done[column], [0.05, 0.16, 0.5, 0.84, 0.95])
        print(f"{column:<22} " + ", ".join(f"{value:.3f}" for value in quantiles))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mocks", type=Path, help="directory of the cutouts")
    parser.add_argument("results", type=Path, help="directory of the results")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--network", help="such as hst")
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--no-rescale", action="store_true")
    options = parser.parse_args()
    solver = LogNormal(n_draws=options.draws)
    if options.network:
        from lenssuper.solvers import (
            NetworkSolver,
        )  # not above: each worker reads this file, and would load torch

        solver = NetworkSolver.pretrained(options.network, n_draws=options.draws)
    stages = [Prepare(rescale=not options.no_rescale), FitLight(), FitLens()]
    catalogue = simulate(options.mocks, options.n)
    summary = run(catalogue, options.results, stages=stages, solver=solver, workers=options.workers)
    report(summary, options.mocks, options.results)


if __name__ == "__main__":
    main()
