"""A non-causal WaveNet, the network of flows and encoders of waveforms.

It consists of gated, dilated convolutions, conditioned on a context: one (B, E) for the whole signal, or F
frames (B, E, F) of equal length, each of which applies to the N/F positions that it covers.

Source: van den Oord et al. 2016 (WaveNet); Prenger et al. 2019 (WaveGlow), non-causal and inside a coupling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MAX_LAYERS = 12
"""Greatest number of layers, and of halvings of a time axis: 4,096 samples become one position."""


class WaveNet(nn.Module):
    """Gated convolutions over time; the dilation of layer n is 2^n positions, the width of the context E."""

    def __init__(self, inner: int, outer: int, *, width: int, layers: int, embedding: int) -> None:
        super().__init__()
        dilations = [2**n for n in range(layers)]
        self.enter = nn.Conv1d(inner, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 3, padding=d, dilation=d) for d in dilations)
        self.onward = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in dilations)
        self.tell = nn.Linear(embedding, 2 * width * layers)
        self.leave = nn.Conv1d(width, outer, 1)
        for parameter in (*self.tell.parameters(), *self.leave.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map (B, inner, N) and the context, (B, E) or (B, E, F) where F divides N, to (B, outer, N)."""
        x = self.enter(x)
        biases = self._biases(context, x.shape[-1]).chunk(len(self.gates), dim=1)
        skipped = torch.zeros_like(x)
        for gate, onward, bias in zip(self.gates, self.onward, biases, strict=True):
            value, gating = (gate(x) + bias).chunk(2, dim=1)
            residual, skip = onward(value.tanh() * gating.sigmoid()).chunk(2, dim=1)
            x, skipped = x + residual, skipped + skip
        out: Tensor = self.leave(skipped)
        return out

    def _biases(self, context: Tensor, positions: int) -> Tensor:
        """Return the biases of all layers, (B, 2 · width · layers, N), or with one position for all."""
        if context.dim() == 2:
            bias: Tensor = self.tell(context)[..., None]
            return bias
        frames: Tensor = self.tell(context.mT).mT
        return frames.repeat_interleave(positions // frames.shape[-1], dim=-1)
