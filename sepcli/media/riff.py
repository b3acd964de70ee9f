"""Chunks of WAV files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO


def wav_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Walk over the chunks of a WAV file (RIFF, RF64, BW64) that is open at its start.

    Yields:
        Name and size in bytes of a chunk, with the file at its data; nothing for other files.
    """
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    while len(chunk := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        position = file.tell()
        yield name, size
        file.seek(position + size + size % 2)


def append_chunk(file: BinaryIO, name: bytes, data: bytes) -> None:
    """Append a chunk to a WAV file of less than 4 GiB."""
    file.seek(0, 2)
    file.write(bytes(file.tell() % 2))
    file.write(struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2))
    size = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", size))
