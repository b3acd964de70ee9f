"""Parts that networks under noise share: levels, their embedding, and random streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.errors import PriorError


class NoiseEmbedding(nn.Sequential):
    """Two linear layers over the cosines and sines of f ln(σ)/4, with frequencies f from 1 to 10^``decades``.

    The embedding has the width E; there may be ``more`` features.
    """

    frequencies: Tensor

    def __init__(self, width: int, decades: float, more: int = 0, linear: type[nn.Linear] = nn.Linear):
        half = width // 2
        super().__init__(linear(2 * half + more, width), nn.SiLU(), linear(width, width))
        # not torch.logspace, which on the meta device, where shapes are checked, imports SymPy
        frequencies = np.logspace(0.0, decades, half, dtype=np.float32)
        self.register_buffer("frequencies", torch.from_numpy(frequencies), False)

    def forward(self, sigma: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the embedding (B, E) of σ (B,), or (B, E, F) of σ and features (B, more, F)."""
        angles = (sigma.log() / 4)[:, None] * self.frequencies
        features = torch.cat([angles.cos(), angles.sin()], dim=1)
        if frames is not None:
            repeated = features[..., None].expand(-1, -1, frames.shape[-1])
            features = torch.cat([repeated, frames.to(features)], dim=1).mT
        for layer in self:
            features = layer(features)
        return features if frames is None else features.mT


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next(network.parameters()).device


def generator_of(rng: np.random.Generator) -> torch.Generator:
    """Return a generator of torch, on the CPU, seeded by the next number of numpy's."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def noise_seeds(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return random seeds (N,) of the noise of N items, for ``noise_rows``."""
    return rng.integers(2**62, size=count)


def noise_rows(x: Tensor, seeds: NDArray[np.int64], sample: Callable[..., Tensor] = torch.randn) -> Tensor:
    """Return noise like x (N, ...), the same on every device; that of item n depends on seed n only.

    ``sample`` is ``torch.randn`` for standard normal noise, or ``torch.rand``.
    """
    noise = torch.empty(x.shape)
    for row, seed in zip(noise, seeds, strict=True):
        sample(row.shape, generator=torch.Generator().manual_seed(int(seed)), out=row)
    return noise.to(x)


def stratified_sigmas(
    count: int, sigma_min: float, sigma_max: float, clean: float, rng: np.random.Generator
) -> Tensor:
    """Return random noise levels (N,) of training, stratified in ln σ; a fraction ``clean`` of them is 0."""
    u = (rng.permutation(count) + rng.random()) / count  # in [0, 1); σ = 0 below ``clean``
    position = (u - clean) / max(1.0 - clean, 1e-9)
    sigma = sigma_min * (sigma_max / sigma_min) ** position
    return torch.from_numpy(np.where(position < 0.0, 0.0, sigma)).float()


def without_variance(prior: object, x: Tensor, sigma: Tensor, label: int | None = None) -> NoReturn:
    """Refuse ``moments``: neither a score nor a flow provides the variance of clean signals given noisy ones.

    Raises:
        PriorError: always.
    """
    raise PriorError("the prior has no posterior variance", "use its score, which needs no variance")
