"""Mel frames: how loud a sound is in bands of about equal width to the ear, hop by hop.

    m[b, f] = log₁₀(Σ_k H[b, k] |X[k, f]|² + ε)

X is the Fourier transform under a Hann window of sum 1, four hops long and centred on its own hop, with
silence around the sound; H are triangles of height 1 on Slaney's mel scale.

Source: Shen et al. 2018 (Tacotron 2), the frames that WaveGlow and FloWaveNet are conditioned on; librosa has
    the filters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HOP = 256
"""Samples per frame, at least."""
WINDOW = 4
"""Hops that a window is long."""
FLOOR = 1e-8
"""ε: what is softer is silence."""
MOST_BANDS = 128
"""Of more bands the lowest are narrower than what the shortest window tells apart."""


class MelFrames(nn.Module):
    """The frames of sounds; it holds no parameters, and nothing of it is stored.

    Args:
        bands: M, 1 to ``MOST_BANDS``.
        hop: samples per frame.
        sample_rate: Hz.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, bands: int, hop: int, sample_rate: int) -> None:
        super().__init__()
        from librosa.filters import mel  # it takes a second, and most flows know nothing of mel frames

        self.hop = hop
        filters = mel(sr=sample_rate, n_fft=WINDOW * hop, n_mels=bands, norm=None)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        window = torch.hann_window(WINDOW * hop)
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sounds (..., T), T a multiple of the hop, to frames (..., M, T/hop)."""
        rows, around = x.reshape(-1, x.shape[-1]).to(self.filters), (WINDOW - 1) * self.hop // 2
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.stft(
                F.pad(rows, (around, around)),
                WINDOW * self.hop,
                self.hop,
                window=self.window,
                center=False,
                return_complex=True,
            )
            frames = (self.filters @ spectrum.abs().square() + FLOOR).log10()
        return frames.view(*x.shape[:-1], *frames.shape[-2:])
