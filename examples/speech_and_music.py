# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "pyyaml", "scipy", "soundfile", "soxr"]
# ///
"""Bring recordings of voices and of music into the folder layout of Slakh2100, stems Speech and Music.

A track is up to ``--seconds`` of utterances of a folder, in random order with pauses between them, beside an
excerpt of a piece of music::

    python examples/speech_and_music.py OUT --split train --speech voices-a --speech voices-b --music pieces

writes ``OUT/train/TrackNNNNN/{metadata.yaml, stems/S00.flac, stems/S01.flac}``, mono. Every version of a
folder but the first has another pitch and other formants: the utterances are resampled, which makes other
speakers of them; so is the music of every track. A part of the tracks has an echoing room around the voice.
Utterances are brought to one loudness, up to some decibels; the loudness of the stems in a mixture is up to
the training, unless ``--ratio`` is given. FFmpeg decodes what libsndfile does not read (G.722, GSM).
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
import yaml
from numpy.typing import NDArray
from scipy.signal import fftconvolve

Audio = NDArray[np.float32]

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".g722", ".gsm", ".raw")
RAW = {".g722": ("-f", "g722"), ".gsm": ("-f", "gsm"), ".raw": ("-f", "s16le", "-ar", "22050", "-ac", "2")}
"""FFmpeg's options for files without a header; .raw as of xblast-tnt-musics."""
LOUDNESS, SPREAD = 0.08, 3.0
"""RMS of an utterance without its pauses, and the standard deviation of its decibels."""
PITCH = {"speech": 0.24, "music": 0.2}
"""Greatest ln of the factor by which a recording is played faster or slower."""
PAUSES = (0.05, 1.2)
ROOMS = 0.3
"""Share of the tracks with a room around the voice."""
SHORTEST = 0.15
"""Seconds below which a recording is left out."""


def read(path: Path, rate: int, speed: float = 1.0, seconds: float = np.inf, start: float = 0.0) -> Audio:
    """Return a recording in mono (T,) at ``rate`` Hz, played ``speed`` times as fast.

    At most the ``seconds`` of it before that, from the share ``start`` in [0, 1) of those that are left out.
    """
    if path.suffix in RAW:
        command = ["ffmpeg", "-v", "error", *RAW[path.suffix], "-i", str(path), "-f", "f32le", "-ac", "1"]
        data = subprocess.run([*command, "-ar", str(rate), "-"], capture_output=True, check=True).stdout
        whole, own = np.frombuffer(data, np.float32), rate
        first, count = section(len(whole), own, seconds, start)
        audio = whole[first : first + count]
    else:
        with soundfile.SoundFile(path) as file:
            own = file.samplerate
            first, count = section(file.frames, own, seconds, start)
            file.seek(first)
            audio = file.read(count, dtype="float32", always_2d=True).mean(axis=1)
    resampled: Audio = soxr.resample(audio, own * speed, rate).astype(np.float32)
    return resampled


def section(frames: int, rate: int, seconds: float, start: float) -> tuple[int, int]:
    """Return the first frame of a section and their number."""
    count = int(min(frames, np.ceil(seconds * rate)))
    return int(start * (frames - count)), count


def find(folder: Path) -> list[Path]:
    """Return the recordings of a folder, of a file itself."""
    if folder.is_file():
        return [folder]
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    if not found:
        sys.exit(f"{folder} holds no recordings ({', '.join(SUFFIXES)})")
    return found


