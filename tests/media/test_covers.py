"""Stems keep the cover image of the mixture, where their format can hold it."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import av
import mutagen.apev2
import mutagen.flac
import mutagen.id3
import mutagen.mp4
import mutagen.oggvorbis
import mutagen.wave
import numpy as np
import pytest
from encoding import encode
from PIL import Image

from sepcli.media.audio import AudioInfo, AudioReader
from sepcli.media.covers import MOST_BYTES, Cover, add_cover, holds_cover, read_cover
from sepcli.media.file_format import FileFormat
from sepcli.media.stem_format import Container, Encoding
from sepcli.media.stems import StemWriter
from sepcli.media.tags import Tags

RATE = 44100
HOLDING = ["flac", "ogg", "opus", "mp3", "m4a"]
SOUND = np.random.default_rng(0).normal(0, 0.1, (1, 2, 30_000)).clip(-1, 1)


def image(form: str = "PNG", color: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (300, 200), color).save(data, form)
    return data.getvalue()


def write_stem(path: Path, tags: Tags) -> bytes:
    info = AudioInfo(path.with_name("mix"), RATE, 2, 30_000, "WAV", "PCM_16", tags=tags)
    with StemWriter([path], info, encoding=Encoding(path.suffix[1:])) as writer:  # type: ignore[arg-type]
        for start in range(0, 30_000, 7000):
            writer.write(SOUND[..., start : start + 7000])
    return path.read_bytes()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("container", HOLDING)
def test_a_stem_has_the_image_and_else_changes_nothing(
    tmp_path: Path, container: Container, form: str
) -> None:
    cover, texts = Cover(image(form)), {"title": "Tïtle", "artist": "Someone"}
    plain, first, second = (tmp_path / f"{name}.{container}" for name in ("plain", "first", "second"))
    write_stem(plain, Tags(texts))
    data = write_stem(first, Tags(texts, cover=cover))
    assert data == write_stem(second, Tags(texts, cover=cover))
    assert cover.data in data or container in ("ogg", "opus")
    with AudioReader(plain) as one, AudioReader(first) as other:
        assert other.info.tags == Tags(texts, cover=cover)
        assert one.info.frames == other.info.frames
        np.testing.assert_array_equal(one.read(30_000), other.read(30_000))
    with av.open(str(first)) as file:
        (video,) = file.streams.video
        assert bytes(next(file.demux(video))) == cover.data
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("container", HOLDING)
def test_a_file_without_other_tags_can_hold_an_image(tmp_path: Path, container: Container) -> None:
    path = tmp_path / f"a.{container}"
    write_stem(path, Tags(cover=Cover(image())))
    assert read_cover(path) == Cover(image())


def test_wav_holds_no_image(tmp_path: Path) -> None:
    cover = Cover(image())
    assert not holds_cover("WAV", cover)
    assert write_stem(tmp_path / "a.wav", Tags()) == write_stem(tmp_path / "b.wav", Tags(cover=cover))


@pytest.mark.parametrize(
    ("container", "data", "held"),
    [
        ("FLAC", image("GIF"), True),
        ("M4A", image("GIF"), False),
        ("MP3", b"picture", False),
        ("FLAC", image() + bytes(MOST_BYTES), False),
    ],
    ids=["GIF in FLAC", "GIF in M4A", "no image", "too large"],
)
def test_what_a_container_holds(tmp_path: Path, container: str, data: bytes, held: bool) -> None:
    assert holds_cover(container, Cover(data)) == held
    subtype = "PCM_16" if container == "FLAC" else ""
    path = tmp_path / "a"
    plain = encode(path, SOUND[0].T, FileFormat(container, RATE, 2, subtype, None if subtype else 128_000))
    with path.open("r+b") as file:
        add_cover(file, container, Cover(data))
    assert (path.read_bytes() == plain) == (not held)
    assert read_cover(path) == (Cover(data) if held else None)


def picture(data: bytes, kind: int) -> mutagen.flac.Picture:
    made = mutagen.flac.Picture()
    made.data, made.type, made.mime = data, kind, "image/png"
    return made


def test_the_front_cover_comes_first(tmp_path: Path) -> None:
    back, front = image(color="blue"), image()
    for name in ("flac", "ogg", "mp3", "wav"):
        write_stem(tmp_path / f"a.{name}", Tags())
    flac = mutagen.flac.FLAC(tmp_path / "a.flac")
    ogg = mutagen.oggvorbis.OggVorbis(tmp_path / "a.ogg")
    mp3, wav = mutagen.id3.ID3(tmp_path / "a.mp3"), mutagen.wave.WAVE(tmp_path / "a.wav")
    wav.add_tags()
    pictures = [picture(back, 4), picture(front, 3)]
    ogg["metadata_block_picture"] = [base64.b64encode(one.write()).decode() for one in pictures]
    for one in pictures:
        flac.add_picture(one)
        for tags in (mp3, wav.tags):
            tags.add(mutagen.id3.APIC(mime=one.mime, type=one.type, desc=str(one.type), data=one.data))
    for file in (flac, ogg, mp3, wav):
        file.save()
    for path in tmp_path.iterdir():
        assert read_cover(path) == Cover(front)


def test_images_in_tags_of_ape_and_windows_are_read(tmp_path: Path) -> None:
    data = image()
    path = tmp_path / "a.wv"
    with av.open(str(path), "w") as container:
        write_silence(container, container.add_stream("wavpack", rate=RATE, layout="mono"))
    tags = mutagen.apev2.APEv2()
    tags["Cover Art (Front)"] = mutagen.apev2.APEValue(b"cover.png\0" + data, mutagen.apev2.BINARY)
    tags.save(path)
    assert read_cover(path) == Cover(data)
    path = tmp_path / "a.wma"
    with av.open(str(path), "w", format="asf") as container:
        write_silence(container, container.add_stream("wmav2", rate=RATE, layout="mono", bit_rate=64_000))
    asf = mutagen.File(path)
    names = "image/png\0".encode("utf-16-le") + "\0".encode("utf-16-le")
    value = struct.pack("<BI", 3, len(data)) + names + data
    asf["WM/Picture"] = [mutagen.asf.ASFByteArrayAttribute(value)]
    asf.save()
    with AudioReader(path) as reader:
        assert reader.info.tags.cover == Cover(data)


def write_silence(container, stream) -> None:
    for start in range(0, 20_480, 2048):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def test_damaged_pictures_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    write_stem(path, Tags())
    tags = mutagen.oggvorbis.OggVorbis(path)
    for value in ("?", base64.b64encode(bytes(3)).decode(), base64.b64encode(b"\xff" * 40).decode()):
        tags["metadata_block_picture"] = [value]
        tags.save()
        with AudioReader(path) as reader:
            assert (reader.info.tags.cover, reader.info.frames) == (None, 30_000)
