"""Ogg files of equal runs are equal: their serial numbers are not random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sepcli.media.audio import AudioInfo, AudioReader
from sepcli.media.ogg import checksum
from sepcli.media.stem_format import Container, Encoding
from sepcli.media.stems import StemWriter


def write(path: Path, container: Container) -> bytes:
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 2, 30000)).clip(-1, 1)
    info = AudioInfo(path.with_name("mix.wav"), 48000, 2, 30000, "WAV", "FLOAT")
    with StemWriter([path], info, encoding=Encoding(container)) as writer:
        writer.write(sound)
    return path.read_bytes()


@pytest.mark.parametrize("container", ["ogg", "opus", "mp3", "m4a", "flac", "wav"])
def test_equal_samples_give_equal_bytes(container: Container, tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{name}.{container}", container) for name in "ab")
    assert first == second
    with AudioReader(tmp_path / f"a.{container}") as reader:
        assert reader.info.frames == 30000


@pytest.mark.parametrize("container", ["ogg", "opus"])
def test_pages_keep_their_checksums(container: Container, tmp_path: Path) -> None:
    data, start, pages = write(tmp_path / f"a.{container}", container), 0, 0
    while start < len(data):
        count = data[start + 26]
        end = start + 27 + count + sum(data[start + 27 : start + 27 + count])
        page = bytearray(data[start:end])
        assert page[:4] == b"OggS"
        assert page[14:18] == bytes(4)
        stored, page[22:26] = page[22:26], bytes(4)
        assert checksum(page) == int.from_bytes(stored, "little") == slow_checksum(page)
        start, pages = end, pages + 1
    assert pages > 2


def slow_checksum(page: bytes) -> int:
    """The CRC bit by bit, with the generator 0x04c11db7."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x104C11DB7) if value & 0x80000000 else value << 1
    return value
