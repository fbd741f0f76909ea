"""``lenssuper demo``: a lens super-resolved, and compared with interpolation and, if simulated, the truth."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lenssuper.cli import _common as common
from lenssuper.cli._report import say

if TYPE_CHECKING:
    import numpy as np

    from lenssuper.simulate import MockLens
    from lenssuper.superres.comparison import Truth
    from lenssuper.superres.result import SuperResolution

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
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--seed", type=common.natural, default=_SEED, help="which lens and galaxy (default: %(default)s)"
    )
    which.add_argument(
        "--real",
        action="store_true",
        help="a real lens instead, the COSMOS-Web ring as JWST saw it, whose truth nobody knows",
    )
    common.add_factor(parser)


def _demo(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    names = ("observation.fits", "lens.json", "demo.fits", "demo.png", "demo.html")
    observed, lens, found, picture, page = (options.output / name for name in names)
    mock = _write_inputs(options, observed, lens)
    result, seconds = _super_resolved(options, observed, lens)
    result.write(found, overwrite=True)
    truth = _truth_of(mock, result) if mock else None
    _write_picture(result, truth, picture)
    result.view(page, overwrite=True)

    say(options, f"\n{result.summary()}")
    if truth is not None:
        say(options, _gain(result, truth))
    say(options, f"time     {seconds:.1f} s")
    say(options, f"\nwrote    {found}\n         {picture}\n         {page}, to explore in a browser")
    say(options, f"try      lenssuper run {observed} --lens {lens} --factor {options.factor}")


def _write_inputs(options: argparse.Namespace, observed: Path, lens: Path) -> MockLens | None:
    """Write the observation and the lens; return what was simulated, None for the real one."""
    if options.real:
        from lenssuper.datasets import cosmos_web_ring
        from lenssuper.observation import write_observation

        ring = cosmos_web_ring()
        write_observation(ring.observation, observed, overwrite=True)
        ring.lens.write(lens, overwrite=True)
        say(options, "the COSMOS-Web ring, JWST/NIRCam F150W (data: COWLS); now super-resolving it")
        return None
    from lenssuper.simulate import random_mock

    mock = random_mock(options.seed, factor=options.factor)
    common.write_inputs(mock, observed, lens, overwrite=True)
    say(options, f"simulated lens {options.seed}; now super-resolving it")
    return mock


def _super_resolved(options: argparse.Namespace, observed: Path, lens: Path) -> tuple[SuperResolution, float]:
    """Super-resolve what was written, and say how many seconds it took."""
    from lenssuper.lens import LensModel
    from lenssuper.observation import read_observation

    start = time.perf_counter()
    result = common.resolver_of(options, LensModel.read(lens))(read_observation(observed))
    return result, time.perf_counter() - start


def _truth_of(mock: MockLens, result: SuperResolution) -> Truth:
    from lenssuper.superres.comparison import Truth

    return Truth(mock.image(result.factor), mock.source_image(result.source_grid))


def _write_picture(result: SuperResolution, truth: Truth | None, picture: Path) -> None:
    from lenssuper.superres.comparison import plot_comparison

    common.write_figure(plot_comparison(result, truth), picture, overwrite=True)


def _gain(result: SuperResolution, truth: Truth) -> str:
    """Say by how much the super-resolved image is nearer to the truth than the interpolated data."""
    from lenssuper.superres.interpolation import interpolated

    before = _psnr(interpolated(result.observation, result.factor), truth.image)
    after = _psnr(result.image.data, truth.image)
    return f"gain     {after - before:+.1f} dB over cubic interpolation (PSNR {before:.1f} to {after:.1f})"


def _psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB: the peak of the truth over the rms error."""
    import numpy as np

    return float(20 * np.log10(truth.max() / np.sqrt(np.mean((image - truth) ** 2))))
