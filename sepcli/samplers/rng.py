"""Random streams: one per batch item, so that the result of an item does not depend on its batch.

An item may also have one stream per block of time: items that share a block and its seed get the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Generate = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.floating]]


class Rng:
    """B independent streams, or Z for each of B items.

    The numbers of item i depend only on ``seeds[i]`` and on the calls before. They are generated on the CPU
    and moved, so that they are the same on every device.

    Args:
        seeds: (B,) integers, taken modulo 2⁶⁴; or a tensor (B, Z), one seed for each of Z blocks of ⌈N/Z⌉
            values along the last axis (length N) of the requested shape. The last block may be shorter: it is
            then the beginning of a whole one.
    """

    def __init__(self, seeds: Sequence[int] | Tensor) -> None:
        if isinstance(seeds, Tensor):
            rows: list[list[int]] = (seeds[:, None] if seeds.dim() == 1 else seeds).tolist()
        else:
            rows = [[int(seed)] for seed in seeds]
        self._streams = [[np.random.default_rng(seed % (1 << 64)) for seed in row] for row in rows]

    def normal(self, like: Tensor) -> Tensor:
        """Return standard normal numbers of the shape (B, ...), type and device of ``like``.

        Raises:
            ValueError: the first axis of ``like`` is not B.
        """
        if len(like) != len(self._streams):
            raise ValueError(f"{len(like)} items for {len(self._streams)} random streams")
        numbers = self._generate(like.shape[1:], lambda g, shape: g.standard_normal(shape, dtype=np.float32))
        return numbers.to(like.dtype).to(like.device)

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform numbers in [0, 1): (B, *shape), float64, on the CPU."""
        return self._generate(shape, lambda g, shape: g.random(shape))

    def _generate(self, shape: tuple[int, ...], generate: Generate) -> Tensor:
        return torch.from_numpy(np.stack([_blocks(streams, shape, generate) for streams in self._streams]))


def _blocks(
    streams: Sequence[np.random.Generator], shape: tuple[int, ...], generate: Generate
) -> NDArray[np.floating]:
    """Concatenate the numbers of the streams of one item along the last axis."""
    if len(streams) == 1:
        return np.asarray(generate(streams[0], tuple(shape)))
    *front, length = shape
    block = (*front, -(-length // len(streams)))
    return np.concatenate([generate(g, block) for g in streams], axis=-1)[..., :length]
