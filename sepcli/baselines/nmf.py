"""Non-negative matrix factorization: a spectrogram as a sum of few spectra, each with a gain over time.

Source: Lee & Seung 2000, "Algorithms for non-negative matrix factorization", NIPS; Helén & Virtanen 2005,
    "Separation of drums from polyphonic music using non-negative matrix factorization and support vector
    machine", EUSIPCO, for components sorted into drums and others; here the percussive fraction of their
    energy (see ``hpss``) is the classifier.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.decomposition import NMF
from torch import Tensor

from sepcli.baselines.hpss import percussive_mask
from sepcli.baselines.masks import Array, ratio, split


def nmf(mixture: Tensor, sample_rate: int, components: int = 16, iterations: int = 100) -> Tensor:
    """Factorize V ≈ W H; components whose energy is more percussive than harmonic are drums, the others bass.

    At most ``components``, by multiplicative updates for the Kullback-Leibler divergence.
    """

    def mask(magnitude: Array) -> Array:
        spectra, gains = factorize(magnitude, min(components, *magnitude.shape), iterations)
        return share_components(magnitude, map(np.outer, spectra.T, gains))

    return split(mixture, sample_rate, mask)


def share_components(magnitude: Array, parts: Iterable[Array]) -> Array:
    """Return the mask (F, N) of the drums from a spectrogram and its components, each (F, N)."""
    percussive = percussive_mask(magnitude)
    drums, bass = np.zeros_like(magnitude), np.zeros_like(magnitude)
    for part in parts:
        power = part**2
        group = drums if np.vdot(percussive, power) > power.sum() / 2 else bass
        group += part
    return ratio(drums, bass)


def factorize(magnitude: Array, components: int, iterations: int) -> tuple[Array, Array]:
    """Factorize magnitudes (F, N) into spectra (F, K) and gains (K, N); deterministic."""
    model = NMF(
        components,
        init="nndsvda",
        solver="mu",
        beta_loss="kullback-leibler",
        tol=0,  # a fixed number of updates
        max_iter=iterations,
        random_state=0,
    )
    gains = model.fit_transform(magnitude.T / magnitude.max())
    return np.asarray(model.components_.T), np.asarray(gains.T)
