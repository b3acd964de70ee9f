"""Miniatures of MUSDB18 on disk, in WAV: a tone per stem, all stems added as the mixture."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import soundfile

from sepcli.datasets.musdb18 import validation_songs

RATE = 8000
HERTZ = {"drums": 1700, "bass": 90, "other": 500, "vocals": 300}


def tone(name: str, seconds: float = 3.0, peak: float = 0.2) -> np.ndarray:
    """What a stem of that name sounds like, (T,)."""
    return peak * np.sin(2 * np.pi * HERTZ[name] * np.arange(round(seconds * RATE)) / RATE)


def make_song(
    folder: Path, seconds: float = 3.0, silent: Collection[str] = (), lacking: Collection[str] = ()
) -> None:
    """A song in stereo, the right channel at half the level; ``lacking`` stems have no file."""
    folder.mkdir(parents=True)
    stems = {name: tone(name, seconds) * (name not in silent) for name in HERTZ}
    stems["mixture"] = np.sum(list(stems.values()), axis=0)
    for name, left in stems.items():
        if name not in lacking:
            soundfile.write(folder / f"{name}.wav", np.stack([left, left / 2], axis=1), RATE)


def make_musdb(root: Path, seconds: float = 3.0) -> Path:
    """Two songs to train, one of the official validation songs, and one to test."""
    for song in ("train/A - One", "train/B - Two", f"train/{min(validation_songs())}", "test/C - Three"):
        make_song(root / song, seconds)
    return root
