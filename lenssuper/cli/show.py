"""``lenssuper show``: what a file of this package holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lenssuper.cli import _common as common
from lenssuper.cli import _inputs as inputs
from lenssuper.cli import _report as report

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(
        commands,
        "show",
        _show,
        "summarise files: observations, lenses, results, fits, networks, sets, tables",
    )
    inputs.add_input(
        parser,
        "files",
        check=inputs.present,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a file or directory",
    )
    report.add_json(parser)


def _show(options: argparse.Namespace) -> None:
    for path in options.files:
        kind, text, numbers = _described(path)
        if options.json:
            report.say_json({"file": str(path), "kind": kind, **numbers})
        else:
            report.say(options, f"{path}: {kind}\n{text}")


def _described(path: Path) -> tuple[str, str, dict[str, Any]]:
    """Return what is in a file: its kind, a summary, and its numbers."""
    if path.is_dir():
        return _set(path)
    by_ending = {".json": _json, ".safetensors": _network, ".ecsv": _table, ".csv": _table}
    if path.suffix in by_ending:
        return by_ending[path.suffix](path)
    inputs.fits_file(path, None)
    return _fits(path)


def _fits(path):
    from lenssuper.observation.opening import open_fits

    with open_fits(path) as hdus:
        header = hdus[0].header
    if "LSRESULT" in header:
        from lenssuper.superres.result import SuperResolution

        return _result("result of a super-resolution", SuperResolution.read(path))
    if "LSSERSIC" in header:
        from lenssuper.light import SersicFit

        return _result("fit of Sersics", SersicFit.read(path))
    return _observation(path)


def _result(kind, result):
    return kind, result.summary(), report.numbers_of(result)


def _observation(path):
    from lenssuper._utils.text import as_text
    from lenssuper.observation import read_observation

    seen = read_observation(path)
    ny, nx = seen.shape
    used = ~seen.mask
    peak = float((seen.data * seen.weights**0.5)[used].max()) if used.any() else float("nan")
    numbers = {
        "shape": list(seen.shape),
        "pixel_scale_arcsec": seen.grid.side_arcsec,
        "unit": str(seen.unit),
        "pixels_used": int(used.sum()),
        "peak_snr": peak,
        "psf_fwhm_arcsec": None if seen.psf is None else seen.psf_fwhm_arcsec,
        "noise_correlation": seen.noise_correlation,
        "light_errors": 0 if seen.light_errors is None else len(seen.light_errors),
        "center": None if seen.grid.reference is None else seen.grid.reference.to_string("hmsdms"),
    }
    rows = [
        ("pixels", f'{ny} x {nx} of {numbers["pixel_scale_arcsec"]:.4g}", {numbers["pixels_used"]} used'),
        ("unit", numbers["unit"] or "none"),
        ("peak S/N", f"{peak:.3g}"),
        ("PSF", "none" if seen.psf is None else f'{numbers["psf_fwhm_arcsec"]:.3g}" wide (FWHM)'),
        ("noise", f"{numbers['noise_correlation']:.2f} times the variance for what is larger than pixels"),
        ("where", numbers["center"] or "not known on the sky"),
    ]
    if seen.light_errors is not None:
        rows.append(("in front", f"{len(seen.light_errors)} images of errors of light that was subtracted"))
    return "observation", as_text(rows, 10), numbers


def _json(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and "fit" in content:
        from lenssuper.lensfit import LensFit

        return _result("fit of a lens", LensFit.read(path))
    from lenssuper.lens import LensModel
    from lenssuper.superres.summary import profile_in_words

    lens = LensModel.read(path)
    words = "\n".join(profile_in_words(part) for part in lens.components)
    return "lens model", words, {"lens": lens.to_dict()["components"]}


def _network(path):
    from lenssuper._utils.text import as_text
    from lenssuper._utils.weightfile import read_weights

    tensors, known = read_weights(path)
    numbers = {**known, "parameters": sum(tensor.numel() for tensor in tensors.values())}
    rows = [(name, str(value)) for name, value in numbers.items() if not isinstance(value, dict)]
    rows += [(name, str(value)) for name, value in known.get("card", {}).items()]
    return "weights of a network", as_text(rows, 14), numbers


def _table(path):
    from astropy.table import QTable

    table = QTable.read(path)
    text = "\n".join(table.pformat(max_lines=40, max_width=150))
    numbers = {"rows": [dict(zip(row.colnames, row, strict=True)) for row in table]}
    return f"table of {len(table)} rows", text, numbers


def _set(path):
    from lenssuper.datasets import read_dataset

    parts = {}
    for part in ("train", "validation", "test", None):
        try:
            parts[part or "all"] = len(read_dataset(path, part))
        except (FileNotFoundError, ValueError):
            continue
    if not parts:
        raise FileNotFoundError(f"{path} is a directory without a set of lenses")
    return "set of lenses", "\n".join(f"{number} {part}" for part, number in parts.items()), {"lenses": parts}