def levelled(audio: Audio, rng: np.random.Generator) -> Audio:
    """Bring an utterance to one loudness, up to some decibels."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, 512)[::512]
    power = np.square(frames).mean(axis=1)
    active = power[power > 1e-3 * power.max()]
    gain = LOUDNESS / np.sqrt(active.mean()) * 10 ** (SPREAD * rng.standard_normal() / 20)
    return np.asarray(gain * audio, np.float32)


def room(audio: Audio, rate: int, rng: np.random.Generator) -> Audio:
    """Add the decaying noise of a random room, 6 to 24 dB below the voice."""
    decay, below = rng.uniform(0.15, 0.7), rng.uniform(6, 24)
    times = np.arange(round(decay * rate)) / rate
    response = (
        rng.standard_normal(len(times)) * 10 ** (-3 * times / decay) * (times > rng.uniform(0.002, 0.02))
    )
    response *= 10 ** (-below / 20) / np.sqrt(np.square(response).sum())
    return np.asarray(audio + fftconvolve(audio, response)[: len(audio)], np.float32)


def utterances(
    paths: Sequence[Path], rate: int, seconds: float, rng: np.random.Generator, version: int
) -> Iterator[Audio]:
    """Yield tracks of the utterances of a folder, each at a speed of its own but in version 0."""
    parts: list[Audio] = []
    speed, length = 1.0, 0
    for number in rng.permutation(len(paths)):
        if not parts:
            speed = float(np.exp(rng.uniform(-PITCH["speech"], PITCH["speech"]))) if version else 1.0
        audio = read(paths[number], rate, speed)
        if len(audio) < SHORTEST * rate or np.abs(audio).max() < 1e-3:
            continue
        pause = np.zeros(round(rng.uniform(*PAUSES) * rate), np.float32)
        parts += [levelled(audio, rng), pause]
        length += len(audio) + len(pause)
        if length >= seconds * rate:
            yield np.concatenate(parts)[: round(seconds * rate)]
            parts, length = [], 0
    if length >= 5 * rate:
        yield np.concatenate(parts)


def excerpt(paths: Sequence[Path], rate: int, length: int, rng: np.random.Generator) -> Audio:
    """Return (length,) of pieces of music from random beginnings, one after the other."""
    parts: list[Audio] = []
    missing = length
    while missing > 0:
        speed = float(np.exp(rng.uniform(-PITCH["music"], PITCH["music"])))
        path, seconds = paths[int(rng.integers(len(paths)))], speed * missing / rate
        parts.append(read(path, rate, speed, seconds, rng.random())[:missing])
        missing -= len(parts[-1])
    return np.concatenate(parts)


def at_ratio(voice: Audio, music: Audio, ratio: float) -> tuple[Audio, Audio]:
    """Return both with a ratio of their powers in dB, and no sample above full scale in their sum."""
    gain = np.sqrt(np.square(voice).mean() / max(float(np.square(music).mean()), 1e-12)) * 10 ** (-ratio / 20)
    whole = max(1.0, float(np.abs(voice + gain * music).max()) / 0.99)
    return np.asarray(voice / whole, np.float32), np.asarray(gain * music / whole, np.float32)


def write(track: Path, stems: dict[str, Audio], rate: int) -> None:
    """Write a track in the layout of Slakh2100."""
    (track / "stems").mkdir(parents=True, exist_ok=True)
    metadata = {}
    for number, (name, audio) in enumerate(stems.items()):
        peak = max(1.0, float(np.abs(audio).max()) / 0.99)
        soundfile.write(track / "stems" / f"S{number:02d}.flac", audio / peak, rate, subtype="PCM_16")
        metadata[f"S{number:02d}"] = {"inst_class": name, "audio_rendered": True}
    (track / "metadata.yaml").write_text(yaml.safe_dump({"audio_dir": "stems", "stems": metadata}))


def main() -> None:
    """Write the tracks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="train")
    parser.add_argument("--speech", type=Path, action="append", required=True, metavar="FOLDER")
    parser.add_argument("--music", type=Path, action="append", required=True, metavar="FOLDER")
    parser.add_argument("--versions", type=int, default=1, help="of every folder of speech")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--rate", type=int, default=22050)
    parser.add_argument("--tracks", type=int, help="most of a version of a folder")
    parser.add_argument("--ratio", type=float, action="append", help="dB of speech over music, in turn")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pieces = [path for folder in given.music for path in find(folder)]
    number = 0
    for version in range(given.versions):
        for index, folder in enumerate(given.speech):
            rng = np.random.default_rng([given.seed, version, index])
            voices = utterances(find(folder), given.rate, given.seconds, rng, version)
            for voice in itertools.islice(voices, given.tracks):
                voice = room(voice, given.rate, rng) if version and rng.random() < ROOMS else voice
                music = excerpt(pieces, given.rate, len(voice), rng)
                if given.ratio:
                    voice, music = at_ratio(voice, music, given.ratio[number % len(given.ratio)])
                number += 1
                write(
                    given.out / given.split / f"Track{number:05d}",
                    {"Speech": voice, "Music": music},
                    given.rate,
                )
    print(f"{number} tracks in {given.out / given.split}")


if __name__ == "__main__":
    main()
