#!/usr/bin/env bash
# LittleCMS (Pillow's ImageCms) darkens the shadows of a linear gray image by up to ten levels of 255, unless told not to optimize.
#
# Seen: of linear light 5/255, whose sRGB value is 38, the conversion gives 31; with the flag NOOPTIMIZE 38.
# Memory would have guessed: conversions of 8 bits are exact within a rounding; the default flags cost no accuracy.
# For separation: gray photographs to colorize whose profile is linear lose their shadows before the prior sees them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==13.0.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import io
import struct

import numpy as np
import PIL
from PIL import Image, ImageCms, features


def linear_gray_profile():
    """A gray ICC profile of gamma 1 (ICC.1:2001)."""
    parts = {
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2),
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear" + bytes(79) + bytes(3),
        b"cprt": b"text" + bytes(4) + b"none" + bytes(4),
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(parts)
    for name, data in parts.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return ImageCms.ImageCmsProfile(io.BytesIO(head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body))


levels = np.arange(256, dtype=np.uint8)
light = levels / 255
exact = np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))
source, target = linear_gray_profile(), ImageCms.createProfile("sRGB")
print("pillow", PIL.__version__, "littlecms", features.version("littlecms2"))
errors = {}
for name, flags in (("default", ImageCms.Flags.NONE), ("NOOPTIMIZE", ImageCms.Flags.NOOPTIMIZE)):
    image = ImageCms.profileToProfile(Image.fromarray(levels[None]), source, target, outputMode="RGB", flags=flags)
    found = np.asarray(image)[0, :, 0].astype(int)
    errors[name] = np.abs(found - exact).max()
    print(name, "level 5 ->", found[5], "exact", int(exact[5]), "largest error", int(errors[name]))
assert errors["default"] >= 5 and errors["NOOPTIMIZE"] <= 1
END
