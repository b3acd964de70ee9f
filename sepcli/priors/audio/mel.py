"""Mel frames: log power of audio in bands of about equal perceptual width, hop by hop.

    m[b, f] = log₁₀(Σ_k H[b, k] |X[k, f]|² + ε)

X is the short-time Fourier transform with a Hann window of sum 1, four hops long and centred on its hop, with
zeros beyond the ends; H are triangular filters of height 1 on Slaney's mel scale.

Source: Shen et al. 2018 (Tacotron 2), the frames that WaveGlow and FloWaveNet are conditioned on; the filters
    are those of librosa.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HOP = 256
"""Least number of samples per frame."""
WINDOW = 4
"""Length of a window in hops."""
FLOOR = 1e-8
"""ε, the floor of the power."""
MAX_BANDS = 128
"""Greatest number of bands; of more, the lowest are narrower than the resolution of the shortest window."""


class MelFrames(nn.Module):
    """The transform from audio to frames of 1 to ``MAX_BANDS`` mel bands M; nothing of it is stored."""

    filters: Tensor
    window: Tensor

    def __init__(self, bands: int, hop: int, sample_rate: int) -> None:
        super().__init__()
        from librosa.filters import mel  # a slow import that most flows do not need

        self.hop = hop
        filters = mel(sr=sample_rate, n_fft=WINDOW * hop, n_mels=bands, norm=None)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        window = torch.hann_window(WINDOW * hop)
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the frames (..., M, T/hop) of audio (..., T), where T is a multiple of the hop."""
        rows, padding = x.reshape(-1, x.shape[-1]).to(self.filters), (WINDOW - 1) * self.hop // 2
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.stft(
                F.pad(rows, (padding, padding)),
                WINDOW * self.hop,
                self.hop,
                window=self.window,
                center=False,
                return_complex=True,
            )
            frames = (self.filters @ spectrum.abs().square() + FLOOR).log10()
        return frames.view(*x.shape[:-1], *frames.shape[-2:])
