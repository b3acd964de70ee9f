"""From a data set to the chunks of clean sources that a part of LASS is trained or a table is counted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sepcli.catalog.card import Card
from sepcli.datasets.chunks import Gains
from sepcli.datasets.image_splits import has_mirrored, named_classes, open_data, open_like
from sepcli.datasets.song_banks import open_songs
from sepcli.errors import InputError
from sepcli.priors.lass.chunks import AudioChunks, Chunks, ImageChunks
from sepcli.priors.lass.load import MEANS, LassCodec
from sepcli.priors.lass.options import ImageCodecOptions, ImageTransformerOptions
from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.priors.lass.vqvae2d import Vqvae2d
from sepcli.protocols import ProgressCallback
from sepcli.training.config import TrainConfig

OnMessage = Callable[[str], None]
SECONDS = 3
"""Length of the chunks of audio by which a codec is validated."""


@dataclass(frozen=True)
class Data:
    """Clean sources to train on and to validate with.

    Attributes:
        train: to train on.
        held_out: to validate with.
        weights: α_k of their mixtures.
        mixtures: held-out mixtures by which a codec is validated.
        facts: what a card says of the data.
    """

    train: Chunks
    held_out: Chunks
    weights: tuple[float, ...]
    mixtures: int
    facts: Mapping[str, Any] = field(default_factory=dict)


def audio_data(config: TrainConfig, codec: Vqvae1dConfig, seconds: float | None = None) -> Data:
    """Open songs with stems of all sources.

    Args:
        config: names data, sources and tokens per chunk.
        codec: of the tokens.
        seconds: length of held-out chunks; None: as those for training.

    Raises:
        InputError: the data cannot be read, or a source has no recording that is long enough.
        OutputError: the cache cannot be written.
    """
    length = config.tokens * codec.hop
    held_out = length if seconds is None else int(seconds * codec.sample_rate) // codec.hop * codec.hop
    train, valid = (
        _audio(config.data, split, config.sources, codec.sample_rate, size, config.cache)
        for split, size in (("train", length), ("validation", held_out))
    )
    for chunks in (train, valid):
        _check_long_enough(chunks)
    hours = {name: round(s / 3600, 2) for name, s in zip(config.sources, train.bank.seconds, strict=True)}
    weights = (1 / len(config.sources),) * len(config.sources)
    return Data(train, valid, weights, mixtures=64, facts={"hours_of_data": hours})


def codec_images(
    options: ImageCodecOptions,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> tuple[tuple[int, int, int], Data]:
    """Open images for a codec; return their channels, height and width, too.

    Raises:
        UsageError: an option that is not for these data.
        InputError: the data cannot be read.
        OutputError: the cache cannot be written.
    """
    train, held_out = open_data(
        config.data,
        size=options.size,
        channels=options.channels,
        cache=config.cache,
        on_progress=on_progress,
        on_message=on_message,
    )
    channels, height, width = train.images.shape[1:]
    flip = has_mirrored(train, options.flip)
    facts = {"images": len(train.images), "flip": flip}
    data = Data(ImageChunks(train, flip), ImageChunks(held_out), MEANS, mixtures=256, facts=facts)
    return (channels, height, width), data


def transformer_images(
    options: ImageTransformerOptions,
    config: TrainConfig,
    codec: Vqvae2d,
    on_progress: ProgressCallback | None,
) -> Data:
    """Open images, with their classes, for a transformer over a codec's tokens.

    Raises:
        UsageError: the data have no such classes.
        InputError: the data cannot be read, or are of another shape than the codec's.
        OutputError: the cache cannot be written.
    """
    classes = named_classes(config.data, options.classes)
    height, width = codec.config.size
    shape = codec.config.channels, height, width
    train, held_out = open_like(config.data, shape, classes, config.cache, on_progress)
    flip, dropout = has_mirrored(train, options.flip), options.class_dropout if classes else 1.0
    facts = {"images": len(train.images), "classes": list(classes), "flip": flip}
    return Data(ImageChunks(train, flip, dropout), ImageChunks(held_out, False, dropout), MEANS, 256, facts)


def pairs(
    data: Path,
    split: str,
    card: Card,
    codec: LassCodec,
    tokens: int,
    cache: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> Chunks:
    """Open the pairs of sources that a prior's table is counted on.

    Args:
        data: songs of Slakh2100's layout or MUSDB18; for a codec of images, images.
        split: ``train`` or ``validation``.
        card: of the prior.
        codec: of the prior.
        tokens: per chunk of audio.
        cache: folder for decoded recordings and images; None: decode again.
        on_progress: called while images are read.

    Raises:
        InputError: the data cannot be read.
        OutputError: the cache cannot be written.
    """
    if isinstance(codec, Vqvae1d):
        return _audio(data, split, card.sources, card.sample_rate, tokens * codec.config.hop, cache)
    height, width = codec.config.size
    train, held_out = open_like(data, (codec.config.channels, height, width), (), cache, on_progress)
    return ImageChunks(train if split == "train" else held_out)


def _audio(
    data: Path, split: str, sources: tuple[str, ...], sample_rate: int, length: int, cache: Path | None
) -> AudioChunks:
    """Chunks of a split: for training at random gains."""
    bank = open_songs(data, split, sources, sample_rate, cache)
    return AudioChunks(bank, length, Gains() if split == "train" else None)


def _check_long_enough(chunks: AudioChunks) -> None:
    for name, spans in zip(chunks.names, chunks.bank.spans, strict=True):
        if int((spans[:, 1] - spans[:, 0]).max(initial=0)) < chunks.length:
            raise InputError(
                f"no recording of {name} is long enough for chunks of "
                f"{chunks.length / chunks.bank.sample_rate:.1f} s",
                "use longer recordings or fewer tokens",
            )
