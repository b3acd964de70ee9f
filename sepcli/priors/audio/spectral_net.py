"""The network of a denoiser of MDCT coefficients: its architecture, and residual blocks over time."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.audio.frame_net import Block, FrameConv, FrameNorm
from sepcli.priors.audio.low_band_net import LowBandNet


@dataclass(frozen=True)
class SpectralConfig:
    """Architecture, units of the data and noise of the training; stored beside the weights.

    Attributes:
        sample_rate: Hz.
        bins: number of bands M and hop of the MDCT.
        width: channels of the residual stream.
        blocks: number of residual blocks.
        dilations: dilations of the blocks' convolutions in frames, repeated cyclically.
        embedding: width of the embedding of σ.
        variance: whether there is a head for the posterior variance.
        band_std: s_f, one per band, or one for all.
        p_mean: mean of ln σ in training.
        p_std: standard deviation of ln σ in training.
        interference_trained: whether interference was added to the training data.
        low: number of lowest bands L with a second network: ``sepcli.priors.audio.low_band_net``; 0: none.
        low_width: channels of the second network.
    """

    sample_rate: int = 22050
    bins: int = 512
    width: int = 352
    blocks: int = 8
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    embedding: int = 128
    variance: bool = True
    band_std: tuple[float, ...] = (0.1,)
    p_mean: float = -2.5
    p_std: float = 1.5
    interference_trained: bool = False
    low: int = 0
    low_width: int = 160

    @property
    def reach(self) -> int:
        """Receptive field of D in frames to either side."""
        reach = sum(self.dilations[n % len(self.dilations)] for n in range(self.blocks))
        return reach + (LowBandNet.reach(self.low) if self.low else 0)


class FrameNet(nn.Module):
    """Network from features (B, inner, N) and the embedding (B, E) to (B, outer, N)."""

    def __init__(self, config: SpectralConfig, inner: int, outer: int) -> None:
        super().__init__()
        self.enter = FrameConv(inner, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.embedding, config.dilations[n % len(config.dilations)])
            for n in range(config.blocks)
        )
        self.norm, self.leave = FrameNorm(config.width), FrameConv(config.width, outer)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Apply the network."""
        out: Tensor = self.leave(self.trunk(x, embedding)).mT
        return out

    def trunk(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return the channels (B, N, W) before the output layer."""
        x = self.enter(x.mT)
        for block in self.blocks:
            x = block(x, embedding)
        return F.silu(self.norm(x))
