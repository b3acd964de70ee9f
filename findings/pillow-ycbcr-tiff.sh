#!/usr/bin/env bash
# Pillow 12.3 cannot read an uncompressed YCbCr TIFF, also one that it has written itself; Pillow 13.0 can.
#
# Seen: 12.3 opens the file as RGB with four bytes per pixel, and ends with "image file is truncated"; 13.0 opens it as YCbCr.
# Memory would have guessed: what Pillow writes in a mode, it reads.
# For separation: Gradio 6.31 demands Pillow below 13, so that scans in YCbCr are refused as truncated where it is installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 12.3.0 13.0.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install -q "pillow==$version"
  "$work/$version/bin/python" - <<'END'
import io

import PIL
from PIL import Image

file = io.BytesIO()
Image.new("RGB", (8, 6), (200, 30, 40)).convert("YCbCr").save(file, "TIFF")
image = Image.open(file)
mode = image.mode
try:
    image.load()
    result = f"loaded, {image.convert('RGB').getpixel((0, 0))}"
except OSError as error:
    result = str(error)
print("pillow", PIL.__version__, mode, result)
assert ("truncated" in result) == (PIL.__version__ == "12.3.0")
END
done
