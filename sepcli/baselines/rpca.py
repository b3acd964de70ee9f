"""Robust principal component analysis: a spectrogram as a low-rank plus a sparse matrix.

Source: Huang, Chen, Smaragdis & Hasegawa-Johnson 2012, "Singing-voice separation from monaural recordings
    using robust principal component analysis", ICASSP; Lin, Chen & Ma 2010, "The augmented Lagrange
    multiplier method for exact recovery of corrupted low-rank matrices", algorithm 5, with their μ and ρ.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sepcli.baselines.masks import Array, ratio, split


def rpca(mixture: Tensor, sample_rate: int, gain: float = 1.0) -> Tensor:
    """Call the low-rank part, few recurring spectra, drums, and the sparse part bass.

    Soft masks of squared magnitudes. That drums are the low-rank part is a convention: hits fill all
    frequencies with similar spectra, notes fill few bins. ``gain`` is λ √max(F, N): larger values make the
    sparse part smaller.
    """

    def mask(magnitude: Array) -> Array:
        low_rank, sparse = decompose(magnitude, gain / math.sqrt(max(magnitude.shape)))
        return ratio(low_rank**2, sparse**2)

    return split(mixture, sample_rate, mask)


def decompose(
    matrix: Array, sparsity: float, *, tolerance: float = 1e-5, max_iterations: int = 200
) -> tuple[Array, Array]:
    """Minimize ‖L‖_* + λ ‖S‖_1 under L + S = M by the inexact augmented Lagrange multiplier method.

    Args:
        matrix: M, (m, n), not all zero.
        sparsity: λ.
        tolerance: upper bound of ‖M - L - S‖ / ‖M‖.
        max_iterations: greatest number of singular value decompositions.

    Returns:
        L and S, (m, n).
    """
    norm = np.linalg.norm(matrix)
    spectral = float(np.linalg.norm(matrix, 2))
    multipliers = matrix / max(spectral, float(np.abs(matrix).max()) / sparsity)
    mu, rho = 1.25 / spectral, 1.5
    sparse = np.zeros_like(matrix)
    low_rank = np.zeros_like(matrix)
    for _ in range(max_iterations):
        u, s, v = np.linalg.svd(matrix - sparse + multipliers / mu, full_matrices=False)
        low_rank = (u * np.maximum(s - 1 / mu, 0)) @ v
        remainder = matrix - low_rank + multipliers / mu
        sparse = np.sign(remainder) * np.maximum(np.abs(remainder) - sparsity / mu, 0)
        residual = matrix - low_rank - sparse
        multipliers = multipliers + mu * residual
        mu *= rho
        if np.linalg.norm(residual) <= tolerance * norm:
            break
    return low_rank, sparse
