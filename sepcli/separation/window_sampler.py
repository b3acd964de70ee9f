"""Windows of recordings: their directions through an engine, and the stems that come of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import SepError
from sepcli.protocols import Engine, FittingEngine, ProgressCallback
from sepcli.separation.levels import Direction, cutoff, directions, resample
from sepcli.separation.settings import StreamSettings
from sepcli.signal.consistency import completed, project, wiener
from sepcli.signal.spectra import fft_size
from sepcli.signal.windows import Signal


@dataclass(frozen=True)
class WindowSampler:
    """Samples of the sources of windows at a recording's rate, in Hz, and the stems computed from them."""

    engine: Engine
    settings: StreamSettings
    rate: int

    def directions(self, window: Signal) -> tuple[Direction, ...]:
        """The directions of a window (C, samples) that are separated."""
        return directions(window, self.settings.side)

    def gain(self, parts: Sequence[Direction], rank: int, gain: float) -> float:
        """The gain of one direction: the recording's for the first, whose level the others are brought to.

        The latter is not done without a reference level, nor above full scale.
        """
        if rank == 0 or self.settings.reference_rms is None:
            return gain
        first, other = parts[0].signal, parts[rank].signal
        level = float(np.sqrt(np.mean(first**2) / np.mean(other**2)))
        return max(gain, min(gain * level, 1.0 / float(np.abs(other).max())))

    def sample(
        self,
        signals: Sequence[Signal],
        gains: Sequence[float],
        seeds: Tensor,
        length: int,
        on_progress: ProgressCallback | None,
    ) -> tuple[Tensor, Tensor]:
        """Sample the sources of B signals (samples,), times their gains, with seeds (B, S[, Z]).

        Returns:
            The mixtures (B, 1, N) and the unweighted sources (B, S, K, 1, N), as the engine receives and
            returns them; ``length`` is N.

        Raises:
            SepError: the engine returned something that is not a signal.
        """
        target = self.engine.sample_rate
        mono = [
            resample(signal * gain, self.rate, target, length)
            for signal, gain in zip(signals, gains, strict=True)
        ]
        mixture = torch.from_numpy(np.stack(mono)[:, None]).float()
        sources = self.engine.sample(mixture, seeds, on_progress).detach().cpu()
        expected = (len(signals), seeds.shape[1], len(self.engine.names), 1, length)
        if tuple(sources.shape) != expected or not bool(torch.isfinite(sources).all()):
            raise SepError(
                f"the engine returned {tuple(sources.shape)}, or values that are not finite, for {expected}",
                "try another prior, sampler or device; a custom prior may need more training",
            )
        return mixture, sources

    def denoising_energies(
        self, mixtures: Tensor, sources: Tensor, seeds: Tensor, sigma: float | None
    ) -> list[list[float]]:
        """Return the energies (B, 2) of ``sepcli.separation.fit``, of the first samples; none without σ.

        Arguments are those that ``sample`` took and returned.
        """
        if sigma is None or not isinstance(self.engine, FittingEngine):
            return []
        energies: list[list[float]] = self.engine.denoising_energies(
            mixtures, sources[:, 0], sigma, seeds[:, 0]
        ).tolist()
        return energies

    def stems_of(self, sources: Tensor, gain: float) -> Tensor:
        """Unweighted sources (S, K, 1, N) of the engine to stems (S, K, N) at the recording's level,
        float64."""
        return sources[:, :, 0].double() * self._weights[:, None] / gain

    def resampled(self, stems: Tensor, length: int) -> Signal:
        """Stems (S, K, N) to (S, K, length) at the recording's rate."""
        rates = (self.engine.sample_rate, self.rate)
        return np.array([[resample(stem.numpy(), *rates, length) for stem in sample] for sample in stems])

    def bare(self, window: Signal, stems: Sequence[Tensor]) -> Signal:
        """The first of the stems (S, K, N) of every direction of a window (C, samples), spread over its
        channels; no stems for silence."""
        output = np.zeros((len(self.engine.names), *window.shape))
        for of_direction, direction in zip(stems, self.directions(window), strict=False):
            first = self.resampled(of_direction[:1], window.shape[-1])[0]
            output += first[:, None] * direction.spread[:, None]
        return output

    def consistent(self, estimates: Sequence[Signal], window: Signal) -> Signal:
        """Estimates (S, K, samples) of every direction of a window (C, samples) to stems (K, C, samples).

        Further directions become consistent as one channel each; the first one, with all that is left.
        """
        (first, *others), rest = self.directions(window), window
        total: Signal | None = None
        for direction, estimate in zip(others, estimates[1:], strict=True):
            stems = self._consistent(estimate, direction.signal[None], np.ones(1)) * direction.spread[:, None]
            rest = rest - direction.signal * direction.spread[:, None]
            total = stems if total is None else total + stems
        stems = self._consistent(estimates[0], rest, first.spread)
        return stems if total is None else stems + total

    def _consistent(self, estimates: Signal, window: Signal, spread: Signal) -> Signal:
        """Estimates (S, K, samples) in one direction to stems (K, C, samples) of a window (C, samples)."""
        mixture, samples = torch.from_numpy(window), torch.from_numpy(estimates)
        n_fft = fft_size(self.settings.fft_seconds, self.rate)
        masks: dict[str, Any] = {
            "n_fft": n_fft,
            "hop": n_fft // 4,
            "exponent": self.settings.exponent,
            "cutoff": cutoff(self.engine.sample_rate, self.rate),
        }
        if self.settings.consistency == "wiener":
            return wiener(samples, mixture, **masks).numpy()
        raw = estimates.mean(axis=0)[:, None] * spread[:, None]
        if self.settings.consistency == "none":
            return np.asarray(raw, dtype=np.float64)
        kept = torch.from_numpy(raw)
        if self.settings.consistency == "residual":
            return completed(samples, kept, mixture, **masks).numpy()
        return np.asarray(project(kept, mixture, self._weights).numpy(), dtype=np.float64)

    @property
    def _weights(self) -> Tensor:
        return torch.tensor(self.engine.weights, dtype=torch.float64)
