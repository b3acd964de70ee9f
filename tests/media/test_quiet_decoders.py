"""Decoders print nothing of their own on damaged files."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from encoding import encode
from PIL import Image

from sepcli.errors import InputError
from sepcli.media.audio import AudioReader
from sepcli.media.file_format import FileFormat
from sepcli.media.images import read_image


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


FAX = (struct.pack("<HHIH", 259, 3, 1, 5), struct.pack("<HHIH", 259, 3, 1, 4))
"""Compression of a TIFF file by LZW, and as a fax, which has one bit."""
TABLES = (struct.pack("<HH", 347, 7), struct.pack("<HH", 60000, 7))
"""Quantization tables of JPEG in a TIFF file, and an entry of no meaning."""


@pytest.mark.parametrize(("compression", "damage"), [("tiff_lzw", FAX), ("jpeg", TABLES)])
def test_libtiff_prints_nothing(
    tmp_path: Path, compression: str, damage: tuple[bytes, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    path, rng = tmp_path / "a.tif", np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path, compression=compression)
    data = path.read_bytes()
    assert data.count(damage[0]) == 1
    for damaged in (data.replace(*damage), data[: len(data) // 2], data[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            read_image(path)
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("form", ["MP3", "M4A", "OPUS"])
def test_encoders_survive_samples_beyond_full_scale(tmp_path: Path, form: str) -> None:
    samples = 1e9 * np.random.default_rng(0).standard_normal((6000, 2))
    assert encode(tmp_path / "a", samples, FileFormat(form, 48000, 2, bitrate=128_000))


def test_huge_samples_are_refused(tmp_path: Path) -> None:
    for largest in (1e9, 1e30):
        soundfile.write(tmp_path / "a.wav", np.array([0.0, largest]), 8000, "FLOAT")
        with AudioReader(tmp_path / "a.wav") as reader:
            if largest == 1e9:
                reader.read(2)
                continue
            with pytest.raises(InputError, match="huge"):
                reader.read(2)


def test_values_that_are_no_numbers_are_refused_without_a_warning(tmp_path: Path) -> None:
    values = np.zeros((1, 2048), np.uint32)
    values[0, 100] = 0x7FA00000  # a signaling NaN, whose conversion raises a flag
    path = tmp_path / "mix.mka"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_f32le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(values.view(np.float32), format="flt", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.raises(InputError), AudioReader(path) as reader:
        reader.read(2048)
