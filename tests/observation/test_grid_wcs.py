import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData, NDDataRef
from astropy.wcs import WCS, Sip

from lenssuper.exceptions import LensSuperWarning, ObservationError
from lenssuper.observation.grid import PixelGrid

SCALE = 0.05  # arcsec


def celestial(*, angle=0, sides=(SCALE, SCALE), flip=False, crval=(150.1, 2.2), crpix=(30, 21.5), ctype=None):
    """A celestial WCS whose columns run ``angle`` degrees from west towards north, for ``flip`` from east."""
    t = np.radians(angle)
    to_sky = np.array([[-np.cos(t), np.sin(t)], [np.sin(t), np.cos(t)]]) * sides / 3600
    if flip:
        to_sky[0] *= -1
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ctype or ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = crpix
    wcs.wcs.cd = to_sky
    wcs.wcs.set()
    return wcs


def gnomonic(coord, reference):
    """Offsets (x west, y north) in arcsec by astropy's own offset frame: tan(lon) and tan(lat) / cos(lon)."""
    there = coord.transform_to(reference.icrs.skyoffset_frame())
    xi, eta = np.tan(there.lon), np.tan(there.lat) / np.cos(there.lon)
    return -(xi * u.rad).to_value(u.arcsec), (eta * u.rad).to_value(u.arcsec)


def corners(shape):
    """Pixel coordinates of all pixel corners."""
    ny, nx = shape
    return np.meshgrid(np.arange(nx + 1) - 0.5, np.arange(ny + 1) - 0.5)


# From a celestial WCS, against astropy


WCS_CASES = {
    "upright": {},
    "rotated": {"angle": 37},
    "upside down": {"angle": 180},
    "quarter": {"angle": 90},
    "flipped": {"flip": True},
    "flipped and rotated": {"flip": True, "angle": -112},
    "anisotropic": {"sides": (0.05, 0.08), "angle": 37},
    "across 0h": {"crval": (0.0, -33.0), "angle": 10},
    "near the pole": {"crval": (211.0, 89.999), "angle": 37},
    "south": {"crval": (84.0, -69.1), "flip": True},
    "Sanson-Flamsteed": {"ctype": ["RA---SFL", "DEC--SFL"], "crval": (150.0, 0.0), "angle": 20},
    "declination first": {"ctype": ["DEC--TAN", "RA---TAN"], "crval": (2.2, 150.1), "angle": 20},
    "Galactic": {"ctype": ["GLON-TAN", "GLAT-TAN"], "crval": (210.0, 40.0), "angle": 37},
}


@pytest.mark.parametrize("case", WCS_CASES)
def test_celestial_wcs_against_astropy(case):
    wcs = celestial(**WCS_CASES[case])
    shape = (40, 60)
    grid = PixelGrid.from_wcs(wcs, shape)
    assert grid.shape == shape

    # The reference point is the centre of the image.
    centre = wcs.pixel_to_world(29.5, 19.5).icrs
    assert grid.reference.separation(centre) < 1e-9 * u.arcsec
    np.testing.assert_allclose(grid.center.value, 0, atol=1e-12)

    sky = wcs.pixel_to_world(*corners(shape))
    x, y = (values.to_value(u.arcsec) for values in grid.vertices)
    expected = gnomonic(sky, centre)
    np.testing.assert_allclose(x, expected[0], atol=1e-7)
    np.testing.assert_allclose(y, expected[1], atol=1e-7)
    # Its own WCS says the same.
    assert grid.wcs.pixel_to_world(*corners(shape)).separation(sky.icrs).max() < 1e-7 * u.arcsec


