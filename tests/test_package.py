"""The package as a whole: what importing it costs, who imports whom, and what it says about itself."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

import lenssuper
from lenssuper._utils.built import check_built

PACKAGE = Path(lenssuper.__file__).parent

# Top to bottom: a file imports from its own room and from those above it, wherever the import stands,
# inside a function and under TYPE_CHECKING as well.
ORDER = [
    "exceptions",
    "_utils",
    "observation",
    "lens",
    "plotting",
    "operators",
    "forward",
    "light",
    "preparation",
    "networks",
    "solvers",
    "training",
    "simulate",
    "datasets",
    "superres",
    "lensfit",
    "substructure",
    "catalog",
    "cli",
    "__main__",
]
LEVEL = {room: level for level, room in enumerate(ORDER)}

# Rooms that may not use all that is above them, by the beginning of what they may not import.
FORBIDDEN = {
    "solvers": (
        "observation",
        "lens",
        "light.arguments",
        "light.fit",
        "light.fitter",
        "light.foreground",
        "light.learned",
        "light.profiles",
        "light.search",
        "light.table",
    ),
    "networks": tuple(room for room in ORDER if room not in ("exceptions", "_utils")),
    "operators": ("plotting",),
    "forward": ("plotting",),
    "simulate": ("solvers", "networks", "training", "plotting"),
    "plotting": (),
}

# Files that hold nothing but numbers: no units, no tables, no FITS.
NUMBERS_ONLY = re.compile(r"(lens/(profiles|halos)|light/sersic/\w+|(solvers|networks)/\w+)\.py")


def run_python(code: str) -> str:
    """Run ``code`` in an interpreter of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(statement: str) -> set[str]:
    """Return the top-level packages that are loaded once ``statement`` has run."""
    names = run_python(f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    return {name.partition(".")[0] for name in json.loads(names)}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the room of a dotted module name: ``lenssuper.lens.models`` is in ``lens``."""
    return module.split(".")[1]


def imports_of(tree: ast.Module, module: str, *, is_package: bool):
    """Yield ``(line, imported module of this package)`` for every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            names = [_module_of(base, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            if name == "lenssuper" or name.startswith("lenssuper."):
                yield node.lineno, name


def _module_of(base: str, name: str) -> str:
    """Return the module that ``from base import name`` loads last."""
    if base == "lenssuper" and name in lenssuper._MODULE_OF:
        return f"lenssuper.{lenssuper._MODULE_OF[name]}"
    return f"{base}.{name}" if f"{base}.{name}" in MODULES or base == "lenssuper" else base


def layer_errors(tree: ast.Module, module: str, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import in ``tree`` that the order of the rooms forbids."""
    room = room_of(module)
    if room not in LEVEL:
        return [f"{module}: the room {room!r} is not in the table of this test; give it its place there"]
    errors = []
    for line, name in imports_of(tree, module, is_package=is_package):
        where = f"{module}, line {line}: imports {name}"
        if name == "lenssuper":
            errors.append(f"{where}, which hides what it uses; import from the room itself")
            continue
        other = room_of(name)
        if other == room or other in ("_version", "__version__"):
            continue
        if other not in LEVEL:
            errors.append(f"{where}, and the room {other!r} is not in the table of this test")
        elif LEVEL[other] >= LEVEL[room]:
            errors.append(f"{where}, but {other!r} is not above {room!r}")
        elif any(_within(name, part) for part in FORBIDDEN.get(room, ())):
            errors.append(f"{where}, but {room!r} knows nothing of {name.partition('.')[2]!r}")
    return errors


def _within(module: str, part: str) -> bool:
    return f"{module}.".startswith(f"lenssuper.{part}.")


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the circles of imports: the groups of modules each of which leads back to itself."""
    graph = sparse.csr_array(
        [[other in arrows[module] for other in arrows] for module in arrows], dtype=np.int8
    )
    _, labels = connected_components(graph, directed=True, connection="strong")
    groups = {}
    for module, label in zip(arrows, labels, strict=True):
        groups.setdefault(label, []).append(module)
    return [group for group in groups.values() if len(group) > 1]


SOURCES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem not in ("__init__", "_version")
)
MODULES = {module_name(path) for path in SOURCES}


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file of the package."""
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_only_from_above(path):
    errors = layer_errors(tree_of(path), module_name(path), is_package=path.name == "__init__.py")
    assert not errors, "\n".join(errors)


def test_no_circle_of_imports():
    arrows = {}
    for path in SOURCES:
        module = module_name(path)
        found = {name for _, name in imports_of(tree_of(path), module, is_package=path.name == "__init__.py")}
        # a package's own file only gathers what its files offer
        arrows[module] = set() if path.name == "__init__.py" else (found & MODULES) - {module}
    assert circles(arrows) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_few_rooms_and_loose_files():
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"_version.py"}
    assert loose == {"__init__.py", "__main__.py", "exceptions.py"}
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms == set(ORDER) - {"exceptions", "__main__"}
    assert len(rooms) <= 18


def test_no_file_is_long():
    long = {path.name: count for path in SOURCES if (count := len(path.read_text().splitlines())) > 450}
    assert not long


@cache
def functions() -> list[tuple[str, int, int]]:
    """Return ``(name, number of arguments, lines of the body)`` of every function of the package."""
    found = []
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            arguments = len([arg for arg in given if arg not in ("self", "cls")])
            found.append((f"{path.stem}.{node.name}", arguments, lines))
    return found


def test_functions_fit_a_screen():
    long = [name for name, _, lines in functions() if lines > 60]
    assert len(long) <= 1, long


def test_few_functions_with_many_arguments():
    many = [name for name, arguments, _ in functions() if arguments > 8]
    assert len(many) <= 30, many


def test_a_class_name_occurs_once():
    names = Counter(
        node.name for path in SOURCES for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_numerics_know_nothing_of_astropy(path):
    if not NUMBERS_ONLY.fullmatch(path.relative_to(PACKAGE).as_posix()):
        return
    for node in ast.walk(tree_of(path)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not any(name.split(".")[0] == "astropy" for name in names), (
            f"line {node.lineno} imports astropy"
        )


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("lenssuper.lens.models", "from ..operators import base", "'operators' is not above 'lens'"),
        ("lenssuper.lens.models", "from .. import forward", "'forward' is not above 'lens'"),
        ("lenssuper.observation.grid", "from lenssuper.lens import SIE", "'lens' is not above 'observation'"),
        ("lenssuper.observation.grid", "from lenssuper import SIE", "'lens' is not above 'observation'"),
        ("lenssuper.lens.base", "def f():\n    import lenssuper.plotting", "'plotting' is not above 'lens'"),
        (
            "lenssuper.observation.grid",
            "if TYPE_CHECKING:\n    from lenssuper.lens import SIE",
            "'lens' is not above 'observation'",
        ),
        (
            "lenssuper.simulate.mock",
            "from lenssuper.solvers import base",
            "'simulate' knows nothing of 'solvers.base'",
        ),
        ("lenssuper.networks.unet", "from lenssuper.lens import SIE", "'networks' knows nothing of 'lens'"),
        ("lenssuper.solvers.gaussian", "from lenssuper.lens import SIE", "'solvers' knows nothing of 'lens'"),
        ("lenssuper.solvers.sersic", "from lenssuper.light import fit", "knows nothing of 'light.fit'"),
        ("lenssuper.lens.base", "import lenssuper", "hides what it uses"),
        ("lenssuper.misc", "", "'misc' is not in the table"),
    ],
)
def test_layer_check_sees_a_wrong_import(module, source, complaint):
    (error,) = layer_errors(ast.parse(source), module)
    assert complaint in error
    assert module in error


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lenssuper.lens.models", "from .base import LensModel\nfrom ..observation.grid import PixelGrid"),
        ("lenssuper.superres.superresolver", "from lenssuper import SIE, PixelGrid, __version__"),
        ("lenssuper.superres.result", "def plot():\n    from lenssuper.plotting import show"),
        ("lenssuper.solvers.sersic", "from lenssuper.light.sersic.varpro import fit"),
        ("lenssuper.observation.grid", "import numpy as np\nfrom astropy import units"),
    ],
)
def test_layer_check_lets_a_right_import_pass(module, source):
    assert layer_errors(ast.parse(source), module) == []


def test_import_is_light():
    heavy = {
        "torch",
        "matplotlib",
        "scipy",
        "lenstronomy",
        "photutils",
        "sklearn",
        "shapely",
        "coolest",
    }
    assert loaded_after("import lenssuper; lenssuper.__version__; dir(lenssuper)") & heavy == set()


def test_source_that_was_not_built_says_what_to_do(tmp_path):
    copy = tmp_path / "lenssuper"
    shutil.copytree(PACKAGE / "_utils", copy / "_utils")
    shutil.copy(PACKAGE / "__init__.py", copy)
    with pytest.raises(ImportError, match=r'run "pip install -e \."'):
        check_built(copy)
    run = subprocess.run(
        [sys.executable, "-c", "import lenssuper"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr.splitlines()[-1].startswith(
        f"ImportError: the compiled kernels of lenssuper are missing in {copy}"
    )


def test_describing_a_lens_needs_neither_torch_nor_matplotlib():
    loaded = loaded_after("from lenssuper import SIE, ExternalShear, PixelGrid")
    assert "astropy" in loaded
    assert loaded & {"torch", "matplotlib", "lenstronomy"} == set()


def test_learned_answers_losses_and_data_need_no_trainer():
    loaded = loaded_after("import lenssuper.light.learned.additions, lenssuper.training")
    assert "torch" in loaded
    assert loaded & {"gymnasium", "stable_baselines3", "lightning"} == set()


def test_public_names_and_their_modules_agree():
    assert sorted(lenssuper._MODULE_OF) == sorted(lenssuper.__all__)
    assert set(lenssuper.__all__) <= set(dir(lenssuper))
    assert len(set(lenssuper.__all__)) == len(lenssuper.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    typed = {
        alias.asname or alias.name: node.module.removeprefix("lenssuper.")
        for node in block.body
        for alias in node.names
    }
    assert typed == lenssuper._MODULE_OF


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'SuperResolution3D'"):
        lenssuper.SuperResolution3D  # noqa: B018


def test_version_is_a_version():
    assert re.match(r"\d+[.+]", lenssuper.__version__)


@pytest.mark.parametrize("name", sorted(name for name in lenssuper._MODULE_OF if not name.startswith("__")))
def test_public_name_is_documented(name):
    thing = getattr(lenssuper, name)
    assert thing.__name__ == name
    doc = inspect.getdoc(thing) or ""
    assert doc.split("\n\n")[0].strip(), f"{name} has no summary"
    if inspect.isclass(thing) and inspect.isabstract(thing):
        return
    parameters = [
        parameter.name
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and not parameter.name.startswith("_")
    ]
    if not parameters:
        return
    # The fields of a dataclass are its parameters, and may be described as its attributes.
    heading = "(?:Parameters|Attributes)" if dataclasses.is_dataclass(thing) else "Parameters"
    section = re.search(
        rf"^{heading}\n-{{10}}\n(.*?)(?=^\w[\w ]*\n-{{3,}}\n|\Z)", doc, flags=re.DOTALL | re.MULTILINE
    )
    assert section, f"{name} takes parameters and its docstring has no Parameters section"
    described = {
        word
        for line in re.findall(r"^(\w[\w, *]*)(?: :.*)?$", section[1], flags=re.MULTILINE)
        for word in re.split(r"[,\s*]+", line)
    }
    assert set(parameters) <= described, f"{name} does not describe {sorted(set(parameters) - described)}"


@pytest.mark.parametrize("name", sorted(lenssuper._MODULE_OF))
def test_public_methods_have_docstrings(name):
    thing = getattr(lenssuper, name)
    if not inspect.isclass(thing):
        return
    bare = [
        member
        for member, value in vars(thing).items()
        if not member.startswith("_")
        and isinstance(value, property | classmethod | staticmethod) | inspect.isfunction(value)
        and not inspect.getdoc(getattr(thing, member))
    ]
    assert not bare, f"{name} has public members without a docstring: {bare}"
