"""
What is gained at which signal-to-noise ratio? Gain, resolution and error bars, and what was expected.

    python benchmarks/noise_limits.py docs/figures/noise_limits.jsonl --n 20

The lenses are those of ``random_mock`` with the seeds from 986000 on, known and not fitted, with a brightest
pixel of an S/N from 3 to 1500, and without noise. The latter are the images without noise, with an error of
1e-4 of the peak in each pixel, which is how exactly they are simulated. They are super-resolved by the
default solver, by the network that comes with the package, and by `Positive`, which is given eight lenses
only, and three from an S/N of 200 on, where it takes up to half a minute.

A record is of one lens and S/N, and has the error of cubic interpolation (PSNR in dB), the frequency at
which its coherence with the truth falls to one half (in units of the data's Nyquist frequency), the same of
an interpolation that is smoothed as much as is best for it, which only the truth can tell, and what
`lenssuper.expected_resolution` predicts. For each solver it has the same two numbers, the share of pixels
above a tenth of the peak whose truth is within their 68% error bar, the verdict, and processor seconds.
Nothing was tuned on these lenses, which are run once. The same command resumes where an earlier one ended,
and an early end leaves fewer lenses at all S/N.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from records import add_record, read_records
from scipy.ndimage import gaussian_filter

from lenssuper import Observation, SuperResolution, SuperResolver, expected_resolution
from lenssuper.lens import LensModel
from lenssuper.simulate import MockLens, random_mock
from lenssuper.solvers import Positive
from lenssuper.superres.expected import coherence, half_coherence
from lenssuper.superres.interpolation import interpolated

SEED, SHAPE, FACTOR, BRIGHT = 986000, (40, 40), 2, 0.1
# Without noise, each pixel has an error of this share of the peak, as weights must be finite
NOISE_FREE = 1e4
RATIOS = 3.0, 5.0, 8.0, 12.0, 20.0, 35.0, 60.0, 100.0, 200.0, 500.0, 1500.0, NOISE_FREE
# Standard deviations in fine pixels of the Gaussians with which cubic interpolation is smoothed
WIDTHS = np.geomspace(0.4, 6, 16)
SOLVERS = "default", "positive", "network"
# For how many lenses `Positive` is run, and from this S/N on, where it is slow
FEW, SLOW, FEWEST = 8, 200.0, 3


def lens_at(number: int, ratio: float, seed: int = SEED) -> tuple[MockLens, Observation]:
    """Return a mock lens whose brightest pixel has this S/N, and its observation."""
    mock = random_mock(seed + number, shape=SHAPE, factor=FACTOR, peak_snr=(ratio, ratio))
    observation = Observation.of(mock.observation)
    if ratio < NOISE_FREE:
        return mock, observation
    weights = np.full(observation.shape, (NOISE_FREE / mock.noiseless.max()) ** 2)
    observation = replace(observation, noise_given=1.0).with_data(mock.noiseless).with_weights(weights)
    return mock, observation


def resolver(name: str, lens: LensModel) -> SuperResolver:
    """Return what super-resolves with a solver of this name."""
    options = {"rng": 1, "progress": False}
    if name == "network":
        return SuperResolver.from_pretrained("space", lens, FACTOR, **options)
    return SuperResolver(lens, FACTOR, solver=Positive() if name == "positive" else None, **options)


def smoothed(observation: Observation, truth: np.ndarray) -> np.ndarray:
    """Return the cubic interpolation smoothed by the Gaussian that brings it nearest to the truth."""
    cubic = interpolated(observation, FACTOR)
    images = [cubic, *(gaussian_filter(cubic, width) for width in WIDTHS)]
    return min(images, key=lambda image: np.mean((image - truth) ** 2))


def compared(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return PSNR in dB, and the frequency at which the coherence with the truth falls to one half."""
    error = np.mean((image - truth) ** 2)
    return {
        "psnr": float(10 * np.log10(truth.max() ** 2 / error)),
        "limit": half_coherence(*coherence(image, truth, FACTOR)),
    }


def scores(result: SuperResolution, truth: np.ndarray) -> dict:
    """Compare a result with the true image."""
    bright = truth > BRIGHT * truth.max()
    held = (np.abs(result.lensed_image - truth) < result.lensed_std)[bright]
    found = compared(result.lensed_image, truth)
    return found | {"covered": float(np.mean(held)), "verdict": result.verdict, "chi2": result.reduced_chi2}


