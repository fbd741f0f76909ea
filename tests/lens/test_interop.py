"""Other codes' conventions, against those codes and against hand-made cases; lenses in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import units as u
from lenstronomy.LensModel.lens_model import LensModel as Lenstronomy

from lenssuper.exceptions import FileFormatError
from lenssuper.lens import EPL, NFW, SIE, SIS, TNFW, ExternalShear, LensModel, PointMass

A = u.arcsec
LENS = SIE(theta_E=0.77 * A, q=0.85, phi=48 * u.deg, x=0.05 * A, y=0.02 * A) + ExternalShear(
    gamma1=0.029, gamma2=0.019
)
X, Y = np.random.default_rng(11).uniform(-2, 2, (2, 60))


@pytest.mark.parametrize("mirror", [False, True])
def test_lenstronomy_sees_the_same_sky(mirror):
    """With x to the east, the same place on the sky has the opposite x and the opposite alpha_x."""
    lens = (
        LENS
        + EPL(theta_E=0.3 * A, gamma=1.8, q=0.6, phi=-20 * u.deg, x=-1 * A)
        + NFW(alpha_Rs=0.2 * A, Rs=2 * A, y=0.5 * A)
        + TNFW(alpha_Rs=0.2 * A, Rs=2 * A, r_trunc=3 * A)
        + PointMass(theta_E=0.1 * A, x=2.5 * A)
        + SIS(theta_E=0.1 * A, x=-2.5 * A)
        + ExternalShear(gamma1=0.01, gamma2=-0.02, x=0.3 * A, y=0.4 * A)
    )
    names, kwargs = lens.to_lenstronomy(x_axis="east" if mirror else "west")
    sign = -1 if mirror else 1
    # its SIE has a core, see the tests of the profiles
    kwargs = [k | {"gamma": 2.0} if name == "SIE" else k for name, k in zip(names, kwargs, strict=True)]
    names = ["EPL" if name == "SIE" else name for name in names]
    alpha_x, alpha_y = Lenstronomy(names).alpha(sign * X, Y, kwargs)
    found = lens.deflection_arcsec(X, Y)
    np.testing.assert_allclose(found[0], sign * alpha_x, atol=1e-10)
    np.testing.assert_allclose(found[1], alpha_y, atol=1e-10)


def test_mirrored_parameters():
    """center_x, e2 and gamma2 change sign; phi becomes 180 deg - phi."""
    names, west = LENS.to_lenstronomy()
    _, east = LENS.to_lenstronomy(x_axis="east")
    assert names == ["SIE", "SHEAR"]
    assert all(type(value) is float for k in west for value in k.values())
    assert east[0] == west[0] | {"center_x": -west[0]["center_x"], "e2": -west[0]["e2"]}
    assert east[1] == west[1] | {"gamma2": -0.019}
    mirrored = LensModel.from_lenstronomy(names, west, x_axis="east").components[0]
    assert (mirrored.phi.to_value(u.deg) - (180 - 48)) % 180 == pytest.approx(0, abs=1e-10)
    assert mirrored.x == -0.05 * A


def test_other_names_of_lenstronomy():
    (epl,) = LensModel.from_lenstronomy(
        ["PEMD"], [{"theta_E": 1, "gamma": 1.9, "e1": 0.1, "e2": 0}]
    ).components
    assert epl.gamma == 1.9
    assert epl.q == pytest.approx(0.9 / 1.1)
    shear = LensModel.from_lenstronomy(["SHEAR_GAMMA_PSI"], [{"gamma_ext": 0.1, "psi_ext": np.pi / 6}])
    assert (shear.gamma1, shear.gamma2) == (pytest.approx(0.05), pytest.approx(0.1 * np.sqrt(3) / 2))


@pytest.mark.parametrize(
    "name",
    ["EPL_MULTIPOLE_M1M3M4", "EPL_MULTIPOLE_M1M3M4_ELL", "EPL_MULTIPOLE_M3M4", "EPL_MULTIPOLE_M3M4_ELL"],
)
@pytest.mark.parametrize("x_axis", ["west", "east"])
def test_lenstronomys_epl_with_multipoles(name, x_axis):
    """Becomes a sum; its elliptical multipoles are not turned with the ellipse, so that one lies along x."""
    epl = {"theta_E": 1.2, "gamma": 1.9, "e1": 0.2, "e2": 0.0 if name.endswith("_ELL") else -0.1}
    angles = {"a3_a": 0.03, "delta_phi_m3": 0.2, "a4_a": -0.02, "delta_phi_m4": -0.3}
    first = {"a1_a": 0.04, "delta_phi_m1": 0.7} if "M1" in name else {}
    kwargs = [epl | angles | first | {"center_x": 0.1, "center_y": -0.2}]
    lens = LensModel.from_lenstronomy([name], kwargs, x_axis=x_axis)
    sign = 1 if x_axis == "west" else -1
    alpha_x, alpha_y = Lenstronomy([name]).alpha(sign * X, Y, kwargs)
    np.testing.assert_allclose(lens.deflection_arcsec(X, Y), (sign * alpha_x, alpha_y), atol=1e-10)
    # and what is written for the sum is the same lens
    names, kwargs = lens.to_lenstronomy(x_axis=x_axis)
    assert len(names) == (4 if first else 3)
    np.testing.assert_allclose(Lenstronomy(names).alpha(sign * X, Y, kwargs), (alpha_x, alpha_y), atol=1e-10)


@pytest.mark.parametrize(
    ("names", "kwargs", "error", "message"),
    [
        (
            ["MULTIPOLE"],
            [{"m": 5, "a_m": 0.1, "phi_m": 0}],
            ValueError,
            "m of MULTIPOLE must be among 1, 3, 4; got 5",
        ),
        (
            ["EPL_MULTIPOLE_M3M4"],
            [{"theta_E": 1.0, "e1": 0.1, "e2": 0.1}],
            ValueError,
            "needs the parameter 'a3_a'",
        ),
        (["SIF"], [{"theta_E": 1.0}], ValueError, "names must be among SIS, .*; got 'SIF'"),
        (["SIS"], [], ValueError, "names and kwargs must have one length; got 1 and 0"),
        (["SIE"], [{"theta_E": 1.0, "e1": 0.1}], ValueError, "SIE needs the parameter 'e2'"),
        (["SIS"], [{"theta_E": 1.0, "e1": 0.1}], ValueError, "SIS has no parameter 'e1'"),
        (["SIE"], [{"theta_E": 1.0, "e1": 0.8, "e2": 0.7}], ValueError, "a length below 1; got 0.8 and 0.7"),
        (["SIS"], [{"theta_E": "1"}], TypeError, "theta_E of SIS must be a real number"),
        (["SIS"], [{"theta_E": -1.0}], ValueError, "theta_E must be at least 0"),
        ("SIS", {"theta_E": 1.0}, TypeError, "must be lists"),
    ],
)
def test_bad_lenstronomy_lists(names, kwargs, error, message):
    with pytest.raises(error, match=message):
        LensModel.from_lenstronomy(names, kwargs)


def test_x_axis_is_checked():
    with pytest.raises(ValueError, match='x_axis must be "west"'):
        LENS.to_lenstronomy(x_axis="left")


def test_coolest_template_keys():
    template = LENS.to_coolest(z_lens=0.5)
    assert template["standard"] == "COOLEST"
    galaxy, field = template["lensing_entities"]
    assert (galaxy["type"], galaxy["redshift"], field["type"]) == ("Galaxy", 0.5, "MassField")
    values = {k: v["point_estimate"]["value"] for k, v in galaxy["mass_model"][0]["parameters"].items()}
    assert galaxy["mass_model"][0]["type"] == "SIE"
    # counter-clockwise from north instead of from +x
    assert values == pytest.approx(
        {"theta_E": 0.77, "q": 0.85, "phi": -42, "center_x": 0.05, "center_y": 0.02}
    )
    shear = {k: v["point_estimate"]["value"] for k, v in field["mass_model"][0]["parameters"].items()}
    assert shear["gamma_ext"] == pytest.approx(np.hypot(0.029, 0.019))
    assert shear["phi_ext"] == pytest.approx(np.degrees(np.arctan2(0.019, 0.029) / 2) - 90)


@pytest.mark.parametrize("phi", [-170.0, -90.0, 0.0, 5.0, 90.0, 180.0, 270.0])
def test_coolest_angles_stay_in_range(phi):
    lens = SIE(theta_E=1 * A, q=0.5, phi=phi * u.deg)
    template = lens.to_coolest()
    found = template["lensing_entities"][0]["mass_model"][0]["parameters"]["phi"]["point_estimate"]["value"]
    assert -90 < found <= 90
    twin = LensModel.from_coolest(template)
    np.testing.assert_allclose(twin.deflection_arcsec(X, Y), lens.deflection_arcsec(X, Y), atol=1e-12)


def test_against_coolest_package():
    """The package's own profiles bend light the same way, with the parameters of the template."""
    mass = pytest.importorskip("coolest.api.profiles.mass")
    lens = EPL(theta_E=0.9 * A, gamma=1.9, q=0.7, phi=25 * u.deg, x=0.1 * A) + LENS.components[1]
    bent = np.zeros((2, X.size))
    for entity in lens.to_coolest()["lensing_entities"]:
        for profile in entity["mass_model"]:
            values = {k: v["point_estimate"]["value"] for k, v in profile["parameters"].items()}
            bent += getattr(mass, profile["type"])().deflection(X, Y, **values)
    np.testing.assert_allclose(bent, lens.deflection_arcsec(X, Y), atol=1e-12)


