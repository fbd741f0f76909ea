"""
What limits a super-resolution without noise? One thing at a time is made better.

    python benchmarks/noise_free.py docs/figures/noise_free.jsonl --n 3

The lenses are the noise-free ones of ``noise_limits.py``: images without noise, each pixel with an error of
1e-4 of the peak. A record is of one lens and one change, and has PSNR in dB of the lensed image and that of
cubic interpolation, chi-square per pixel and processor seconds. ``floor`` is the PSNR of the true source
averaged over the pixels of the source grid, without any data. ``own data`` are those that the forward
model of the solver makes of this source, compared with its image: nothing is wrong with them but what they
leave open and where the solver ends. The same command resumes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from noise_limits import FACTOR, NOISE_FREE, compared, lens_at
from records import add_record, read_records

from lenssuper import ForwardModel, Observation, PixelGrid
from lenssuper.simulate import MockLens
from lenssuper.solvers import LogNormal, Solver
from lenssuper.superres.interpolation import interpolated

OVERSAMPLING = 8


def finer(grid: PixelGrid) -> PixelGrid:
    """Return a grid of the same field with pixels half as large."""
    ny, nx = grid.shape
    return PixelGrid((2 * ny, 2 * nx), grid.pixel_scale / 2, center=grid.center, reference=grid.reference)


def with_fine_psf(mock: MockLens, observation: Observation) -> Observation:
    """Return an observation with the PSF free of the pixel, sampled eight times a pixel."""
    psf = mock.instrument.optics.optical(mock.instrument.pixel_scale / OVERSAMPLING)
    return observation.with_psf(psf, oversampling=OVERSAMPLING, includes_pixel=False)


def changes(mock: MockLens, observation: Observation):
    """Yield the name of a change, the model and the solver with it."""
    given = {"factor": FACTOR, "order": LogNormal.order}
    model = ForwardModel(observation, mock.lens, **given)
    weak = observation.with_weights(observation.weights / 100)
    searched = LogNormal(max_evaluations=40, n_probes=16, lanczos_steps=40)
    grid = finer(model.source_grid)
    sharp = with_fine_psf(mock, observation)
    yield "as it is", model, LogNormal()
    yield "finer source", ForwardModel(observation, mock.lens, source_grid=grid, **given), LogNormal()
    yield "exact overlaps", ForwardModel(observation, mock.lens, tol=1e-5, **given), LogNormal()
    yield "finer PSF", ForwardModel(sharp, mock.lens, **given), LogNormal()
    yield "longer search", model, searched
    yield "error 1e-3", ForwardModel(weak, mock.lens, source_grid=model.source_grid, **given), LogNormal()
    own = observation.with_data(model.forward(mock.source_image(model.source_grid)))
    yield "own data", ForwardModel(own, mock.lens, source_grid=model.source_grid, **given), LogNormal()


def solved(model: ForwardModel, solver: Solver, truth: np.ndarray) -> dict:
    """Find the source, and compare its image with the truth."""
    busy = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = solver.solve(model, rng=1)
    found = compared(model.lensed_image(posterior.mean), truth)
    found |= {"chi2": model.chi2(posterior.mean) / model.data.size, "converged": bool(posterior.converged)}
    return found | {"cpu": time.process_time() - busy}


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path, help="file with a line for each lens and change")
    parser.add_argument("--n", type=int, default=3, help="number of lenses (default 3)")
    options = parser.parse_args()
    done = {(row["number"], row["change"]) for row in read_records(options.results)}
    for number in range(options.n):
        mock, observation = lens_at(number, NOISE_FREE)
        truth = mock.image(FACTOR)
        cubic = compared(interpolated(observation, FACTOR), truth)["psnr"]
        for name, model, solver in changes(mock, observation):
            if (number, name) in done:
                continue
            source = mock.source_image(model.source_grid)
            held = model.lensed_image(source)
            record = {
                "number": number,
                "change": name,
                "cubic": cubic,
                "floor": compared(held, truth)["psnr"],
            }
            record |= solved(model, solver, held if name == "own data" else truth)
            print(add_record(options.results, record), flush=True)


if __name__ == "__main__":
    main()
