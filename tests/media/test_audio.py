"""Reading: every format, exact values, and every way in which a file can be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.errors import InputError
from sepcli.media.audio import AudioReader


def noise(frames: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels))


def read_all(path: Path, block: int = 1000) -> np.ndarray:
    blocks = []
    with AudioReader(path) as reader:
        while (part := reader.read(block)).shape[-1]:
            blocks.append(part)
        assert sum(part.shape[-1] for part in blocks) == reader.info.frames
    return np.concatenate(blocks, axis=-1)


def without_tag(path: Path) -> bytes:
    """The frames of an MP3 file after the one that announces its length."""
    data = path.read_bytes()
    return data[data.index(data[:2], max(data.find(b"Xing"), data.find(b"Info"))) :]


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("extension", "subtype"),
    [("wav", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")]
    + [("flac", name) for name in ("PCM_S8", "PCM_16", "PCM_24")],
)
def test_lossless_files_are_read_as_they_are(
    tmp_path: Path, rate: int, channels: int, extension: str, subtype: str
) -> None:
    path = tmp_path / f"x.{extension}"
    soundfile.write(path, noise(3333, channels), rate, subtype=subtype)
    with AudioReader(path) as reader:
        assert (reader.info.sample_rate, reader.info.channels, reader.info.frames) == (rate, channels, 3333)
        assert reader.info.subtype == subtype
    expected = soundfile.read(path, always_2d=True)[0].T
    np.testing.assert_array_equal(read_all(path), expected)


@pytest.mark.parametrize(
    ("extension", "rate"), [("mp3", 44100), ("mp3", 8000), ("ogg", 44100), ("ogg", 96000)]
)
def test_lossy_files_are_read_to_the_end(tmp_path: Path, extension: str, rate: int) -> None:
    path = tmp_path / f"x.{extension}"
    soundfile.write(path, noise(50000, 2), rate)
    assert read_all(path).shape == (2, 50000)


@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("rate", [22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_file_without_a_length_is_read_to_its_true_end(
    tmp_path: Path, loud_first: bool, rate: int, channels: int
) -> None:
    signal = noise(6 * rate, channels)
    signal[: 3 * rate] *= 1e-4
    path, bare = tmp_path / "tagged.mp3", tmp_path / "bare.mp3"
    with soundfile.SoundFile(
        path, "w", rate, channels, bitrate_mode="VARIABLE", compression_level=0.3
    ) as file:
        file.write(signal[::-1] if loud_first else signal)
    bare.write_bytes(without_tag(path))
    guess = soundfile.info(bare).frames
    assert read_all(path).shape == (channels, 6 * rate)
    assert guess != read_all(bare).shape[-1]
    assert 0 <= read_all(bare).shape[-1] - 6 * rate < 3 * 1152


def test_an_id3_tag_is_skipped(tmp_path: Path) -> None:
    path, bare = tmp_path / "tagged.mp3", tmp_path / "bare.mp3"
    soundfile.write(path, noise(30000, 2), 44100)
    bare.write_bytes(b"ID3\x04\x00\x00\x00\x00\x02\x00" + b"\xff\xfb\x90\x00" * 64 + without_tag(path))
    assert read_all(bare).shape[-1] >= 30000


def test_rewind_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "x.ogg"
    soundfile.write(path, noise(5000, 1), 44100)
    with AudioReader(path) as reader:
        first = reader.read(1234)
        reader.read(9999)
        assert reader.read(1).shape == (1, 0)
        reader.rewind()
        np.testing.assert_array_equal(reader.read(1234), first)


def test_a_block_is_all_that_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(100000, 1), 44100)
    sizes: list[int] = []
    original = soundfile.SoundFile.read

    def spy(self: soundfile.SoundFile, frames: int = -1, **options: object) -> np.ndarray:
        sizes.append(frames)
        return original(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    read_all(path, block=512)
    assert max(sizes) <= 512
    assert min(sizes) >= 0


def refused(path: Path, subject: str = "") -> None:
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert str(path) in caught.value.message
    assert subject in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "mp3", "ogg", "rf64", "w64", "au", "caf"])
def test_a_truncated_file_is_refused(tmp_path: Path, extension: str, keep: float) -> None:
    whole, path = tmp_path / f"whole.{extension}", tmp_path / f"cut.{extension}"
    soundfile.write(whole, noise(100000, 2), 44100)
    data = whole.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    refused(path)


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_a_wav_file_that_was_streamed_is_read(tmp_path: Path, size: bytes) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(1000, 2), 44100)
    expected = read_all(path)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = size
    path.write_bytes(data)
    np.testing.assert_array_equal(read_all(path), expected)


def test_a_flac_file_without_a_length_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, noise(10000, 2), 44100)
    expected = soundfile.read(path)[0].T
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with AudioReader(path) as reader:
        assert (reader.info.format, reader.info.subtype) == ("FLAC", "PCM_16")
    np.testing.assert_array_equal(read_all(path), expected)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, subtype: str, value: float) -> None:
    path = tmp_path / "x.wav"
    signal = noise(3000, 2)
    signal[2205, 1] = value
    soundfile.write(path, signal, 44100, subtype=subtype)
    refused(path, "0.050")


@pytest.mark.parametrize("name", ["x.wav", "x.mp3", "x.flac", "x.ogg", "x.raw", "x"])
def test_what_is_not_audio_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("This is a shopping list: milk, bread, apples.\n" * 100)
    refused(path)
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    refused(path)
    path.write_bytes(b"")
    refused(path)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path)
    refused(tmp_path / "missing.wav")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe")


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((0, 2)), 44100)
    refused(path)


def test_a_name_that_is_not_unicode_is_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \xc3\xa9.wav")
    soundfile.write(os.fsencode(path), noise(10, 1), 44100, format="WAV")
    assert read_all(path).shape == (1, 10)


@pytest.mark.parametrize("form", ["RF64", "W64"])
@pytest.mark.parametrize("lost", [0, 4, 600])
def test_files_with_long_sizes_are_whole_or_refused(tmp_path: Path, form: str, lost: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(2000, 2), 8000, "PCM_16", format=form)
    path.write_bytes(path.read_bytes()[: path.stat().st_size - lost])
    if lost:
        with pytest.raises(InputError, match=r"x\.wav"):
            read_all(path)
    else:
        assert read_all(path).shape == (2, 2000)


def test_a_damaged_mp3_file_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.mp3").write_bytes(b"\xff\xfb\x90\x00" + np.random.default_rng(0).bytes(4000))
    with pytest.raises(InputError, match=r"x\.mp3"):
        read_all(tmp_path / "x.mp3")
    assert capfd.readouterr() == ("", "")
