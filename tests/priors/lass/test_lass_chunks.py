"""Chunks of audio and images: shapes, labels, mirror images, repeatability."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sepcli.datasets.chunks import Gains
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.stems import concatenate
from sepcli.priors.lass.chunks import SEQUENCES, AudioChunks, Chunks, ImageChunks


def audio(gains: Gains | None = None) -> AudioChunks:
    rng = np.random.default_rng(0)
    noise = [[(0, (rng.standard_normal(9000) * 3000).astype(np.int16))] for _ in range(2)]
    return AudioChunks(concatenate(("drums", "bass"), 4000, noise), 320, gains)


def images(flip: bool = False, class_dropout: float = 1.0) -> ImageChunks:
    """The class is written into the first pixel, the left half is dark."""
    pixels = np.zeros((30, 1, 4, 4), np.uint8)
    pixels[..., 2:] = 200
    labels = np.arange(30) % 3
    pixels[:, 0, 0, 0] = pixels[:, 0, 0, 3] = labels
    return ImageChunks(LabelledImages(pixels, labels, ("a", "b", "c")), flip, class_dropout)


@pytest.mark.parametrize("chunks", [audio(), audio(Gains()), images(), images(True, 0.5)], ids=str)
def test_what_all_chunks_do(chunks: Chunks) -> None:
    sampled = chunks.sample(np.random.default_rng(3), 5)
    assert sampled.shape[:2] == (5, len(chunks.names))
    assert sampled.dtype == torch.float32
    assert torch.equal(sampled, chunks.sample(np.random.default_rng(3), 5))
    assert not torch.equal(sampled, chunks.sample(np.random.default_rng(4), 5))
    signals, sources = chunks.labelled(np.random.default_rng(3), 5)
    assert len(signals) == len(sources) >= 5
    assert signals.shape[1:] == sampled.shape[2:]
    assert sources.dtype == torch.int64
    for signals, sources in chunks.validation().values():
        assert len(signals) == len(sources)
        assert signals.shape[1:] == sampled.shape[2:]
    again = chunks.validation()
    assert all(torch.equal(again[name][0], signals) for name, (signals, _) in chunks.validation().items())


def test_every_source_of_audio_is_drawn_as_often() -> None:
    signals, sources = audio().labelled(np.random.default_rng(0), 5)
    assert signals.shape == (6, 1, 320)
    assert sources.tolist() == [0, 1] * 3
    parts = audio().validation()
    assert list(parts) == ["drums", "bass"]
    for k, (chunks, sources) in enumerate(parts.values()):
        assert chunks.shape == (SEQUENCES, 1, 320)
        assert sources.unique().tolist() == [k]


def test_images_are_mirrored_by_the_toss_of_a_coin() -> None:
    sampled = images(flip=True).sample(np.random.default_rng(0), 200).flatten(0, 1)
    left = sampled[..., 1, 0] > 0.5
    assert 0.4 < float(left.float().mean()) < 0.6
    assert not bool((images().sample(np.random.default_rng(0), 200).flatten(0, 1)[..., 1, 0] > 0.5).any())


def test_classes_of_images_are_withheld_as_often_as_asked() -> None:
    signals, sources = images(class_dropout=0.25).labelled(np.random.default_rng(0), 2000)
    known = sources > 0
    assert 0.2 < 1 - float(known.float().mean()) < 0.3
    assert torch.equal((signals[known, 0, 0, 0] * 255).round().long() + 1, sources[known])
    assert images().labelled(np.random.default_rng(0), 9)[1].unique().tolist() == [0]
    assert list(images().validation()) == [""]
    parts = images(class_dropout=0.25).validation()
    assert list(parts) == ["", "class"]
    assert parts["class"][1].tolist() == [1, 2, 3] * 10
