"""Seeds of samples and of evaluation items; every door (command line, evaluation, API) derives them here.

``numpy.random.SeedSequence`` spawns independent streams from a seed and a key: a sample has the key (block,
sample), in the second direction of the channels (block, sample, 1), an item of an evaluation (number,).
"""

from __future__ import annotations

import numpy as np


def sample_seeds(seed: int, block: int, samples: int, direction: int = 0) -> list[int]:
    """Return a seed of 63 bits per sample of a block of time of a mixture; images have the block 0.

    Further directions of the channels (see ``levels.directions``) have the numbers 1, 2, ... The seed is the
    user's or an item's, at least 0. The first ones do not depend on ``samples``.
    """
    further = (direction,) if direction else ()
    return [_derived(seed, (block, sample, *further)) for sample in range(samples)]


def item_seed(seed: int, number: int) -> int:
    """Return the seed, 63 bits, of an evaluation's item; separating it alone with it repeats its samples."""
    return _derived(seed, (number,))


def _derived(seed: int, key: tuple[int, ...]) -> int:
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
