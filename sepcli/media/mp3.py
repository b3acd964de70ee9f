"""MP3 files that do not say how long they are.

An MP3 file without a Xing, Info or VBRI tag has no length. The decoder then guesses one from the size of its
first frames, and stops there: of a file with a variable bit rate that starts loud it would deliver a third
and report success. So such a file is shown to the decoder behind a tag frame of our own, which announces more
frames than the file can hold; the decoder then reads to the true end.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

HEAD = 4096
"""Bytes in which a first frame, and the tag in it, are looked for."""
SMALLEST_FRAME = 24
"""Bytes of the shortest frame there is (8 kbit/s at 24 kHz)."""


def untagged(path: Path) -> TaglessMp3 | None:
    """Open an MP3 file so that it is decoded to its end, if its own length is only a guess.

    Args:
        path: An MP3 file (MPEG 1, 2 or 2.5, layer III).

    Returns:
        A binary file to decode instead of ``path``, to be closed by the caller; None when the file announces
        its length itself.

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
            return TaglessMp3(path, start + offset, _tag_frame(header, size // SMALLEST_FRAME + 1))
    return None


def _after_id3(head: bytes) -> int:
    """The position after an ID3v2 tag, whose size is four bytes of seven bits."""
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _is_frame(header: bytes) -> bool:
    """Whether four bytes are a layer III header: sync, version, layer, bit rate and sample rate are legal."""
    sync = header[0] == 0xFF and header[1] & 0xE0 == 0xE0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    return sync and version != 1 and layer == 1 and 0 < bitrate < 15 and rate != 3


def _tag_frame(header: bytes, frames: int) -> bytes:
    """A silent frame like ``header``, with a Xing tag that announces ``frames`` (ISO 11172-3, 13818-3)."""
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    mpeg1, mono = version == 3, header[3] >> 6 == 3
    hertz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    length = 144 * 128_000 // hertz if mpeg1 else 72 * 80_000 // hertz  # bit rate index 9
    side_info = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    start = bytes((0xFF, header[1] | 1, 0x90 | rate << 2, header[3])) + bytes(side_info)
    tag = b"Xing" + (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return (start + tag).ljust(length, b"\0")


class TaglessMp3(io.RawIOBase):
    """A read-only file: ``prefix``, then the bytes of ``path`` from ``start`` on."""

    def __init__(self, path: Path, start: int, prefix: bytes) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start = start
        self._prefix = prefix
        self._size = len(prefix) + os.fstat(self._file.fileno()).st_size - start
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to ``offset`` bytes from the start, the position or the end; return the position."""
        self._position = max(0, (0, self._position, self._size)[whence] + offset)
        return self._position

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill ``buffer`` from the position on; return how many bytes were read, 0 at the end."""
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
