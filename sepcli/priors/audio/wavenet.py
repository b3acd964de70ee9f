"""A WaveNet that hears both past and future: what flows and encoders of waveforms ask.

It is gated and dilated, and told by a context what it is to answer for: one (B, E) for the whole signal, or
frames (B, E, F) spread evenly over it, each of which goes to the N/F places that it covers.

Source: van den Oord et al. 2016 (WaveNet); Prenger et al. 2019 (WaveGlow), non-causal and inside a coupling.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

MOST = 12
"""Layers at most, and how often a time axis is halved: 4,096 samples become one place."""


class WaveNetSizes(Protocol):
    """What a ``WaveNet`` takes of a config; see ``sepcli.priors.audio.wave_flow.WaveFlowConfig``."""

    @property
    def width(self) -> int:
        """Channels."""
        ...

    @property
    def layers(self) -> int:
        """Layer n looks 2^n places far."""
        ...

    @property
    def embedding(self) -> int:
        """Width of the context."""
        ...


class WaveNet(nn.Module):
    """What a coupling asks: gated convolutions over time, each looking twice as far as the one before.

    Args:
        inner: channels that are known.
        outer: channels of the answer.
        config: sizes.
    """

    def __init__(self, inner: int, outer: int, config: WaveNetSizes) -> None:
        super().__init__()
        width, places = config.width, [2**n for n in range(config.layers)]
        self.enter = nn.Conv1d(inner, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in places)
        self.onward = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in places)
        self.tell = nn.Linear(config.embedding, 2 * width * config.layers)
        self.leave = nn.Conv1d(width, outer, 1)
        for parameter in (*self.tell.parameters(), *self.leave.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, inner, N) and the context, (B, E) or (B, E, F) where F divides N, to (B, outer, N)."""
        x = self.enter(x)
        told = self._told(context, x.shape[-1]).chunk(len(self.gates), dim=1)
        skipped = torch.zeros_like(x)
        for gate, onward, own in zip(self.gates, self.onward, told, strict=True):
            value, opening = (gate(x) + own).chunk(2, dim=1)
            more, skip = onward(value.tanh() * opening.sigmoid()).chunk(2, dim=1)
            x, skipped = x + more, skipped + skip
        out: Tensor = self.leave(skipped)
        return out

    def _told(self, context: Tensor, places: int) -> Tensor:
        """What the context adds in every layer, (B, 2 · width · layers, N), or 1 place for all."""
        if context.dim() == 2:
            one: Tensor = self.tell(context)[..., None]
            return one
        frames: Tensor = self.tell(context.mT).mT
        return frames.repeat_interleave(places // frames.shape[-1], dim=-1)
