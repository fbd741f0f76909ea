"""Grids of pixels on the sky."""

from __future__ import annotations

import math

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from astropy.wcs import WCS

from lenssuper._utils.checks import check_count, check_kind, check_shape
from lenssuper._utils.units import arcsec, to_arcsec, to_radian
from lenssuper.exceptions import ObservationError
from lenssuper.observation import _tangent

__all__ = ["PixelGrid"]


class PixelGrid:
    """A grid of equal pixels in the tangent plane of the sky.

    The grid is an affine map from 0-based pixel coordinates (column, row), with pixel centres at integers, to
    offsets (x, y) from a reference point. The offsets are gnomonic, in the plane that touches the sky at the
    reference point, x to the west and y to the north of ICRS; without a celestial WCS x runs along the
    columns and y along the rows. A grid cannot be changed after it is made; grids with the same numbers are
    equal.

    Parameters
    ----------
    shape : (int, int)
        Number of rows and columns, (ny, nx).
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel; two values for the side along columns (x) and along rows (y).
    center : `~astropy.units.Quantity`, optional
        Offset (x, y) of the centre of the grid from the reference point.
    rotation : `~astropy.units.Quantity`, optional
        Angle from +x to the direction in which the column number grows, counter-clockwise.
    reference : `~astropy.coordinates.SkyCoord`, optional
        Position on the sky of the zero of the offsets.

    Raises
    ------
    TypeError
        If ``shape`` does not hold integers, or an angle is not a Quantity.
    ValueError
        If ``shape`` or ``pixel_scale`` is not positive, or a value is not finite.

    Examples
    --------
    >>> from astropy import units as u
    >>> from lenssuper import PixelGrid
    >>> grid = PixelGrid(shape=(64, 64), pixel_scale=0.1 * u.arcsec)
    >>> grid
    PixelGrid(shape=(64, 64), pixel_scale=0.1 arcsec)
    >>> grid.refine(2)
    PixelGrid(shape=(128, 128), pixel_scale=0.05 arcsec)
    """

    __slots__ = ("_reference", "_shape", "matrix", "origin")
    _shape: tuple[int, int]
    matrix: np.ndarray  # (2, 2), arcsec per column and row
    origin: np.ndarray  # (2,), the offset of pixel (0, 0) in arcsec
    _reference: tuple[float, float] | None  # right ascension and declination in degrees
    __iter__ = None  # a grid has slices, but is no sequence

    def __init__(self, shape, pixel_scale, *, center=(0, 0) * u.arcsec, rotation=0 * u.deg, reference=None):
        shape = check_shape(shape)
        scale = np.atleast_1d(to_arcsec(pixel_scale, "pixel_scale"))
        if scale.shape not in ((1,), (2,)):
            raise ValueError(f"pixel_scale must be one value or two (x, y); got {pixel_scale}")
        if not np.all(scale > 0):
            raise ValueError(f"pixel_scale must be positive; got {pixel_scale}")
        middle = np.asarray(to_arcsec(center, "center"))
        if middle.shape != (2,):
            raise ValueError(f"center must be two values (x, y); got {center}")
        angle = to_radian(rotation, "rotation")
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos, -sin], [sin, cos]]) * scale
        origin = middle - matrix @ [(shape[1] - 1) / 2, (shape[0] - 1) / 2]
        if reference is not None:
            reference = _tangent.to_icrs(reference, "reference")
        self._set(shape, matrix, origin, reference)

    def _set(self, shape, matrix, origin, reference):
        matrix, origin = np.array(matrix, dtype=np.float64), np.array(origin, dtype=np.float64)
        matrix.flags.writeable = origin.flags.writeable = False
        values = {"_shape": shape, "matrix": matrix, "origin": origin, "_reference": reference}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_affine(cls, shape, matrix, origin, reference=None):
        """Make a grid from arcsec per pixel, the offset of pixel (0, 0), and (ra, dec) in degrees or None."""
        grid = cls.__new__(cls)
        if reference is not None:
            reference = (float(reference[0]), float(reference[1]))
        grid._set(check_shape(shape), matrix, origin, reference)
        return grid

    @classmethod
    def from_own_wcs(cls, wcs, shape):
        """Return the grid whose `wcs` this is, with its reference point and accurate to the last digits."""
        return cls.from_affine(shape, *_tangent.read_own_wcs(wcs))

    @classmethod
    def from_wcs(
        cls, wcs: WCS, shape: tuple[int, int], *, reference: SkyCoord | u.Quantity | None = None
    ) -> PixelGrid:
        """Make the grid of an image from its WCS.

        A celestial WCS may be rotated, flipped, anisotropic, distorted, of any projection and frame: the grid
        is the affine map that touches it at the centre of the image, in the tangent plane at the reference
        point. Offsets are along west and north of ICRS also if the frame of the WCS is another. The world
        coordinates of a linear WCS with angular units are the offsets, counted from the reference point.

        Parameters
        ----------
        wcs : `~astropy.wcs.WCS` or any WCS of astropy's common interface
            Celestial, or linear in angular units.
        shape : (int, int)
            Shape (ny, nx) of the image.
        reference : `~astropy.coordinates.SkyCoord` or `~astropy.units.Quantity`, optional
            Zero of the offsets: a position on the sky, or two world coordinates of a linear WCS. By default
            the centre of the image. Exposures of one lens given the same reference share one frame.

        Returns
        -------
        PixelGrid

        Raises
        ------
        ValueError
            If ``wcs`` is neither celestial nor in angular units.

        Warns
        -----
        LensSuperWarning
            If the WCS bends by more than a tenth of a pixel within the image.
        """
        shape = check_shape(shape)
        return cls.from_affine(shape, *_tangent.linearise(wcs, shape, reference))

    @classmethod
    def from_nddata(cls, nddata: NDData, *, reference: SkyCoord | u.Quantity | None = None) -> PixelGrid:
        """Make the grid of an image that carries its WCS; see `from_wcs`.

        Raises
        ------
        ObservationError
            If there is no WCS, or the data are not two-dimensional.
        """
        check_kind(nddata, "nddata", NDData, "an astropy NDData")
        if np.ndim(nddata.data) != 2:
            got = np.shape(nddata.data)
            raise ObservationError(f"nddata must be a two-dimensional image; got shape {got}")
        if nddata.wcs is None:
            what = "the observation has no WCS to say where its pixels are: say it with"
            grid = f"PixelGrid({np.shape(nddata.data)}, 0.05 * u.arcsec)"
            raise ObservationError(
                f"{what} Observation.from_nddata(nddata, grid={grid})", shell=f"{what} --pixel-scale"
            )
        return cls.from_wcs(nddata.wcs, np.shape(nddata.data), reference=reference)

    @classmethod
    def covering(
        cls,
        x: u.Quantity,
        y: u.Quantity,
        pixel_scale: u.Quantity,
        *,
        margin: int = 0,
        square: bool = False,
        reference: SkyCoord | None = None,
    ) -> PixelGrid:
        """Make the smallest upright grid that covers points.

        Parameters
        ----------
        x, y : `~astropy.units.Quantity`
            Offsets of the points, of any one shape.
        pixel_scale : `~astropy.units.Quantity`
            Side of the square pixels.
        margin : int, optional
            Pixels to add on each side.
        square : bool, optional
            Whether to take as many rows as columns.
        reference : `~astropy.coordinates.SkyCoord`, optional
            Position on the sky of the zero of the offsets.

        Returns
        -------
        PixelGrid
            Centred on the bounding box of the points.
        """
        margin = check_count(margin, "margin", 0)
        points = [np.ravel(to_arcsec(values, name)) for values, name in ((x, "x"), (y, "y"))]
        if min(values.size for values in points) == 0:
            raise ValueError("x and y must hold at least one point")
        scale = to_arcsec(pixel_scale, "pixel_scale")
        if not (np.ndim(scale) == 0 and scale > 0):
            raise ValueError(f"pixel_scale must be one positive value; got {pixel_scale}")
        low, high = (np.array([pick(values) for values in points]) for pick in (np.min, np.max))
        # The slack of 1e-9 keeps the rounding of a span of whole pixels from adding another one.
        nx, ny = (max(1, int(np.ceil(span / scale - 1e-9))) + 2 * margin for span in high - low)
        if square:
            nx = ny = max(nx, ny)
        return cls((ny, nx), arcsec(scale), center=arcsec((low + high) / 2), reference=reference)

    # Identity

    def __setattr__(self, name, value):
        raise AttributeError(f"a PixelGrid cannot be changed; make another one to set {name}")

    def __delattr__(self, name):
        raise AttributeError("a PixelGrid cannot be changed")

    def __reduce__(self):
        return PixelGrid.from_affine, (self._shape, self.matrix, self.origin, self._reference)

    def _key(self):
        return self._shape, *self.matrix.ravel().tolist(), *self.origin.tolist(), self._reference

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, PixelGrid) else NotImplemented

    def __hash__(self):
        return hash(self._key())

    def __repr__(self):
        sides = np.linalg.norm(self.matrix, axis=0)
        if np.isclose(*sides, rtol=1e-6):
            scale = f"{self.side_arcsec:.6g} arcsec"
        else:
            scale = f"({sides[0]:.6g}, {sides[1]:.6g}) arcsec"
        words = [f"shape={self._shape}", f"pixel_scale={scale}"]
        middle = self.middle_arcsec()
        if np.any(np.abs(middle) > 1e-6 * self.side_arcsec):
            words.append(f"center=({middle[0]:.6g}, {middle[1]:.6g}) arcsec")
        angle = np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0]))
        if abs(angle) > 1e-4:
            words.append(f"rotation={angle:.6g} deg")
        if np.linalg.det(self.matrix) < 0:
            words.append("flipped")
        if self._reference is not None:
            words.append(f"reference={self.reference.to_string('hmsdms', precision=3)!r}")
        return f"PixelGrid({', '.join(words)})"

    # What the grid is

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns, (ny, nx)."""
        return self._shape

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a square of the area of a pixel."""
        return arcsec(self.side_arcsec)

    @property
    def pixel_area(self) -> u.Quantity:
        """Area of a pixel."""
        return self.area_arcsec2 * u.arcsec**2

    @property
    def rotation(self) -> u.Quantity:
        """Angle from +x to the direction in which the column number grows, counter-clockwise."""
        return np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])) * u.deg

    @property
    def reference(self) -> SkyCoord | None:
        """Position on the sky (ICRS) of the zero of the offsets, if known."""
        return None if self._reference is None else SkyCoord(*self._reference, unit=u.deg, frame="icrs")

    @property
    def center(self) -> u.Quantity:
        """Offset (x, y) of the centre of the grid."""
        return arcsec(self.middle_arcsec())

    @property
    def centers(self) -> tuple[u.Quantity, u.Quantity]:
        """Offsets x and y of the pixel centres, each (ny, nx)."""
        x, y = self.centers_arcsec()
        return arcsec(x), arcsec(y)

    @property
    def vertices(self) -> tuple[u.Quantity, u.Quantity]:
        """Offsets x and y of the pixel corners, each (ny + 1, nx + 1)."""
        x, y = self.vertices_arcsec()
        return arcsec(x), arcsec(y)

    @property
    def extent(self) -> u.Quantity:
        """Outer edges (left, right, bottom, top), for matplotlib's ``imshow`` with ``origin="lower"``.

        Raises
        ------
        ValueError
            If the rotation of the grid moves a corner by more than a tenth of a pixel.
        """
        ny, nx = self._shape
        across = np.abs([self.matrix[0, 1] * ny, self.matrix[1, 0] * nx])
        if np.any(across > 0.1 * np.linalg.norm(self.matrix, axis=0)):
            raise ValueError(
                f"a grid rotated by {self.rotation:.4g} has no extent; "
                "draw it with pcolormesh(*grid.vertices, image)"
            )
        left, bottom = self.to_offset(-0.5, -0.5)
        right, top = self.to_offset(nx - 0.5, ny - 0.5)
        return arcsec(np.array([left, right, bottom, top]))

    @property
    def wcs(self) -> WCS:
        """A WCS that agrees with the grid: gnomonic (TAN, ICRS) with a reference, else linear in arcsec."""
        return _tangent.make_wcs(self._shape, self.matrix, self.origin, self._reference)

    # Other grids

    def refine(self, factor: int) -> PixelGrid:
        """Divide every pixel in ``factor`` x ``factor``; the footprint stays."""
        factor = check_count(factor, "factor", 1)
        first = -0.5 + 0.5 / factor
        return self._moved(tuple(n * factor for n in self._shape), self.matrix / factor, (first, first))

    def binned(self, factor: int) -> PixelGrid:
        """Put ``factor`` x ``factor`` pixels together; rows and columns that do not fill one are left out."""
        factor = check_count(factor, "factor")
        shape = tuple(n // factor for n in self._shape)
        return self._moved(shape, self.matrix * factor, ((factor - 1) / 2, (factor - 1) / 2))

    def pad(self, n: int | tuple[int, int]) -> PixelGrid:
        """Add ``n`` pixels on each side, or (rows, columns) below and above, left and right."""
        rows, columns = (check_count(k, "n", 0) for k in (n if isinstance(n, (tuple, list)) else (n, n)))
        ny, nx = self._shape
        return self._moved((ny + 2 * rows, nx + 2 * columns), self.matrix, (-columns, -rows))

    def __getitem__(self, item) -> PixelGrid:
        """Cut out part of the grid; the reference point stays: ``grid[10:40, 5:50]``."""
        rows, columns = cutout_slices(item, self._shape)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return self._moved(shape, self.matrix, (columns.start, rows.start))

    def part_of(self, shape, first):
        """Return the grid of a larger image in whose pixel ``first``, column and row, this one begins."""
        return self._moved(shape, self.matrix, tuple(-n for n in first))

    def _moved(self, shape, matrix, first):
        """Return the grid whose pixel (0, 0) is centred at the pixel coordinates ``first`` of this one."""
        return PixelGrid.from_affine(shape, matrix, self.matrix @ first + self.origin, self._reference)

    # Between pixels, offsets and the sky

    def moved_by(self, shift):
        """Return the grid moved by (x, y) in arcsec."""
        return PixelGrid.from_affine(self._shape, self.matrix, self.origin + shift, self._reference)

    def sky_to_offset(self, coord: SkyCoord) -> tuple[u.Quantity, u.Quantity]:
        """Return offsets (x, y) of positions on the sky; exact, for any frame of ``coord``."""
        check_kind(coord, "coord", SkyCoord)
        x, y = _tangent.sky_to_offset(coord, self._need_reference())
        return arcsec(x), arcsec(y)

    def offset_to_sky(self, x: u.Quantity, y: u.Quantity) -> SkyCoord:
        """Return positions on the sky (ICRS) of offsets; exact inverse of `sky_to_offset`."""
        return _tangent.offset_to_sky(to_arcsec(x, "x"), to_arcsec(y, "y"), self._need_reference())

    def contains(self, x: u.Quantity, y: u.Quantity) -> bool | np.ndarray:
        """Check whether offsets lie on the grid, its edge included."""
        px, py = self.to_pixel(to_arcsec(x, "x", finite=False), to_arcsec(y, "y", finite=False))
        ny, nx = self._shape
        edge = 0.5 + 1e-9  # the rounding of a corner does not put it outside
        inside = (px >= -edge) & (px <= nx - 1 + edge) & (py >= -edge) & (py <= ny - 1 + edge)
        return bool(inside) if np.ndim(inside) == 0 else inside

    def _need_reference(self):
        if self._reference is None:
            raise ValueError(
                "the grid is not on the sky: make it with reference=SkyCoord(...) or from a celestial WCS"
            )
        return self._reference

    # Floats in arcsec, for the numerics

    @property
    def area_arcsec2(self):
        """Area of a pixel."""
        (a, b), (c, d) = self.matrix.tolist()
        return abs(a * d - b * c)

    @property
    def side_arcsec(self):
        """Side of a square of the area of a pixel."""
        return math.sqrt(self.area_arcsec2)

    def middle_arcsec(self):
        """Return the offset (x, y) of the centre of the grid, shape (2,)."""
        ny, nx = self._shape
        return np.array(self.to_offset((nx - 1) / 2, (ny - 1) / 2))

    def to_offset(self, px, py):
        """Return offsets (x, y) in arcsec of pixel coordinates (column, row); any shapes that broadcast."""
        (a, b), (c, d) = self.matrix.tolist()  # Python floats, so that torch tensors keep their kind
        x0, y0 = self.origin.tolist()
        return a * px + b * py + x0, c * px + d * py + y0

    def to_pixel(self, x, y):
        """Return pixel coordinates (column, row) of offsets in arcsec; any shapes that broadcast."""
        (a, b), (c, d) = self.matrix.tolist()
        determinant = a * d - b * c
        x0, y0 = self.origin.tolist()
        x, y = x - x0, y - y0
        return (d * x - b * y) / determinant, (a * y - c * x) / determinant

    def centers_arcsec(self):
        """Return offsets x and y of the pixel centres, in shapes that broadcast to (ny, nx)."""
        ny, nx = self._shape
        return self.to_offset(np.arange(nx, dtype=float), np.arange(ny, dtype=float)[:, np.newaxis])

    def vertices_arcsec(self):
        """Return offsets x and y of the pixel corners, in shapes that broadcast to (ny + 1, nx + 1)."""
        ny, nx = self._shape
        return self.to_offset(np.arange(nx + 1) - 0.5, np.arange(ny + 1)[:, np.newaxis] - 0.5)


def cutout_slices(item, shape):
    """Return two slices of step one with non-negative bounds, for an image of ``shape``."""
    items = item if isinstance(item, tuple) else (item, slice(None))
    if len(items) != 2 or not all(isinstance(part, slice) for part in items):
        raise TypeError(f"an image is cut out with one or two slices, e.g. [10:40, 5:50]; got [{item!r}]")
    slices = []
    for part, n in zip(items, shape, strict=True):
        start, stop, step = part.indices(n)
        if step != 1:
            raise ValueError(f"the step of a cutout must be 1; got {step}")
        if stop <= start:
            raise ValueError(f"the cutout {part.start}:{part.stop} is empty on an axis of {n} pixels")
        slices.append(slice(start, stop))
    return tuple(slices)
