"""A set of galaxies that is read one by one."""

from __future__ import annotations

import copy
import operator
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from astropy.nddata import CCDData

__all__ = ["GalaxySet"]


class GalaxySet(Sequence):
    """
    A sequence of galaxies whose images stay in their files until they are asked for.

    ``galaxies[3]`` reads one image; ``galaxies[10:20]``, ``galaxies[[4, 7, 1]]`` and a mask of booleans give
    another set of the same kind, which reads nothing.
    """

    _members: np.ndarray  # places in the file or folder

    @abstractmethod
    def _read(self, member: int) -> CCDData:
        """The galaxy at a place in the file or folder."""

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, item) -> CCDData | Self:
        if not isinstance(item, slice) and np.ndim(item) == 0:
            return self._read(int(self._members[self._one(item)]))
        if not isinstance(item, slice):
            item = self._several(item)
        part = copy.copy(self)
        part._members = self._members[item]
        return part

    def _one(self, item):
        try:
            index = operator.index(item)
        except TypeError:
            raise TypeError(
                "galaxies are chosen by an integer, a slice, a list of integers or a mask of booleans; "
                f"got {item!r:.80}"
            ) from None
        if not -len(self) <= index < len(self):
            raise IndexError(f"the index must be below {len(self)}, the number of galaxies; got {index}")
        return index

    def _several(self, item):
        chosen = np.asarray(item)
        if chosen.size == 0:
            return np.array([], dtype=int)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iub":
            self._one(item)
        if chosen.dtype.kind == "b":
            if len(chosen) != len(self):
                raise IndexError(
                    f"a mask must have one value for each of {len(self)} galaxies; got {len(chosen)}"
                )
        else:
            for index in (chosen.min(), chosen.max()):
                self._one(index)
        return chosen
