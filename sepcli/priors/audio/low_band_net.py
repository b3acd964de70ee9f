"""What a denoiser of sound adds to its lowest bands: a network over time, on the waveform of these bands.

Most of the power of drums and of basses is in a few bands, where a beat is one or two periods long, and what
a frame of the MDCT says of it depends on where in the frame it begins. The lowest L of M bands, taken for the
MDCT of L bands, are a waveform at L/M of the sample rate; the transform is orthogonal. On it, convolutions
see a beat alike wherever it begins. As in Conv-TasNet, short frames that overlap are taken apart by learnt
filters, weighed, and put together again, so that what comes out is as loud as what goes in. The weights are
found by blocks of dilated convolutions over the waveform, over what the network of all bands makes of it, and
over the channels of that network.

Source: Luo & Mesgarani 2019, "Conv-TasNet" (filters, weights, dilations). The waveform of the lowest bands is
    ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.audio.frame_net import Block, FrameConv, FrameNorm, over_noise
from sepcli.signal.mdct import imdct, mdct

STEP = 16
"""Samples from one short frame to the next: 12 ms for 32 of 512 bands at 22,050 Hz."""
PARTS = 4
"""Steps that a short frame is long."""
FILTERS = 128
"""Filters that take short frames apart."""
DILATIONS = (1, 2, 4, 8, 16, 32, 1, 2, 4, 8)
"""Short frames between the taps of the blocks' convolutions."""
SHORT = STEP * PARTS
EDGE = (SHORT - STEP) // 2


class LowNet(nn.Module):
    """Adds nothing before it is trained.

    Args:
        bands: L, a multiple of ``STEP``.
        width: channels.
        embedding: E, width of what tells the blocks σ.
        trunk: W, channels of the network of all bands.
    """

    def __init__(self, bands: int, width: int, embedding: int, trunk: int) -> None:
        super().__init__()
        self.bands, self.steps = bands, bands // STEP
        self.enter = nn.Linear(4 * SHORT, width)
        self.hear = nn.Linear(trunk, self.steps * width)
        self.blocks = nn.ModuleList(Block(width, embedding, dilation) for dilation in DILATIONS)
        self.norm, self.leave = FrameNorm(width), nn.Linear(width, 2 * FILTERS)
        self.doubt = FrameConv(self.steps * width, bands)
        self.analyse = nn.Linear(SHORT, FILTERS, bias=False)
        self.synthesise = nn.Linear(FILTERS, SHORT, bias=False)
        for parameter in (*self.leave.parameters(), *self.doubt.parameters()):
            nn.init.zeros_(parameter)

    @staticmethod
    def reach(bands: int) -> int:
        """How many frames to either side a frame depends on."""
        return -(-((sum(DILATIONS) + PARTS) * STEP) // bands) + 1

    def forward(
        self, x: Tensor, first: Tensor, std: Tensor, sigma: Tensor, heard: Tensor, told: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What to add to the lowest bands of D, and to the logarithm of their C.

        Args:
            x: noisy coefficients of these bands (B, L, N), float32.
            first: D without this network, like x.
            std: the standard deviation of x without other sounds (B, L, 1).
            sigma: (B, 1, 1).
            heard: channels of the network of all bands (B, N, W).
            told: the embedding (B, E).

        Returns:
            Two tensors like x.
        """
        length = x.shape[-1] * self.bands
        with torch.autocast(x.device.type, enabled=False):
            waves = imdct(torch.stack([x, first], dim=1), length)  # (B, 2, T)
            level = std.square().mean(dim=1, keepdim=True).sqrt()
            seen = torch.cat([waves / level, over_noise(waves / sigma)], dim=1)
            rows = _short(waves)  # (B, 2, P, SHORT)
        h = self.enter(_short(seen).transpose(1, 2).flatten(2))
        h = h + self.hear(heard).reshape(h.shape)
        for block in self.blocks:
            h = block(h, told)
        h = F.silu(self.norm(h))
        weights = self.leave(h).float().reshape(*h.shape[:-1], 2, FILTERS).transpose(1, 2)
        doubt = self.doubt(h.reshape(len(h), -1, self.steps * h.shape[-1])).float().mT
        with torch.autocast(x.device.type, enabled=False):
            found = self.synthesise((weights * self.analyse(rows)).sum(dim=1))
            return mdct(_together(found), self.bands), doubt


def _short(waves: Tensor) -> Tensor:
    """Waveforms (..., T) to short frames (..., T/STEP, SHORT)."""
    return F.pad(waves, (EDGE, EDGE)).unfold(-1, SHORT, STEP)


def _together(rows: Tensor) -> Tensor:
    """The adjoint: short frames (B, P, SHORT) added up to waveforms (B, P STEP)."""
    parts = rows.reshape(*rows.shape[:-1], PARTS, STEP)
    whole = torch.stack([F.pad(parts[:, :, n], (0, 0, n, PARTS - 1 - n)) for n in range(PARTS)]).sum(0)
    return whole.flatten(1)[:, EDGE : EDGE + rows.shape[1] * STEP]
