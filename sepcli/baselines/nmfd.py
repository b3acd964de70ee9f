"""Convolutive non-negative matrix factorization: a spectrogram as few short patterns with many onsets.

    V ≈ Λ = Σ_t W_t · shift(H, t),    shift(H, t)[k, n] = H[k, n - t], zero before the first frame

A component k is a spectrum W_t[:, k] that changes over frames t after each of its onsets H[k, n], so that a
drum with its decay is one component. With the shifted copies of H stacked vertically and the W_t horizontally
it is an ordinary factorization: the updates of Lee and Seung for the Kullback-Leibler divergence apply, and
never increase it.

Source: Smaragdis 2004, "Non-negative matrix factor deconvolution; extraction of multiple sound sources from
    monophonic inputs", ICA 2004. The update of H here combines all t, where the paper averages updates for
    each t, which may increase the divergence.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sepcli.baselines import nmf
from sepcli.baselines.masks import Array, split

FLOOR = 1e-12
"""Floor of factors and products relative to the greatest magnitude: zeros would be fixed points."""
START, DECAY = 30, 0.5
"""Updates of an ordinary factorization for the initial spectra, and their decay per frame: with a random
initialization the patterns stay similar, and may all be classified as drums."""


def nmfd(
    mixture: Tensor, sample_rate: int, components: int = 16, frames: int = 8, iterations: int = 60
) -> Tensor:
    """Classify components as in ``nmf``: drums are those that are more percussive than harmonic.

    There are at most ``components``; a pattern has ``frames`` of 23 ms each.
    """

    def mask(magnitude: Array) -> Array:
        count = min(components, *magnitude.shape)
        patterns, onsets = factorize(magnitude, count, min(frames, magnitude.shape[1]), iterations)
        parts = (convolve(patterns[:, :, [k]], onsets[[k]]) for k in range(count))
        return nmf.share_components(magnitude, parts)

    return split(mixture, sample_rate, mask)


def factorize(magnitude: Array, components: int, frames: int, iterations: int) -> tuple[Array, Array]:
    """Factorize V (F, N), not all zero, into patterns W (T ≤ N, F, K) and onsets H (K, N); deterministic."""
    target = magnitude / magnitude.max()
    spectra, onsets = nmf.factorize(target, components, START)
    patterns = np.stack([spectra * DECAY**t for t in range(frames)])
    patterns, onsets = (np.maximum(factor, 1e-6 * factor.max()) for factor in (patterns, onsets))
    for _ in range(iterations):
        patterns, onsets = update(target, patterns, onsets)
    return patterns * magnitude.max(), onsets


def update(magnitude: Array, patterns: Array, onsets: Array) -> tuple[Array, Array]:
    """Update H, then W; neither update increases the Kullback-Leibler divergence D(V ‖ Λ).

    V is (F, N), W (T, F, K), H (K, N); returns W and H.
    """
    frames, _, count = patterns.shape
    wide = np.concatenate(list(patterns), axis=1)  # (F, T K)
    back = wide.T @ _ratio(magnitude, wide @ _shifted(onsets, frames))
    most = np.repeat(wide.sum(axis=0)[:, None], onsets.shape[1], axis=1)
    onsets = np.maximum(onsets * _gathered(back, count) / (_gathered(most, count) + FLOOR), FLOOR)
    tall = _shifted(onsets, frames)  # (T K, N)
    wide = wide * (_ratio(magnitude, wide @ tall) @ tall.T) / (tall.sum(axis=1) + FLOOR)
    patterns = np.stack(np.split(np.maximum(wide, FLOOR), frames, axis=1))
    return patterns, onsets


def convolve(patterns: Array, onsets: Array) -> Array:
    """Return Λ = Σ_t W_t · shift(H, t) (F, N) of patterns (T, F, K) and onsets (K, N)."""
    return np.concatenate(list(patterns), axis=1) @ _shifted(onsets, len(patterns))


def _ratio(magnitude: Array, product: Array) -> Array:
    return magnitude / np.maximum(product, FLOOR)


def _shifted(onsets: Array, frames: int) -> Array:
    """Return copies (T K, N) of onsets (K, N), each a frame later than the one above."""
    padded = np.pad(onsets, ((0, 0), (frames - 1, 0)))
    length = onsets.shape[1]
    return np.concatenate([padded[:, frames - 1 - t : frames - 1 - t + length] for t in range(frames)])


def _gathered(stack: Array, count: int) -> Array:
    """Return the adjoint of ``_shifted``: (T K, N) to (K, N)."""
    length = stack.shape[1]
    parts = np.split(stack, len(stack) // count)
    return sum(
        (np.pad(part[:, t:], ((0, 0), (0, t))) for t, part in enumerate(parts)), np.zeros((count, length))
    )