def test_coolest_package_reads_the_template(tmp_path):
    """Completed with an observation and an instrument, the template loads, and comes back the same."""
    json_module = pytest.importorskip("coolest.template.json")
    image = {"field_of_view_x": [-3, 3], "field_of_view_y": [-3, 3], "num_pix_x": 60, "num_pix_y": 60}
    template = LENS.to_coolest(z_lens=0.5) | {
        "coordinates_origin": {"ra": "00h00m00s", "dec": "+00d00m00s"},
        "observation": {"pixels": image | {"fits_file": {"path": None}}, "noise": {"type": None}},
        "instrument": {"pixel_size": 0.1, "psf": {"type": None}},
    }
    path = tmp_path / "lens.json"
    path.write_text(json.dumps(template))
    loaded = json_module.JSONSerializer(str(tmp_path / "lens"), check_external_files=False).load(
        skip_jsonpickle=True, verbose=False
    )
    profile = loaded.lensing_entities[0].mass_model[0]
    assert profile.parameters["theta_E"].point_estimate.value == 0.77
    copy = json_module.JSONSerializer(str(tmp_path / "copy"), obj=loaded, check_external_files=False)
    copy.dump_simple()
    for name in ("lens", "copy"):
        twin = LensModel.read(tmp_path / f"{name}.json")
        np.testing.assert_allclose(twin.deflection_arcsec(X, Y), LENS.deflection_arcsec(X, Y), atol=1e-12)
        assert LensModel.from_coolest(tmp_path / f"{name}.json") == twin


