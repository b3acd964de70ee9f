"""The number of samples that the tag of an MP3 file announces, to recognize a truncated file."""

from __future__ import annotations

from pathlib import Path

HEAD = 4096
"""Bytes that are searched for the first frame."""


def announced_samples(path: Path) -> int:
    """Return the samples that the Xing, Info or VBRI tag of an MP3 file announces, with priming and padding.

    Returns:
        0 if the file has no such tag, or the tag has no number of frames.
    """
    with path.open("rb") as file:
        start = 0
        while size := _id3_size(file.read(10)):
            start += size
            file.seek(start)
        file.seek(start)
        head = file.read(HEAD)
    for offset in range(len(head) - 40):
        header = head[offset : offset + 4]
        if _is_frame(header):
            mpeg1, mono = header[1] >> 3 & 3 == 3, header[3] >> 6 == 3
            side_info = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
            return _frames(head[offset + 4 :], side_info) * (1152 if mpeg1 else 576)
    return 0


def _frames(frame: bytes, side_info: int) -> int:
    """Return the number of frames in the tag of a frame, without its header."""
    tag = frame[side_info:]
    if tag[:4] in (b"Xing", b"Info") and len(tag) >= 12 and tag[7] & 1:
        return int.from_bytes(tag[8:12], "big")
    if frame[32:36] == b"VBRI":
        return int.from_bytes(frame[46:50], "big")
    return 0


def _id3_size(head: bytes) -> int:
    """Return the size in bytes of an ID3v2 tag, stored in four bytes of seven bits; 0 if there is none."""
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
