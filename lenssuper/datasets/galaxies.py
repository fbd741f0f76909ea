"""Sets of galaxies that are read one by one."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from astropy.nddata import CCDData

from lenssuper.datasets.selection import select

__all__ = ["GalaxySet"]


class GalaxySet(Sequence):
    """
    A sequence of galaxies whose images stay in their files until they are needed.

    ``galaxies[3]`` reads one image; ``galaxies[10:20]``, ``galaxies[[4, 7, 1]]`` and a mask of booleans give
    another set of the same kind, which reads nothing.
    """

    _members: np.ndarray  # positions in the file or folder

    @abstractmethod
    def _read(self, member: int) -> CCDData:
        """Read the galaxy at a position in the file or folder."""

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, item) -> CCDData | Self:
        chosen = select(item, len(self), "galaxies")
        if np.ndim(chosen) == 0:
            return self._read(int(self._members[chosen]))
        part = copy.copy(self)
        part._members = self._members[chosen]
        return part
