"""Training of an audio denoiser on excerpts of songs: one stem is the source, the others are interference.

    noisy = c (x + Σ_j b_j y_j) + σ ε

x is a chunk of the source and y_j of the other stems, of the same song and time or of different songs, each
at a random gain, polarity and equalization; b_j is one for stems that are present; c brings mixtures to the
level that they have on their way to an engine, up to some decibels. The loss of an item is

    ln(‖D - c x‖² / ‖c x‖²) + ¼ ln(E(D)/E(Wiener filter)) + the negative log-likelihood of C

E being the error that is weighted by bands (see ``sepcli.priors.audio.mdct_denoiser``). The first term is
minus the signal-to-distortion ratio up to a factor; no item outweighs the others by its loudness.

Source: Slakh's and MUSDB18's practice of random remixes; the loss is from this project.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.stems import StemBank
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.recordings import REFERENCE, coefficients
from sepcli.training.task import Batch

GAINS = Gains(low=-15.0, high=9.0)
"""Gains of the stems in dB, before the mixture is brought to its level."""
LEVELS = 6.0
"""Range in dB, to either side, of the level of mixtures."""
PRESENT = 0.85
"""Share of the chunks that each of the other stems is present in."""
RELATED = 0.5
"""Share of the batches with stems of one song at one time."""
ANCHORS = 8
"""Bands, evenly spaced in octaves, of which the random equalization is interpolated."""
SPECTRUM = {"p_mean": -3.5, "p_std": 1.2}
"""Mean and standard deviation of ln σ in training: that of a separation by interference-trained priors."""


@dataclass(frozen=True)
class SongTask:
    """Denoising beside the other stems of songs; fulfils ``sepcli.training.task.Task``.

    Attributes:
        train: stems of the training songs; the first is the source.
        held_out: stems of the validation songs.
        frames: MDCT frames per chunk.
        equalization: standard deviation in dB of the equalization of a stem; 0: none.
        validated: held-out chunks per validation.
    """

    model: SpectralPrior
    evaluated: SpectralPrior
    train: StemBank
    held_out: StemBank
    batch: int
    frames: int
    equalization: float = 0.0
    validated: int = 64

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample stems (B, K, T), gains (B, K, M) of bands, levels (B,), σ (B,) and seeds (B,)."""
        return self._sample(self.train, rng, self.batch, self.equalization)

    def loss(
        self, waves: Tensor, gains: Tensor, levels: Tensor, sigma: Tensor, seeds: NDArray[np.int64]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of chunks, and its figures."""
        return self._loss(self.model, waves, gains, levels, sigma, seeds)

    def validate(self) -> dict[str, float]:
        """Return figures on the same held-out chunks, with the same noise, every time."""
        rng = np.random.default_rng(0)
        rows = [
            self._loss(self.evaluated, *self._sample(self.held_out, rng, self.batch, 0.0))[1]
            for _ in range(max(1, -(-self.validated // self.batch)))
        ]
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        return {"loss": means["error"], **means}

    def _sample(self, bank: StemBank, rng: np.random.Generator, count: int, equalization: float) -> Batch:
        bins = self.model.config.bins
        related = rng.random() < RELATED
        waves = draw_chunks(bank, rng, count, self.frames * bins, GAINS, related)
        waves *= rng.choice(np.array([-1.0, 1.0], np.float32), (*waves.shape[:2], 1))
        waves[:, 1:] *= rng.random((count, waves.shape[1] - 1, 1)) < PRESENT
        anchors = equalization * rng.standard_normal((*waves.shape[:2], ANCHORS))
        levels = REFERENCE * 10 ** (rng.uniform(-LEVELS, LEVELS, count) / 20)
        gains = band_gains(torch.from_numpy(anchors).float(), bins)
        noise = self.model.sample_noise(count, rng)
        return torch.from_numpy(waves), gains, torch.from_numpy(levels).float(), *noise

    def _loss(
        self,
        network: SpectralPrior,
        waves: Tensor,
        gains: Tensor,
        levels: Tensor,
        sigma: Tensor,
        seeds: NDArray[np.int64],
    ) -> tuple[Tensor, dict[str, float]]:
        device, bins = network.band_std.device, network.config.bins
        stems = coefficients(waves.to(device), bins) * gains.to(device)[..., None]
        mixture = stems.sum(dim=1)
        power = mixture.square().mean(dim=(1, 2)).sqrt().clamp_min(0.03 * REFERENCE)
        stems = stems * (levels.to(device) / power)[:, None, None, None]
        return network.song_loss(stems[:, 0], sigma.to(device), seeds, stems[:, 1:].sum(dim=1))


def band_gains(anchors: Tensor, bins: int) -> Tensor:
    """Return gains (B, K, M) of M bands whose decibels (B, K, A) are given at A bands."""
    octaves = torch.log2(torch.arange(bins, dtype=torch.float32) + 1.0)
    positions = 2 * octaves / octaves[-1] - 1
    grid = torch.stack([positions, torch.zeros_like(positions)], dim=-1)[None, None]  # (1, 1, M, 2)
    rows = anchors.flatten(0, 1)[:, None, None]  # (BK, 1, 1, A)
    curve = F.grid_sample(rows, grid.expand(len(rows), -1, -1, -1), align_corners=True)
    gains: Tensor = 10 ** (curve[:, 0, 0] / 20)
    return gains.reshape(*anchors.shape[:2], bins)
