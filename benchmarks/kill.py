"""SIGKILL at any time: what is left is whole, the same command ends the work, and nothing goes on running.

    python benchmarks/kill.py --n 20 --commands run batch worker simulate train

Each command is started ``n`` times on small problems and killed after a random time. Afterwards every file
under its final name must be whole, ten seconds later no process of it may be there, and the same command must
end the work. ``worker`` kills one worker of ``batch``, ``batch`` its parent; half of them with dask.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

LEFTOVER = re.compile(r"\.[0-9a-f]{12}\..*")
_SMALL = ["--no-split", "--size", "24", "--quiet"]
GRACE = 10  # seconds after which no process may be left


def make_inputs(directory: Path) -> None:
    """Write three small lenses, their catalogue, and a set for training."""
    from astropy.table import Table

    from lenssuper import Observation, write_observation
    from lenssuper.simulate import random_mock

    names = ["a", "b", "c"]
    for i, name in enumerate(names):
        mock = random_mock(i, shape=(20, 20))
        write_observation(
            Observation.from_nddata(mock.observation, grid=mock.grid), directory / f"{name}.fits"
        )
        mock.lens.write(directory / f"{name}.json")
    table = Table({"file": [f"{name}.fits" for name in names], "lens": [f"{name}.json" for name in names]})
    table.write(directory / "catalogue.ecsv")
    command = [
        "simulate",
        "--output",
        str(directory / "set"),
        "--n",
        "3",
        "--no-split",
        "--size",
        "24",
        "--quiet",
    ]
    subprocess.run(_lenssuper(*command), check=True)


def _lenssuper(*arguments):
    return [sys.executable, "-m", "lenssuper", *arguments]


def command_of(what: str, inputs: Path, output: Path) -> list[str]:
    """Return the command line of one trial; the same again ends the work."""
    if what == "run":
        given = [str(inputs / "a.fits"), "--lens", str(inputs / "a.json"), "--output", str(output / "a.fits")]
        return _lenssuper("run", *given, "--overwrite", "--factor", "1", "--quiet")
    if what in ("batch", "worker"):
        given = [str(inputs / "catalogue.ecsv"), "--output", str(output), "--workers", "2"]
        return _lenssuper("batch", *given, "--factor", "1", "--draws", "2", "--no-pictures", "--quiet")
    if what == "simulate":
        return _lenssuper(
            "simulate", "--output", str(output), "--n", "12", "--no-split", "--size", "24", "--quiet"
        )
    given = [str(inputs / "set"), "--output", str(output / "net.safetensors"), "--steps", "12", "--overwrite"]
    return _lenssuper("train", *given, "--quiet", "--resume")


def unreadable(output: Path) -> list[str]:
    """Files under a final name that their reader refuses."""
    import json

    from astropy.io import fits

    from lenssuper._utils.weightfile import read_weights

    bad = []
    for path in output.rglob("*"):
        if not path.is_file() or LEFTOVER.fullmatch(path.name):
            continue
        try:
            if path.suffix == ".fits":
                with fits.open(path, checksum=True) as hdus:
                    if not all(hdu.verify_datasum() and hdu.verify_checksum() for hdu in hdus):
                        raise ValueError("checksum")
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".safetensors":
                read_weights(path)
        except Exception as error:
            bad.append(f"{path.name}: {error}")
    return bad


def _descendants(process):
    with_it = [process]
    try:
        with_it += process.children(recursive=True)
    except psutil.Error:
        pass
    return {each.pid: each for each in with_it}


def trial(what: str, inputs: Path, seconds: float, rng: random.Random, *, dask: bool) -> str:
    """Start, kill, look, and start again; return how it ended."""
    output = Path(tempfile.mkdtemp(dir=inputs))
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    if not dask:  # a package of that name that cannot be imported is one that is not installed
        (output.parent / "nodask" / "distributed").mkdir(parents=True, exist_ok=True)
        (output.parent / "nodask" / "distributed" / "__init__.py").write_text("raise ImportError\n")
        given = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{output.parent / 'nodask'}{os.pathsep}{given}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    try:
        process = psutil.Popen(command_of(what, inputs, output), **quiet)
        time.sleep(rng.uniform(0.1, 1.0) * seconds)
        ended = process.poll() is not None
        alive = _descendants(process)
        victim = process
        if what == "worker" and len(alive) > 1:
            workers = [each for each in alive.values() if each.pid != process.pid]
            victim = rng.choice(workers)
        if not ended:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                pass
        if what == "worker":
            if process.wait(timeout=300) not in (0, -signal.SIGKILL, 1, 3):
                return f"status {process.returncode}"
        else:
            process.wait(timeout=10)
        _, left = psutil.wait_procs([p for p in alive.values() if p.pid != process.pid], timeout=GRACE)
        if left:
            for each in left:
                each.kill()
            return f"{len(left)} processes left"
        if bad := unreadable(output):
            return f"damaged: {bad[0]}"
        again = subprocess.run(command_of(what, inputs, output), timeout=300, check=False, **quiet)
        if again.returncode:
            return f"the same command ended with {again.returncode}"
        if bad := unreadable(output):
            return f"damaged afterwards: {bad[0]}"
        return "ended before" if ended else "good"
    finally:
        shutil.rmtree(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    every = ["run", "batch", "worker", "simulate", "train"]
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=every, choices=every)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        make_inputs(Path(directory))
        for what in options.commands:
            output = Path(tempfile.mkdtemp(dir=directory))
            start = time.perf_counter()
            subprocess.run(command_of(what, Path(directory), output), check=False, capture_output=True)
            seconds = time.perf_counter() - start
            rng = random.Random(f"{what} {options.seed}")
            ends = [trial(what, Path(directory), seconds, rng, dask=i % 2 == 0) for i in range(options.n)]
            print(f"{what:<10} {seconds:.1f} s;", dict(Counter(ends)), flush=True)


if __name__ == "__main__":
    main()
