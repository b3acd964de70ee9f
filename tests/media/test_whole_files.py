"""Lossy files are read whole and aligned, whatever their headers say; the reference is FFmpeg's decoder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import av
import encoding
import mutagen.mp4
import numpy as np
import pytest
import scipy.signal
import soundfile

from sepcli.errors import InputError
from sepcli.media.audio import AudioReader
from sepcli.media.file_format import FileFormat

RATE = 44100


def signal(frames: int, channels: int = 2) -> np.ndarray:
    """Low noise that lossy codecs keep, (T, C); a shift by one sample changes a tenth of it."""
    noise = np.random.default_rng(frames).standard_normal((frames, channels))
    return 0.03 * scipy.signal.lfilter([1], [1, -0.95], noise, axis=0) * np.hanning(frames)[:, None]


def encode(path: Path, samples: np.ndarray, rate: int = RATE) -> bytes:
    """An MP3, Opus, M4A or Ogg file of samples (T, C); its bytes."""
    kind, channels = path.suffix[1:].upper(), samples.shape[1]
    form = FileFormat(kind, rate, channels, "VORBIS" if kind == "OGG" else "", 256_000)
    return encoding.encode(path, samples, form)


def untagged(path: Path, samples: np.ndarray) -> bytes:
    """An MP3 file without a frame that announces its length."""
    with av.open(
        str(path), "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}
    ) as container:
        stream = container.add_stream("libmp3lame", rate=RATE)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, np.float32), "fltp", "stereo")
        frame.sample_rate = RATE
        for part in (frame, None):
            container.mux(stream.encode(part))
    return path.read_bytes()


def read(path: Path, stream: int = 0) -> np.ndarray:
    with AudioReader(path, stream) as reader:
        blocks = [reader.read(7777)]
        while blocks[-1].shape[-1]:
            blocks.append(reader.read(7777))
        found = np.concatenate(blocks, axis=-1).T
        assert len(found) == reader.info.frames
    return found


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and bool(
        np.square(found - expected).sum() < 0.07 * np.square(expected).sum()
    )


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("frames", [1000, 44100, 50001])
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg"])
def test_length_and_alignment_survive_the_codec(tmp_path: Path, suffix: str, frames: int, rate: int) -> None:
    encode(tmp_path / f"x.{suffix}", signal(frames), rate)
    assert same(read(tmp_path / f"x.{suffix}"), signal(frames))


def test_an_untagged_mp3_file_is_not_shifted(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    untagged(path, signal(60000))
    found = read(path)
    delay = 1105  # of LAME and the decoder, known only from the tag that is not there
    assert same(found[delay : delay + 60000], signal(60000))


def test_joined_mp3_files_are_read_whole(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.mp3", signal(50000))
    two = encode(tmp_path / "two.mp3", signal(70000))
    path = tmp_path / "joined.mp3"
    path.write_bytes(one + b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + two)
    found = read(path)
    assert same(found[:50000], signal(50000))
    assert any(
        same(found[at : at + 70000], signal(70000)) for at in range(len(found) - 73000, len(found) - 69999)
    )


def test_a_tag_that_counts_too_few_frames_is_not_believed(tmp_path: Path) -> None:
    data = bytearray(encode(tmp_path / "x.mp3", signal(90000)))
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 3).to_bytes(4, "big")
    (tmp_path / "x.mp3").write_bytes(data)
    found = read(tmp_path / "x.mp3")
    assert (
        len(found) >= 90000
    )  # the padding that the tag places in the middle is left out there, as by FFmpeg
    assert same(found[:25000], signal(90000)[:25000])


@pytest.mark.parametrize("tags", [1, 2])
def test_tags_before_an_untagged_stream_are_skipped(tmp_path: Path, tags: int) -> None:
    stream = untagged(tmp_path / "bare.mp3", signal(60000))
    tag = b"ID3\x03\0\0\0\0\x08\0" + b"Info" * 256
    (tmp_path / "x.mp3").write_bytes(tag * tags + stream)
    np.testing.assert_array_equal(read(tmp_path / "x.mp3"), read(tmp_path / "bare.mp3"))


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
def test_links_of_a_chained_ogg_file_follow_one_another_exactly(tmp_path: Path, suffix: str) -> None:
    lengths = (30000, 48001, 500)
    parts = [encode(tmp_path / f"{n}.{suffix}", signal(n), 48000) for n in lengths]
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"".join(parts))
    expected = np.concatenate([read(tmp_path / f"{n}.{suffix}") for n in lengths])
    assert len(expected) == sum(lengths)
    np.testing.assert_array_equal(read(path), expected)
    path.write_bytes(b"".join(parts)[:-20])
    with pytest.raises(InputError):
        read(path)


def test_links_of_another_rate_are_refused(tmp_path: Path) -> None:
    one, two = (encode(tmp_path / f"{rate}.ogg", signal(5000), rate) for rate in (44100, 48000))
    (tmp_path / "x.ogg").write_bytes(one + two)
    with pytest.raises(InputError, match="changes"):
        read(tmp_path / "x.ogg")


def test_an_mp3_file_that_changes_its_rate_is_refused_as_such(tmp_path: Path) -> None:
    one, two = (encode(tmp_path / f"{rate}.mp3", signal(50000), rate) for rate in (44100, 48000))
    (tmp_path / "x.mp3").write_bytes(one + two)
    with pytest.raises(InputError, match="changes"):
        read(tmp_path / "x.mp3")


def test_a_length_noted_by_itunes_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.m4a"
    encode(path, signal(50000))
    tags = mutagen.mp4.MP4(path)
    note = f" 00000000 00000400 000000B0 {40000:016X} 00000000 00000000"
    tags["----:com.apple.iTunes:iTunSMPB"] = [mutagen.mp4.MP4FreeForm(note.encode())]
    tags.save()
    assert len(read(path)) == 40000


def test_flac_of_32_bits_is_read_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-(2**31), 2**31, (1, 5000), dtype=np.int32)
    with av.open(str(tmp_path / "x.flac"), "w") as container:
        stream = container.add_stream("flac", rate=RATE, options={"strict": "-2"})
        stream.layout, stream.format = "mono", "s32"
        stream.codec_context.options = {"strict": "-2"}
        frame = av.AudioFrame.from_ndarray(values, "s32", "mono")
        frame.sample_rate = RATE
        for part in (frame, None):
            container.mux(stream.encode(part))
    with AudioReader(tmp_path / "x.flac") as reader:
        bits = reader.info.subtype
    expected = values.T / 2.0**31 if bits == "PCM_32" else (values.T >> 8) / 2.0**23
    np.testing.assert_array_equal(read(tmp_path / "x.flac"), expected)


def test_one_of_several_streams_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=RATE, layout="mono", bit_rate=200_000) for _ in range(2)]
        for number, stream in enumerate(streams):
            samples = np.ascontiguousarray(signal(20480 + 1024 * number, 1).T, np.float32)
            for start in range(0, samples.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], "fltp", "mono")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with AudioReader(path, 1) as reader:
        assert reader.info.streams == 2
    assert same(read(path, 0)[:20480], signal(20480, 1))
    assert same(read(path, 1)[:21504], signal(21504, 1))


def test_a_playlist_is_no_audio_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "part.wav", signal(1000), RATE)
    for name, text in (
        ("x.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\npart.wav\n#EXT-X-ENDLIST\n"),
        ("x.ffconcat", "ffconcat version 1.0\nfile part.wav\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError):
            read(tmp_path / name)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg"])
def test_samples_are_those_of_the_program(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    encode(path, signal(50001))
    words = ["ffmpeg", "-v", "quiet", "-i", str(path), "-f", "f64le", "-c:a", "pcm_f64le", "-"]
    expected = np.frombuffer(subprocess.run(words, capture_output=True, check=True).stdout, "<f8").reshape(
        -1, 2
    )
    assert len(expected) >= 50001  # the program keeps the padding at the end of MP4
    np.testing.assert_allclose(read(path), expected[:50001], rtol=0, atol=2**-15)
