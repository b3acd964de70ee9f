"""Random streams: one per batch item, so that an item's result does not depend on its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Rng:
    """B independent streams.

    The numbers of item i depend on ``seeds[i]`` and on what was drawn before, on nothing else. They are
    drawn on the CPU and moved, so that they are the same on every device.

    Args:
        seeds: (B,) integers, taken modulo 2⁶⁴.
    """

    def __init__(self, seeds: Sequence[int] | Tensor) -> None:
        values = seeds.tolist() if isinstance(seeds, Tensor) else list(seeds)
        self._streams = [np.random.default_rng(int(seed) % (1 << 64)) for seed in values]

    def __len__(self) -> int:
        return len(self._streams)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape (B, ...), type and device of ``like``.

        Raises:
            ValueError: The first axis of ``like`` is not B.
        """
        return self._like(like, lambda g, shape: g.standard_normal(shape, dtype=np.float32))

    def gumbel(self, like: Tensor) -> Tensor:
        """Standard Gumbel numbers of the shape (B, ...), type and device of ``like``.

        Raises:
            ValueError: The first axis of ``like`` is not B.
        """
        return self._like(like, lambda g, shape: g.gumbel(size=shape))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1): (B, *shape), float64, on the CPU."""
        return torch.from_numpy(np.stack([g.random(shape) for g in self._streams]))

    def _like(
        self, like: Tensor, draw: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.floating]]
    ) -> Tensor:
        if like.shape[0] != len(self):
            raise ValueError(f"{like.shape[0]} items for {len(self)} random streams")
        shape = tuple(like.shape[1:])
        numbers = np.stack([np.asarray(draw(g, shape)) for g in self._streams])
        return torch.from_numpy(numbers).to(like.dtype).to(like.device)
