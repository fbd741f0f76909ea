"""Observed images: checked and unpacked once, read from FITS files and written to them."""

from lenssuper.observation.files import read_observation, write_observation
from lenssuper.observation.image import Observation

__all__ = ["Observation", "read_observation", "write_observation"]