def test_coolest_package_loads_the_bare_template(tmp_path):
    json_module = pytest.importorskip("coolest.template.json")
    (tmp_path / "bare.json").write_text(json.dumps(LENS.to_coolest(z_lens=0.5)))
    loader = json_module.JSONSerializer(str(tmp_path / "bare"), check_external_files=False)
    loaded = loader.load(skip_jsonpickle=True, verbose=False)
    assert loaded.lensing_entities[0].mass_model[0].parameters["q"].point_estimate.value == 0.85


def _entity(kind="SIE", redshift=0.5, **values):
    parameters = {k: {"point_estimate": {"value": v}} for k, v in values.items()}
    return {"type": "Galaxy", "redshift": redshift, "mass_model": [{"type": kind, "parameters": parameters}]}


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([_entity("NFW", rho_c=1)], "COOLEST profiles must be among SIE, PEMD, ExternalShear; got 'NFW'"),
        ([_entity(theta_E=1.0, q=None)], "the COOLEST profile SIE has no point estimate of q"),
        ([{"type": "Galaxy", "mass_model": []}], "no lensing entity of the COOLEST template has a mass"),
        ([_entity(), _entity(redshift=1.0)], r"one lens plane; got redshifts \[0.5, 1.0\]"),
        ([3], 'a lensing entity must have a list "mass_model"'),
        ([{"mass_model": {"a": 1}}], 'a lensing entity must have a list "mass_model"'),
        ([{"mass_model": [None]}], "must be among SIE, PEMD, ExternalShear; got None"),
        ([_entity(redshift=[0.5], theta_E=1.0)], "redshift of a lensing entity must be a number"),
        ([_entity(theta_E=[1.0])], "theta_E of SIE must be a number"),
        ([_entity(theta_E=True)], "theta_E of SIE must be a number"),
        ("none", 'a COOLEST template has "standard": "COOLEST" and a list'),
    ],
)
def test_bad_coolest_templates(entities, message):
    with pytest.raises(ValueError, match=message):
        LensModel.from_coolest({"standard": "COOLEST", "lensing_entities": entities})


def test_coolest_shear_has_its_origin_at_zero():
    with pytest.raises(ValueError, match=r"COOLEST's ExternalShear has its centre at \(0, 0\)"):
        ExternalShear(gamma1=0.1, gamma2=0, x=0.1 * A).to_coolest()


