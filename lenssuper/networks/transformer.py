"""A small transformer that corrects the linear solution, with attention within shifted windows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lenssuper._utils.checks import check_count
from lenssuper.networks.linear import CHANNELS, CorrectedNetwork
from lenssuper.networks.unet import zeroed

__all__ = ["WindowTransformer"]

# Source pixels along the side of a token, and tokens along the side of a window
_PATCH, _WINDOW = 4, 8
# Channels at full resolution, where tokens become pixels again
_FINE = 8


class WindowTransformer(CorrectedNetwork):
    """
    Attention among 8 x 8 tokens of 4 x 4 source pixels, in windows that every other block shifts by half.

    Liu et al. (2021, ICCV, arXiv:2103.14030), of one resolution and between convolutions as in Liang et al.
    (2021, ICCV workshops, arXiv:2108.10257). Time and memory grow as the number of pixels.

    Parameters
    ----------
    n_blocks : int, optional
    channels : int, optional
        Length of a token; a multiple of ``heads``.
    heads : int, optional
        Number of attention heads of each block.
    """

    architecture = "transformer-1"

    def __init__(self, *, n_blocks: int = 6, channels: int = 96, heads: int = 4) -> None:
        super().__init__()
        self.n_blocks = check_count(n_blocks, "n_blocks")
        self.channels = check_count(channels, "channels")
        self.heads = check_count(heads, "heads")
        if channels % heads:
            raise ValueError(f"channels must be a multiple of heads; got {channels} and {heads}")
        self.first = nn.Conv2d(_PATCH**2 * CHANNELS, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            WindowBlock(channels, heads, shift=_WINDOW // 2 * (number % 2)) for number in range(n_blocks)
        )
        self.norm = nn.LayerNorm(channels)
        self.grow = nn.Linear(channels, _PATCH**2 * _FINE)
        self.last = zeroed(nn.Conv2d(_FINE + CHANNELS, 1, 3, padding=1))

    def correction(self, images: Tensor) -> Tensor:
        """Return what is added to the linear solution."""
        ny, nx = images.shape[-2:]
        right, below = (-n % (_PATCH * _WINDOW) for n in (nx, ny))
        padded = functional.pad(images, (0, right, 0, below), mode="replicate")
        # (n, ny, nx, channels), as attention wants it
        tokens = self.first(functional.pixel_unshuffle(padded, _PATCH)).permute(0, 2, 3, 1)
        for block in self.blocks:
            tokens = block(tokens)
        fine = self.grow(self.norm(tokens)).permute(0, 3, 1, 2)
        hidden = torch.cat([functional.pixel_shuffle(fine, _PATCH), padded], dim=1)
        return self.last(functional.silu(hidden))[..., :ny, :nx]


class WindowBlock(nn.Module):
    """Attention within windows shifted by ``shift`` tokens, and a layer for each token, with shortcuts."""

    def __init__(self, channels: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.before_attention = nn.LayerNorm(channels)
        self.asked = nn.Linear(channels, 3 * channels)
        self.attended = nn.Linear(channels, channels)
        self.before_layer = nn.LayerNorm(channels)
        self.layer = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        # what each head adds to the attention for the position of one token relative to another
        self.bias = nn.Parameter(torch.zeros(heads, 2 * _WINDOW - 1, 2 * _WINDOW - 1))
        linear: Any
        for linear in (self.attended, self.layer[-1]):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (n, ny, nx, channels) of such tokens; ny and nx are multiples of 8."""
        tokens = tokens + self._attention(self.before_attention(tokens))
        return tokens + self.layer(self.before_layer(tokens))

    def _attention(self, tokens):
        n, ny, nx, channels = tokens.shape
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), (1, 2))
        asked = self.asked(_windows(tokens)).unflatten(-1, (3, self.heads, -1))
        # (n windows, heads, tokens, channels of a head)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        given = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._mask(n, ny, nx).to(query.dtype)
        )
        tokens = _unwindowed(self.attended(given.transpose(1, 2).flatten(2)), (n, ny, nx, channels))
        return tokens.roll((self.shift, self.shift), (1, 2)) if self.shift else tokens

    def _mask(self, n, ny, nx):
        """Return the terms added to the attention: the bias, and -1e4 where only wrapping joins tokens."""
        index = torch.arange(_WINDOW, device=self.bias.device)
        rows, columns = (i.flatten() for i in torch.meshgrid(index, index, indexing="ij"))
        apart = (
            rows[:, None] - rows + _WINDOW - 1,
            columns[:, None] - columns + _WINDOW - 1,
        )
        bias = self.bias[:, apart[0], apart[1]]
        if not self.shift:
            return bias
        # tokens that wrapped around belong to another region
        below, right = (
            (torch.arange(size, device=bias.device) >= size - self.shift).float() for size in (ny, nx)
        )
        regions = _windows((2 * below[:, None] + right)[None, ..., None])[..., 0]
        apart = (regions[:, :, None] != regions[:, None]).float() * -1e4
        return (apart[:, None] + bias).repeat(n, 1, 1, 1)


def _windows(tokens: Tensor) -> Tensor:
    """Cut tokens (n, ny, nx, channels) into windows (n windows, 64, channels), those of an image together."""
    cut = tokens.unflatten(2, (-1, _WINDOW)).unflatten(1, (-1, _WINDOW))
    return cut.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _unwindowed(windows: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """Put windows together again."""
    n, ny, nx, channels = shape
    cut = windows.reshape(n, ny // _WINDOW, nx // _WINDOW, _WINDOW, _WINDOW, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(shape)
