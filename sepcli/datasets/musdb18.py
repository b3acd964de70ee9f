"""MUSDB18 (Rafii, Liutkus, Stöter, Mimilakis & Bittner 2017): songs with four stems, in its two forms.

::

    musdb18hq/{train,test}/SONG/{mixture,drums,bass,other,vocals}.wav
    musdb18/{train,test}/SONG.stem.mp4

The validation songs are those of the training folder that the package ``musdb`` names.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from sepcli.datasets.recordings import resampled
from sepcli.datasets.songs import Recording, Signal, Songs, SongSet, Stored
from sepcli.errors import InputError
from sepcli.media.audio import AudioReader
from sepcli.media.folders import data_entries, is_data, passed_over
from sepcli.media.stem_box import read_stem_names

SUBSETS = ("train", "valid", "test")
STEMS = ("mixture", "drums", "bass", "other", "vocals")
"""In the order of the streams of an MP4 file that does not name them."""
SUFFIX = ".stem.mp4"
NAMES = {"vox": "vocals"}
"""Names that other programs give to stems."""


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
        """Decode the stream."""
        with AudioReader(self.path, self.stream) as reader:
            samples = reader.read(reader.info.frames)
        return samples.T.astype(np.float32), reader.info.sample_rate

    def mono(self, rate: int) -> Signal:
        """See ``Stored``."""
        samples, original = self.read()
        return resampled(samples.mean(axis=1), original, rate)


def musdb_songs(root: Path, subset: str = "test") -> Songs:
    """The songs of an official subset, with ``mixture`` and the stems that are there.

    There are 86 songs for training, 14 for validation and 50 for testing.

    Raises:
        InputError: there are none, or no such subset.
    """
    if subset not in SUBSETS:
        raise InputError(f"MUSDB18 has no subset {subset}", f"subsets: {', '.join(SUBSETS)}")
    songs = find_songs(root, subset)
    if not songs:
        raise InputError(
            f"{_folder(root, subset)} holds no songs of MUSDB18's subset {subset}",
            f"give the folder that holds train and test, with SONG/drums.wav … or SONG{SUFFIX}",
        )
    return songs


def open_musdb(root: str | Path, split: str = "test") -> SongSet:
    """Return the songs of an official split, ``train``, ``valid`` or ``test``; see ``musdb_songs``."""
    songs, folder = musdb_songs(Path(root), split), _folder(Path(root), split)
    read = {name for song in _songs(folder) for name in (song, f"{song}{SUFFIX}")}
    notes = passed_over(folder, sorted(path for path in folder.iterdir() if path.name not in read))
    return SongSet(f"MUSDB18, subset {split}", songs, notes=notes)


def is_musdb(data: Path) -> bool:
    """Whether a folder is of MUSDB18, in either form; a song in WAV has two of its stems or more."""
    for folder in (data / "train", data / "test"):
        stems = Counter(path.parent for stem in STEMS for path in folder.glob(f"*/{stem}.wav"))
        songs = [song for song, count in stems.items() if count > 1] + [*folder.glob(f"*{SUFFIX}")]
        if any(is_data(song.name) for song in songs):
            return True
    return False


def validation_songs() -> frozenset[str]:
    """The names of the official validation songs."""
    package = importlib.util.find_spec("musdb")  # importing it needs the program ffmpeg
    if package is None or not package.submodule_search_locations:
        raise InputError("the package musdb, which lists the validation songs, is missing", "install musdb")
    path = Path(package.submodule_search_locations[0]) / "configs" / "mus.yaml"
    return frozenset(yaml.safe_load(path.read_text(encoding="utf-8"))["validation_tracks"])


def _folder(root: Path, subset: str) -> Path:
    return root / ("test" if subset == "test" else "train")


def find_songs(root: Path, subset: str) -> Songs:
    """The songs of an official subset, as far as there are any; see ``musdb_songs``.

    Raises:
        InputError: they cannot be listed.
    """
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


def _streams(path: Path) -> tuple[str, ...]:
    """Return the names of the streams of an MP4 file."""
    lower = [name.lower() for name in read_stem_names(path)]
    return ("mixture", *(NAMES.get(name, name) for name in lower)) if lower else STEMS


def _songs(folder: Path) -> Songs:
    songs: dict[str, dict[str, Stored]] = {}
    for path in data_entries(folder):
        name, stems = path.name, dict[str, Stored]()
        if path.name.endswith(SUFFIX) and path.is_file():
            name = name.removesuffix(SUFFIX)
            stems = {stem: MusdbStem(path, stream) for stream, stem in enumerate(_streams(path))}
        elif path.is_dir():
            files = {stem: path / f"{stem}.wav" for stem in STEMS}
            stems = {stem: Recording((file,)) for stem, file in files.items() if file.is_file()}
        if stems:
            songs[name] = stems
    return songs
