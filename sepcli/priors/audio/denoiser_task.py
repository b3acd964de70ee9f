"""Training of an audio denoiser on chunks of recordings of one source, some of them beside other sources."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.datasets.stems import StemBank
from sepcli.priors.audio import recordings
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.training.task import Batch

INTERFERENCE = 0.5
"""Share of chunks with interference."""
LOW_INTERFERENCE = 0.9
"""The same in the training of the lowest bands."""


@dataclass(frozen=True)
class AudioTask:
    """Denoising score matching on chunks of recordings; fulfils ``sepcli.training.task.Task``.

    Attributes:
        frames: MDCT frames per chunk.
        interference: recordings of other sources, for training and for validation, mixed into a share
            ``INTERFERENCE`` of the chunks, or ``LOW_INTERFERENCE``.
        low: whether only the network of the lowest bands is trained.
        validated: held-out chunks per validation, four times as many with interference.
    """

    model: SpectralPrior
    evaluated: SpectralPrior
    train: StemBank
    held_out: StemBank
    batch: int
    frames: int
    interference: tuple[tuple[StemBank, StemBank], ...] = ()
    low: bool = False
    validated: int = 64

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample chunks (B, T), interference (B, T) or None, σ (B,) and seeds (B,) of the noise."""
        return self._sample(0, rng, self.batch)

    def loss(
        self, waves: Tensor, others: Tensor | None, sigma: Tensor, seeds: NDArray[np.int64]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of chunks, and its figures."""
        return self._loss(self.model, waves, others, sigma, seeds)

    def validate(self) -> dict[str, float]:
        """Return figures on the same held-out chunks, with the same noise, every time.

        They are of the typical chunk, e^(mean ln(1 + error)) - 1 (``nll``: the median): a chunk with audio
        unlike that of training would outweigh all others in a mean. ``error`` of the lowest bands is a
        mean of decibels.
        """
        rng, count = np.random.default_rng(0), self.validated
        if self.low:
            rows = self._rows(rng, max(1, 4 * count // self.batch), self.batch)
            means = {key: float(np.mean(values)) for key, values in rows.items()}
            return {"loss": means["error"], **means}
        rows = self._rows(rng, count * (4 if self.interference else 1), 1)  # their errors vary more
        typical = {key: float(np.expm1(np.log1p(rows[key]).mean())) for key in ("mse", "wiener")}
        nll = {"nll": float(np.median(rows["nll"]))} if "nll" in rows else {}
        return {"loss": typical["mse"], **typical, **nll}

    def _rows(self, rng: np.random.Generator, repeats: int, count: int) -> dict[str, NDArray[np.float64]]:
        """Return the figures of the evaluated network on repeated batches of held-out chunks."""
        rows = [self._loss(self.evaluated, *self._sample(1, rng, count))[1] for _ in range(repeats)]
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def _sample(self, part: int, rng: np.random.Generator, count: int) -> Batch:
        """Sample chunks of training (0) or validation (1)."""
        length = self.frames * self.model.config.bins
        waves = recordings.sample_waves((self.train, self.held_out)[part], rng, count, length)
        others = self._sample_interference(part, rng, count, length)
        return waves, others, *self.model.sample_noise(count, rng)

    def _sample_interference(
        self, part: int, rng: np.random.Generator, count: int, length: int
    ) -> Tensor | None:
        """Sample interference for training (0) or validation (1), zero in the chunks without it."""
        if not self.interference:
            return None
        bank = self.interference[int(rng.integers(len(self.interference)))][part]
        share = LOW_INTERFERENCE if self.low else INTERFERENCE
        present = torch.from_numpy(rng.random((count, 1)) < share)
        return present * recordings.sample_waves(bank, rng, count, length)

    def _loss(
        self,
        network: SpectralPrior,
        waves: Tensor,
        others: Tensor | None,
        sigma: Tensor,
        seeds: NDArray[np.int64],
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a network, and its figures."""
        device, bins = self.model.band_std.device, self.model.config.bins
        x = recordings.coefficients(waves.to(device), bins)
        interference = None if others is None else recordings.coefficients(others.to(device), bins)
        loss = network.low_batch_loss if self.low else network.batch_loss
        return loss(x, sigma.to(device), seeds, interference)
