"""A network for the lowest bands of an audio denoiser, which works on the waveform of these bands.

Most of the power of drums and basses is in a few bands, where a note is one or two periods long, and the
coefficients of an MDCT frame depend on the position of its onset in the frame. The lowest L of M bands,
interpreted as an MDCT of L bands, are a waveform at L/M of the sample rate (the transform is orthogonal).
Convolutions over it are invariant to the position of the onset. As in Conv-TasNet, short overlapping frames
are analysed by learned filters, weighted, and resynthesized, so that the output scales with the input. The
weights are computed by blocks of dilated convolutions over the waveform, over the estimate of the network of
all bands, and over the channels of that network.

Source: Luo & Mesgarani 2019, "Conv-TasNet" (filters, weights, dilations). The waveform of the lowest bands is
    from this project.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.audio.frame_net import Block, FrameConv, FrameNorm, arsinh
from sepcli.signal.mdct import imdct, mdct

HOP = 16
"""Hop of the short frames in samples: 12 ms for 32 of 512 bands at 22,050 Hz."""
PARTS = 4
"""Length of a short frame in hops."""
FILTERS = 128
"""Number of analysis filters."""
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
"""Dilations of the blocks' convolutions in short frames."""
LENGTH = HOP * PARTS
PADDING = (LENGTH - HOP) // 2


class LowBandNet(nn.Module):
    """The network of the lowest L bands, a multiple of ``HOP``; its output is zero before training.

    ``trunk`` is the number of channels W of the network of all bands.
    """

    def __init__(self, bands: int, width: int, embedding: int, trunk: int) -> None:
        super().__init__()
        self.bands, self.steps = bands, bands // HOP
        self.enter = nn.Linear(4 * LENGTH, width)
        self.hear = nn.Linear(trunk, self.steps * width)
        self.blocks = nn.ModuleList(Block(width, embedding, dilation) for dilation in DILATIONS)
        self.norm, self.leave = FrameNorm(width), nn.Linear(width, 2 * FILTERS)
        self.doubt = FrameConv(self.steps * width, bands)
        self.analyse = nn.Linear(LENGTH, FILTERS, bias=False)
        self.synthesise = nn.Linear(FILTERS, LENGTH, bias=False)
        for parameter in (*self.leave.parameters(), *self.doubt.parameters()):
            nn.init.zeros_(parameter)

    @staticmethod
    def reach(bands: int) -> int:
        """Return the receptive field in MDCT frames to either side."""
        return -(-((sum(DILATIONS) + PARTS) * HOP) // bands) + 1

    def forward(
        self, x: Tensor, estimate: Tensor, std: Tensor, sigma: Tensor, channels: Tensor, embedding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what is added to the lowest bands of D, and to the logarithm of their C.

        Args:
            x: noisy coefficients of these bands (B, L, N), float32.
            estimate: D without this network, like x.
            std: standard deviation of x without interference (B, L, 1).
            sigma: (B, 1, 1).
            channels: of the network of all bands (B, N, W).
            embedding: of σ (B, E).
        """
        length = x.shape[-1] * self.bands
        with torch.autocast(x.device.type, enabled=False):
            waves = imdct(torch.stack([x, estimate], dim=1), length)  # (B, 2, T)
            level = std.square().mean(dim=1, keepdim=True).sqrt()
            views = torch.cat([waves / level, arsinh(waves / sigma)], dim=1)
            frames = short_frames(waves)  # (B, 2, P, LENGTH)
        h = self.enter(short_frames(views).transpose(1, 2).flatten(2))
        h = h + self.hear(channels).reshape(h.shape)
        for block in self.blocks:
            h = block(h, embedding)
        h = F.silu(self.norm(h))
        weights = self.leave(h).float().reshape(*h.shape[:-1], 2, FILTERS).transpose(1, 2)
        log_variance = self.doubt(h.reshape(len(h), -1, self.steps * h.shape[-1])).float().mT
        with torch.autocast(x.device.type, enabled=False):
            output = self.synthesise((weights * self.analyse(frames)).sum(dim=1))
            return mdct(overlap_add(output), self.bands), log_variance


def short_frames(waves: Tensor) -> Tensor:
    """Return the short frames (..., T/HOP, LENGTH) of waveforms (..., T)."""
    return F.pad(waves, (PADDING, PADDING)).unfold(-1, LENGTH, HOP)


def overlap_add(rows: Tensor) -> Tensor:
    """Overlap-add short frames (B, P, LENGTH) to waveforms (B, P HOP): the adjoint of ``short_frames``."""
    parts = rows.reshape(*rows.shape[:-1], PARTS, HOP)
    whole = torch.stack([F.pad(parts[:, :, n], (0, 0, n, PARTS - 1 - n)) for n in range(PARTS)]).sum(0)
    return whole.flatten(1)[:, PADDING : PADDING + rows.shape[1] * HOP]
