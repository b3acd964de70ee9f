"""Small files of every kind that people hand over, made by the test itself; ``fuzz`` damages them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from encoding import encode
from PIL import Image

from sepcli.media.audio import AudioInfo
from sepcli.media.covers import Cover
from sepcli.media.file_format import FileFormat
from sepcli.media.png16 import write_png16
from sepcli.media.stem_format import Encoding
from sepcli.media.stems import StemWriter
from sepcli.media.tags import Tags
from sepcli.media.tiff16 import write_tiff16

RATE = 8000
FRAMES = 12_000
LOSSLESS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
LOSSY = ("mp3", "m4a", "opus")
IMAGES = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "ICO", "PCX", "SGI", "JPEG2000")
CODED: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    ("lzw.tif", "TIFF", {"compression": "tiff_lzw"}),
    ("jpeg.tif", "TIFF", {"compression": "jpeg"}),
    ("palette.pcx", "PCX", {}),
    ("tiles.jp2", "JPEG2000", {"tile_size": (8, 8)}),
)
"""Images in color that are stored in other ways: name, format and options of Pillow."""
SUFFIXES = {"JPEG2000": "jp2", "W64": "w64", "WAVEX": "wav", "RF64": "wav"}


@dataclass(frozen=True)
class Seed:
    """A whole file: its name, bytes, and whether its header says how long it is."""

    name: str
    data: bytes
    sized: bool = True


def audio_seeds(folder: Path) -> list[Seed]:
    """Audio files of ``FRAMES`` samples, or a few more after lossy coding."""
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal((FRAMES, 2)).clip(-3, 3)
    seeds = []
    for form in LOSSLESS:
        for subtype in ("PCM_16", "PCM_24", "FLOAT"):
            if not soundfile.check_format(form, subtype):
                continue
            path = folder / f"{form}-{subtype}.{SUFFIXES.get(form, form.lower())}"
            soundfile.write(
                path, samples[: 3000 if subtype == "FLOAT" else FRAMES], RATE, subtype, format=form
            )
            seeds.append(Seed(path.name, path.read_bytes(), sized=form not in ("AU", "CAF")))
    soundfile.write(folder / "vorbis.ogg", samples, RATE)
    seeds.append(Seed("vorbis.ogg", (folder / "vorbis.ogg").read_bytes()))
    for kind in LOSSY:
        path = folder / f"{kind}.{kind}"
        rate = 48_000 if kind == "opus" else 16_000
        data = encode(path, samples, FileFormat(kind.upper(), rate, 2, bitrate=64_000))
        seeds.append(Seed(path.name, data))
    return [*seeds, *tagged_seeds(folder, samples)]


def tagged_seeds(folder: Path, samples: np.ndarray) -> list[Seed]:
    """Audio files with texts and a cover, each in the tags of its container, and one with stems."""
    cover = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)).save(cover, "PNG")
    tags = Tags({"title": "Tïtle", "artist": "Someone"}, cover=Cover(cover.getvalue()))
    seeds = []
    for kind, subtype in {"flac": "PCM_16", "ogg": "VORBIS", **dict.fromkeys(LOSSY, "")}.items():
        path = folder / f"tagged.{kind}"
        rate = 48_000 if kind == "opus" else 16_000
        bitrate = None if kind == "flac" else 64_000
        data = encode(path, samples, FileFormat(kind.upper(), rate, 2, subtype, bitrate, tags=tags))
        seeds.append(Seed(path.name, data))
    mixture = AudioInfo(folder / "mix", 44_100, 2, FRAMES, "WAV", "PCM_16", tags=tags)
    path, stems = folder / "song.stem.mp4", np.stack([samples.T / 2] * 2)
    with StemWriter([path], mixture, encoding=Encoding("stem.mp4", 64_000), names=("a", "b")) as writer:
        writer.write(stems, samples.T)
    return [*seeds, Seed(path.name, path.read_bytes())]


def image_seeds() -> list[Seed]:
    """Images of 12 x 12 pixels."""
    rng = np.random.default_rng(0)
    seeds = []
    for mode, shape in (("L", (12, 12)), ("RGB", (12, 12, 3)), ("RGBA", (12, 12, 4))):
        image = Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode=None)
        for form in IMAGES:
            data = io.BytesIO()
            try:
                image.save(
                    data, format=form, **({"exif": _exif()} if form in ("PNG", "JPEG", "WEBP") else {})
                )
            except (OSError, ValueError, KeyError):  # this format has no such mode, or is missing here
                continue
            suffix = SUFFIXES.get(form, form.lower())
            seeds.append(Seed(f"{mode}.{suffix}", data.getvalue()))
    for name, form, options in CODED:
        data = io.BytesIO()
        whole = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        (whole.quantize(200) if form == "PCX" else whole).save(data, form, **options)
        seeds.append(Seed(name, data.getvalue()))
    deep = Image.fromarray(rng.integers(0, 65536, (12, 12)).astype(np.uint16))
    for form in ("PNG", "TIFF"):
        data = io.BytesIO()
        deep.save(data, format=form)
        seeds.append(Seed(f"deep.{form.lower()}", data.getvalue()))
    colors = rng.integers(0, 65536, (12, 12, 4), np.uint16)
    for name, write in (("png", write_png16), ("tif", write_tiff16)):
        data = io.BytesIO()
        write(data, colors, exif=_exif())
        seeds.append(Seed(f"deep-color.{name}", data.getvalue()))
    return seeds


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    return exif.tobytes()


def data_sets(folder: Path) -> dict[str, Path]:
    """Folders of each layout that is read: kind → folder."""
    rng = np.random.default_rng(0)
    digits, labels = rng.integers(0, 256, (4, 6, 6), np.uint8), np.arange(4, dtype=np.uint8)
    (folder / "mnist").mkdir(parents=True)
    for stem in ("train", "t10k"):
        head = b"\0\0\x08\x03" + np.array([4, 6, 6], ">u4").tobytes()
        (folder / "mnist" / f"{stem}-images-idx3-ubyte").write_bytes(head + digits.tobytes())
        head = b"\0\0\x08\x01" + np.array([4], ">u4").tobytes()
        (folder / "mnist" / f"{stem}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    (folder / "images").mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "images" / f"{number}.png")
    for stem in ("drums", "bass"):
        (folder / "pairs" / stem).mkdir(parents=True)
        for number in range(2):
            samples = 0.1 * rng.standard_normal(800)
            soundfile.write(folder / "pairs" / stem / f"{number}.flac", samples, RATE)
    track = folder / "slakh" / "test" / "Track00001"
    (track / "stems").mkdir(parents=True)
    for stem in ("S00", "S01"):
        soundfile.write(track / "stems" / f"{stem}.flac", 0.1 * rng.standard_normal(800), RATE)
    (track / "metadata.yaml").write_text(
        "audio_dir: stems\nstems:\n  S00: {inst_class: Bass, audio_rendered: true}\n"
        "  S01: {inst_class: Drums, audio_rendered: true}\n"
    )
    for split in ("train", "test"):
        (folder / "musdb" / split / "song").mkdir(parents=True)
        for stem in ("mixture", "drums", "bass", "other", "vocals"):
            path = folder / "musdb" / split / "song" / f"{stem}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal((800, 2)), RATE)
    return {path.name: path for path in sorted(folder.iterdir())}


def fresh(source: Path, target: Path) -> Path:
    """A copy of a folder, in place of the former one."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))