@pytest.mark.parametrize("slope", [1.6, 2.0, 2.3])
def test_pyautolens_convergence(slope):
    """kappa = (3 - slope) / (1 + q) (einstein_radius / sqrt(x'^2 + y'^2 / q^2))^(slope - 1)."""
    q, phi, radius = 0.6, 0.4, 1.3
    e = (1 - q) / (1 + q)
    lens = LensModel.from_pyautolens(
        einstein_radius=radius * A,
        ell_comps=(e * np.sin(2 * phi), e * np.cos(2 * phi)),
        centre=(0.2, -0.1) * A,
        slope=slope,
    )
    assert type(lens) is (SIE if slope == 2 else EPL)
    x, y = X + 0.1, Y - 0.2
    major, minor = np.cos(phi) * x + np.sin(phi) * y, np.cos(phi) * y - np.sin(phi) * x
    kappa = (3 - slope) / (1 + q) * (radius / np.hypot(major, minor / q)) ** (slope - 1)
    np.testing.assert_allclose(lens.convergence(X * A, Y * A).value, kappa, rtol=1e-10)


def test_pyautolens_shear_and_checks():
    lens = LensModel.from_pyautolens(einstein_radius=1 * A, gamma_1=-0.1, gamma_2=0.02)
    assert lens == SIE(theta_E=1 * A, q=1) + ExternalShear(gamma1=-0.1, gamma2=0.02)
    with pytest.raises(TypeError, match="einstein_radius must be a Quantity"):
        LensModel.from_pyautolens(einstein_radius=1)
    with pytest.raises(TypeError, match="centre must be a Quantity"):
        LensModel.from_pyautolens(einstein_radius=1 * A, centre=(0, 0))
    with pytest.raises(ValueError, match="ell_comps must hold two values"):
        LensModel.from_pyautolens(einstein_radius=1 * A, ell_comps=(0, 0, 0))
    with pytest.raises(ValueError, match=r"slope must lie in \(1, 3\); got 3"):
        LensModel.from_pyautolens(einstein_radius=1 * A, slope=3)


def test_file_round_trip(tmp_path, lens):
    path = tmp_path / "lens.json"
    lens.write(path)
    assert LensModel.read(path) == lens
    assert repr(LensModel.read(str(path))) == repr(lens)


def test_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "lens.json"
    LENS.write(path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        SIS(theta_E=1 * A).write(path)
    assert LensModel.read(path) == LENS
    SIS(theta_E=1 * A).write(path, overwrite=True)
    assert SIS.read(path) == SIS(theta_E=1 * A)
    assert [p.name for p in tmp_path.iterdir()] == ["lens.json"]


def test_file_by_hand():
    """Defaults may be left out, any angular unit will do."""
    entry = {"type": "SIE", "theta_E": "770 mas", "q": 0.8, "phi": "0.5 rad"}
    lens = LensModel.from_dict({"format": "lenssuper lens", "version": 1, "components": [entry]})
    assert lens == SIE(theta_E=0.77 * A, q=0.8, phi=0.5 * u.rad)


def test_asking_one_class_for_another(tmp_path):
    with pytest.raises(ValueError, match="expected a lens of type SIS; found SIE"):
        SIS.from_dict(LENS.to_dict())


def _described(**entry):
    return {"format": "lenssuper lens", "version": 1, "components": [entry]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "other"}, 'a lens must be a dictionary with "format"'),
        ([1], 'a lens must be a dictionary with "format"'),
        (_described() | {"version": 2}, "the lens has format version 2; known is 1: update lenssuper"),
        (_described() | {"components": []}, 'the lens must have a list "components"'),
        (_described(type="SIF"), 'each component must have a "type" among SIS, .*SIF'),
        (_described(type="SIS"), "component SIS: .*theta_E"),
        (
            _described(type="SIS", theta_E=1.0),
            'theta_E must have an angular unit, e.g. "1.2 arcsec"; got 1.0',
        ),
        (
            _described(type="SIS", theta_E="1.0"),
            'component SIS: theta_E must have an angular unit, e.g. "1.2 arcsec"; got 1.0',
        ),
        (
            _described(type="SIS", theta_E="one arcsec"),
            "theta_E must read like \"1.2 arcsec\"; got 'one arcsec'",
        ),
        (_described(type="SIS", theta_E="1 arcsex"), "theta_E must read like \"1.2 arcsec\"; got '1 arcsex'"),
        (_described(type="SIS", thetaE="1 arcsec"), "component SIS: .*thetaE"),
    ],
)
def test_bad_dictionaries(content, message):
    with pytest.raises(FileFormatError, match=message):
        LensModel.from_dict(content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "lens.json cannot be read as a JSON file"),
        ("[]", 'lens.json has neither "format": "lenssuper lens" nor "standard": "COOLEST"'),
        ("{}", "lens.json has neither"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "lens.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        LensModel.read(path)
