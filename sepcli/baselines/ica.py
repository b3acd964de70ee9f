"""Independent component analysis of a single channel, on its short frames."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sepcli.baselines.masks import Array

FRAME_SECONDS = 512 / 22050
OVERLAP = 4
"""Every sample is in so many frames."""
RANK = 1e-8
"""Principal components below this fraction of the greatest variance are rounding errors."""


def ica(mixture: Tensor, sample_rate: int, components: int = 20) -> Tensor:
    """Frames are sums of independent waveforms; the brighter ones are called drums, the others bass.

    Davies and James, "Source separation using single channel ICA", Signal Processing 87(8), 2007, with
    FastICA (Hyvärinen 1999). Components have no order: two groups by the spectral centroid of their
    waveforms, as far apart as can be on a logarithmic axis, and their names are a convention.

    Args:
        mixture: (C, T) or (T,); waveforms are learnt on the mean of the channels.
        sample_rate: Hz.
        components: At most; the remaining principal components of the frames are dropped.

    Returns:
        (2, C, T) or (2, T): drums and bass. These are no masks: they lack what was dropped, and so do not
        sum to the mixture. A mixture with fewer than two components is shared equally.
    """
    channels = mixture.reshape(-1, mixture.shape[-1]).double().cpu().numpy()
    length = OVERLAP * max(1, round(FRAME_SECONDS * sample_rate / OVERLAP))
    unmix, waveforms = _learn(_frames(channels.mean(axis=0), length), components)
    if len(waveforms) < 2:
        return torch.stack([mixture / 2, mixture / 2])
    bright = _bright(waveforms)
    stems = [
        [_add_up(_frames(c, length) @ unmix[:, group] @ waveforms[group], len(c)) for c in channels]
        for group in (bright, ~bright)
    ]
    return torch.from_numpy(np.array(stems)).to(mixture).reshape(2, *mixture.shape)


def _learn(frames: Array, components: int) -> tuple[Array, Array]:
    """Frames (N, L) to the unmixing (L, K) and the waveforms (K, L), so that frames ≈ frames · both."""
    variance, axes = np.linalg.eigh(frames.T @ frames / len(frames))
    kept = slice(-min(components, len(frames), int(np.sum(variance > RANK * variance[-1]))), None)
    scale, axes = np.sqrt(variance[kept].clip(min=0)), axes[:, kept]
    if variance[-1] <= 0 or scale.size < 2:
        return np.zeros((frames.shape[1], 0)), np.zeros((0, frames.shape[1]))
    model = FastICA(whiten=False, random_state=0, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline: the last iterate will do
        model.fit(frames @ axes / scale)
    rotation = model.components_  # orthogonal
    return axes / scale @ rotation.T, rotation @ (scale * axes).T


def _bright(waveforms: Array) -> NDArray[np.bool_]:
    """Which of K ≥ 2 waveforms are bright: two groups of log centroids, least squares within them."""
    power = np.abs(np.fft.rfft(waveforms, axis=1)) ** 2
    centroid = np.log((power @ np.arange(1, 1 + power.shape[1])) / power.sum(axis=1))
    order = np.argsort(centroid, kind="stable")
    ranked = centroid[order]
    spread = [ranked[:i].var() * i + ranked[i:].var() * (len(ranked) - i) for i in range(1, len(ranked))]
    bright = np.zeros(len(ranked), dtype=np.bool_)
    bright[order[1 + int(np.argmin(spread)) :]] = True
    return bright


def _frames(signal: Array, length: int) -> Array:
    """(T,) to frames (N, length) that overlap; zeros beyond the ends, so that every sample is in OVERLAP."""
    hop = length // OVERLAP
    padded = np.pad(signal, (length - hop, length - hop + -len(signal) % hop))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


def _add_up(frames: Array, length: int) -> Array:
    """The inverse of ``_frames``: the mean where frames overlap."""
    count, size = frames.shape
    hop = size // OVERLAP
    total = np.zeros((count + OVERLAP - 1, hop))
    for part in range(OVERLAP):
        total[part : part + count] += frames[:, part * hop : (part + 1) * hop]
    return np.asarray(total.ravel()[size - hop : size - hop + length] / OVERLAP)
