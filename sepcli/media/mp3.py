"""MP3 files without a length in their header.

An MP3 file without a Xing, Info or VBRI tag has no length. The decoder estimates one from the size of the
first frames and stops there; of a file with variable bit rate and a loud beginning it would decode a third
and report success. Such a file is therefore passed to the decoder behind a generated tag frame, which
announces more frames than the file can contain; the decoder then reads to the true end.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEAD = 4096
"""Bytes that are searched for the first frame and its tag."""
SMALLEST_FRAME = 24
"""Bytes of the shortest frame (8 kbit/s at 24 kHz)."""


def open_untagged(path: Path) -> UntaggedMp3 | None:
    """Open an MP3 file without a length tag so that it is decoded to its end.

    Args:
        path: An MP3 file (MPEG 1, 2 or 2.5, layer III).

    Returns:
        A binary file to decode instead of ``path``, to be closed by the caller; None if the file has a length
        tag.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        start = _after_id3(file.read(10))
        file.seek(start)
        head = file.read(HEAD)
    if any(tag in head for tag in (b"Xing", b"Info", b"VBRI")):
        return None
    for offset in range(len(head) - 3):
        header = head[offset : offset + 4]
        if _is_frame(header):
            size = path.stat().st_size - start - offset
            return UntaggedMp3(path, start + offset, _tag_frame(header, size // SMALLEST_FRAME + 1))
    return None


def _after_id3(head: bytes) -> int:
    """Return the position after an ID3v2 tag, whose size is stored in four bytes of seven bits."""
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _is_frame(header: bytes) -> bool:
    """Return whether four bytes are a valid layer III header: sync, version, layer, bit rate, sample rate."""
    sync = header[0] == 0xFF and header[1] & 0xE0 == 0xE0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    return sync and version != 1 and layer == 1 and 0 < bitrate < 15 and rate != 3


def _tag_frame(header: bytes, frames: int) -> bytes:
    """Return a silent frame with a Xing tag that announces ``frames`` (ISO 11172-3, 13818-3)."""
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    mpeg1, mono = version == 3, header[3] >> 6 == 3
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    length = 144 * 128_000 // hertz if mpeg1 else 72 * 80_000 // hertz  # bit rate index 9
    side_info = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    start = bytes((0xFF, header[1] | 1, 0x90 | rate << 2, header[3])) + bytes(side_info)
    tag = b"Xing" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return (start + tag).ljust(length, b"\0")


class UntaggedMp3(io.RawIOBase):
    """A read-only file: ``prefix``, followed by the bytes of ``path`` from ``start`` on."""

    def __init__(self, path: Path, start: int, prefix: bytes) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start = start
        self._prefix = prefix
        self._size = len(prefix) + os.fstat(self._file.fileno()).st_size - start
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
        data = self._prefix[self._position : self._position + len(view)]
        if not data:
            self._file.seek(self._start + self._position - len(self._prefix))
            data = self._file.read(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
