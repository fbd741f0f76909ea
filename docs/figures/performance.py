"""
Seconds and memory against the size of an image, drawn from ``performance.json``.

``OMP_NUM_THREADS=1 python docs/figures/performance.py [SOLVER ...]`` measures it again, each in a process
of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

FILE = Path(__file__).with_name("performance.json")
SIZES = (32, 48, 64, 96, 128)
SOLVERS = {
    "LogNormal()": "LogNormal()",
    "Positive()": "Positive()",
    "Gaussian(GradientPrior())": "Gaussian(GradientPrior())",
    "network": "NetworkSolver.pretrained('space', factor=2)",
}
_CASE = """
import json, resource, time
import astropy.units as u
from lenssuper import SIE, ExternalShear, SuperResolver
from lenssuper.simulate import ClumpySpiral, Instrument, mock_lens
from lenssuper.solvers import *
lens = SIE(theta_E=1.2 * u.arcsec, q=0.75, phi=40 * u.deg) + ExternalShear(gamma1=0.03, gamma2=0.01)
galaxy = ClumpySpiral(0.3 * u.arcsec, q=0.6, x=0.12 * u.arcsec, y=0.05 * u.arcsec, clumps=15, rng=1)
def run(n):
    side = 5.12 / n * u.arcsec
    mock = mock_lens(lens, galaxy, Instrument.gaussian(side, 2 * side), shape=(n, n), peak_snr=40, rng=2)
    start = time.process_time()
    SuperResolver(lens, solver=SOLVER, rng=1, progress=False)(mock.observation)
    return time.process_time() - start
run(16)  # imports what is needed
seconds = run(SIZE)
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def measure(names):
    """Measure the cases of these solvers, or all, and keep them."""
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    for name in names or SOLVERS:
        solver = SOLVERS[name]
        found[name] = []
        for size in SIZES:
            code = _CASE.replace("SOLVER", solver).replace("SIZE", str(size))
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            seconds, memory = json.loads(done.stdout.splitlines()[-1])
            found[name].append({"size": size, "seconds": round(seconds, 2), "MiB": round(memory)})
            print(name, found[name][-1], flush=True)
            FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def draw_performance():
    """Draw seconds and memory against the size of the image."""
    figure = Figure(figsize=(9.5, 3.8))
    time, memory = figure.subplots(1, 2, gridspec_kw={"wspace": 0.3})
    for name, cases in json.loads(FILE.read_text(encoding="utf-8")).items():
        sizes = [case["size"] for case in cases]
        time.loglog(sizes, [case["seconds"] for case in cases], "o-", label=name)
        memory.semilogx(sizes, [case["MiB"] / 1024 for case in cases], "o-", label=name)
    time.set(title="Time", ylabel="seconds of a processor")
    memory.set(title="Memory", ylabel="largest, GiB", ylim=(0, None))
    for ax in (time, memory):
        ax.set(xlabel="pixels along the side of the observation")
        ax.set_xticks(SIZES, [str(size) for size in SIZES])
        ax.xaxis.minorticks_off()
        ax.yaxis.minorticks_off()
        ax.grid(alpha=0.3)
    time.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    time.legend(frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    measure(sys.argv[1:])
