"""
What do the networks and their losses bring? One table: solvers, networks, losses, lenses, truth.

    lenssuper simulate --n 240 --output set
    python benchmarks/ablation.py set --output ablation
    python benchmarks/ablation.py set --output ablation --rows cubic split supervised --steps 1000

Every row goes to ``ablation/rows.json`` as soon as it is measured, and a training leaves checkpoints: a
script that was killed goes on where it was. The table is ``ablation/table.rst``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import lenssuper
from lenssuper import ForwardModel, Observation, SuperResolver, solvers
from lenssuper.datasets import read_dataset
from lenssuper.exceptions import ConvergenceWarning
from lenssuper.networks import PlainUNet, ResidualCNN, SourceNetwork, Unrolled, WindowTransformer
from lenssuper.superres import coherence
from lenssuper.training import (
    DataFidelity,
    Equivariance,
    LensProblems,
    Loss,
    PixelSplitting,
    Recorrupted,
    Supervised,
    TotalVariationLoss,
)
from lenssuper.training.data import Batch
from lenssuper.training.scores import evaluate
from lenssuper.training.train import train

FACTOR = 2  # the data sets' and the networks'

COLUMNS = {
    "gain": ("gain in dB", ".2f"),
    "chi2": ("chi2", ".3f"),
    "held_out_chi2": ("held-out chi2", ".3f"),
    "coherence": ("coherence beyond Nyquist", ".2f"),
    "parameters": ("parameters", ",d"),
    "ms": ("ms a lens", ".0f"),
    "steps": ("steps", ",d"),
    "minutes": ("training, minutes", ".1f"),
}


@dataclass(frozen=True)
class Row:
    """
    One line of the table.

    ``network`` and ``losses`` make what is trained, or ``solver`` what is used as it is; with neither it is
    cubic interpolation. A network without losses has learned nothing. ``cost`` is that of a step, in steps of
    the residual CNN with splitting: as many fewer steps are done.
    """

    label: str
    network: Callable[[], SourceNetwork] | None = None
    losses: Callable[[], Sequence[Loss]] | None = None
    fixed: bool = False
    solver: Callable[[], solvers.Solver] | None = None
    cost: float = 1.0


def splitting() -> list[Loss]:
    """The default loss."""
    return [PixelSplitting()]


ROWS = {
    "cubic": Row("cubic interpolation"),
    "gradient": Row(
        "zero-shot: gradient prior, evidence", solver=lambda: solvers.Gaussian(solvers.GradientPrior())
    ),
    "tv": Row(
        "zero-shot: TV, positive, held-out pixels", solver=lambda: solvers.Positive(solvers.TotalVariation())
    ),
    "lognormal": Row("zero-shot: log-normal field", solver=solvers.LogNormal),
    "cnn-0": Row("networks without data consistency, untrained: the linear solution", ResidualCNN),
    "unrolled-0": Row("unrolled, untrained", Unrolled),
    "cnn": Row("residual CNN, splitting", ResidualCNN, splitting),
    "unet": Row("U-Net, splitting", PlainUNet, splitting),
    "transformer": Row("transformer, splitting", WindowTransformer, splitting),
    "split": Row("unrolled, splitting", Unrolled, splitting, cost=5.0),
    "chi2": Row("unrolled, chi2 alone", Unrolled, lambda: [DataFidelity()], cost=3.0),
    "chi2-tv": Row(
        "unrolled, chi2 + TV", Unrolled, lambda: [DataFidelity(), TotalVariationLoss(weight=1.0)], cost=3.0
    ),
    "r2r": Row("unrolled, recorrupted to recorrupted", Unrolled, lambda: [Recorrupted()], cost=3.0),
    "split-equivariance": Row(
        "unrolled, splitting + equivariance",
        Unrolled,
        lambda: [PixelSplitting(), Equivariance(weight=0.1)],
        cost=5.0,
    ),
    "fixed": Row("unrolled, splitting, trained on one fixed lens", Unrolled, splitting, fixed=True, cost=3.0),
    "cnn-fixed": Row(
        "residual CNN, splitting, trained on one fixed lens", ResidualCNN, splitting, fixed=True
    ),
    "cnn-supervised": Row(
        "residual CNN, trained with truth: its ceiling", ResidualCNN, lambda: [Supervised()]
    ),
    "supervised": Row(
        "unrolled, trained with truth: its ceiling", Unrolled, lambda: [Supervised()], cost=5.0
    ),
}


def behind_one_lens(lenses: Sequence, seed: int) -> list[tuple]:
    """
    Put the true sources of all lenses behind the first one: as many images, and one lens.

    The noise is Gaussian, the same in all pixels, at the peak S/N that each had. Sources keep their size in
    pixels of the grid that truth is kept on.
    """
    first, rng = lenses[0], np.random.default_rng(seed)
    observation = Observation.from_nddata(first.observation, grid=first.grid)
    model = ForwardModel(observation, first.lens, source_grid=first.truth.source_grid)
    made = []
    for item in lenses:
        if item.truth.source.shape != first.truth.source_grid.shape:
            raise SystemExit("the true sources must be on grids of one shape")
        source = item.truth.source.astype(float)
        image = model.forward(source)
        snr = np.max(item.truth.noiseless / item.observation.sigma)
        sigma = image.max() / snr
        again = replace(
            observation,
            data=image + sigma * rng.standard_normal(image.shape),
            weights=np.full(image.shape, sigma**-2),
        )
        made.append((again, first.lens, model.lensed_image(source)))
    return made


def solved(row: Row, tests: Sequence, problems: LensProblems, seed: int) -> dict[str, float]:
    """Score a solver, or interpolation, on lenses one by one."""
    found: dict[str, list[float]] = {}
    for i, item in enumerate(tests):
        truth = item.truth.image
        scores = {"psnr_cubic": float(evaluate(_Dark(), problems, [i])["psnr_cubic"])}
        if row.solver is None:
            scores["psnr"] = scores["psnr_cubic"]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                start = time.process_time()
                result = SuperResolver(
                    item.lens, factor=problems.factor, solver=row.solver(), rng=seed, progress=False
                )(item.observation)
                scores["ms"] = 1e3 * (time.process_time() - start)
            error = np.mean((result.image.data - truth) ** 2)
            scores["psnr"] = float(10 * np.log10(truth.max() ** 2 / error))
            scores["chi2"] = float(result.chi2 / result.n_pixels)
            if result.held_out_chi2 is not None:
                scores["held_out_chi2"] = float(result.held_out_chi2)
            scores["coherence"] = beyond_nyquist(result.image.data, truth)
        for name, value in scores.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def beyond_nyquist(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean coherence with the truth from one to two times the data's Nyquist frequency."""
    frequencies, values = coherence(image, truth, FACTOR)
    return float(np.mean(values[(frequencies >= 1) & (frequencies < 2)]))


