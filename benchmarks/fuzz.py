"""Damaged files: every reader refuses them in words, or says that their numbers are others.

    python benchmarks/fuzz.py --n 1000 --kinds observation lens coolest result weights set

Of each kind of file ``n`` mutants are read: bytes flipped, cut, doubled or replaced, values of headers and of
JSON exchanged for such as no program expects. Counted is how each ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import shutil
import signal
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

# refused: an error that names the file; same: the numbers are those that were written; warned: others, with a
# warning; unknowable: others, of a file without checksums.
GOOD = ("refused", "same", "warned", "unknowable")
SECONDS, MEMORY = 60, 2 * 2**30
ODD = [
    None,
    True,
    "",
    "x",
    -1,
    0,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
    [],
    {},
    [[1]],
    "1e9 kg",
    745 * 2**30,
]
CARDS = [
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "BITPIX",
    "PCOUNT",
    "GCOUNT",
    "BSCALE",
    "BZERO",
    "BLANK",
    "EXTNAME",
    "BUNIT",
]
CARDS += [
    "XTENSION",
    "CTYPE1",
    "CRPIX1",
    "CRVAL2",
    "CDELT1",
    "PC1_1",
    "CUNIT1",
    "LSNEXT",
    "LSGRID",
    "PSFOVERS",
    "TFORM1",
]


class Kind:
    """A kind of file: how one is written, and what numbers are read of it."""

    def __init__(self, name, path, read, *, summed, mutable=None):
        self.name, self.path, self.read, self.summed = name, path, read, summed
        self.mutable = path if mutable is None else mutable  # the file that is damaged
        self.original, self.expected = self.mutable.read_bytes(), None


def kinds(directory: Path) -> dict[str, Kind]:
    """Write one good file of each kind."""
    from lenssuper import SIE, LensModel, Observation, SuperResolution, SuperResolver
    from lenssuper.catalog import Entry
    from lenssuper.catalog.stages import Read, Work
    from lenssuper.datasets import read_dataset, write_dataset
    from lenssuper.networks import Unrolled
    from lenssuper.networks.weights import read_network, write_network
    from lenssuper.observation import read_observation, write_observation
    from lenssuper.simulate import random_mock
    from lenssuper.solvers import Gaussian, GradientPrior

    mock = random_mock(2, shape=(16, 18))
    observation = Observation.from_nddata(mock.observation, grid=mock.grid)
    write_observation(observation, directory / "observation.fits")
    (mock.lens + SIE(theta_E=0.1 * u.arcsec, q=0.7, phi=10 * u.deg)).write(directory / "lens.json")
    _write_coolest(directory, observation, SIE(theta_E=0.7 * u.arcsec, q=0.8, phi=20 * u.deg))
    solver = Gaussian(GradientPrior(), n_draws=2)
    SuperResolver(mock.lens, 1, solver=solver, rng=1)(observation).write(directory / "result.fits")
    write_network(directory / "weights.safetensors", Unrolled(n_stages=1, widths=(2, 4)), {})
    write_dataset(directory / "set", 2, layout="hdf5", split=None, shape=(16, 16), seed=1, progress=False)

    def lens(path):
        return np.array(list(LensModel.read(path).rays_arcsec(0.3, 0.4)))

    def coolest(path):
        entry = Entry("x", str(path), {})
        found = Read()(Work(entry, entry.lens_model(), np.random.default_rng(0))).observation
        return np.concatenate([_numbers(found), lens(path)])

    def result(path):
        found = SuperResolution.read(path)
        return np.concatenate(
            [_numbers(found.observation), *map(np.ravel, (found.image.data, found.source.data))]
        )

    def weights(path):
        return np.concatenate([t.numpy().ravel() for t in read_network(path).state_dict().values()])

    def dataset(path):
        found = read_dataset(path)
        items = [found[i] for i in range(len(found))]
        return np.concatenate(
            [np.concatenate([_numbers(item.observation), np.ravel(item.truth.source)]) for item in items]
        )

    made = {
        "observation": Kind(
            "observation",
            directory / "observation.fits",
            lambda p: _numbers(read_observation(p)),
            summed=True,
        ),
        "lens": Kind("lens", directory / "lens.json", lens, summed=False),
        "coolest": Kind("coolest", directory / "template.json", coolest, summed=False),
        "pixels": Kind(
            "pixels", directory / "template.json", coolest, summed=False, mutable=directory / "image.fits"
        ),
        "result": Kind("result", directory / "result.fits", result, summed=True),
        "weights": Kind("weights", directory / "weights.safetensors", weights, summed=True),
        "set": Kind("set", directory / "set" / "lenses.h5", dataset, summed=True),
    }
    for kind in made.values():
        kind.expected = kind.read(kind.path)
    return made


def _numbers(observation):
    parts = (observation.data, observation.weights, observation.psf, observation.grid.vertices_arcsec())
    return np.concatenate([np.ravel(part) for part in parts])


def _write_coolest(directory, observation, lens):
    ny, nx = observation.shape
    half = [nx * 0.05, ny * 0.05]

    def grid(name, values, extent=half):
        fits.writeto(directory / name, values)
        fields = {f"field_of_view_{axis}": [-edge, edge] for axis, edge in zip("xy", extent, strict=True)}
        return {"fits_file": {"path": name}, **fields}

    psf, extent = observation.psf, [n * 0.05 for n in observation.psf.shape]
    template = lens.to_coolest(z_lens=0.5)
    template["observation"] = {
        "pixels": grid("image.fits", observation.data),
        "noise": {"type": "NoiseMap", "noise_map": grid("noise.fits", observation.sigma)},
    }
    psf = {"type": "PixelatedPSF", "pixels": grid("psf.fits", psf, extent)}
    template["instrument"] = {"pixel_size": 0.1, "psf": psf}
    (directory / "template.json").write_text(json.dumps(template))


def mutant(kind: Kind, rng: random.Random) -> bytes:
    """Return a damaged copy of the bytes of a file."""
    original = kind.original
    if kind.mutable.suffix == ".json" and rng.random() < 0.7:
        return _other_value(json.loads(original), rng)
    if kind.mutable.suffix == ".fits" and rng.random() < 0.4:
        return _other_card(original, rng)
    content = bytearray(original)
    # headers are where files break: half of the damage is done in the first part
    reach = len(content) if rng.random() < 0.5 else min(len(content), 6000)
    at, length = rng.randrange(reach), rng.choice([1, 2, 8, 80, 2880])
    what = rng.randrange(6)
    if what == 0:
        for _ in range(rng.choice([1, 1, 2, 8])):
            content[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif what == 1:
        content[at : at + length] = rng.randbytes(min(length, len(content) - at))
    elif what == 2:
        del content[at:]
    elif what == 3:
        del content[at : at + length]
    elif what == 4:
        content[at:at] = content[at : at + length]
    else:
        content[at : at + length] = bytes(min(length, len(content) - at))
    return bytes(content)


def _other_value(content, rng):
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(content)
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.3:
        del node[key]
    else:
        node[key] = rng.choice(ODD)
    return json.dumps(content).encode()


def _other_card(original, rng):
    """The value of a card exchanged, in place: the lengths of all else stay."""
    content = bytearray(original)
    cards = [at for at in range(0, len(content) - 80, 80) if content[at + 8 : at + 10] == b"= "]
    named = [at for at in cards if bytes(content[at : at + 8]).decode("latin1").strip() in CARDS]
    at = rng.choice(named if named and rng.random() < 0.7 else cards)
    value = rng.choice(
        [
            "T",
            "0",
            "-1",
            "1",
            "3",
            "99999",
            "1E400",
            "NAN",
            "'x'",
            "''",
            "'JUNK---TAN'",
            "4294967295",
            "(1,2)",
        ]
    )
    content[at + 10 : at + 80] = value.rjust(20).ljust(70).encode()[:70]
    return bytes(content)


class _Hang(BaseException):
    """Not an Exception, which readers turn into words."""


@contextlib.contextmanager
def _limits():
    """At most so much more memory than now, and so many seconds."""

    def stop(*_):
        raise _Hang

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    former = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcome(kind: Kind, content: bytes) -> tuple[str, str]:
    """Read a mutant, and tell how it ended and with which words."""
    kind.mutable.write_bytes(content)
    try:
        with warnings.catch_warnings(record=True) as caught, _limits():
            warnings.simplefilter("always")
            found = kind.read(kind.path)
    except _Hang:
        return "hang", f"more than {SECONDS} s"
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        if _asked_for_memory(error):
            return "memory", words
        named = kind.mutable.name in words or kind.path.name in words
        plain = isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError)
        return ("refused" if named and plain else "opaque"), words
    finally:
        kind.mutable.write_bytes(kind.original)
    same = found.shape == kind.expected.shape and np.array_equal(found, kind.expected, equal_nan=True)
    if same:
        return "same", ""
    if caught:
        return "warned", str(caught[0].message)
    return ("silent" if kind.summed else "unknowable"), "other numbers"


def _asked_for_memory(error):
    """Whether an error, or one that it came from, is that there is too little memory."""
    while error is not None:
        if isinstance(error, MemoryError) or "Unable to allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def run(names: list[str], n: int, seed: int) -> tuple[dict[str, Counter], list[tuple[str, int, str, str]]]:
    """Return the counts for each kind of file, and the faults: kind, seed, outcome and words."""
    counts, faults = {}, []
    directory = Path(tempfile.mkdtemp())
    try:
        made = kinds(directory)
        for name in names or made:
            counts[name] = Counter()
            for i in range(seed, seed + n):
                found, words = outcome(made[name], mutant(made[name], random.Random(f"{name} {i}")))
                counts[name][found] += 1
                if found not in GOOD:
                    faults.append((name, i, found, words))
    finally:
        shutil.rmtree(directory)
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=1000, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--kinds", nargs="+", default=[], help="by default all")
    options = parser.parse_args()
    counts, faults = run(options.kinds, options.n, options.seed)
    for fault in faults:
        print(*fault)
    for name, found in counts.items():
        print(f"{name:<12}", ", ".join(f"{what} {count}" for what, count in sorted(found.items())))


if __name__ == "__main__":
    main()
