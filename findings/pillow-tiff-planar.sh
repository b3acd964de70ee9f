#!/usr/bin/env bash
# Pillow opens an uncompressed RGB TIFF of 16 bits with separate planes as wrong pixels, without an error.
#
# Seen: the file opens as RGB of 8 bits, whose planes are the bytes of the first half of each plane: low byte, high byte, low byte. With zlib compression, or with interleaved channels, the high bytes are right.
# Memory would have guessed: either the high bytes, as for the other layouts, or an UnidentifiedImageError.
# For separation: such an image is noise before the prior sees it; tifffile and FFmpeg's libraries read it exactly.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import PIL
import tifffile
from PIL import Image

rows, columns = np.mgrid[:64, :64]
planes = np.stack([columns * 1000, rows * 1000, (rows + columns) * 500]).astype("<u2")
expected = np.moveaxis(planes >> 8, 0, -1)
print("pillow", PIL.__version__, "tifffile", tifffile.__version__)
errors = {}
for name, options in (
    ("interleaved", {"planarconfig": "contig"}),
    ("planes, zlib", {"planarconfig": "separate", "compression": "zlib"}),
    ("planes", {"planarconfig": "separate"}),
):
    values = planes if name.startswith("planes") else np.moveaxis(planes, 0, -1)
    tifffile.imwrite("x.tif", values, photometric="rgb", byteorder="<", **options)
    assert np.array_equal(tifffile.imread("x.tif"), values)
    with Image.open("x.tif") as image:
        found = np.asarray(image)
        errors[name] = int(np.abs(found.astype(int) - expected).max())
        print(name, "mode", image.mode, "largest error of 255:", errors[name])
assert errors["interleaved"] == errors["planes, zlib"] == 0 and errors["planes"] > 100
first_bytes = np.stack([np.frombuffer(plane.tobytes(), np.uint8)[: 64 * 64].reshape(64, 64) for plane in planes], axis=-1)
print("the pixels are the first bytes of each plane:", np.array_equal(found, first_bytes))
assert np.array_equal(found, first_bytes)
END
