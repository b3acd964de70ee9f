#!/usr/bin/env bash
# Pillow opens stereo photographs of cameras (MPO), but cannot be told to open them.
#
# Seen: Image.open(path) gives a file of format MPO; Image.open(path, formats=['MPO']) raises KeyError; formats=['JPEG'] gives MPO again.
# Memory would have guessed: the names in Image.open(formats=...) are the formats that Image.open reports, and an unknown one is skipped or named.
# For separation: a list of trusted formats for photographs to colorize must say JPEG and leave MPO out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==13.0.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import PIL
from PIL import Image

image = Image.linear_gradient("L").convert("RGB")
image.save("x.jpg", format="MPO", save_all=True, append_images=[image.resize((64, 64))])
Image.init()
print("pillow", PIL.__version__, "registered for .mpo:", Image.registered_extensions()[".mpo"], "in OPEN:", "MPO" in Image.OPEN)
with Image.open("x.jpg") as found, Image.open("x.jpg", formats=["JPEG"]) as as_jpeg:
    print("without formats:", found.format, "with JPEG:", as_jpeg.format)
    assert found.format == as_jpeg.format == "MPO"
try:
    Image.open("x.jpg", formats=["MPO"])
except KeyError as error:
    print("with MPO: KeyError", error)
else:
    raise SystemExit("formats=['MPO'] is accepted now")
END
