"""``python -m lenssuper`` is the command ``lenssuper``."""

import sys

from lenssuper.cli import run_process

sys.exit(run_process())
