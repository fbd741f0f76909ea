"""The compiled parts; all else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Products and sums are not joined, so that results do not depend on the processor. Nobody asks whether an
# operation was inexact or invalid, so that both sides of a choice, and roots, may be computed for many
# numbers at once.
EXACT = ["-O3", "-std=c99", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]


def extension(source: Path) -> Extension:
    """Return the module of a C file, which lies where it is used; one build serves all Pythons."""
    return Extension(
        ".".join(source.with_suffix("").parts),
        [str(source)],
        depends=[str(header) for header in Path("lenssuper").rglob("*.h")],
        define_macros=[("Py_LIMITED_API", "0x030B0000")],
        py_limited_api=True,
        extra_compile_args=[] if sys.platform == "win32" else EXACT,
    )


class BuildBesideSources(build_ext):
    """Leave the modules beside their sources as well: Python may be started in the root of a clone."""

    def run(self):
        super().run()
        self.copy_extensions_to_source()


setup(
    ext_modules=[extension(source) for source in sorted(Path("lenssuper").rglob("*.c"))],
    cmdclass={"build_ext": BuildBesideSources},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
