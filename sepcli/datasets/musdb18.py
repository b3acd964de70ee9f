"""MUSDB18 (Rafii, Liutkus, Stöter, Mimilakis & Bittner 2017): songs with four stems, in its two forms.

::

    musdb18hq/{train,test}/SONG/{mixture,drums,bass,other,vocals}.wav
    musdb18/{train,test}/SONG.stem.mp4

The validation songs are those of the training folder that the package ``musdb`` names.
"""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sepcli.datasets.songs import Recording, Signal, Songs, SongSet, Stored, resampled_mono
from sepcli.errors import InputError

SUBSETS = ("train", "valid", "test")
STEMS = ("mixture", "drums", "bass", "other", "vocals")
"""In the order of the streams of an MP4 file."""
SUFFIX = ".stem.mp4"


@dataclass(frozen=True)
class MusdbStem:
    """One stream of a ``.stem.mp4``; see ``sepcli.datasets.songs.Stored``."""

    path: Path
    stream: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def read(self) -> tuple[Signal, int]:
        """Decode it, with ``musdb``; ``InputError`` if it cannot be read, or ffmpeg is missing."""
        if shutil.which("ffmpeg") is None:
            raise InputError(
                f"{self.path} is read with ffmpeg, which is missing",
                "install ffmpeg, or use MUSDB18-HQ's WAV",
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its imports, and of files without metadata
                from musdb.audio_classes import MultiTrack

                song = MultiTrack(path=str(self.path), name=self.path.name, stem_id=self.stream)
                samples: Any = song.load_audio(str(self.path), self.stream)
        except Exception as error:  # of the classes of ffmpeg and stempeg
            raise InputError(f"{self.path} cannot be read ({error})", "copy or download it again") from error
        return np.asarray(samples, dtype=np.float32), round(float(song.rate))

    def mono(self, rate: int) -> Signal:
        """See ``Stored``."""
        return resampled_mono(*self.read(), rate)


def musdb_songs(root: Path, subset: str = "test") -> Songs:
    """The songs of an official subset: 86 for training, 14 for validation, 50 for testing.

    Args:
        root: Holds the folders ``train`` and ``test``.
        subset: Which.

    Returns:
        By song, ``mixture`` and the stems that are there.

    Raises:
        InputError: There are none.
    """
    if subset not in SUBSETS:
        raise InputError(f"MUSDB18 has no subset {subset}", f"subsets: {', '.join(SUBSETS)}")
    songs = _subset(root, subset)
    if not songs:
        raise InputError(
            f"{_folder(root, subset)} holds no songs of MUSDB18's subset {subset}",
            f"give the folder that holds train and test, with SONG/drums.wav … or SONG{SUFFIX}",
        )
    return songs


def open_musdb(root: Path, split: str = "test") -> SongSet:
    """Return the songs of an official split, ``train``, ``valid`` or ``test``; see ``musdb_songs``."""
    return SongSet(f"MUSDB18, subset {split}", musdb_songs(root, split))


def is_musdb(data: Path) -> bool:
    """Whether a folder is of MUSDB18, in either form; a song in WAV has two of its stems or more."""
    for folder in (data / "train", data / "test"):
        stems = Counter(path.parent for stem in STEMS for path in folder.glob(f"*/{stem}.wav"))
        if max(stems.values(), default=0) > 1 or any(folder.glob(f"*{SUFFIX}")):
            return True
    return False


def has_songs(root: Path, subset: str) -> bool:
    """Whether there are songs of an official subset."""
    return bool(_subset(root, subset))


def validation_songs() -> frozenset[str]:
    """The names of the official validation songs."""
    package = importlib.util.find_spec("musdb")  # importing it needs ffmpeg
    if package is None or not package.submodule_search_locations:
        raise InputError("the package musdb, which lists the validation songs, is missing", "install musdb")
    path = Path(package.submodule_search_locations[0]) / "configs" / "mus.yaml"
    return frozenset(yaml.safe_load(path.read_text(encoding="utf-8"))["validation_tracks"])


def _folder(root: Path, subset: str) -> Path:
    return root / ("test" if subset == "test" else "train")


def _subset(root: Path, subset: str) -> Songs:
    folder = _folder(root, subset)
    try:
        songs = _songs(folder) if folder.is_dir() else {}
    except OSError as error:
        raise InputError(
            f"the songs of {folder} cannot be listed ({error})", "check that you are allowed to read them"
        ) from error
    if subset == "test":
        return songs
    valid = validation_songs()
    return {song: stems for song, stems in songs.items() if (song in valid) == (subset == "valid")}


def _songs(folder: Path) -> Songs:
    songs: dict[str, dict[str, Stored]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(SUFFIX) and path.is_file() and not path.name.startswith("."):
            stems: dict[str, Stored] = {name: MusdbStem(path, stream) for stream, name in enumerate(STEMS)}
            songs[path.name.removesuffix(SUFFIX)] = stems
        elif path.is_dir():
            files = {name: path / f"{name}.wav" for name in STEMS}
            existing: dict[str, Stored] = {
                n: Recording((file,)) for n, file in files.items() if file.is_file()
            }
            if existing:
                songs[path.name] = existing
    return songs
