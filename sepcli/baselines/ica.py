"""Independent component analysis of the short frames of a single channel.

Source: Davies & James 2007, "Source separation using single channel ICA", Signal Processing 87(8); Hyvärinen
    1999 (FastICA).
"""

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
"""Number of frames that contain a sample."""
RANK = 1e-8
"""Principal components below this fraction of the greatest variance are rounding errors and dropped."""


def ica(mixture: Tensor, sample_rate: int, components: int = 20) -> Tensor:
    """Model frames as sums of independent waveforms; the brighter ones are called drums, the others bass.

    Components have no order: they are divided into two groups by the logarithm of the spectral centroid of
    their waveforms, with least variance within the groups; their names are a convention. Waveforms are
    learned from the mean of the channels. All but ``components`` principal components of the frames are
    dropped, so that the stems do not sum to the mixture; one with fewer than two is divided equally.
    """
    channels = mixture.reshape(-1, mixture.shape[-1]).double().cpu().numpy()
    length = OVERLAP * max(1, round(FRAME_SECONDS * sample_rate / OVERLAP))
    unmix, waveforms = _learn(_frames(channels.mean(axis=0), length), components)
    if len(waveforms) < 2:
        return torch.stack([mixture / 2, mixture / 2])
    bright = _is_bright(waveforms)
    stems = [
        [_overlap_add(_frames(c, length) @ unmix[:, group] @ waveforms[group], len(c)) for c in channels]
        for group in (bright, ~bright)
    ]
    return torch.from_numpy(np.array(stems)).to(mixture).reshape(2, *mixture.shape)


def _learn(frames: Array, components: int) -> tuple[Array, Array]:
    """Return unmixing (L, K) and waveforms (K, L) such that frames (N, L) ≈ frames · unmixing · waveforms."""
    variance, axes = np.linalg.eigh(frames.T @ frames / len(frames))
    kept = slice(-min(components, len(frames), int(np.sum(variance > RANK * variance[-1]))), None)
    scale, axes = np.sqrt(variance[kept].clip(min=0)), axes[:, kept]
    if variance[-1] <= 0 or scale.size < 2:
        return np.zeros((frames.shape[1], 0)), np.zeros((0, frames.shape[1]))
    model = FastICA(whiten=False, random_state=0, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last iterate is good enough
        model.fit(frames @ axes / scale)
    rotation = model.components_  # orthogonal
    return axes / scale @ rotation.T, rotation @ (scale * axes).T


def _is_bright(waveforms: Array) -> NDArray[np.bool_]:
    """Return which of K ≥ 2 waveforms are bright: two groups of log centroids of least variance within."""
    power = np.abs(np.fft.rfft(waveforms, axis=1)) ** 2
    centroid = np.log((power @ np.arange(1, 1 + power.shape[1])) / power.sum(axis=1))
    order = np.argsort(centroid, kind="stable")
    ranked = centroid[order]
    scatter = [ranked[:i].var() * i + ranked[i:].var() * (len(ranked) - i) for i in range(1, len(ranked))]
    bright = np.zeros(len(ranked), dtype=np.bool_)
    bright[order[1 + int(np.argmin(scatter)) :]] = True
    return bright


def _frames(signal: Array, length: int) -> Array:
    """Return frames (N, length) of (T,), zero-padded so that every sample is in OVERLAP frames."""
    hop = length // OVERLAP
    padded = np.pad(signal, (length - hop, length - hop + -len(signal) % hop))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


def _overlap_add(frames: Array, length: int) -> Array:
    """Invert ``_frames`` by the mean of overlapping frames."""
    count, size = frames.shape
    hop = size // OVERLAP
    total = np.zeros((count + OVERLAP - 1, hop))
    for part in range(OVERLAP):
        total[part : part + count] += frames[:, part * hop : (part + 1) * hop]
    return np.asarray(total.ravel()[size - hop : size - hop + length] / OVERLAP)
