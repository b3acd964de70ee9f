"""Mixtures whose parts are what each method looks for."""

from __future__ import annotations

import torch

RATE = 8000


def tone(seconds: float = 3.0, frequency: float = 110.0) -> torch.Tensor:
    """A sustained sine (1, T), faded in and out."""
    t = torch.arange(round(seconds * RATE)) / RATE
    fade = torch.minimum(torch.minimum(t, seconds - t) / 0.05, torch.tensor(1.0))
    return (0.3 * fade * torch.sin(2 * torch.pi * frequency * t))[None]


def hits(times: list[float], seconds: float = 3.0, length: float = 0.01, seed: int = 0) -> torch.Tensor:
    """The same burst of white noise at given times (1, T)."""
    rng = torch.Generator().manual_seed(seed)
    burst = 0.8 * torch.randn(round(length * RATE), generator=rng).clamp(-1, 1)
    signal = torch.zeros(round(seconds * RATE))
    for time in times:
        start = round(time * RATE)
        signal[start : start + len(burst)] += burst[: len(signal) - start]
    return signal[None]


def pattern(seconds: float = 6.0, period: float = 0.5) -> torch.Tensor:
    """Two notes in turn, over and over (1, T)."""
    t = torch.arange(round(seconds * RATE)) / RATE
    beat = t % period
    decay = torch.exp(-6 * (beat % (period / 2)))
    frequency = torch.where(beat < period / 2, 250.0, 375.0)
    return (0.3 * decay * torch.sin(2 * torch.pi * frequency * beat))[None]


def phrase(seconds: float = 6.0) -> torch.Tensor:
    """Notes that come once (1, T)."""
    signal = torch.zeros(round(seconds * RATE))
    for start, frequency in ((0.8, 1210.0), (2.3, 1730.0), (4.6, 1490.0)):
        t = torch.arange(round(0.4 * RATE)) / RATE
        at = round(start * RATE)
        signal[at : at + len(t)] = (
            0.3 * torch.sin(torch.pi * t / 0.4) * torch.sin(2 * torch.pi * frequency * t)
        )
    return signal[None]


def sdr(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    """Of the whole signal, in dB."""
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum()))
