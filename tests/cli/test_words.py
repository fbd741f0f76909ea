"""Messages of the package in the words of the command line."""

from __future__ import annotations

import argparse

import pytest

from lenssuper.cli._words import in_shell_words

NAMES = ("pixel_scale", "z_lens", "z_source", "draws", "psf", "rms", "arcs_only", "size")
OPTIONS = argparse.Namespace(**dict.fromkeys(NAMES))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give rms=, or size=3.5 (psf=)", "give --rms, or --size 3.5 (--psf)"),
        ("arcs_only=True needs lens=", "--arcs-only needs lens="),
        ("two lines\n of pixel_scale=0.05", "two lines of --pixel-scale 0.05"),
        ("size='a b', size=-2", "--size 'a b', --size -2"),
        (
            "z_lens and z_source must be given; got z_lens=None, z_source=0.5",
            "--z-lens and --z-source must be given; got no --z-lens, --z-source 0.5",
        ),
        ("add one with nddata.psf = array (odd sides)", "add one with --psf (odd sides)"),
        ("n_draws was 4 and is now 8", "--draws was 4 and is now 8"),
        *(
            (same, same)
            for same in (
                "PixelGrid(shape=(256, 270), pixel_scale=0.0308531 arcsec, size=3) is another grid",
                "got {'draws': [Draws(rms=1)], 'size=2': 3}",
                "call pixel_scale(x) of lenssuper.z_lens(rms=2)",
                "z_lens.fits: not in ./arcs_only/pixel_scale.json",
            )
        ),
        ("Grid(size=2) differs from size=3", "Grid(size=2) differs from --size 3"),
    ],
)
def test_arguments_become_options_outside_of_objects(message, expected):
    assert in_shell_words(message, OPTIONS) == expected
