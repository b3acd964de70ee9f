"""Seeds of samples and of evaluation items; every door (command line, evaluation, API) derives them here.

``numpy.random.SeedSequence`` spawns independent streams from a seed and a key: a sample has the key (block,
sample), an item of an evaluation the key (number,).
"""

from __future__ import annotations

import numpy as np


def sample_seeds(seed: int, block: int, samples: int) -> list[int]:
    """Return the seeds of the samples of one block of a mixture.

    Args:
        seed: the user's seed, or an item's (``item_seed``); at least 0.
        block: number of the window or block of time; 0 for images.
        samples: how many seeds.

    Returns:
        One integer of 63 bits per sample; the first ones do not depend on ``samples``.
    """
    return [_derived(seed, (block, sample)) for sample in range(samples)]


def item_seed(seed: int, number: int) -> int:
    """Return the seed of an evaluation's item: separating that item alone with this seed repeats its samples.

    Args:
        seed: the evaluation's seed; at least 0.
        number: position of the item, from 0.

    Returns:
        An integer of 63 bits.
    """
    return _derived(seed, (number,))


def _derived(seed: int, key: tuple[int, ...]) -> int:
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
