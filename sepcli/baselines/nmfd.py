"""Convolutive non-negative matrix factorisation: a spectrogram is few short patterns, each struck often.

    V ≈ Λ = Σ_t W_t · shift(H, t),    shift(H, t)[k, n] = H[k, n - t], zero before the first frame

A component k is a spectrum W_t[:, k] that changes over frames t after each of its onsets H[k, n], so that a
drum with its decay is one component. With the shifted copies of H below each other, and the W_t side by side,
it is an ordinary factorisation: the updates of Lee and Seung for the Kullback-Leibler divergence hold, and
never raise it.

Source: Smaragdis 2004, "Non-negative matrix factor deconvolution; extraction of multiple sound sources from
    monophonic inputs", ICA 2004. The update of H here takes all t together, where the paper averages updates
    for each t, which may raise the divergence.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sepcli.baselines import nmf
from sepcli.baselines.masks import Array, split

FLOOR = 1e-12
"""Of factors and products, relative to the greatest magnitude: what reaches zero never leaves it."""
START, DECAY = 30, 0.5
"""It begins with so many updates of an ordinary factorisation, every spectrum halved from frame to frame:
patterns that begin at random stay alike, and may all be taken for drums."""


def nmfd(
    mixture: Tensor, sample_rate: int, components: int = 16, frames: int = 8, iterations: int = 60
) -> Tensor:
    """Components are shared out as by ``nmf``: drums are those that are more percussive than harmonic.

    Args:
        mixture: (C, T) or (T,).
        sample_rate: Hz.
        components: Of the factorisation, at most.
        frames: Of a pattern: 8 are 0.19 s.
        iterations: Of the updates.

    Returns:
        (2, C, T) or (2, T): drums and bass, which sum to the mixture.
    """

    def mask(magnitude: Array) -> Array:
        count = min(components, *magnitude.shape)
        patterns, onsets = factorise(magnitude, count, min(frames, magnitude.shape[1]), iterations)
        parts = (convolve(patterns[:, :, [k]], onsets[[k]]) for k in range(count))
        return nmf.share_components(magnitude, parts)

    return split(mixture, sample_rate, mask)


def factorise(magnitude: Array, components: int, frames: int, iterations: int) -> tuple[Array, Array]:
    """Magnitudes (F, N) to patterns W (T, F, K) and onsets H (K, N); always the same for the same input.

    Args:
        magnitude: V, not negative, not all zero.
        components: K.
        frames: T ≤ N.
        iterations: Of the updates of H and W.
    """
    target = magnitude / magnitude.max()
    spectra, onsets = nmf.factorise(target, components, START)
    patterns = np.stack([spectra * DECAY**t for t in range(frames)])
    patterns, onsets = (np.maximum(factor, 1e-6 * factor.max()) for factor in (patterns, onsets))
    for _ in range(iterations):
        patterns, onsets = update(target, patterns, onsets)
    return patterns * magnitude.max(), onsets


def update(magnitude: Array, patterns: Array, onsets: Array) -> tuple[Array, Array]:
    """One multiplicative update of H, then of W; neither raises the Kullback-Leibler divergence D(V ‖ Λ).

    Args:
        magnitude: V, (F, N).
        patterns: W, (T, F, K).
        onsets: H, (K, N).

    Returns:
        W and H.
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
    """Λ = Σ_t W_t · shift(H, t): patterns (T, F, K) and onsets (K, N) to (F, N)."""
    return np.concatenate(list(patterns), axis=1) @ _shifted(onsets, len(patterns))


def _ratio(magnitude: Array, product: Array) -> Array:
    return magnitude / np.maximum(product, FLOOR)


def _shifted(onsets: Array, frames: int) -> Array:
    """(K, N) to its copies (T K, N), each a frame later than the one above."""
    padded = np.pad(onsets, ((0, 0), (frames - 1, 0)))
    length = onsets.shape[1]
    return np.concatenate([padded[:, frames - 1 - t : frames - 1 - t + length] for t in range(frames)])


def _gathered(stack: Array, count: int) -> Array:
    """(T K, N) to (K, N): the adjoint of ``_shifted``."""
    length = stack.shape[1]
    parts = np.split(stack, len(stack) // count)
    return sum(
        (np.pad(part[:, t:], ((0, 0), (0, t))) for t, part in enumerate(parts)), np.zeros((count, length))
    )
