"""Stems keep the tags of the mixture."""

from __future__ import annotations

import struct
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
import soundfile

from sepcli.media.audio import AudioReader
from sepcli.media.riff import append_chunk, wav_chunks
from sepcli.media.stem_format import Encoding
from sepcli.media.stems import StemWriter

TEXTS = {"title": "Tïtle", "artist": "Someone", "album": "All", "date": "2024", "tracknumber": "3"}


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    path = tmp_path / "mix.flac"
    soundfile.write(path, np.zeros((2000, 2)), 44100)
    file = mutagen.flac.FLAC(path)
    file.update(TEXTS)
    file.save()
    return path


def separate(mixture: Path, container: str) -> Path:
    path = mixture.with_name(f"stem.{container}")
    with (
        AudioReader(mixture) as reader,
        StemWriter([path], reader.info, encoding=Encoding(container)) as writer,
    ):  # type: ignore[arg-type]
        writer.write(np.zeros((1, 2, 2000)))
    return path


@pytest.mark.parametrize("container", ["flac", "wav", "mp3", "ogg", "opus", "m4a"])
def test_texts_are_kept_from_container_to_container(mixture: Path, container: str) -> None:
    stem = separate(mixture, container)
    for source in (mixture, stem):
        with AudioReader(source) as reader:
            assert {name: reader.info.tags.texts.get(name) for name in TEXTS} == TEXTS
            assert reader.info.tags.cover is None
    if container in ("mp3", "m4a"):
        with AudioReader(separate(stem, "wav")) as reader:
            assert {name: reader.info.tags.texts.get(name) for name in TEXTS} == TEXTS


def test_the_time_reference_of_broadcast_wav_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mix.wav"
    soundfile.write(path, np.zeros((2001, 1)), 44100, "PCM_U8")
    bext = bytes(338) + struct.pack("<Q", 44100 * 3600) + bytes(256)
    with path.open("r+b") as file:
        append_chunk(file, b"bext", bext)
    with AudioReader(path) as reader, StemWriter([tmp_path / "a.wav"], reader.info) as writer:
        assert reader.info.tags.bext == bext
        writer.write(reader.read(2001)[None])
    with AudioReader(tmp_path / "a.wav") as stem:
        assert (stem.info.tags.bext, stem.info.frames) == (bext, 2001)
    with (tmp_path / "a.wav").open("rb") as file:
        assert [name for name, _ in wav_chunks(file)][-1] == b"bext"
    assert (tmp_path / "a.wav").stat().st_size % 2 == 0
