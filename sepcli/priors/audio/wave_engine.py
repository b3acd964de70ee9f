"""The engine of flows of waveforms: a score engine on the samples themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.protocols import DensityPrior, ProgressCallback
from sepcli.separation.engines import ScoreEngine


@dataclass(frozen=True)
class WaveEngine:
    """Separation of waveforms with flows; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        inner: separates signals (B, 1, T) whose length is a multiple of ``hop``.
        hop: samples per position of the flows.
    """

    inner: ScoreEngine
    hop: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the K sources."""
        return self.inner.names

    @property
    def weights(self) -> tuple[float, ...]:
        """The α_k of the mixing m = Σ α_k x_k."""
        return self.inner.weights

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.inner.sample_rate

    @property
    def channels(self) -> int:
        """C of the mixtures."""
        return 1

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per source of a sample."""
        return self.inner.evaluations

    @property
    def density(self) -> DensityPrior | None:
        """The flows as one density."""
        return self.inner.density

    @property
    def interference_trained(self) -> bool:
        """Whether estimates are better than masks computed from them."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.inner.device

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Sample sources.

        Args:
            mixture: (B, 1, T), float32, full scale 1.
            seeds: (B, S) int64, one per item and sample; or (B, S, Z), one per Z-th part of the signal, too;
                a sample depends on its seeds only.
            on_progress: called after every evaluation.

        Returns:
            (B, S, K, 1, T) on the CPU: S samples of the unweighted sources.
        """
        return self.inner.sample(self._whole(mixture), seeds, on_progress)[..., : mixture.shape[-1]]

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler and posterior, for records."""
        return self.inner.describe()

    def log_prior(self, sources: Tensor) -> Tensor | None:
        """log p of sources (B, K, 1, T) under the noise that the sampler leaves in them, (B,) in nats."""
        return self.inner.log_prior(self._whole(sources))

    def _whole(self, signal: Tensor) -> Tensor:
        """The signal (..., T) with silence after it, as flows need it."""
        return F.pad(signal, (0, -signal.shape[-1] % self.hop))