def measure(number: int, ratio: float) -> dict:
    """Super-resolve one lens at one S/N in all ways; what fails is recorded."""
    mock, observation = lens_at(number, ratio)
    truth = mock.image(FACTOR)
    record = {"number": number, "snr": ratio, "cubic": compared(interpolated(observation, FACTOR), truth)}
    record["smoothed"] = compared(smoothed(observation, truth), truth)
    for name in (*SOLVERS, "expected"):
        if name == "positive" and number >= (FEW if ratio < SLOW else FEWEST):
            continue
        busy = time.process_time()
        try:
            if name == "expected":
                expected = expected_resolution(observation, mock.lens, factor=FACTOR)
                found = {"limit": expected.limit, "gain": expected.gain}
            else:
                found = scores(resolver(name, mock.lens)(observation), truth)
        except Exception as error:  # e.g. where nothing is seen
            found = {"failed": repr(error)[:200]}
        record[name] = found | {"cpu": time.process_time() - busy}
    return record


def crossings(ratios: np.ndarray, values: np.ndarray, level: float = 0.0) -> list[float]:
    """Return each S/N at which values pass a level, interpolated in the logarithm of the S/N."""
    values, logs = np.asarray(values) - level, np.log(ratios)
    places = np.flatnonzero((values[:-1] < 0) != (values[1:] < 0))
    shares = values[places] / (values[places] - values[places + 1])
    return [float(np.exp(each)) for each in logs[places] + shares * (logs[places + 1] - logs[places])]


def summary(rows: list[dict], name: str) -> dict[str, float]:
    """Return medians over lenses for one solver, and mean coverage, share trusted and processor seconds."""
    expected = [row["expected"] for row in rows if "failed" not in row["expected"]] or [{}]
    return {
        "gain": np.median([row[name]["psnr"] - row["cubic"]["psnr"] for row in rows]),
        "gain over smoothed": np.median([row[name]["psnr"] - row["smoothed"]["psnr"] for row in rows]),
        "expected gain": np.median([each.get("gain", np.nan) for each in expected]),
        "limit": np.median([row[name]["limit"] for row in rows]),
        "of cubic": np.median([row["cubic"]["limit"] for row in rows]),
        "expected limit": np.median([each.get("limit", np.nan) for each in expected]),
        "covered": np.mean([row[name]["covered"] for row in rows]),
        "trusted": np.mean([row[name]["verdict"] == "trusted" for row in rows]),
        "cpu": np.mean([row[name]["cpu"] for row in rows]),
    }


def report(rows: list[dict]) -> None:
    """Print a summary for each S/N and solver, and the S/N at which nothing is gained."""
    for name in SOLVERS:
        print(f"\n{name}")
        found = {}
        for ratio in RATIOS:
            own = [row for row in rows if row["snr"] == ratio and "psnr" in row.get(name, {})]
            if own:
                found[ratio] = summary(own, name)
                numbers = "  ".join(f"{key} {value:.2f}" for key, value in found[ratio].items())
                print(f"S/N {ratio:<6g} {len(own):2d} lenses  {numbers}")
        for key, level in (("gain", 0.0), ("gain over smoothed", 0.0), ("limit", 1.0)):
            places = crossings(np.array(list(found)), [each[key] for each in found.values()], level)
            print(f"{key} is {level:g} at an S/N of {', '.join(f'{each:.1f}' for each in places) or 'none'}")


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="file with a line for each lens and S/N")
    parser.add_argument("--n", type=int, default=20, help="number of lenses (default 20)")
    parser.add_argument("--minutes", type=float, default=np.inf, help="end after so many minutes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.monotonic()
    rows = read_records(options.results)
    done = {(row["number"], row["snr"]) for row in rows}
    for number in range(options.n):
        for ratio in RATIOS:
            if (number, ratio) in done or time.monotonic() - start > 60 * options.minutes:
                continue
            rows.append(add_record(options.results, measure(number, ratio)))
            print(rows[-1], flush=True)
    report(rows)


if __name__ == "__main__":
    main()
