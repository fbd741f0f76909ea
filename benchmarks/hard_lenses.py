"""
Lenses as hard as those of SLACS, from an image and a rough radius: how good, and what the verdict says.

    python benchmarks/hard_lenses.py results.jsonl --n 200 --seed 6
    python benchmarks/hard_lenses.py results.jsonl --n 8 --seed 82 --camera EUCLID_VIS --spoiled

Each is prepared as by ``lenssuper prepare``, and light and lens are fitted in turn. The same command goes on
where an earlier one ended. See README.rst beside this file for the numbers.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import islice
from pathlib import Path

import astropy.units as u
import numpy as np
from records import add_record, read_records
from spoiled import spoiled

from lenssuper import LensFit, LensFitter, Observation, simulate
from lenssuper.light import ForegroundFit
from lenssuper.preparation import prepare
from lenssuper.simulate import MockLens, hard_lenses

# Largest error of the radius that the fit begins with
ROUGH = 0.15
PARAMETERS = "theta_E", "gamma", "q", "phi", "x", "y"
# Side of the images through another camera than that of SLACS, in arcsec
SIDE = 11.0


def light_and_lens(mock: MockLens, radius: u.Quantity) -> tuple[ForegroundFit, LensFit]:
    """Prepare the image of a lens, and fit light and lens in turn from a rough radius."""
    ready = prepare(mock.observation, einstein_radius=radius)
    return LensFitter(radius, rng=1, progress=False).with_light(Observation.from_nddata(ready))


def measure(mock: MockLens, seed: list[int]) -> dict:
    """Fit light and lens; return errors in units of their standard deviation, the verdict and the time."""
    truth = mock.lens.parameters
    radius = truth["EPL.theta_E"] * np.random.default_rng(seed).uniform(1 - ROUGH, 1 + ROUGH)
    start = time.process_time()
    try:
        _, fit = light_and_lens(mock, radius)
    except Exception as error:  # what fails is counted too
        return {"failed": repr(error)[:200], "cpu": time.process_time() - start}
    found, pulls = fit.lens.parameters, {}
    for name in (f"EPL.{key}" for key in PARAMETERS):
        off = found[name] - truth[name]
        if name == "EPL.phi":
            off = (off + 90 * u.deg) % (180 * u.deg) - 90 * u.deg
        pulls[name] = float(off / fit.errors[name])
    for name in ("ExternalShear.gamma1", "ExternalShear.gamma2"):
        pulls[name] = float((found[name] - truth[name]) / fit.errors[name])
    return {
        "theta_E": float(found["EPL.theta_E"] / truth["EPL.theta_E"] - 1),
        "radius": float(fit.lens.einstein_radius() / mock.lens.einstein_radius() - 1),
        "pulls": pulls,
        "verdict": fit.verdict,
        "reasons": list(fit.reasons),
        "reduced_chi2": fit.reduced_chi2,
        "cpu": time.process_time() - start,
    }


def report(rows: list[dict]) -> None:
    """Print how good the lenses are, all and those called trusted."""
    failed = [row for row in rows if "failed" in row]
    rows = [row for row in rows if "failed" not in row]
    print(f"fitted {len(rows)}, failed {len(failed)}; median {np.median([r['cpu'] for r in rows]):.0f} CPU s")
    for verdict in ("trusted", "look", "wrong"):
        off = np.abs([row["theta_E"] for row in rows if row["verdict"] == verdict])
        if len(off):
            within = ", ".join(f"{x:.0%}: {np.mean(off < x):.3f}" for x in (0.02, 0.05, 0.1))
            print(f"{verdict:<8} {len(off):4d}  theta_E within {within}; worst {off.max():.3f}")
    trusted = [row for row in rows if row["verdict"] == "trusted"]
    for name in trusted[0]["pulls"] if trusted else ():
        pulls = np.array([row["pulls"][name] for row in trusted])
        within = ", ".join(f"{np.mean(abs(pulls) < k):.2f} within {k} sigma" for k in (1, 2, 3))
        print(f"  {name:<22} {within}; rms {np.sqrt(np.mean(pulls**2)):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="file with a line for each lens")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--camera", default="HST_ACS_F814W", help="an instrument of lenssuper.simulate")
    parser.add_argument("--spoiled", action="store_true", help="with what real files add, see spoiled.py")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = read_records(options.results)
    given = {"instrument": (camera := getattr(simulate, options.camera))}
    if options.spoiled or options.camera != "HST_ACS_F814W":
        given["shape"] = (round(SIDE / camera.pixel_scale.to_value(u.arcsec)) | 1,) * 2
    for number, mock in islice(enumerate(hard_lenses(options.n, options.seed, **given)), len(rows), None):
        wrong = {}
        if options.spoiled:
            mock, wrong = spoiled(mock, np.random.default_rng([options.seed, number, 77]))
        record = measure(mock, [options.seed, number, 2]) | wrong
        rows.append(add_record(options.results, record))
        print(number, {key: rows[-1].get(key) for key in ("theta_E", "verdict", "failed")}, flush=True)
    report(rows)


if __name__ == "__main__":
    main()