def test_orientation_by_hand():
    upright = PixelGrid.from_wcs(celestial(), (40, 60))
    np.testing.assert_allclose(upright.matrix, np.diag([SCALE, SCALE]), atol=1e-9)
    # A column to the left (east) is at smaller x; 'flipped' has east on the right.
    flipped = PixelGrid.from_wcs(celestial(flip=True), (40, 60))
    np.testing.assert_allclose(flipped.matrix, np.diag([-SCALE, SCALE]), atol=1e-9)
    assert "flipped" in repr(flipped)
    np.testing.assert_allclose(flipped.extent.value, [1.5, -1.5, -1, 1], atol=1e-8)
    rotated = PixelGrid.from_wcs(celestial(angle=37), (40, 60))
    assert rotated.rotation.to_value(u.deg) == pytest.approx(37, abs=1e-6)


def test_thirty_arcsec_field():
    wcs = celestial(angle=37, crpix=(300.5, 300.5))
    shape = (600, 600)
    grid = PixelGrid.from_wcs(wcs, shape)
    px, py = (values[::50, ::50] for values in corners(shape))
    sky = wcs.pixel_to_world(px, py)
    x, y = grid.to_offset(px, py)
    assert np.hypot(*grid.center.value) < 1e-12
    expected = gnomonic(sky, grid.reference)
    assert np.abs(x - expected[0]).max() < 1e-6
    assert np.abs(y - expected[1]).max() < 1e-6
    back = grid.offset_to_sky(x * u.arcsec, y * u.arcsec)
    assert back.separation(sky).max() < 1e-6 * u.arcsec


def test_random_wcs_share_a_frame():
    rng = np.random.default_rng(3)
    for _ in range(20):
        crval = (rng.uniform(0, 360), rng.uniform(-80, 80))
        reference = SkyCoord(*crval, unit=u.deg)
        for _ in range(2):
            nearby = reference.spherical_offsets_by(*rng.uniform(-2, 2, 2) * u.arcsec)
            wcs = celestial(
                angle=rng.uniform(-180, 180),
                sides=rng.uniform(0.02, 0.2, 2),
                flip=bool(rng.integers(2)),
                crval=(nearby.ra.deg, nearby.dec.deg),
                crpix=rng.uniform(-50, 50, 2),
            )
            shape = tuple(rng.integers(5, 40, 2))
            grid = PixelGrid.from_wcs(wcs, shape, reference=reference)
            assert grid.reference.separation(reference) < 1e-9 * u.arcsec
            # The same position has the same offset whatever the exposure, and the pixels are where they are.
            px, py = rng.uniform(0, min(shape), (2, 5))
            sky = wcs.pixel_to_world(px, py)
            expected = gnomonic(sky, reference)
            for measured in (grid.to_offset(px, py), [q.value for q in grid.sky_to_offset(sky)]):
                np.testing.assert_allclose(measured, expected, atol=2e-8)
            np.testing.assert_allclose(grid.to_pixel(*expected), [px, py], atol=1e-6)
            assert grid.wcs.pixel_to_world(px, py).separation(sky).max() < 2e-8 * u.arcsec


def test_sip_has_its_exact_derivative():
    wcs = celestial(angle=37, sides=(0.05, 0.06), crpix=(500.0, 480.0))
    rng = np.random.default_rng(8)
    a, b = (np.zeros((4, 4)) for _ in range(2))
    for table in (a, b):
        table[2, 0], table[1, 1], table[0, 2] = rng.normal(0, 1e-6, 3)
        table[3, 0], table[2, 1], table[1, 2], table[0, 3] = rng.normal(0, 1e-9, 4)
    cd = wcs.wcs.cd * 3600
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    shape = (40, 60)
    # About CRVAL the projection drops out: the derivative at the centre of the image is CD (1 + d SIP).
    grid = PixelGrid.from_wcs(wcs, shape, reference=SkyCoord(*wcs.wcs.crval, unit=u.deg))
    v0, v1 = 29.5 - 499, 19.5 - 479

    def slope(table):
        along = sum(i * table[i, j] * v0 ** (i - 1) * v1**j for i in range(1, 4) for j in range(4))
        across = sum(j * table[i, j] * v0**i * v1 ** (j - 1) for i in range(4) for j in range(1, 4))
        return along, across

    expected = cd @ (np.eye(2) + np.array([slope(a), slope(b)])) * [[-1], [1]]
    assert np.abs(expected / (cd * [[-1], [1]]) - 1).max() > 1e-4  # there is something to see
    np.testing.assert_allclose(grid.matrix, expected, rtol=1e-8)
    # At the centre it is exact, and the image is near enough everywhere.
    sky = wcs.pixel_to_world(29.5, 19.5)
    np.testing.assert_allclose(grid.center.value, gnomonic(sky, grid.reference), atol=1e-8)
    sky = wcs.pixel_to_world(*corners(shape))
    assert grid.wcs.pixel_to_world(*corners(shape)).separation(sky).max() < 0.05 * SCALE * u.arcsec


