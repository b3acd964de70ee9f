"""Supervised non-negative matrix factorisation: a dictionary per source, learnt where the source is alone.

    X_k ≈ H_k W_k,  H, W ≥ 0                            learn the atoms W_k of source k
    h = argmin_{h ≥ 0} ‖m - Σ_k h_k W_k‖²               explain a mixture by all atoms together
    x̂_k = m · (h_k W_k) / Σ_j (h_j W_j)                 share every value out as the parts do

Sources that are alike have the same atoms, and then nothing in h says which source an atom serves: coordinate
descent, which takes the atoms one after the other, gives most to the first dictionary.

Source: Schmidt & Olsson 2006, "Single-channel speech separation using sparse non-negative matrix
    factorization", without the sparsity; Virtanen 2007 for the shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import NMF, non_negative_factorization

from sepcli.baselines.masks import Array

ITERATIONS = 50
"""Rounds of coordinate descent; it is never stopped earlier, so that an item does not depend on its batch."""


def learn(examples: Array, atoms: int, iterations: int = ITERATIONS) -> Array:
    """The atoms of one kind of source; always the same for the same examples.

    Args:
        examples: (N, D), not negative.
        atoms: how many; no more than N or D are made.
        iterations: of the factorisation.

    Returns:
        (R, D), not negative.
    """
    model = NMF(
        min(atoms, *examples.shape), init="nndsvda", tol=0.0, max_iter=iterations, random_state=0
    ).fit(examples)
    return np.asarray(model.components_)


def separate(mixtures: Array, dictionaries: Sequence[Array], iterations: int = ITERATIONS) -> Array:
    """Share mixtures out among sources whose atoms are known.

    Args:
        mixtures: (B, D), not negative.
        dictionaries: per source its atoms (R_k, D).
        iterations: of the non-negative least squares.

    Returns:
        (B, K, D): sources that sum to the mixture; what no atom explains is shared equally.
    """
    joint = np.concatenate(dictionaries)
    gains, _, _ = non_negative_factorization(
        mixtures, H=joint, n_components=len(joint), update_H=False, tol=0.0, max_iter=iterations
    )
    ends = np.cumsum([len(atoms) for atoms in dictionaries])[:-1]
    owned = zip(np.split(gains, ends, axis=1), dictionaries, strict=True)
    parts = np.stack([own @ atoms for own, atoms in owned], axis=1)
    total = parts.sum(axis=1, keepdims=True)
    shares = np.divide(parts, total, out=np.full_like(parts, 1 / len(dictionaries)), where=total > 0)
    return np.asarray(shares * mixtures[:, None])
