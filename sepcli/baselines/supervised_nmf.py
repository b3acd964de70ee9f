"""Supervised non-negative matrix factorization: one dictionary per source, learned from isolated sources.

    X_k ≈ H_k W_k,  H, W ≥ 0                            learn the atoms W_k of source k
    h = argmin_{h ≥ 0} ‖m - Σ_k h_k W_k‖²               explain a mixture by the atoms of all sources
    x̂_k = m · (h_k W_k) / Σ_j (h_j W_j)                 split every value in proportion to the parts

Sources of the same kind have the same atoms, so that h does not determine the source of an atom: coordinate
descent, which updates the atoms in order, then assigns most to the first dictionary.

Source: Schmidt & Olsson 2006, "Single-channel speech separation using sparse non-negative matrix
    factorization", without the sparsity; Virtanen 2007 for the split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sepcli.baselines.masks import Array

ITERATIONS = 50
"""Iterations of coordinate descent, without early stopping, so that an item does not depend on its batch."""


def learn(examples: Array, atoms: int, iterations: int = ITERATIONS) -> Array:
    """Learn the atoms (R, D) of one kind of source from non-negative examples (N, D); deterministic.

    R is ``atoms``, clipped at N and D.
    """
    from sklearn.decomposition import NMF  # slow to import

    count = min(atoms, *examples.shape)
    model = NMF(count, init="nndsvda", tol=0.0, max_iter=iterations, random_state=0)
    return np.asarray(model.fit(examples).components_)


def separate(mixtures: Array, dictionaries: Sequence[Array], iterations: int = ITERATIONS) -> Array:
    """Split mixtures into sources with given atoms.

    Args:
        mixtures: (B, D), non-negative.
        dictionaries: atoms (R_k, D) of every source.
        iterations: number of updates of the gains.

    Returns:
        (B, K, D): sources that sum to the mixture; values that no atom explains are divided equally.
    """
    from sklearn.decomposition import non_negative_factorization  # slow to import

    atoms = np.concatenate(dictionaries)
    gains, _, _ = non_negative_factorization(
        mixtures, H=atoms, n_components=len(atoms), update_H=False, tol=0.0, max_iter=iterations
    )
    ends = np.cumsum([len(dictionary) for dictionary in dictionaries])[:-1]
    pairs = zip(np.split(gains, ends, axis=1), dictionaries, strict=True)
    parts = np.stack([gain @ dictionary for gain, dictionary in pairs], axis=1)
    total = parts.sum(axis=1, keepdims=True)
    fractions = np.divide(parts, total, out=np.full_like(parts, 1 / len(dictionaries)), where=total > 0)
    return np.asarray(fractions * mixtures[:, None])
