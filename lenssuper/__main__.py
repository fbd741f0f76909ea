"""``python -m lenssuper`` is the command ``lenssuper``."""

import sys

from lenssuper.cli import main

sys.exit(main())
