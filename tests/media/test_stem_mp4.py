"""One file of the mixture and its stems, in the layout of Native Instruments."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
from PIL import Image

from sepcli.errors import InputError, OutputError, UsageError
from sepcli.media.audio import AudioInfo, AudioReader
from sepcli.media.covers import Cover
from sepcli.media.stem_box import COLORS, append_stem_box, read_stem_names
from sepcli.media.stem_format import Encoding, stem_format
from sepcli.media.stems import StemWriter
from sepcli.media.tags import Tags

RATE = 44100
NAMES = ("drums", "bass", "other", "vocals", "piano", "guitar")


def sound(count: int, frames: int, channels: int = 2) -> np.ndarray:
    """Low noise that AAC keeps, (K, C, T)."""
    noise = np.random.default_rng(frames).standard_normal((count, channels, frames))
    return 0.03 * scipy.signal.lfilter([1], [1, -0.95], noise) * np.hanning(frames)


def info(frames: int, channels: int = 2, rate: int = RATE, tags: Tags | None = None) -> AudioInfo:
    return AudioInfo(Path("mix"), rate, channels, frames, "WAV", "PCM_16", tags=tags or Tags())


def write(
    path: Path, stems: np.ndarray, mixture: AudioInfo, bitrate: int | None = None, block: int = 7000
) -> bytes:
    """Write stems (K, C, T) and their sum; return the bytes."""
    encoding, names = Encoding("stem.mp4", bitrate), NAMES[: len(stems)]
    with StemWriter([path], mixture, encoding=encoding, names=names) as writer:
        for start in range(0, stems.shape[-1], block):
            part = stems[..., start : start + block]
            writer.write(part, part.sum(0))
    return path.read_bytes()


def read(path: Path, track: int) -> np.ndarray:
    with AudioReader(path, track) as reader:
        return reader.read(reader.info.frames)


def boxes(data: bytes, *path: bytes) -> Iterator[bytes]:
    """Yield the data of all boxes on a path."""
    start = 0
    while start < len(data):
        size, name = struct.unpack(">I4s", data[start : start + 8])
        if name == path[0]:
            body = data[start + 8 : start + size]
            yield from boxes(body, *path[1:]) if len(path) > 1 else [body]
        start += size


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and bool(
        np.square(found - expected).sum() < 0.07 * np.square(expected).sum()
    )


@pytest.mark.parametrize(("count", "frames"), [(1, 1000), (2, 50_001), (4, RATE), (6, 30_000)])
def test_the_mixture_comes_first_then_the_stems_and_silence(tmp_path: Path, count: int, frames: int) -> None:
    stems = sound(count, frames)
    data = write(tmp_path / "a.stem.mp4", stems, info(frames))
    with AudioReader(tmp_path / "a.stem.mp4") as reader:
        assert (reader.info.streams, reader.info.sample_rate) == (max(5, count + 1), RATE)
    assert same(read(tmp_path / "a.stem.mp4", 0), stems.sum(0))
    for number, stem in enumerate(stems, 1):
        assert same(read(tmp_path / "a.stem.mp4", number), stem)
    for number in range(count + 1, 5):
        silence = read(tmp_path / "a.stem.mp4", number)
        assert silence.shape == (2, frames)
        assert not silence.any()
    assert [path.name for path in tmp_path.iterdir()] == ["a.stem.mp4"]
    flags = [box[3] & 1 for box in boxes(data, b"moov", b"trak", b"tkhd")]
    assert flags == [1] + [0] * max(4, count)  # enabled
    with av.open(str(tmp_path / "a.stem.mp4")) as container:
        titles = [stream.metadata["handler_name"] for stream in container.streams.audio]
    assert titles == ["mixture", *NAMES[:count], *["silent"] * (4 - count)]


def test_the_box_names_and_colors_the_stems(tmp_path: Path) -> None:
    data = write(tmp_path / "a.stem.mp4", sound(2, 3000), info(3000))
    (box,) = boxes(data, b"moov", b"udta", b"stem")
    document = json.loads(box)
    assert document["version"] == 1
    assert [stem["name"] for stem in document["stems"]] == ["drums", "bass", "silent", "silent"]
    assert [stem["color"] for stem in document["stems"][:2]] == list(COLORS[:2])
    assert {effect["enabled"] for effect in document["mastering_dsp"].values()} == {False}
    assert read_stem_names(tmp_path / "a.stem.mp4") == ("drums", "bass")
    assert data.endswith(box)


def test_mono_is_written_to_both_channels(tmp_path: Path) -> None:
    stems = sound(2, 20_000, channels=1)
    write(tmp_path / "a.stem.mp4", stems, info(20_000, channels=1))
    found = read(tmp_path / "a.stem.mp4", 1)
    assert same(found, np.repeat(stems[0], 2, axis=0))


def test_equal_runs_give_equal_bytes_without_a_date(tmp_path: Path) -> None:
    stems = sound(3, 40_000)
    first = write(tmp_path / "a.stem.mp4", stems, info(40_000))
    assert first == write(tmp_path / "b.stem.mp4", stems, info(40_000))
    for path in ([b"mvhd"], [b"trak", b"tkhd"], [b"trak", b"mdia", b"mdhd"]):
        for header in boxes(first, b"moov", *path):
            assert header[4:12] == bytes(8)  # creation and modification


def test_the_bitrate_is_that_of_a_track(tmp_path: Path) -> None:
    stems = sound(4, RATE)
    for bitrate in (64_000, 256_000):
        size = len(write(tmp_path / f"{bitrate}", stems, info(RATE), bitrate))
        assert size == pytest.approx(5 * bitrate / 8, rel=0.25)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_texts_and_cover_are_kept(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (90, 80), "red").save(tmp_path / "cover", form)
    tags = Tags({"title": "Tïtle", "artist": "Someone"}, cover=Cover((tmp_path / "cover").read_bytes()))
    stems = sound(2, 30_000)
    write(tmp_path / "a.stem.mp4", stems, info(30_000, tags=tags))
    with AudioReader(tmp_path / "a.stem.mp4") as reader:
        assert reader.info.tags == tags
    assert same(read(tmp_path / "a.stem.mp4", 2), stems[1])
    assert read_stem_names(tmp_path / "a.stem.mp4") == ("drums", "bass")


def test_what_the_format_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="6 channels"):
        stem_format(info(1000, channels=6), Encoding("stem.mp4"))
    with pytest.raises(UsageError, match="16 bits"):
        stem_format(info(1000), Encoding("stem.mp4", depth="16"))
    with pytest.raises(OutputError, match="1234 Hz"):
        write(tmp_path / "a.stem.mp4", sound(2, 1000), info(1000, rate=1234))
    with (
        pytest.raises(ValueError, match="mixture"),
        StemWriter(
            [tmp_path / "a.stem.mp4"], info(1000), encoding=Encoding("stem.mp4"), names=("a",)
        ) as writer,
    ):
        writer.write(sound(1, 1000))
    assert not list(tmp_path.iterdir())


def test_a_box_is_only_added_where_it_belongs(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.stem.mp4", sound(1, 3000), info(3000))
    for data in (b"", b"hello, world", whole + bytes(8), whole[:-1]):
        (tmp_path / "b").write_bytes(data)
        with (tmp_path / "b").open("r+b") as file, pytest.raises(OSError, match="moov"):
            append_stem_box(file, ("a",))
        assert (tmp_path / "b").read_bytes() == data


def test_names_are_read_from_damaged_files_without_harm(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.stem.mp4", sound(2, 3000), info(3000))
    start = whole.index(b'{"version"')
    size = len(whole) - start
    for body in (b"[" * size, b"{}", b'{"stems": 3}', b'{"stems": [{}]}', b"\xff" * size, b'{"stems": [4]}'):
        (tmp_path / "b").write_bytes(whole[:start] + body.ljust(size))
        assert read_stem_names(tmp_path / "b") == ()
    for length in (0, 4, 20, len(whole) // 2, len(whole) - 3):
        (tmp_path / "b").write_bytes(whole[:length])
        assert read_stem_names(tmp_path / "b") == ()
    (tmp_path / "b").write_bytes(whole[:start] + b'{"stems": [{"name": "x"}]}'.ljust(size, b"\0"))
    assert read_stem_names(tmp_path / "b") == ("x",)


def test_names_in_a_file_of_stem_creator_are_read() -> None:
    (folder,) = importlib.util.find_spec("stempeg").submodule_search_locations  # type: ignore[union-attr]
    (path,) = Path(folder, "data").glob("*.stem.mp4")
    assert read_stem_names(path) == ("Drums", "Bass", "Other", "Vox")


def test_a_file_without_names_has_none(tmp_path: Path) -> None:
    with StemWriter([tmp_path / "a.m4a"], info(3000), encoding=Encoding("m4a")) as writer:
        writer.write(sound(1, 3000))
    assert read_stem_names(tmp_path / "a.m4a") == ()


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
def test_ffprobe_finds_the_tracks(tmp_path: Path) -> None:
    path = tmp_path / "a.stem.mp4"
    write(path, sound(4, 50_001), info(50_001))
    words = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    found = subprocess.run(words, capture_output=True, check=True)
    assert found.stderr == b""
    streams = json.loads(found.stdout)["streams"]
    assert [stream["codec_name"] for stream in streams] == ["aac"] * 5
    assert {float(stream["start_time"]) for stream in streams} == {0.0}
    assert {round(float(stream["duration"]) * RATE) for stream in streams} == {50_001}


@pytest.mark.parametrize("block", [333, 50_000])
def test_blocks_of_any_length_give_the_same_samples(tmp_path: Path, block: int) -> None:
    stems = sound(2, 12_000)
    write(tmp_path / "a", stems, info(12_000))
    write(tmp_path / "b", stems, info(12_000), block=block)
    for track in range(5):
        np.testing.assert_array_equal(read(tmp_path / "a", track), read(tmp_path / "b", track))
