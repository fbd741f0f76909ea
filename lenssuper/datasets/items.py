"""One lens of a data set: as it is read, and as it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lenssuper.lens import LensModel
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid
from lenssuper.observation.hdus import grid_info
from lenssuper.simulate.mock import MockLens

__all__ = ["LensItem", "LensTruth", "SimulatedLens", "unpack_truth"]


@dataclass(frozen=True, eq=False)
class LensTruth:
    """
    The truth behind a simulated observation.

    All images are surface brightness in the unit of the observation per observed pixel; they are kept as
    float32.

    Attributes
    ----------
    image : (factor * ny, factor * nx) ndarray
        The lensed source without PSF and noise, averaged over pixels ``factor`` times finer than the observed
        ones.
    factor : int
    noiseless : (ny, nx) ndarray
        The observation without its noise.
    source : ndarray, shape ``source_grid.shape``
        The source, averaged over the pixels of its grid.
    source_grid : PixelGrid
    lens : LensModel
        The full lens, including its substructure.
    dark_matter : str
        The class: "none", "cdm" or "vortex", or the label of another `DarkMatter`.
    substructure : dict
        The numbers drawn for it: masses in solar masses, lengths in arcsec.
    """

    image: np.ndarray = field(repr=False)
    factor: int
    noiseless: np.ndarray = field(repr=False)
    source: np.ndarray = field(repr=False)
    source_grid: PixelGrid
    lens: LensModel = field(repr=False)
    dark_matter: str
    substructure: dict[str, Any] = field(repr=False)


class LensItem:
    """
    One lens of a `LensDataset`.

    Attributes
    ----------
    name : str
        The common part of the names of its files.
    observation : Observation
    lens : LensModel
        The lens to work with; for a simulated one, without the substructure, which an observer does not know.
    truth : LensTruth or None
        Read when it is needed; None for an observed lens.
    """

    def __init__(
        self,
        name: str,
        observation: Observation,
        lens: LensModel,
        read_truth: Callable[[], LensTruth | None],
    ) -> None:
        self.name = name
        self.lens = lens
        self.observation = observation
        self._read_truth = read_truth

    def __repr__(self) -> str:
        return f"LensItem({self.name!r}, {self.observation!r}, lens={self.lens!r})"

    @cached_property
    def truth(self) -> LensTruth | None:
        """The truth behind the observation, if it is simulated."""
        return self._read_truth()


@dataclass(frozen=True, eq=False)
class SimulatedLens:
    """A simulated lens as it is written to a data set; ``lens`` is the one without substructure."""

    name: str
    mock: MockLens
    lens: LensModel
    source_grid: PixelGrid
    dark_matter: str
    substructure: dict[str, Any]

    @property
    def observation(self) -> Observation:
        """The observation with its exact grid."""
        return Observation.from_nddata(self.mock.observation, grid=self.mock.grid)

    def truth(self) -> tuple[dict[str, tuple], dict[str, Any]]:
        """Return the true images, each with its grid and a comment, and all else, ready for JSON."""
        mock = self.mock
        images = {
            "IMAGE": (mock.image(), mock.grid.refine(mock.factor), "lensed source, no PSF, no noise"),
            "MODEL": (mock.noiseless, mock.grid, "observation without noise"),
            "SOURCE": (mock.source_image(self.source_grid), self.source_grid, "source plane"),
        }
        info = {
            "factor": mock.factor,
            "source grid": grid_info(self.source_grid),
            "lens": mock.lens.to_dict(),
            "dark matter": self.dark_matter,
            "substructure": self.substructure,
        }
        return {name: (image.astype(np.float32), *rest) for name, (image, *rest) in images.items()}, info


def unpack_truth(images: dict[str, np.ndarray], info: dict[str, Any]) -> LensTruth:
    """Return the truth of a lens from what `SimulatedLens.truth` gave, images without their grids."""
    return LensTruth(
        image=np.asarray(images["IMAGE"], dtype=np.float32),
        factor=info["factor"],
        noiseless=np.asarray(images["MODEL"], dtype=np.float32),
        source=np.asarray(images["SOURCE"], dtype=np.float32),
        source_grid=PixelGrid.from_affine(*info["source grid"]),
        lens=LensModel.from_dict(info["lens"]),
        dark_matter=info["dark matter"],
        substructure=info["substructure"],
    )
