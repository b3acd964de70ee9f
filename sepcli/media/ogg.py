"""The links of an Ogg file (RFC 3533): streams that follow one another, as in recordings of web radio."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEADER = 27
"""Bytes of a page's header before its table of segments."""
BEGIN, END = 2, 4
"""Flags of the first and of the last page of a stream."""
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Byte → the byte of its bits in reverse order."""


def find_links(path: Path) -> list[tuple[int, int]] | None:
    """Find the links of an Ogg file by walking over its pages.

    Returns:
        First and last position in bytes (exclusive) of every link; None if the file is cut short or has other
        bytes between its pages.

    Raises:
        OSError: The file cannot be read.
    """
    starts: list[int] = []
    ended, beginning = True, False
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position < size:
            file.seek(position)
            header = file.read(HEADER)
            if len(header) < HEADER or not header.startswith(b"OggS"):
                return None
            lengths = file.read(header[26])
            if header[5] & BEGIN and not beginning:  # first pages of multiplexed streams stand together
                starts.append(position)
            beginning = bool(header[5] & BEGIN)
            ended = bool(header[5] & END)
            position += HEADER + header[26] + sum(lengths)
    if not ended or position != size or not starts or starts[0]:
        return None
    return list(zip(starts, [*starts[1:], size], strict=True))


def clear_serials(file: BinaryIO) -> None:
    """Set the serial number of the one stream of an Ogg file, which is random, to 0, so that equal runs give
    equal files.

    Raises:
        OSError: The file cannot be changed.
    """
    position = file.seek(0)
    while len(header := file.read(HEADER)) == HEADER:
        lengths = file.read(header[26])
        page = bytearray(header + lengths + file.read(sum(lengths)))
        page[14:18] = page[22:26] = bytes(4)
        page[22:26] = checksum(page).to_bytes(4, "little")
        file.seek(position)
        file.write(page)
        position = file.tell()


def checksum(page: bytes | bytearray) -> int:
    """Return the CRC of a page whose field for it is 0.

    It is zlib's with bits in the other order, and without its inversions (RFC 3533, section 6).
    """
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


class Link(io.RawIOBase):
    """A read-only file: the bytes ``start`` to ``end`` of ``path``."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start, self._size = start, end - start
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset`` bytes from the start, the position or the end; return the position."""
        self._position = max(0, (0, self._position, self._size)[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill ``buffer`` from the position on; return the number of bytes read, 0 at the end."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._position)
        data = self._file.read(min(len(view), max(0, self._size - self._position)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