def test_bent_wcs_warns():
    wcs = celestial(crpix=(500.0, 500.0))
    a = np.zeros((3, 3))
    a[2, 0] = 1e-4
    wcs.sip = Sip(a, np.zeros((3, 3)), None, None, wcs.wcs.crpix)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    with pytest.warns(LensSuperWarning, match=r"the wcs is not straight: at a corner .* it is 0\.2\d pixels"):
        PixelGrid.from_wcs(wcs, (100, 100))


def test_offsets_against_astropy_and_back():
    rng = np.random.default_rng(1)
    for ra, dec in ((0.0, 0.0), (359.9999, 12.0), (80.0, -89.9999), (211.3, 54.0)):
        reference = SkyCoord(ra, dec, unit=u.deg)
        grid = PixelGrid((4, 4), 1 * u.arcsec, reference=reference)
        x, y = rng.uniform(-30, 30, (2, 50)) * u.arcsec
        sky = grid.offset_to_sky(x, y)
        np.testing.assert_allclose(gnomonic(sky, reference), [x.value, y.value], atol=2e-9)
        back = grid.sky_to_offset(sky.galactic)
        np.testing.assert_allclose([back[0].value, back[1].value], [x.value, y.value], atol=2e-9)
    east = grid.offset_to_sky(-1 * u.arcsec, 0 * u.arcsec)
    assert east.isscalar
    assert grid.reference.position_angle(east).deg == pytest.approx(90, abs=1e-3)


def test_offsets_need_a_sky():
    grid = PixelGrid((4, 4), 1 * u.arcsec)
    with pytest.raises(ValueError, match="the grid is not on the sky: make it with reference"):
        grid.offset_to_sky(0 * u.arcsec, 0 * u.arcsec)
    with pytest.raises(ValueError, match="the grid is not on the sky"):
        grid.sky_to_offset(SkyCoord(0 * u.deg, 0 * u.deg))
    grid = PixelGrid((4, 4), 1 * u.arcsec, reference=SkyCoord(0 * u.deg, 0 * u.deg))
    with pytest.raises(TypeError, match="coord must be a SkyCoord"):
        grid.sky_to_offset(1 * u.deg)
    with pytest.raises(ValueError, match="coord must be less than 90 degrees from the reference"):
        grid.sky_to_offset(SkyCoord(120 * u.deg, 0 * u.deg))
    with pytest.raises(TypeError, match="x must be a Quantity"):
        grid.offset_to_sky(0, 0 * u.arcsec)


# From a linear WCS