def network_coherence(network: SourceNetwork, problems: LensProblems, batch_size: int) -> float:
    """Return the same of a network's images, the mean over all lenses."""
    found = []
    for batch in batches(problems, batch_size, truth=True):
        with torch.no_grad():
            images = batch.problem.lensed_image(network(batch.problem).float())
        found += [beyond_nyquist(*pair) for pair in zip(images.numpy(), batch.truth.numpy(), strict=True)]
    return float(np.mean(found))


class _Dark(torch.nn.Module):
    """Answers with nothing."""

    def forward(self, problem):
        return torch.zeros(problem.source_shape)


def trained(name: str, row: Row, data: dict, problems: LensProblems, options) -> dict[str, float]:
    """Train a network, if there is something to learn from, and score it on the test set."""
    torch.manual_seed(options.seed)
    network, record = row.network().eval(), {}
    if row.losses is not None:
        record["steps"] = round(options.steps / row.cost)
        start = time.process_time()
        training = train(
            network,
            behind_one_lens(data["train"], options.seed) if row.fixed else data["train"],
            validation=0.1 if row.fixed else data["validation"],
            losses=row.losses(),
            output=options.output / f"{name}.safetensors",
            resume=True,
            overwrite=True,
            steps=record["steps"],
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=options.seed,
            source_pixels=options.source_pixels,
            check_every=max(1, record["steps"] // options.checks),
            patience=None,
            accelerator="cpu",
        )
        network = training.network
        record["minutes"] = (time.process_time() - start) / 60
        record["history"] = training.history
    record |= evaluate(network, problems, batch_size=options.batch_size, seed=options.seed)
    return record | {
        "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "ms": milliseconds(network, problems, options.batch_size),
        "coherence": network_coherence(network, problems, options.batch_size),
    }


def batches(problems: LensProblems, batch_size: int, *, truth: bool = False) -> list[Batch]:
    """Return all lenses, some at a time."""
    starts = range(0, len(problems), batch_size)
    return [problems.batch(range(i, min(i + batch_size, len(problems))), truth=truth) for i in starts]


def milliseconds(network: SourceNetwork, problems: LensProblems, batch_size: int) -> float:
    """CPU time of an answer, the operators being there."""
    prepared = batches(problems, batch_size)
    with torch.no_grad():
        network(prepared[0].problem)
        start = time.process_time()
        for batch in prepared:
            network(batch.problem)
    return 1e3 * (time.process_time() - start) / len(problems)


def table(records: dict[str, dict]) -> str:
    """Give the table in reStructuredText, rows in the order of `ROWS`."""
    lines = [".. list-table::", "   :header-rows: 1", "", "   * - What"]
    lines += [f"     - {heading}" for heading, _ in COLUMNS.values()]
    for name in (name for name in ROWS if name in records):
        lines.append(f"   * - {ROWS[name].label}")
        for column, (_, style) in COLUMNS.items():
            value = records[name].get(column)
            lines.append(f"     - {format(value, style)}" if value is not None else "     -")
    return "\n".join(lines) + "\n"


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("set", type=Path, help="made by lenssuper simulate: train, validation and test")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="of rows and networks")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="NAME")
    parser.add_argument(
        "--steps",
        type=int,
        default=3000,
        help="of the residual CNN (default: %(default)s); rows whose steps take longer do fewer",
    )
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--source-pixels", type=int, default=96)
    parser.add_argument("--checks", type=int, default=20, help="on held-out pixels in each training")
    parser.add_argument("--n-train", type=int, default=200, help="the most lenses to train on")
    parser.add_argument("--n-validation", type=int, default=16, help="the most to choose the best step by")
    parser.add_argument("--n-test", type=int, default=24, help="the most to test on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Measure the rows that are not there yet, and write the table."""
    options = parsed()
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    data = {}
    for part in ("train", "validation", "test"):
        found = read_dataset(options.set / part)
        data[part] = found[: getattr(options, f"n_{part}")]
    settings = {k: v for k, v in vars(options).items() if k not in ("set", "output", "rows")}
    settings |= {f"n_{part}": len(lenses) for part, lenses in data.items()}
    kept = options.output / "rows.json"
    records = {}
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["settings"] != settings:
            raise SystemExit(f"{kept} has rows of other settings: {known['settings']}")
        records = known["rows"]
    problems = LensProblems(data["test"], source_pixels=options.source_pixels)
    for name in options.rows:
        if name in records:
            continue
        row = ROWS[name]
        if row.network is None:
            record = solved(row, data["test"], problems, options.seed)
        else:
            record = trained(name, row, data, problems, options)
        records[name] = {"label": row.label} | record | {"gain": record["psnr"] - record["psnr_cubic"]}
        numbers = {k: round(v, 3) for k, v in records[name].items() if isinstance(v, (int, float))}
        print(name, numbers, flush=True)
        about = {
            "lenssuper": lenssuper.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        beside = kept.with_suffix(".new")
        beside.write_text(json.dumps({"about": about, "settings": settings, "rows": records}, indent=1))
        os.replace(beside, kept)
        (options.output / "table.rst").write_text(table(records))
    print(table(records))


if __name__ == "__main__":
    main()
