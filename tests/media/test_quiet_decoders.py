"""Decoders print nothing of their own on damaged files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.errors import InputError
from sepcli.media.audio import AudioReader


@pytest.mark.parametrize("damage", ["bytes", "end", "start"])
@pytest.mark.parametrize("form", ["MP3", "FLAC", "OGG"])
def test_decoders_print_nothing(
    tmp_path: Path, form: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rng, file = np.random.default_rng(0), io.BytesIO()
    soundfile.write(file, rng.uniform(-0.3, 0.3, (20000, 2)), 44100, format=form)
    data = bytearray(file.getvalue())
    if damage == "bytes":
        for position in rng.integers(200, len(data), 40):
            data[position] ^= 0x55
    path = tmp_path / "mix"
    path.write_bytes({"bytes": data, "end": data[: 2 * len(data) // 3], "start": data[100:]}[damage])
    with suppress(InputError), AudioReader(path) as reader:  # FFmpeg conceals some damage of MP3
        reader.read(20000)
    assert capfd.readouterr() == ("", "")


def test_pillow_prints_nothing(tmp_path: Path) -> None:
    path = tmp_path / "many.tiff"
    Image.new("RGB", (4, 4)).save(path)
    samples, too_many = (struct.pack("<HHIHH", 277, 3, 1, count, 0) for count in (3, 2052))
    data = path.read_bytes()
    assert samples in data
    path.write_bytes(data.replace(samples, too_many))
    program = "import sys, pathlib, sepcli.media.images as m; print(m.is_image(pathlib.Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
