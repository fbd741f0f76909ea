"""``lenssuper demo``: a lens simulated, super-resolved, and compared with the truth."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _common as common

if TYPE_CHECKING:
    import numpy as np

    from lenssuper.simulate import MockLens

__all__ = ["add"]

# A disc seen almost edge-on with a companion, in an almost complete ring with counter-images.
_SEED = 40


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(
        commands, "demo", _demo, "simulate a lens, super-resolve it, and compare with the truth"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("lenssuper-demo"),
        metavar="DIR",
        help="directory to write to, made if it is not there (default: %(default)s); "
        "the files of an earlier demo are replaced",
    )
    parser.add_argument(
        "--seed", type=common.natural, default=_SEED, help="which lens and galaxy (default: %(default)s)"
    )
    common.add_factor(parser)


def _demo(options: argparse.Namespace) -> None:
    from lenssuper.observation import read_observation
    from lenssuper.simulate import random_mock

    options.output.mkdir(parents=True, exist_ok=True)
    names = ("observation.fits", "lens.json", "demo.fits", "demo.png")
    observed, lens, found, picture = (options.output / name for name in names)
    mock = random_mock(options.seed, factor=options.factor)
    common.write_inputs(mock, observed, lens, overwrite=True)
    common.say(options, f"simulated lens {options.seed}; now super-resolving it")
    start = time.perf_counter()
    result = common.resolver_of(options, mock.lens)(read_observation(observed))
    seconds = time.perf_counter() - start
    result.write(found, overwrite=True)
    common.write_png(result, picture, overwrite=True)

    truth = mock.image(options.factor)
    after, before = _psnr(result.image.data, truth), _psnr(_interpolated(mock, options.factor), truth)
    common.say(options, f"\n{result.summary()}")
    common.say(
        options,
        f"gain     {after - before:+.1f} dB over cubic interpolation (PSNR {before:.1f} to {after:.1f})",
    )
    common.say(options, f"time     {seconds:.1f} s")
    common.say(options, f"\nwrote    {found}\n         {picture}")
    common.say(options, f"try      lenssuper run {observed} --lens {lens} --factor {options.factor}")


def _interpolated(mock: MockLens, factor: int) -> np.ndarray:
    from scipy.ndimage import zoom

    return zoom(mock.observation.data, factor, order=3, mode="nearest", grid_mode=True)


def _psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB: the peak of the truth over the rms error."""
    import numpy as np

    return float(20 * np.log10(truth.max() / np.sqrt(np.mean((image - truth) ** 2))))