def linear(matrix, unit="arcsec", crpix=(1.0, 1.0), crval=(0.0, 0.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.cd = matrix
    wcs.wcs.cunit = [unit, unit]
    wcs.wcs.crpix = crpix
    wcs.wcs.crval = crval
    return wcs


def test_linear_wcs():
    grid = PixelGrid.from_wcs(linear(np.diag([0.1, 0.2])), (20, 30))
    assert grid.reference is None
    np.testing.assert_allclose(grid.matrix, np.diag([0.1, 0.2]), rtol=1e-12)
    np.testing.assert_allclose(grid.extent.value, [-1.5, 1.5, -2, 2], atol=1e-12)
    degrees = PixelGrid.from_wcs(linear(np.diag([0.1, 0.2]) / 3600, "deg"), (20, 30))
    np.testing.assert_allclose(degrees.matrix, grid.matrix, rtol=1e-12)


def test_linear_wcs_rotated_with_its_own_zero():
    t = np.radians(30)
    matrix = 0.1 * np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    wcs = linear(matrix, crpix=(3.0, 4.0), crval=(5.0, -6.0))
    grid = PixelGrid.from_wcs(wcs, (20, 30), reference=(0, 0) * u.arcsec)
    np.testing.assert_allclose(grid.matrix, matrix, rtol=1e-12)
    np.testing.assert_allclose(grid.to_offset(2, 3), [5, -6], rtol=1e-12)
    centred = PixelGrid.from_wcs(wcs, (20, 30))
    np.testing.assert_allclose(centred.center.value, 0, atol=1e-12)
    with pytest.raises(
        TypeError, match="reference of a linear wcs must be a Quantity of its two world coord"
    ):
        PixelGrid.from_wcs(wcs, (20, 30), reference=(0, 0))
    with pytest.raises(ValueError, match="reference is a SkyCoord, but the wcs is not celestial"):
        PixelGrid.from_wcs(wcs, (20, 30), reference=SkyCoord(0 * u.deg, 0 * u.deg))


def test_wcs_that_will_not_do():
    with pytest.raises(ValueError, match=r"two axes in angular units; got units '' and '': .*grid=PixelGrid"):
        PixelGrid.from_wcs(WCS(naxis=2), (4, 4))
    with pytest.raises(ValueError, match="two axes in angular units; got units 'm' and 'm'"):
        PixelGrid.from_wcs(linear(np.eye(2), "m"), (4, 4))
    with pytest.raises(ValueError, match="wcs must have two pixel and two world axes; got 3 and 3"):
        PixelGrid.from_wcs(WCS(naxis=3), (4, 4))
    with pytest.raises(TypeError, match="wcs must be an astropy WCS; got None"):
        PixelGrid.from_wcs(None, (4, 4))
    allsky = celestial(ctype=["RA---ARC", "DEC--ARC"], sides=(3600, 3600), crpix=(3000.0, 3000.0))
    with pytest.raises(ValueError, match="the centre of the image by its wcs must be a finite position"):
        PixelGrid.from_wcs(allsky, (4, 4))


def test_cube_header_around_an_image():
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "FREQ"]
    wcs.wcs.cunit = ["deg", "deg", "Hz"]
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600, 1]
    wcs.wcs.crval = [10, 20, 1e9]
    assert PixelGrid.from_wcs(wcs, (8, 8)).pixel_scale.value == pytest.approx(SCALE, rel=1e-8)


# From NDData


def test_from_nddata_and_its_slices():
    image = NDDataRef(np.zeros((40, 60)), wcs=celestial(angle=37))
    grid = PixelGrid.from_nddata(image)
    assert grid == PixelGrid.from_wcs(image.wcs, (40, 60))
    # astropy slices a WCS into another class.
    piece = image[5:25, 10:50]
    cut = PixelGrid.from_nddata(piece, reference=grid.reference)
    assert cut.shape == (20, 40)
    np.testing.assert_allclose(cut.matrix, grid.matrix, atol=1e-9)
    np.testing.assert_allclose(cut.origin, grid.to_offset(10, 5), atol=1e-8)


def test_from_nddata_errors():
    with pytest.raises(ObservationError, match=r"has no WCS .* grid=PixelGrid\(\(4, 5\)"):
        PixelGrid.from_nddata(NDData(np.zeros((4, 5))))
    with pytest.raises(ObservationError, match=r"must be a two-dimensional image; got shape \(2, 4, 5\)"):
        PixelGrid.from_nddata(NDData(np.zeros((2, 4, 5)), wcs=WCS(naxis=3)))
    with pytest.raises(TypeError, match="nddata must be an astropy NDData; got array"):
        PixelGrid.from_nddata(np.zeros((4, 5)))
