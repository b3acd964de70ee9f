"""The box ``moov/udta/stem`` of a ``.stem.mp4``: names and colors of its stems as JSON.

Sources: a file that Native Instruments' Stem Creator wrote (in the package stempeg), and the reader of Mixxx,
which demands five stereo tracks; not the specification (1.0, 2015) itself. Boxes: ISO/IEC 14496-12, 4.2.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

STEM_MP4 = "STEM"
"""The container in ``FileFormat``."""
STEMS = 4
"""Number of stems that players demand."""
SILENT = "silent"
"""Name of stems that fill up that number."""
COLORS = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#0072B2")
"""Colors of stems in their order; the first four are those of Stem Creator."""
SILENT_COLOR = "#999999"
COMPRESSOR = {
    "enabled": False,
    "input_gain": 0.5,
    "output_gain": 0.5,
    "threshold": 0,
    "dry_wet": 50,
    "attack": 0.003,
    "release": 0.3,
    "ratio": 3,
    "hp_cutoff": 300,
}
LIMITER = {"enabled": False, "threshold": 0, "ceiling": -0.35, "release": 0.05}
"""Effects on the sum of the stems, which are off: the stems sum to the mixture as they are."""
MOST_BYTES = 1 << 20
"""Bytes up to which a box is read."""


def filled_up(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of stems, with silent ones up to the number that players demand."""
    return (*names, *[SILENT] * (STEMS - len(names)))


def append_stem_box(file: BinaryIO, names: Sequence[str]) -> None:
    """Add the box to a whole MP4 file that ends with ``moov``, and that with ``udta``.

    Raises:
        OSError: the file is another, or cannot be written.
    """
    end = file.seek(0, 2)
    moov = _last(file, 0, end, b"moov")
    udta = _last(file, moov + 8, end, b"udta")
    data = _manifest(names)
    box = struct.pack(">I4s", 8 + len(data), b"stem") + data
    file.seek(end)
    file.write(box)
    for start in (moov, udta):
        file.seek(start)
        file.write(struct.pack(">I", end + len(box) - start))


def read_stem_names(path: Path) -> tuple[str, ...]:
    """Return the names of the stems of an MP4 file, without silent ones at the end; () if it has no names.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start, end = 0, file.seek(0, 2)
        for wanted in (b"moov", b"udta", b"stem"):
            box = next((one for one in _boxes(file, start, end) if one[0] == wanted), None)
            if box is None:
                return ()
            _, start, end = box
        file.seek(start)
        data = file.read(min(end - start, MOST_BYTES))
    try:
        names = [str(stem["name"]) for stem in json.loads(data.rstrip(b"\0"))["stems"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ()
    while names and names[-1] == SILENT:
        names.pop()
    return tuple(names)


def _manifest(names: Sequence[str]) -> bytes:
    stems = [
        {"name": name, "color": SILENT_COLOR if name == SILENT else COLORS[number % len(COLORS)]}
        for number, name in enumerate(filled_up(names))
    ]
    document: dict[str, Any] = {
        "version": 1,
        "mastering_dsp": {"compressor": COMPRESSOR, "limiter": LIMITER},
        "stems": stems,
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _last(file: BinaryIO, start: int, end: int, name: bytes) -> int:
    """Return the start of the last box between two positions, which has a name and a size of 32 bits."""
    boxes = list(_boxes(file, start, end))
    if not boxes or boxes[-1][0] != name or boxes[-1][2] != end:
        raise OSError(f"the file does not end with the box {name.decode()}")
    return boxes[-1][1] - 8


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start of the data and end of every box between two positions, up to a damaged one."""
    while start + 8 <= end:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1:
            size, header = int.from_bytes(file.read(8), "big"), 16
        if size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        yield name, start + header, start + size
        start += size
