"""``task_of``: the task of a separator and data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepcli.datasets.image_pairs import ColorImages, ImagePairs
from sepcli.datasets.pair_folder import AudioPairs
from sepcli.datasets.songs import SongSet
from sepcli.errors import UsageError
from sepcli.evaluation.distribution import open_networks
from sepcli.evaluation.task import Task
from sepcli.evaluation.tasks.colorization import Colorization
from sepcli.evaluation.tasks.images import ImageSums
from sepcli.evaluation.tasks.pairs import Pairs
from sepcli.evaluation.tasks.songs import WholeSongs
from sepcli.separation.separator import Separator

Data = ImagePairs | ColorImages | SongSet | AudioPairs
"""Return types of ``pairs`` and ``colors`` of the functions in ``sepcli.datasets``."""


def task_of(
    separator: Separator,
    data: Data,
    metrics: Sequence[str] = (),
    *,
    samples: int = 1,
    inception: Path | None = None,
) -> Task[Any]:
    """Choose how a separator is evaluated on data.

    Args:
        separator: of the medium of the data, with as many sources.
        data: ``sepcli.datasets.mnist(folder).pairs(100)``, for example.
        metrics: those of sets of images need networks.
        samples: S per image; the number for audio is the separator's.
        inception: weights of the Inception network, for ``fid`` and ``is``.

    Raises:
        UsageError: the separator is of another medium.
    """
    images = isinstance(data, ImagePairs | ColorImages)
    if images != (separator.medium == "image"):
        raise UsageError(
            f"a separator of {separator.medium}s for other data", "use data of its medium", argument="items"
        )
    engine, settings = separator.engine, separator.describe()
    if isinstance(data, SongSet):
        return WholeSongs(data, engine, stream=separator.stream, settings=settings)
    if isinstance(data, ImagePairs):
        return ImageSums(data, engine, samples, settings, open_networks(metrics, inception, engine.device))
    if isinstance(data, ColorImages):
        return Colorization(data, engine, samples, settings, open_networks(metrics, inception, engine.device))
    return Pairs(data, engine, stream=separator.stream, settings=settings)
