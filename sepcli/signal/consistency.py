"""Mixture consistency: stems that sum to the mixture, from estimates that do not.

``wiener`` distributes every time-frequency bin of the mixture over the stems in proportion to the power of
their estimates; ``project`` distributes the residual. Wiener masks keep the phase, stereo image and full band
of the mixture, whatever the rate and channels of the estimates (Liutkus and Badeau, "Generalized Wiener
filtering with fractional power spectrograms", ICASSP 2015). ``completed`` keeps estimates that are better
than masks, and distributes only their residual, such as the stereo image and the upper band, by masks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-6
"""Floor of magnitudes relative to the loudest bin (-120 dB); below it all stems get equal parts."""
BAND = 0.7
"""Masks above the cutoff are those of the band from this fraction of the cutoff to the cutoff."""


def wiener(
    estimates: Tensor,
    mixture: Tensor,
    *,
    n_fft: int,
    hop: int,
    exponent: float = 2.0,
    cutoff: float = 0.5,
) -> Tensor:
    """Distribute a mixture over stems by soft masks.

    With X̂ the short-time spectra of the estimates, the mask of stem k is the mean over the samples of
    |X̂_k|^p / Σ_j |X̂_j|^p.

    Args:
        estimates: (S, K, T), S samples of the K stems in one channel, at the mixture's rate.
        mixture: (C, T).
        n_fft: length of a short-time window in samples.
        hop: hop in samples, at most n_fft / 2.
        exponent: p; larger values give harder masks.
        cutoff: upper end of the estimates' band in cycles per sample. Above it the mask of a frame is that of
            the band just below.

    Returns:
        (K, C, T), which sums over K to the mixture up to rounding. Where all estimates are silent the mixture
        is distributed equally. Spectra are computed in float32: the last stem is what the others leave.
    """
    window = torch.hann_window(n_fft, device=mixture.device)
    frames: dict[str, Any] = {"n_fft": n_fft, "hop_length": hop, "window": window, "center": True}

    def transform(signal: Tensor) -> Tensor:
        return torch.stft(signal.float(), **frames, pad_mode="constant", return_complex=True)

    mask = torch.zeros((), device=mixture.device)
    for sample in estimates:
        scale = _peak(sample)
        power = torch.stack([_power(transform(stem / scale)) for stem in sample])
        mask = mask + _mask(power, exponent, cutoff) / len(estimates)  # (K, F, N)
    stems, scale = mixture.new_empty(len(mask), *mixture.shape), _peak(mixture)
    for number, channel in enumerate(mixture):  # one at a time: spectra are large
        spectrum, rest = transform(channel / scale), channel.clone()  # (F, N)
        for stem, part in zip(stems[:-1, number], mask[:-1], strict=True):
            stem[:] = torch.istft(part * spectrum, **frames, length=len(channel))
            stem *= scale
            rest -= stem
        stems[-1, number] = rest
    return stems


def completed(estimates: Tensor, kept: Tensor, mixture: Tensor, **masks: Any) -> Tensor:
    """Keep stems (K, C, T), and distribute their residual by the masks of ``wiener``; they sum to the
    mixture (C, T) up to rounding."""
    return kept + wiener(estimates, mixture - kept.sum(dim=0), **masks)


def _peak(signal: Tensor) -> Tensor:
    peak = signal.abs().amax()
    return torch.where(peak > 0, peak, 1.0)


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)


def _mask(power: Tensor, exponent: float, cutoff: float) -> Tensor:
    """Return masks (K, F, N), which sum to one over K, for squared magnitudes (K, F, N); these are lost."""
    loudest = power.amax()
    if loudest <= 0:
        return torch.full_like(power, 1 / len(power))
    # in the log domain, since powers may underflow for all stems
    log_power = power.div_(loudest).clamp_(min=FLOOR**2).log_().mul_(0.5 * exponent)
    mask = log_power.softmax(dim=0)
    last = power.shape[1] - 1  # the Nyquist bin
    top = max(1, int(2 * cutoff * last))
    if top >= last:
        return mask
    band = log_power[:, min(int(BAND * top), top - 1) : top].logsumexp(dim=1, keepdim=True)  # (K, 1, N)
    mask[:, top:] = band.softmax(dim=0)
    return mask


def project(estimates: Tensor, mixture: Tensor, weights: Tensor | None = None) -> Tensor:
    """Move stems (K, C, T) to the nearest ones that sum to the mixture (C, T), up to rounding.

    With weights (K,), the α_k of m = Σ α_k x_k, the unweighted sources move as little as possible: stem k
    gets the fraction α_k² / Σ α² of the residual. Without, fractions are equal.
    """
    squares = torch.ones_like(estimates[:, 0, 0]) if weights is None else weights.to(estimates) ** 2
    fraction = (squares / squares.sum())[:, None, None]
    return estimates + fraction * (mixture - estimates.sum(dim=0))
