"""Damage to files: what transfers, editors and strangers do to bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]
HEADER = 128
"""Bytes at the start of a file that count as its header."""
ODD_NUMBERS = ("-1", "0", "1e999", "nan", "1" + "0" * 40, "0.5", "true", "[]", '""', '"../../x"', "null")
"""Values in place of a number or a string of a text file."""


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut the end off."""
    return data[: int(rng.integers(0, max(1, len(data))))]


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip one to sixteen bits anywhere."""
    return _flipped(data, rng, len(data))


def flip_header(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip one to sixteen bits of the header."""
    return _flipped(data, rng, min(len(data), HEADER))


def replace_field(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace two or four bytes of the header by a very small or very large number of either byte order."""
    values = bytearray(data)
    width = int(rng.choice([2, 4]))
    start = int(rng.integers(0, max(1, min(len(data), HEADER) - width)))
    number = int(
        rng.choice([0, 1, 255, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1])
    )
    values[start : start + width] = number.to_bytes(width, "little" if rng.integers(2) else "big")
    return bytes(values[: len(data)])


def duplicate(data: bytes, rng: np.random.Generator) -> bytes:
    """Insert a chunk a second time after itself."""
    start, stop = _range(data, rng)
    return data[:stop] + data[start:stop] + data[stop:]


def remove(data: bytes, rng: np.random.Generator) -> bytes:
    """Leave a chunk out."""
    start, stop = _range(data, rng)
    return data[:start] + data[stop:]


def overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace a chunk by zeros or noise."""
    start, stop = _range(data, rng)
    middle = bytes(stop - start) if rng.integers(2) else rng.bytes(stop - start)
    return data[:start] + middle + data[stop:]


def append(data: bytes, rng: np.random.Generator) -> bytes:
    """Append noise."""
    return data + rng.bytes(int(rng.integers(1, 2000)))


def change_value(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace a number or a string of a text by an odd value."""
    found = [*re.finditer(rb'-?\b\d[\d.e+-]*|"[^"\n]*"', data)]
    if not found:
        return data
    at = found[int(rng.integers(len(found)))]
    return data[: at.start()] + str(rng.choice(ODD_NUMBERS)).encode() + data[at.end() :]


def swap_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """Exchange two lines, or write one twice."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    first, second = (int(number) for number in rng.integers(0, len(lines), 2))
    if rng.integers(2):
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines.insert(first, lines[second])
    return b"".join(lines)


def change_progress(data: bytes, rng: np.random.Generator) -> bytes:
    """Damage the progress in the header of a checkpoint, which stays a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    mutation = TEXT[str(rng.choice([*TEXT]))]
    progress = mutation(header["__metadata__"]["progress"].encode(), rng)
    header["__metadata__"]["progress"] = progress.decode(errors="replace")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


BINARY: Mapping[str, Mutation] = {
    one.__name__: one
    for one in (truncate, flip_bits, flip_header, replace_field, duplicate, remove, overwrite, append)
}
TEXT: Mapping[str, Mutation] = {
    one.__name__: one
    for one in (change_value, change_value, swap_lines, truncate, flip_bits, duplicate, remove)
}


def _flipped(data: bytes, rng: np.random.Generator, size: int) -> bytes:
    values = bytearray(data)
    for position in rng.integers(0, max(1, size), int(rng.integers(1, 17))):
        if position < len(values):
            values[position] ^= 1 << int(rng.integers(8))
    return bytes(values)


def _range(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(0, max(1, len(data))))
    return start, min(len(data), start + int(rng.integers(1, 1 + max(1, len(data) // 4))))
