#!/usr/bin/env bash
# FFmpeg's libraries (PyAV) decode a tiled TIFF to wrong pixels, without an error.
#
# Seen: gray, RGB and RGBA of 8 and 16 bits, in tiles, decode to an image of the right size and pixel format that is black; in strips they are exact.
# Memory would have guessed: tiles are decoded, as strips are, or refused with an error.
# For separation: large scans and microscope images are tiled; a reader that uses FFmpeg for 16 bits colorizes a black image. Pillow (8 bits) and tifffile read them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6 tifffile==2026.3.3
cd "$work"
"$work/venv/bin/python" - <<'END'
import av
import numpy as np
import tifffile

rows, columns = np.mgrid[:64, :64]
image = np.stack([columns * 1000, rows * 1000, (rows + columns) * 500, 64_000 - rows * 900], axis=-1).astype(np.uint16)
print("av", av.__version__, "libavcodec", av.library_versions["libavcodec"], "tifffile", tifffile.__version__)
for channels in (1, 3, 4):
    for values in ((image >> 8).astype(np.uint8), image):
        values = values[..., 0] if channels == 1 else values[..., :channels]
        errors = {}
        for name, options in (("strips", {}), ("tiles", {"tile": (16, 16)})):
            tifffile.imwrite("x.tif", values, photometric="rgb" if channels > 1 else "minisblack", **options)
            assert np.array_equal(tifffile.imread("x.tif"), values)
            with av.open("x.tif") as container:
                frame = next(container.decode(video=0))
                found = frame.to_ndarray()
            assert found.shape == values.shape and found.dtype == values.dtype
            errors[name] = int(np.abs(found.astype(int) - values).max())
            print(frame.format.name, name, "largest error", errors[name], "brightest value", found.max())
        assert errors["strips"] == 0 and errors["tiles"] > np.iinfo(values.dtype).max // 2
END
