r"""
How often a search for substructure finds what is there, and what is not.

    python benchmarks/substructure.py --smooth 100 --minutes 4 --json found.json   # again, until all are done
    python benchmarks/substructure.py --clumps 50 --minutes 4 --json found.json
    python benchmarks/substructure.py --clumps 20 --first-clump 2012 --smooth 25 --first-smooth 3000 \
        --candidates 1 --json new.json
    python benchmarks/substructure.py --unmodelled 6 --json found.json
    python benchmarks/substructure.py --report --json found.json

Where both kinds are asked for, they are done in turn. Mocks have 36 x 36 pixels of 0.1", a Gaussian PSF of
0.16", a power-law lens with shear and random multipoles of the orders 1, 3 and 4 of up to 1%, a clumpy
spiral, and a peak S/N of 40 to 80. The clump is a pseudo-Jaffe one of 10^9.5 Msun, anywhere in the map where
it would be seen with 5 sigma; lenses with numbers below 1050, and 2000 to 2011, were looked at while settings
were chosen. What an earlier call did is not done again. The last table says what substructure does to a
super-resolution that knows the lens without it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from functools import partial
from pathlib import Path

import astropy.units as u
import numpy as np
from quality import psnr

from lenssuper import SuperResolver
from lenssuper.lens import EPL, SIE, CompositeLens, LensModel, Multipole1, Multipole3, Multipole4
from lenssuper.simulate import (
    AxionVortex,
    ColdSubhaloes,
    Instrument,
    MockLens,
    NoSubstructure,
    mock_lens,
    random_lens,
    random_source,
)
from lenssuper.substructure import JaffeClump, SubstructureMap

CAMERA = Instrument.gaussian(
    0.1 * u.arcsec, 0.16 * u.arcsec, background=0.5 * u.electron / u.s, exposure=4000 * u.s
)
MASS = 10**9.5


def smooth(seed: int) -> tuple[LensModel, dict]:
    """Return a lens with multipoles, and the options of its mock."""
    rng = np.random.default_rng([15, seed])
    lens = random_lens(rng, theta_E=(0.8, 1.1) * u.arcsec)
    parts = [_sloped(part, rng) for part in lens.components]
    main = parts[0]
    axes = {name: getattr(main, name) for name in ("q", "phi", "x", "y")}
    for kind in (Multipole1, Multipole3, Multipole4):
        strength, direction = 0.01 * rng.uniform(), rng.uniform(0, 2 * np.pi)
        a, b = (strength * main.theta_E * f(direction) for f in (np.cos, np.sin))
        parts.append(kind(a=a, b=b, **axes))
    options = {"source": random_source(rng), "peak_snr": rng.uniform(40, 80), "rng": rng, "noise": [15, seed]}
    return CompositeLens(parts), options


def _sloped(part, rng):
    return EPL(gamma=rng.normal(2.0, 0.1), **part.parameters) if isinstance(part, SIE) else part


def observed(lens: LensModel, options: dict) -> MockLens:
    """Return the mock of a lens."""
    noise = np.random.default_rng(options["noise"])
    return mock_lens(lens, options["source"], CAMERA, shape=(36, 36), peak_snr=options["peak_snr"], rng=noise)


def guess(lens: LensModel) -> LensModel:
    """Return the macro lens, without multipoles: the map fits it."""
    return CompositeLens(lens.components[:2])


def searched(
    lens: LensModel, mock: MockLens, seed: int, candidates: int, truth: tuple[float, float] | None = None
) -> dict:
    """Return the result of a search, ready for JSON; with the map at the position of a clump."""
    kind = JaffeClump(0.2, 0.6, theta_E=lens.components[0].theta_E)
    begun = time.process_time()
    search = SubstructureMap(guess(lens), kind, candidates=candidates, rng=seed, progress=False)
    result = search(mock.observation)
    maps = result.maps
    at = {} if truth is None else {"at": result.at(*(truth * u.arcsec))["significance"]}
    return at | {
        "cpu": time.process_time() - begun,
        "chi2": result.reduced_chi2,
        "max": float(maps.significance.max()),
        "min": float(maps.significance.min()),
        "level": maps.levels.noise,
        "verdict": result.verdict,
        "pull": result.measures["prior_pull"],
        "gains": [each.gain for each in result.candidates],
        "found": [[each.x, each.y, each.mass, *each.errors] for each in result.candidates],
        "rivals": [[[r.x, r.y, r.mass, r.higher] for r in each.rivals] for each in result.candidates],
    }


def without(key: str, candidates: int = 3) -> dict:
    """Search a smooth lens."""
    seed = int(key)
    lens, options = smooth(seed)
    return searched(lens, observed(lens, options), seed, candidates)


def with_clump(key: str, candidates: int = 3) -> dict:
    """Search a lens with a clump where it would be seen."""
    seed = int(key)
    lens, options = smooth(seed)
    kind = JaffeClump(0.2, 0.6, theta_E=lens.components[0].theta_E)
    first = SubstructureMap(guess(lens), kind, candidates=0, rng=seed, progress=False)
    mapped = first(observed(lens, options).observation)
    seen = mapped.sensitivity(5.0)
    rows, columns = np.nonzero(np.nan_to_num(seen.data, nan=np.inf) < MASS)
    pick = options["rng"].integers(len(rows))
    x, y = mapped.grid.to_offset(float(columns[pick]), float(rows[pick]))
    clumpy = lens + kind.lens(MASS, x, y)
    found = searched(lens, observed(clumpy, options), seed, candidates, (x, y))
    return found | {"truth": [x, y], "seen": float(seen.data[rows[pick], columns[pick]])}


CLASSES = {"none": NoSubstructure(), "cdm": ColdSubhaloes(), "vortex": AxionVortex(mass=3e9 * u.Msun)}


def unmodelled(key: str) -> dict:
    """Super-resolve a lens with substructure that is not in the model."""
    label, seed = key.split("-")
    rng = np.random.default_rng([16, int(seed)])
    lens, source = random_lens(rng), random_source(rng)
    added = CLASSES[label].draw(rng, lens).lens
    whole = lens if added is None else lens + added
    mock = mock_lens(whole, source, CAMERA, shape=(44, 44), peak_snr=50, rng=int(seed))
    result = SuperResolver(lens, rng=int(seed), progress=False)(mock.observation)
    truth, pixels = mock.image(2), mock.source_image(result.source_grid)
    error, bright = np.abs(result.image.data - truth), truth > 0.1 * truth.max()
    return {
        "image": psnr(result.image.data, truth),
        "source": psnr(result.source.data, pixels),
        "cover": float(np.mean(error[bright] < result.lensed_std[bright])),
        "chi2": result.chi2 / result.n_pixels,
    }


def report(found: dict) -> None:
    """Print the tables."""
    for name in ("smooth", "clumps"):
        lenses = list(found.get(name, {}).values())
        if not lenses:
            continue
        cpu = np.array([each["cpu"] for each in lenses])
        print(f"{name}: {len(lenses)} mocks, {np.median(cpu):.0f} s of CPU each, at most {cpu.max():.0f}")
        negative = np.array([-each["min"] for each in lenses])
        level = np.array([each["level"] for each in lenses])
        top = np.array([each["max"] for each in lenses])
        above = np.mean(top > level)
        print(f"  maximum of the map {np.median(top):.1f} (median), above the level of noise in {above:.0%}")
        print(f"  negative masses {np.median(negative):.1f}, above it in {np.mean(negative > level):.0%}")
        gains = np.array([each["gains"][0] if each["gains"] else -math.inf for each in lenses])
        for threshold in (5, 8, 12.5, 20, 50):
            print(f"  Delta ln Z above {threshold}: {np.sum(gains > threshold)}")
        if name == "clumps":
            _compare(lenses, gains)
    for label in CLASSES:
        lenses = [each for key, each in found.get("unmodelled", {}).items() if key.startswith(label)]
        if lenses:
            mean = {name: np.mean([each[name] for each in lenses]) for name in lenses[0]}
            print(
                f"{label}: {len(lenses)} mocks",
                {name: round(float(value), 2) for name, value in mean.items()},
            )


def _compare(lenses, gains):
    """Print how well the clumps that are detected were measured."""
    good = [each for each, gain in zip(lenses, gains, strict=True) if gain > 12.5]
    aside = np.array([math.dist(each["found"][0][:2], each["truth"]) for each in good])
    off = np.array([(math.log(each["found"][0][2] / MASS)) / each["found"][0][5] for each in good])
    pulls = np.array(
        [np.subtract(each["found"][0][:2], each["truth"]) / each["found"][0][3:5] for each in good]
    )
    bias = np.array([math.log10(each["found"][0][2] / MASS) for each in good])
    print(
        f"  detected {len(good)} of {len(lenses)}; position within 0.1 arcsec in {np.mean(aside < 0.1):.0%}, "
        f"median {np.median(aside):.3f}"
    )
    print(
        f"  log mass within 2 sigma in {np.mean(np.abs(off) < 2):.0%}; bias {np.median(bias):+.2f} dex, "
        f"scatter {np.std(bias):.2f}"
    )
    within = np.mean(np.abs(pulls) < 1), np.mean(np.abs(pulls) < 2), np.mean(np.abs(off) < 1)
    print(
        f"  coordinates within 1 sigma in {within[0]:.0%} and within 2 in {within[1]:.0%}; "
        f"log mass within 1 sigma in {within[2]:.0%}"
    )
    rms = [math.sqrt(np.mean(np.square(each))) for each in (pulls, off)]
    print(f"  root mean square of deviations over errors: positions {rms[0]:.2f}, log mass {rms[1]:.2f}")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smooth", type=int, default=0)
    parser.add_argument("--clumps", type=int, default=0)
    parser.add_argument("--first-smooth", type=int, default=0, help="number of the first smooth lens")
    parser.add_argument("--first-clump", type=int, default=1000, help="number of the first with a clump")
    parser.add_argument("--candidates", type=int, default=3, help="peaks of a lens that are fitted at most")
    parser.add_argument("--unmodelled", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    found = json.loads(options.json.read_text()) if options.json.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    keys = {
        "clumps": (
            partial(with_clump, candidates=options.candidates),
            [str(options.first_clump + k) for k in range(options.clumps)],
        ),
        "smooth": (
            partial(without, candidates=options.candidates),
            [str(options.first_smooth + k) for k in range(options.smooth)],
        ),
        "unmodelled": (unmodelled, [f"{label}-{k}" for k in range(options.unmodelled) for label in CLASSES]),
    }
    # in turn, so that what is done when the time is over has the same share of each kind
    todo = [
        (k / len(wanted), name, key) for name, (_, wanted) in keys.items() for k, key in enumerate(wanted)
    ]
    for _, name, key in sorted(todo, key=lambda each: each[0]):
        if key in found.setdefault(name, {}) or time.monotonic() > end:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name][key] = keys[name][0](key)
        options.json.write_text(json.dumps(found))
        print(name, key, {k: v for k, v in found[name][key].items() if k != "found"}, flush=True)
    report(found)


if __name__ == "__main__":
    main()
