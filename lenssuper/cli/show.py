"""``lenssuper show``: what a file of this package holds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lenssuper.cli import _common as common
from lenssuper.cli import _inputs as inputs
from lenssuper.cli import _report as report
from lenssuper.cli._words import in_one_line

__all__ = ["add"]


def add(commands) -> None:
    """Add this command to the command line."""
    parser = common.new_command(
        commands,
        "show",
        _show,
        "summarise files: observations, lenses, results, fits, networks, sets, tables",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file or directory")
    report.add_json(parser)


def _show(options: argparse.Namespace) -> int:
    failed = False
    for path in options.files:
        try:
            kind, text, numbers = _described(path)
        except Exception as error:
            if options.debug:
                raise
            print(f"lenssuper: error: {in_one_line(error, options)}", file=sys.stderr)
            failed = True
            continue
        if options.json:
            report.say_json({"file": str(path), "kind": kind, **numbers})
        else:
            report.say(options, f"{path}: {kind}\n{text}")
    return int(failed)


def _described(path: Path) -> tuple[str, str, dict[str, Any]]:
    """Return what is in a file: its kind, a summary, and its numbers."""
    if path.is_dir():
        summary = path / "summary.ecsv"  # of the results of a catalogue
        return _table(summary) if summary.is_file() else _set(path)
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
    if "LSTRUTH" in header:
        return _truth(path, header["LSTRUTH"])
    if "LSSUBMAP" in header:
        return _substructure(path, header["LSSUBMAP"])
    return _observation(path)


def _truth(path, layout):
    from lenssuper._utils.text import as_text
    from lenssuper.observation.hdus import read_hdus

    images, info = read_hdus(str(path), "LSTRUTH", layout, "the truth of a simulated lens")
    rows = [*_lens_rows(info["lens"]), ("clumps", info["dark matter"])]
    rows += [(name.lower(), _pixels(image)) for name, image in images.items() if image.ndim == 2]
    numbers = {
        "factor": info["factor"],
        "lens": info["lens"]["components"],
        "dark_matter": info["dark matter"],
    }
    return "truth of a simulated lens", as_text(rows, 10), numbers


def _substructure(path, layout):
    from astropy.table import QTable

    from lenssuper._utils.text import as_text
    from lenssuper.observation.hdus import read_hdus

    what = "a search for substructure"
    images, info = read_hdus(str(path), "LSSUBMAP", layout, what)
    candidates = QTable.read(path, hdu="CANDIDAT")
    rows = [("perturber", info["perturber"]), *_lens_rows(info["lens"])]
    rows += [("verdict", str(info["verdict"]))] if "verdict" in info else []
    rows += [("maps", _pixels(images["SIGNIF"])), ("peaks", str(len(candidates)))]
    text = as_text(rows, 10)
    if len(candidates):
        text += "\n" + "\n".join(candidates.pformat(max_lines=40, max_width=150))
    numbers = {
        "lens": info["lens"]["components"],
        "candidates": _rows(candidates),
        "messages": info["messages"],
    }
    return what, text, numbers


def _lens_rows(lens):
    from lenssuper.lens import LensModel
    from lenssuper.superres.summary import profile_in_words

    parts = LensModel.from_dict(lens).components
    return [("lens" if k == 0 else "", profile_in_words(part)) for k, part in enumerate(parts)]


def _pixels(image):
    return f"{image.shape[0]} x {image.shape[1]} pixels"


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
    if isinstance(content, dict):
        for marks, describe in _BATCH_AND_SETS:
            if marks <= content.keys():
                return describe(content)
    from lenssuper.lens import LensModel
    from lenssuper.superres.summary import profile_in_words

    lens = LensModel.read(path)
    words = "\n".join(profile_in_words(part) for part in lens.components)
    return "lens model", words, {"lens": lens.to_dict()["components"]}


def _dataset(content):
    numbers = {"number": content["n"], "parts": content["splits"], **content["settings"]}
    return "settings of a set of lenses", _as_rows(numbers), numbers


def _settings(content):
    return "settings of the results of a catalogue", _as_rows(content), content


def _record(content):
    """Return what the record of one lens of a catalogue says."""
    rows = {name: content[name] for name in ("name", "status", "reason", "verdict") if content.get(name)}
    rows["warnings"] = len(content.get("warnings", []))
    rows |= {name: f"{seconds:.3g} s" for name, seconds in content.get("elapsed", {}).items()}
    for name, (value, error, unit) in content.get("lens", {}).items():
        rows[name] = f"{value:.6g}{'' if error is None else f' +- {error:.2g}'} {unit}".rstrip()
    return "record of a lens of a catalogue", _as_rows(rows), content


def _as_rows(values):
    from lenssuper._utils.text import as_text

    texts = {name: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for name, v in values.items()}
    return as_text(list(texts.items()), 2 + max(map(len, texts)))


# What a file of JSON holds, by the names in it.
_BATCH_AND_SETS = (
    ({"format", "settings", "splits"}, _dataset),
    ({"factor", "solver", "seed"}, _settings),
    ({"name", "status", "stages"}, _record),
)


def _network(path):
    from lenssuper._utils.text import as_text
    from lenssuper._utils.weightfile import read_arrays

    arrays, known = read_arrays(path)
    numbers = {**known, "parameters": sum(array.size for array in arrays.values())}
    rows = [(name, str(value)) for name, value in numbers.items() if not isinstance(value, dict)]
    rows += [(name, str(value)) for name, value in known.get("card", {}).items()]
    return "weights of a network", as_text(rows, 14), numbers


def _table(path):
    from astropy.table import QTable

    table = QTable.read(path)
    text = "\n".join(table.pformat(max_lines=40, max_width=150))
    numbers = {"rows": _rows(table)}
    return f"table of {len(table)} rows", text, numbers


def _rows(table):
    return [dict(zip(row.colnames, row, strict=True)) for row in table]


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
