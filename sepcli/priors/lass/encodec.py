"""EnCodec: Q codebooks, each of which quantizes what those before it left of a latent.

    r_1 = h,    z_q = argmin_v ‖r_q - c_qv‖,    r_{q+1} = r_q - c_q[z_q]

Source: Défossez et al. 2022, "High Fidelity Neural Audio Compression", section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.priors.lass.codebook import nearest
from sepcli.priors.lass.music_networks import EncodecSizes

FLOOR = 1e-6
"""Least variance of what a level leaves, relative to the mean square of the latents."""


@dataclass(frozen=True)
class EncodecCodec:
    """The first Q codebooks of an EnCodec of one channel.

    Attributes:
        network: an ``EncodecModel``, in evaluation mode.
        sizes: its sizes.
        codebooks: Q.
    """

    network: Any
    sizes: EncodecSizes
    codebooks: int

    @property
    def codes(self) -> Tensor:
        """The codes of all levels (Q, V, D)."""
        layers = self.network.quantizer.layers[: self.codebooks]
        return torch.stack([layer.codebook.embed for layer in layers])

    def latents(self, signal: Tensor) -> Tensor:
        """Signals (B, 1, N) to latents (B, T, D), a frame per ``hop`` samples that were begun."""
        latents: Tensor = self.network.encoder(signal)
        return latents.transpose(1, 2)

    def encode(self, signal: Tensor) -> Tensor:
        """Signals (B, 1, N) to tokens (B, Q, T), int64."""
        return quantize(self.latents(signal), self.codes)[0]

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, Q, T) to signals (B, 1, T · hop)."""
        summed = sum(
            F.embedding(level, codes) for level, codes in zip(tokens.unbind(1), self.codes, strict=True)
        )
        signals: Tensor = self.network.decoder(torch.as_tensor(summed).transpose(1, 2))
        return signals


def quantize(latents: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize latents (B, T, D) by codes (Q, V, D), level after level.

    Returns:
        Tokens (B, Q, T), int64, and the variance per dimension of what every level leaves (B, Q), which is
        the mean over frames and dimensions, at least ``FLOOR`` times the mean square of the latents.
    """
    rest, tokens, variances = latents, [], []
    for level in codes:
        token = nearest(rest, level)
        rest = rest - F.embedding(token, level)
        tokens.append(token)
        variances.append(rest.square().mean((1, 2)))
    least = FLOOR * latents.square().mean((1, 2)) + torch.finfo(latents.dtype).tiny
    return torch.stack(tokens, dim=1), torch.maximum(torch.stack(variances, dim=1), least[:, None])
