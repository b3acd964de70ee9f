"""Files of coded samples are decoded as their encoders meant it."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import soundfile

from sepcli.media.audio import AudioReader
from sepcli.media.libav import LibavDecoder

RATE = 44100
ADAPTATION = [230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230]
COEFFICIENTS = [(256, 0), (512, -256), (0, 0), (192, 64), (240, 0), (460, -208), (392, -232)]


def signal(frames: int, channels: int = 2) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((frames, channels))
    return 0.03 * scipy.signal.lfilter([1], [1, -0.95], noise, axis=0)


def read(path: Path) -> np.ndarray:
    with AudioReader(path) as reader:
        return reader.read(reader.info.frames).T


def ms_adpcm(data: bytes, channels: int, block: int) -> np.ndarray:
    """Samples (T, C) of MS ADPCM, 16 bits: predictions are rounded down (RIFF specification of 1994)."""
    rows: list[list[int]] = []
    for start in range(0, len(data), block):
        part = data[start : start + block]
        header = np.frombuffer(part[channels : 7 * channels], "<i2").reshape(3, channels)
        delta, one, two = (row.tolist() for row in header)
        rows += [two[:], one[:]]
        nibbles = [half for byte in part[7 * channels :] for half in (byte >> 4, byte & 15)]
        for number, nibble in enumerate(nibbles):
            c = number % channels
            first, second = COEFFICIENTS[part[c]]
            predicted = (one[c] * first + two[c] * second) // 256
            value = predicted + (nibble - 16 if nibble & 8 else nibble) * delta[c]
            one[c], two[c] = min(max(value, -32768), 32767), one[c]
            delta[c] = max(16, ADAPTATION[nibble] * delta[c] // 256)
            if c == channels - 1:
                rows.append(one[:])
    return np.array(rows)


@pytest.mark.parametrize("channels", [1, 2])
def test_ms_adpcm_is_decoded_with_the_rounding_of_its_encoders(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, signal(4000, channels), RATE, "MS_ADPCM")
    file = path.read_bytes()
    start = file.index(b"data") + 8
    size = struct.unpack("<I", file[start - 4 : start])[0]
    block = struct.unpack("<H", file[file.index(b"fmt ") + 20 :][:2])[0]
    expected = ms_adpcm(file[start : start + size], channels, block)
    found = read(path) * 32768
    assert len(found) >= 4000
    np.testing.assert_array_equal(found, expected[: len(found)])


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "IMA_ADPCM", "GSM610"])
def test_other_codings_of_wav_are_decoded_to_the_samples_of_ffmpeg(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, signal(5000, 1), RATE, subtype)
    decoder = LibavDecoder(path)
    expected = decoder.read(1 << 20)
    decoder.close()
    np.testing.assert_array_equal(read(path), expected)


def test_ima_adpcm_of_aiff_keeps_its_precision_from_packet_to_packet(tmp_path: Path) -> None:
    path, original = tmp_path / "x.aiff", signal(20_000)
    soundfile.write(path, original, RATE, "IMA_ADPCM")
    libsndfile = soundfile.read(path)[0][:20_000]
    error, theirs = (np.square(found[:20_000] - original).mean() for found in (read(path), libsndfile))
    assert error < 0.85 * theirs


@pytest.mark.parametrize("bits", [16, 24])
def test_alac_in_caf_is_read_to_its_end(tmp_path: Path, bits: int) -> None:
    path, scale = tmp_path / "x.caf", 2.0 ** (bits - 1)
    values = np.rint(signal(44_100) * scale) / scale
    soundfile.write(path, values, RATE, f"ALAC_{bits}")
    np.testing.assert_array_equal(read(path), values)


def test_layer_two_is_read_alone_and_in_wav(tmp_path: Path) -> None:
    phases = np.outer(np.arange(8 * 1152), [2 * np.pi * 440 / RATE, 2 * np.pi * 997 / RATE])
    samples, alone = 0.3 * np.sin(phases), tmp_path / "x.mp2"
    with av.open(str(alone), "w", format="mp2") as file:
        stream = file.add_stream("mp2", rate=RATE, layout="stereo")
        values = (samples.ravel() * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="stereo")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    data = alone.read_bytes()
    header = struct.pack("<HHIIHHH", 0x50, 2, RATE, 48_000, 1, 0, 0)
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    for name in ("x.mp2", "x.wav"):
        found = read(tmp_path / name)
        lag = 481  # of the coder's filters
        assert len(found) == len(samples)
        error = found[lag : len(samples)] - samples[: len(samples) - lag]
        assert np.square(error).mean() < 0.01 * np.square(samples).mean()
