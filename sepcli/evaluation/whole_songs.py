"""One song through an engine, in windows, as ``sepcli separate`` does it."""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.datasets.pair_folder import Pair
from sepcli.evaluation.samples import mix
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.separator import Separator
from sepcli.separation.settings import StreamSettings


def separate_song(
    pair: Pair,
    engine: Engine,
    settings: StreamSettings,
    seed: int,
    on_progress: ProgressCallback | None = None,
) -> Tensor:
    """Separate the mixture of a song's stems, as a file would be.

    Args:
        pair: the stems.
        engine: its weights mix them.
        settings: windows, level, samples per estimate and consistency.
        seed: of the samples.
        on_progress: called with milliseconds of audio.

    Returns:
        (K, T), unweighted.

    Raises:
        SepError: the separation failed.
    """
    mixture = mix(torch.from_numpy(pair.sources), engine.weights).numpy()
    result = Separator.of(engine, stream=settings).separate(
        mixture, sample_rate=pair.sample_rate, seed=seed, on_progress=on_progress
    )
    return torch.from_numpy(result.samples[0]) / torch.tensor(list(engine.weights))[:, None]
