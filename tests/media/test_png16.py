"""PNG files of 16 bits, against two readers: Pillow, and the format's own rules."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcli.media.image_writer import write_images
from sepcli.media.images import RasterImage
from sepcli.media.png16 import write_png16


def values(channels: int, height: int = 150, width: int = 7) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels), np.uint16)


def unpacked(path: Path) -> np.ndarray:
    """Values of a file whose rows are filtered with "up"."""
    data, place, packed = path.read_bytes(), 8, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        if kind == b"IHDR":
            width, height, bits = struct.unpack(">IIB", body[:9])
            assert bits == 16
        packed += body if kind == b"IDAT" else b""
        place += length + 12
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").reshape(height, width, -1)


@pytest.mark.parametrize(("channels", "mode"), [(1, "I;16"), (2, "RGBA"), (3, "RGB"), (4, "RGBA")])
def test_nothing_is_lost(tmp_path: Path, channels: int, mode: str) -> None:
    deep = values(channels)
    with (tmp_path / "a.png").open("xb") as file:
        write_png16(file, deep)
    assert np.array_equal(unpacked(tmp_path / "a.png"), deep)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == mode
        seen = np.asarray(image).reshape(*deep.shape[:2], -1)
    seen = seen[..., [0, 3]] if channels == 2 else seen
    assert np.array_equal(seen, deep if channels == 1 else deep >> 8)


def test_images_of_sixteen_bits_keep_them_in_color_and_beside_transparency(tmp_path: Path) -> None:
    deep, alpha = values(3, 4, 5), np.random.default_rng(0).integers(0, 256, (4, 5), np.uint8)
    pixels = np.moveaxis(deep / 65535, -1, 0).astype(np.float32)
    write_images([(tmp_path / "a.png", RasterImage(pixels, alpha, bits=16))])
    actual = unpacked(tmp_path / "a.png")
    assert np.array_equal(actual[..., :3], deep)
    assert np.array_equal(actual[..., 3], alpha.astype(int) * 257)
