"""How to cite this package."""

from __future__ import annotations

from lenssuper._utils.version import __version__

__all__ = ["__citation__"]

__citation__ = f"""@software{{lenssuper,
  author = {{{{The lenssuper developers}}}},
  title = {{lenssuper: super-resolution of gravitationally lensed galaxies}},
  year = {{2026}},
  version = {{{__version__}}},
  license = {{BSD-3-Clause}},
}}
"""
