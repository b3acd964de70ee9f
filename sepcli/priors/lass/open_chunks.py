"""From a data set to the chunks of clean sources that a part of LASS is trained or a table is counted on."""

from __future__ import annotations

from pathlib import Path

from sepcli.datasets.chunks import Gains
from sepcli.datasets.image_splits import has_mirrored, named_classes, open_data, open_like
from sepcli.datasets.song_banks import open_songs
from sepcli.errors import InputError
from sepcli.priors.lass.chunks import AudioChunks, Data, ImageChunks
from sepcli.priors.lass.load import MEANS
from sepcli.priors.lass.options import ImageCodecOptions, ImageTransformerOptions
from sepcli.priors.lass.palette import PaletteConfig
from sepcli.priors.lass.vqgan import VqganConfig
from sepcli.priors.lass.vqvae1d import Vqvae1dConfig
from sepcli.priors.lass.vqvae2d import Vqvae2dConfig
from sepcli.protocols import ProgressCallback
from sepcli.training.config import TrainConfig
from sepcli.training.run import OnMessage

SECONDS = 3
"""Length of the chunks of audio by which a codec is validated."""


def audio_data(config: TrainConfig, codec: Vqvae1dConfig, seconds: float | None = None) -> Data:
    """Open songs with stems of all sources, for a codec or the parts over its tokens.

    Held-out chunks have ``seconds``, or the length of those for training.

    Raises:
        InputError: the data cannot be read, or a source has no recording that is long enough.
        OutputError: the cache cannot be written.
    """
    length = config.tokens * codec.hop
    held_out = length if seconds is None else int(seconds * codec.sample_rate) // codec.hop * codec.hop
    train, valid = (
        open_audio(config.data, split, config.sources, codec.sample_rate, size, config.cache)
        for split, size in (("train", length), ("validation", held_out))
    )
    for chunks in (train, valid):
        _check_long_enough(chunks)
    hours = {name: round(s / 3600, 2) for name, s in zip(config.sources, train.bank.seconds, strict=True)}
    weights = (1 / len(config.sources),) * len(config.sources)
    return Data(train, valid, weights, 64, {"hours_of_data": hours})


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
    return (channels, height, width), Data(ImageChunks(train, flip), ImageChunks(held_out), MEANS, 256, facts)


def transformer_images(
    options: ImageTransformerOptions,
    config: TrainConfig,
    codec: Vqvae2dConfig | VqganConfig | PaletteConfig,
    on_progress: ProgressCallback | None,
) -> Data:
    """Open images, with their classes, for a transformer over a codec's tokens.

    Raises:
        UsageError: the data have no such classes.
        InputError: the data cannot be read, or are of another shape than the codec's.
        OutputError: the cache cannot be written.
    """
    classes = named_classes(config.data, options.classes)
    train, held_out = open_like(config.data, codec.shape, classes, config.cache, on_progress)
    flip, dropout = has_mirrored(train, options.flip), options.class_dropout if classes else 1.0
    facts = {"images": len(train.images), "classes": list(classes), "flip": flip}
    return Data(ImageChunks(train, flip, dropout), ImageChunks(held_out, False, dropout), MEANS, 256, facts)


def open_audio(
    data: Path, split: str, sources: tuple[str, ...], sample_rate: int, length: int, cache: Path | None
) -> AudioChunks:
    """Open chunks of a split of songs: for training at random gains.

    Raises:
        InputError: the data cannot be read.
        OutputError: the cache cannot be written.
    """
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
