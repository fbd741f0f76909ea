"""
How the network that comes with the package was made: simulated sets, a training, a short one on faint lenses.

    python benchmarks/pretrain.py --output work

About two hours on one core. What is there already is not made again, and a training that was killed goes on.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch

from lenssuper import simulate
from lenssuper.datasets import LensDataset, read_dataset, write_dataset
from lenssuper.networks import Unrolled
from lenssuper.networks.weights import read_network
from lenssuper.simulate import random_lens, random_source
from lenssuper.training import train

# Lenses, seed, instrument (None: the benchmark set's), angles relative to those of a field of 5.12 arcsec
SETS = {
    "default": (140, 10, None, 1.0),
    "hst": (140, 11, "HST_ACS_F814W", 0.625),
    "jwst-short": (140, 12, "JWST_NIRCAM_F150W", 0.375),
    "jwst-long": (140, 13, "JWST_NIRCAM_F444W", 0.75),
    "euclid": (200, 14, "EUCLID_VIS", 1.25),
}
FAINT = {
    "faint-jwst": (80, 15, "JWST_NIRCAM_F150W", 0.375),
    "faint-euclid": (29, 16, "EUCLID_VIS", 1.25),
}
SPLIT = (0.84, 0.08, 0.08)
BRIGHT_SNR, FAINT_SNR = (20.0, 60.0), (4.0, 20.0)
# Each faint lens counts three times, beside so many of each other set.
REPEATED, OTHERS = 3, 48


def make(path: Path, recipe: tuple, snr: tuple[float, float]) -> LensDataset:
    """Simulate a set, or go on with it: what ``lenssuper simulate --size 64 --angles ...`` does."""
    n, seed, instrument, angles = recipe
    lens, source = (
        {name: angles * draw.__kwdefaults__[name] for name in names}
        for draw, names in ((random_lens, ("theta_E", "offset")), (random_source, ("R_e", "offset")))
    )
    given = {"instrument": getattr(simulate, instrument)} if instrument else {}
    return write_dataset(
        path,
        n,
        seed=seed,
        split=SPLIT,
        peak_snr=snr,
        lenses=partial(random_lens, **lens),
        sources=partial(random_source, **source),
        **given,
    )


def main() -> None:
    """Make all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="directory for sets and weights")
    output = parser.parse_args().output
    for name, recipe in SETS.items():
        make(output / name, recipe, BRIGHT_SNR)
    faint = [item for name, recipe in FAINT.items() for item in make(output / name, recipe, FAINT_SNR)]
    parts = {
        part: [list(read_dataset(output / name, part)) for name in SETS] for part in ("train", "validation")
    }
    common = {"patience": None, "resume": True, "overwrite": True}
    torch.manual_seed(0)
    first = output / "first.safetensors"
    train(
        Unrolled(),
        [item for items in parts["train"] for item in items],
        validation=[item for items in parts["validation"] for item in items[:4]],
        steps=1600,
        learning_rate=1e-3,
        check_every=150,
        output=first,
        seed=0,
        **common,
    )
    train(
        read_network(first),
        REPEATED * faint + [item for items in parts["train"] for item in items[:OTHERS]],
        validation=[item for items in parts["validation"] for item in items[:2]],
        steps=160,
        learning_rate=1e-4,
        check_every=80,
        output=output / "space.safetensors",
        seed=1,
        **common,
    )


if __name__ == "__main__":
    main()
