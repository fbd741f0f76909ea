"""Observed lenses as batches of problems to train on, the same for the same seed."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from astropy.nddata import NDData
from torch import Tensor

from lenssuper._utils.checks import check_count, check_kind
from lenssuper.exceptions import ObservationError
from lenssuper.forward.batch import ForwardModelBatch
from lenssuper.forward.model import ForwardModel
from lenssuper.forward.sourcegrid import square_source_grid
from lenssuper.lens import LensModel
from lenssuper.networks.logprior import ORDER
from lenssuper.networks.sourceproblem import SourceProblem
from lenssuper.observation import Observation
from lenssuper.observation.grid import PixelGrid

__all__ = ["Batch", "LensProblems", "PreparedLenses", "indices_of_step", "seeded", "split_off"]


@dataclass(frozen=True)
class PreparedLenses:
    """Some lenses of a data set, prepared on the CPU by a worker."""

    models: ForwardModelBatch
    truth: np.ndarray | None  # (n, factor ny, factor nx), lensed images without PSF and noise, if known
    correlation: np.ndarray  # (n,), factor by which the variance was raised; `Observation.noise_correlation`


class Batch:
    """
    A problem with its data, noise and truth, for the losses.

    Attributes
    ----------
    problem : SourceProblem
    data : Tensor, shape (n, ny, nx)
        The observed images, in units of the problem's scale; 0 where a pixel is not used.
    noise : Tensor, shape (n, 1, 1)
        Standard deviation of the noise of a pixel, the median of each image, in units of the problem's scale.
    truth : Tensor, shape (n, factor ny, factor nx), or None
        The lensed images without PSF and noise, in units of the problem's scale.
    correlation : Tensor, shape (n,)
        Factor by which the variance was raised.
    """

    def __init__(self, lenses: PreparedLenses, *, device: torch.device | str = "cpu") -> None:
        models = lenses.models
        self.problem = SourceProblem.of(_FullPrecision(models), device=device)
        scale = self.problem.scale
        noise = np.array([np.median(w[w > 0]) ** -0.5 for w in models.weights])
        self.noise = torch.as_tensor(noise, device=device).reshape(-1, 1, 1).float() / scale
        self.data = torch.tensor(models.data, device=device).float() / scale
        self.truth = None
        if lenses.truth is not None:
            self.truth = torch.as_tensor(lenses.truth, device=device).float() / scale
        self.correlation = torch.as_tensor(lenses.correlation, device=device).float()
        self._lensings = [model.lensing for model in models.models]
        self._turn = (0, False)

    def turned(self, quarters: int, mirrored: bool = False) -> Batch:
        """Return the same batch with turned and mirrored sources, see `SourceProblem.turned`."""
        other = copy.copy(self)
        other.problem = self.problem.turned(quarters, mirrored)
        other._turn = (quarters, mirrored)
        return other

    def coverage(self) -> Tensor:
        """Return C(beta) (n, ny, nx): the number of images of each source pixel in the field."""
        return self._maps("coverage")

    def magnification(self) -> Tensor:
        """Return mu(beta) (n, ny, nx): the magnification of each source pixel, summed over its images."""
        return self._maps("magnification")

    def _maps(self, name):
        maps = np.stack([getattr(lensing, name) for lensing in self._lensings])
        quarters, mirrored = self._turn
        maps = np.rot90(maps[..., ::-1] if mirrored else maps, quarters, (-2, -1))
        return torch.as_tensor(maps.copy(), device=self.noise.device).float()

    def __len__(self) -> int:
        return len(self.problem)


@dataclass
class _Kept:
    """A prepared lens."""

    model: ForwardModel
    correlation: float
    truth: np.ndarray | None = None
    truth_known: bool = False


class LensProblems:
    """
    Observed lenses to train a network on, all with the same number of source pixels.

    Forward models are made when they are needed, and the most recently used ones are kept as far as memory
    allows. Observations with the same lens, pixels, PSF and source grid share one operator.

    Parameters
    ----------
    lenses : sequence
        Pairs (observation, lens) or triples (observation, lens, true image), or objects with the attributes
        ``observation``, ``lens`` and perhaps ``name`` and ``truth`` (with an ``image``), such as the data
        sets of ``lenssuper.simulate``. All images must have one shape.
    factor : int, optional
        Number of fine image pixels along the side of an observed one.
    source_pixels : int, optional
        Number of source pixels along a side, see `~lenssuper.forward.sourcegrid.square_source_grid`.
    source_grid : PixelGrid, optional
        One source grid for all lenses instead.
    psf_required : bool, optional
        Whether an observation without PSF is an error; otherwise it is treated as not blurred.
    memory : int, optional
        Largest size in bytes of the operators that are kept.

    Raises
    ------
    TypeError
        If a lens is of another kind.
    ValueError
        If there is no lens, image shapes differ, or a lens model is missing.
    ObservationError
        If an observation has no PSF. Lenses in files are checked when they are read.
    """

    def __init__(
        self,
        lenses: Sequence,
        *,
        factor: int = 2,
        source_pixels: int = 128,
        source_grid: PixelGrid | None = None,
        psf_required: bool = True,
        memory: int = 4 * 2**30,
    ) -> None:
        if isinstance(lenses, str) or not isinstance(lenses, Sequence):
            raise TypeError(f"lenses must be a sequence of (observation, lens); got {lenses!r:.80}")
        if not len(lenses):
            raise ValueError("lenses must hold at least one observation with its lens; got none")
        self.lenses = lenses
        self.factor = check_count(factor, "factor", 1)
        self.source_pixels = check_count(source_pixels, "source_pixels", 4)
        self.source_grid = source_grid
        self.psf_required = psf_required
        self.memory = memory
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._by_optics: WeakValueDictionary[tuple, ForwardModel] = WeakValueDictionary()
        self.shape = self._one_shape()

    def __len__(self) -> int:
        return len(self.lenses)

    def __getstate__(self) -> dict:
        # a worker makes its own operators
        empty: dict[str, Any] = {"_kept": OrderedDict(), "_by_optics": None}
        return self.__dict__ | empty

    def __setstate__(self, state) -> None:
        self.__dict__ |= state | {"_by_optics": WeakValueDictionary()}

    @property
    def fingerprint(self) -> str:
        """Hash of the data; of their names and shapes if they are in files."""
        digest = hashlib.sha256()
        if hasattr(self.lenses, "names"):
            digest.update(json.dumps([list(self.lenses.names), self.shape]).encode())
            return digest.hexdigest()[:16]
        for i in range(len(self)):
            _, observation, lens, _ = self._opened(i)
            digest.update(observation.data.tobytes() + observation.weights.tobytes())
            digest.update(json.dumps(lens.to_dict(), sort_keys=True).encode())
        return digest.hexdigest()[:16]

    @property
    def has_truth(self) -> bool:
        """Whether the first lens comes with its true image."""
        return self._truth(0) is not None

    def model(self, i: int) -> ForwardModel:
        """Return the forward model of a lens, with the variance raised where noise is correlated."""
        return self._ready(i).model

    def prepared(self, indices: Sequence[int], *, truth: bool = False) -> PreparedLenses:
        """Prepare some lenses, with the true images if they are requested and known."""
        ready = [self._ready(i) for i in indices]
        truths = [self._truth(i, each) for i, each in zip(indices, ready, strict=True)] if truth else [None]
        known = all(each is not None for each in truths)
        return PreparedLenses(
            ForwardModelBatch([each.model for each in ready]),
            np.stack([each for each in truths if each is not None]) if known else None,
            np.array([each.correlation for each in ready]),
        )

    def batch(
        self, indices: Sequence[int], *, truth: bool = False, device: torch.device | str = "cpu"
    ) -> Batch:
        """Return some lenses as a batch for the losses."""
        return Batch(self.prepared(indices, truth=truth), device=device)

    def _ready(self, i):
        if i in self._kept:
            self._kept.move_to_end(i)
            return self._kept[i]
        name, observation, lens, _ = self._opened(i)
        try:
            model, optics = self._made(observation, lens)
        except (ObservationError, ValueError) as error:
            raise ObservationError(f"{name}: {error}") from error
        correlation = observation.noise_correlation
        model = model.with_weights(model.weights / correlation)
        self._by_optics[optics] = model
        ready = self._kept[i] = _Kept(model, correlation)
        while len(self._kept) > 1 and self._bytes() > self.memory:
            self._kept.popitem(last=False)
        return ready

    def _made(self, observation, lens):
        grid = self.source_grid
        if grid is None:
            grid = square_source_grid(observation, lens, self.factor, self.source_pixels)
        psf = None if observation.psf is None else observation.psf.tobytes()
        kind = (observation.psf_oversampling, observation.psf_includes_pixel)
        offsets = (_offsets(grid), _offsets(observation.grid))
        optics = (json.dumps(lens.to_dict(), sort_keys=True), offsets, psf, kind)
        found = self._by_optics.get(optics)
        if found is not None:
            return found.with_observation(observation), optics
        made = ForwardModel(observation, lens, factor=self.factor, source_grid=grid, order=ORDER)
        return made, optics

    def _bytes(self):
        matrices = {id(each.model.lensing): each.model.lensing.matrix for each in self._kept.values()}
        images = sum(each.model.data.nbytes * 8 for each in self._kept.values())
        return images + sum(m.data.nbytes + m.indices.nbytes + m.indptr.nbytes for m in matrices.values())

    def _opened(self, i):
        """Return name, observation, lens and truth, checked."""
        name, observation, lens, truth = _parts(self.lenses[i], i)
        if not isinstance(lens, LensModel):
            raise ValueError(f"{name} has no lens: there must be a LensModel; got {lens!r:.80}")
        wanted = "an NDData or an Observation"
        check_kind(observation, f"the observation of {name}", NDData | Observation, wanted)
        observation = Observation.of(observation)
        if observation.psf is None and self.psf_required:
            raise ObservationError(
                f"{name} has no psf: add one with nddata.psf = array, or pass psf_required=False to "
                "treat such images as not blurred"
            )
        return name, observation, lens, truth

    def _truth(self, i, ready=None):
        if ready is not None and ready.truth_known:
            return ready.truth
        truth = _parts(self.lenses[i], i)[3]
        truth = getattr(truth, "image", truth)
        if truth is not None:
            truth = np.asarray(truth, dtype=np.float32)
            # the truth for another factor is of no use
            truth = truth if truth.shape == tuple(self.factor * n for n in self.shape) else None
        if ready is not None:
            ready.truth, ready.truth_known = truth, True
        return truth

    def _one_shape(self):
        shapes = getattr(self.lenses, "shapes", None)
        if shapes is None:
            shapes = [self._opened(i)[1].shape for i in range(len(self))]
        (shape, count), *others = Counter(tuple(s) for s in shapes).most_common()
        if others:
            odd = next(i for i, s in enumerate(shapes) if tuple(s) != shape)
            names = getattr(self.lenses, "names", None)
            name = names[odd] if names else _parts(self.lenses[odd], odd)[0]
            raise ValueError(
                f"lenses must have images of one shape; got {count} of {shape}, and {name} of "
                f"{tuple(shapes[odd])}: cut them to one size"
            )
        return shape


class _FullPrecision:
    """The operators of a batch in float32, whatever the precision of the network."""

    def __init__(self, models: ForwardModelBatch) -> None:
        self._models = models
        self.in_shape, self.out_shape = models.in_shape, models.out_shape
        # copies, since tensors cannot share read-only arrays
        self.data, self.weights = torch.tensor(models.data), torch.tensor(models.weights)

    def forward(self, sources: Tensor) -> Tensor:
        return self._apply(self._models.forward, sources)

    def adjoint(self, images: Tensor) -> Tensor:
        return self._apply(self._models.adjoint, images)

    def lensed_image(self, sources: Tensor) -> Tensor:
        return self._apply(self._models.lensed_image, sources)

    @staticmethod
    def _apply(function, values):
        with torch.autocast(values.device.type, enabled=False):
            return function(values.float())


def _offsets(grid):
    """Return the offsets of the pixels of a grid, rounded, independent of its position on the sky."""
    return grid.shape, *np.round([*grid.matrix.ravel(), *grid.origin], 9)


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator on the CPU that is the same for the same numbers, e.g. a seed and a step."""
    state = np.random.SeedSequence(numbers).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def indices_of_step(n: int, step: int, size: int, seed: int, rank: int = 0, ranks: int = 1) -> list[int]:
    """
    Return the lenses of a step: all n in a new random order again and again, ``size`` at a time.

    Each of several processes takes its part of ``size * ranks`` lenses. No state is carried between steps.
    """
    first = (step * ranks + rank) * size
    found: list[int] = []
    for number in range(first, first + size):
        turn, within = divmod(number, n)
        found.append(int(np.random.default_rng([seed, turn, n]).permutation(n)[within]))
    return found


def split_off(n: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide n lenses at random into those to train on and a share for validation; one serves for both."""
    if n == 1:
        return [0], [0]
    order = np.random.default_rng([seed, n]).permutation(n)
    kept = min(max(1, round(share * n)), n - 1)
    return sorted(int(i) for i in order[kept:]), sorted(int(i) for i in order[:kept])


def _parts(item, i):
    if isinstance(item, (tuple, list)) and len(item) in (2, 3):
        return f"lens {i}", item[0], item[1], item[2] if len(item) == 3 else None
    if hasattr(item, "observation") and hasattr(item, "lens"):
        return getattr(item, "name", f"lens {i}"), item.observation, item.lens, getattr(item, "truth", None)
    raise TypeError(f"lenses must be (observation, lens) or have these attributes; got {item!r:.80} at {i}")
