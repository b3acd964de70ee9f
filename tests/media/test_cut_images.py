"""Image files that were cut short are refused wherever they end, or read to the last pixel."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcli.errors import InputError
from sepcli.media.images import read_image

RNG = np.random.default_rng(0)
COLORS = Image.fromarray(RNG.integers(0, 256, (12, 16, 3), np.uint8))
GRAY = Image.fromarray(RNG.choice(np.array([12, 200], np.uint8), (12, 16)))
"""12 is the mark before the palette of a PCX file, too."""
TILE_PART = b"\xff\x90"
"""What a tile-part of JPEG 2000 begins with."""
CASES = {
    "gray.pcx": (GRAY, {}),
    "palette.pcx": (COLORS.quantize(200), {}),
    "colors.pcx": (COLORS, {}),
    "one.jp2": (COLORS, {}),
    "tiles.jp2": (GRAY, {"tile_size": (8, 8)}),
    "tiles.j2k": (COLORS, {"tile_size": (8, 8), "no_jp2": True}),
    "plain.tif": (COLORS, {}),
    "packed.tif": (COLORS, {"compression": "tiff_adobe_deflate"}),
    "fax.tif": (GRAY.convert("1"), {"compression": "group4"}),
    "lossless.webp": (COLORS, {"lossless": True}),
    "runs.tga": (GRAY, {"compression": "tga_rle"}),
    "a.gif": (GRAY, {}),
    "a.ico": (COLORS, {"sizes": [(12, 12)], "bitmap_format": "bmp"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_cut_file_is_refused_or_read_whole(tmp_path: Path, name: str) -> None:
    image, options = CASES[name]
    path = tmp_path / name
    image.save(path, **options)
    data, whole = path.read_bytes(), read_image(path).pixels
    tiles = {at for at in range(len(data)) if data.startswith(TILE_PART, at)}
    sizes, refused = {*range(0, len(data), 7), *range(len(data) - 20, len(data)), *tiles}, 0
    for size in sizes:
        path.write_bytes(data[:size])
        try:
            pixels = read_image(path).pixels
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(pixels, whole, err_msg=f"{size} of {len(data)} bytes")
    assert refused > len(sizes) // 2


def test_a_codestream_may_be_followed_by_other_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    COLORS.save(path)
    data = path.read_bytes()
    path.write_bytes(data + b"\0\0\0\x0cxml <a/>")
    np.testing.assert_array_equal(read_image(path).pixels, read_image(_written(path, data)).pixels)


def test_a_length_of_eight_bytes_and_one_that_is_not_said(tmp_path: Path) -> None:
    stream = io.BytesIO()
    COLORS.save(stream, "JPEG2000")
    data = stream.getvalue()
    at = data.index(b"jp2c") - 4
    body = data[at + 8 :]
    long = (16 + len(body)).to_bytes(8, "big")
    whole = read_image(_written(tmp_path / "a.jp2", data)).pixels
    for name, head in (("b.jp2", b"\0\0\0\x01jp2c" + long), ("c.jp2", b"\0\0\0\0jp2c")):
        path = _written(tmp_path / name, data[:at] + head + body)
        np.testing.assert_array_equal(read_image(path).pixels, whole)
        with pytest.raises(InputError):
            read_image(_written(path, (data[:at] + head + body)[:-1]))


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
