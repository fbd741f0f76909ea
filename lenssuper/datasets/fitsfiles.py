"""Data sets of lenses as FITS and JSON files: observation, lens and truth of each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from lenssuper._utils.files import atomic_write, reading
from lenssuper.datasets.items import LensItem, SimulatedLens, unpack_truth
from lenssuper.exceptions import LensSuperWarning
from lenssuper.lens import LensModel
from lenssuper.observation import read_observation, write_observation
from lenssuper.observation.hdus import image_hdu, info_hdu, read_hdus

__all__ = ["FitsFiles", "FitsMember", "fits_members"]

# Endings of the three files of a lens, after its name.
_TRUTH, _LENS, _OBSERVED = "_truth.fits", "_lens.json", ".fits"

_LAYOUT_KEY, _LAYOUT = "LSTRUTH", 1


@dataclass(frozen=True)
class FitsMember:
    """A lens in a directory, not read yet."""

    folder: Path
    name: str

    @property
    def observed(self) -> Path:
        """The file of the observation."""
        return self.folder / f"{self.name}{_OBSERVED}"

    @property
    def model(self) -> Path:
        """The file of the lens."""
        return self.folder / f"{self.name}{_LENS}"

    @property
    def truth(self) -> Path:
        """The file of the truth, which need not exist."""
        return self.folder / f"{self.name}{_TRUTH}"

    def read(self) -> LensItem:
        """Read the lens; its truth is read when it is needed."""
        observation = read_observation(self.observed)
        return LensItem(self.name, observation, self._read_model(), self._read_truth)

    def shape(self) -> tuple[int, int]:
        """Rows and columns of the observation, from its header."""
        with reading(self.observed, "a FITS image"), fits.open(self.observed) as hdus:
            shapes = [hdu.shape for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 0]
            return tuple(shapes[0])

    def check_model(self) -> None:
        """Raise an error if the lens has no file."""
        if not self.model.is_file():
            raise FileNotFoundError(
                f"{self.observed} has no lens: {self.model.name} must be beside it, written by "
                "lens.write(...) or in the format of COOLEST"
            )

    def _read_model(self):
        self.check_model()
        with reading(self.model, "a lens"):
            return LensModel.read(self.model)

    def _read_truth(self):
        path = self.truth
        if not path.is_file():
            return None
        with reading(path, "the truth of a lens"):
            arrays, info = read_hdus(str(path), _LAYOUT_KEY, _LAYOUT, "the truth of a lens of lenssuper")
            return unpack_truth(arrays, info)


def fits_members(folder: Path) -> list[FitsMember]:
    """List the observations in a directory, if it exists; one without a lens is an error at once."""
    if not folder.is_dir():
        return []
    names = sorted(
        file.name.removesuffix(_OBSERVED)
        for file in folder.glob(f"*{_OBSERVED}")
        if not file.name.startswith(".") and not file.name.endswith(_TRUTH) and file.is_file()
    )
    members = [FitsMember(folder, name) for name in names]
    for member in members:
        member.check_model()
    return members


@dataclass(frozen=True)
class FitsFiles:
    """Write sets as three files for each lens, in a directory for each part."""

    directory: Path

    # Its files, including incomplete ones of a killed process.
    pattern = r"(\.[0-9a-f]{12}\.)?mock_\d{6}(\.fits|_lens\.json|_truth\.fits)"

    def members(self, part: str) -> list[FitsMember]:
        """List the lenses of a part."""
        return fits_members(self.directory / part)

    def is_complete(self, part: str, name: str) -> bool:
        """Return whether all files of a lens are there and undamaged."""
        member = FitsMember(self.directory / part, name)
        if not all(path.is_file() for path in (member.observed, member.model, member.truth)):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", LensSuperWarning)  # of a file that was changed
                return member.read().truth is not None
        except (ValueError, LensSuperWarning):
            return False

    def least_bytes(self, shape: tuple[int, int], factor: int) -> int:
        """Size of a lens without source, PSF and headers: image, sigma, mask, and the true images."""
        return shape[0] * shape[1] * (8 + 8 + 1 + 4 + 4 * factor**2)

    def write(self, part: str, simulated: SimulatedLens) -> None:
        """Write the files of a lens, replacing others; the observation comes last and marks completion."""
        member = FitsMember(self.directory / part, simulated.name)
        observation = simulated.observation
        images, info = simulated.truth()
        hdus = fits.HDUList([fits.PrimaryHDU()])
        for name, (image, grid, comment) in images.items():
            hdus.append(image_hdu(name, image, grid, observation.unit, comment))
        hdus.append(info_hdu(info))
        hdus[0].header[_LAYOUT_KEY] = (_LAYOUT, "layout of a truth of lenssuper")
        hdus[0].header["LSNEXT"] = (len(hdus) - 1, "number of extensions of this file")
        member.observed.unlink(missing_ok=True)
        with atomic_write(member.truth, overwrite=True) as beside:
            hdus.writeto(beside, checksum=True)
        simulated.lens.write(member.model, overwrite=True)
        write_observation(observation, member.observed)

    def finish(self, part: str) -> None:
        """Do nothing: every lens is complete when it is written."""
