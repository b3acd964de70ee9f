"""MUSDB18 as a bank of stems: what is in it, what is left out, what is kept in the cache."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_songs import RATE, make_musdb, make_song, tone

from sepcli.datasets.musdb18 import STEMS, MusdbStem, find_songs, is_musdb, open_musdb, validation_songs
from sepcli.datasets.song_banks import PEAK, open_songs
from sepcli.datasets.songs import Recording
from sepcli.datasets.stems import StemBank
from sepcli.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With a song to train that has silent vocals and no bass."""
    make_musdb(tmp_path / "musdb", 0.5)
    make_song(tmp_path / "musdb" / "train" / "D - Four", 0.25, silent=("vocals",), lacking=("bass",))
    return tmp_path / "musdb"


def recordings(bank: StemBank, k: int) -> list[np.ndarray]:
    return [bank.samples[k][start:stop] / 32767 for start, stop in bank.spans[k]]


def test_stems_are_mono_and_of_one_peak(root: Path) -> None:
    bank = open_songs(root, "train", ("Vocals", "bass", "drums"), RATE)
    assert (bank.names, bank.sample_rate) == (("Vocals", "bass", "drums"), RATE)
    assert [songs.tolist() for songs in bank.songs] == [[0, 1], [0, 1], [0, 1, 2]]
    assert bank.seconds == (1.0, 1.0, 1.25)
    for k, name in enumerate(("vocals", "bass", "drums")):
        expected = tone(name, 0.5)
        np.testing.assert_allclose(recordings(bank, k)[0], PEAK * expected / abs(expected).max(), atol=4e-4)


def test_stems_are_resampled(root: Path) -> None:
    bank = open_songs(root, "test", ("bass",), 2 * RATE)
    assert bank.seconds == (0.5,)
    np.testing.assert_allclose(
        recordings(bank, 0)[0][400:-400:2], PEAK / 0.2 * tone("bass", 0.5)[200:-200], atol=0.01
    )


def test_the_mixture_is_a_source_too(root: Path) -> None:
    (mixture,) = recordings(open_songs(root, "validation", ("mixture",), RATE), 0)
    total = sum(tone(name, 0.5) for name in STEMS[1:])
    np.testing.assert_allclose(mixture, PEAK * total / abs(total).max(), atol=4e-4)


def test_the_mp4_form_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = min(validation_songs())
    for song in ("train/A - One", f"train/{valid}", "test/C - Three"):
        (tmp_path / song).parent.mkdir(exist_ok=True)
        (tmp_path / f"{song}.stem.mp4").touch()
    read = []

    def decode(stem: MusdbStem) -> tuple[np.ndarray, int]:
        read.append((stem.path.parent.name, stem.path.name, STEMS[stem.stream]))
        return np.stack([tone(STEMS[stem.stream], 0.1)] * 2, axis=1), RATE

    monkeypatch.setattr(MusdbStem, "read", decode)
    bank = open_songs(tmp_path, "validation", ("other", "bass"), RATE, tmp_path / "cache")
    assert read == [("train", f"{valid}.stem.mp4", name) for name in ("other", "bass")]
    np.testing.assert_allclose(recordings(bank, 1)[0], PEAK / 0.2 * tone("bass", 0.1), atol=1e-3)


def test_streams_are_told_by_the_names_that_a_file_gives_them(tmp_path: Path) -> None:
    (folder,) = importlib.util.find_spec("stempeg").submodule_search_locations  # type: ignore[union-attr]
    (file,) = Path(folder, "data").glob("*.stem.mp4")  # by Stem Creator of Native Instruments
    (tmp_path / "test").mkdir()
    shutil.copy(file, tmp_path / "test" / "a.stem.mp4")
    (stems,) = open_musdb(tmp_path).songs.values()
    assert list(stems) == list(STEMS)
    assert [stem.stream for stem in stems.values()] == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]


def test_the_cache_holds_the_same_until_a_file_changes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(subset: str = "train", *sources: str) -> StemBank:
        return open_songs(root, subset, sources or ("drums", "bass"), RATE, tmp_path / "cache")  # type: ignore[arg-type]

    plain, first = open_songs(root, "train", ("drums", "bass"), RATE), opened()
    with monkeypatch.context() as without:
        without.setattr(Recording, "mono", None)
        cached = opened()
    for bank in (first, cached):
        assert (bank.names, bank.seconds) == (plain.names, plain.seconds)
        for one, two in zip(plain.samples, bank.samples, strict=True):
            np.testing.assert_array_equal(one, two)
    assert opened("validation").seconds == opened("test").seconds == (0.5, 0.5)
    assert opened("train", "bass", "drums").seconds == (1.0, 1.25)
    shutil.rmtree(root / "train" / "A - One")
    make_song(root / "train" / "A - One", 1.0)
    assert opened().seconds == (1.75, 1.5)


def test_what_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(InputError, match="kazoo") as caught:
        open_songs(root, "train", ("drums", "kazoo"), RATE)
    assert all(name in caught.value.hint for name in ("mixture", "drums", "bass", "other", "vocals"))
    shutil.rmtree(root / "test")
    make_song(root / "test" / "E - Five", 0.1, silent=("drums",), lacking=("bass", "mixture"))
    with pytest.raises(InputError, match="bass") as caught:
        open_songs(root, "test", ("bass",), RATE)
    assert all(name in caught.value.hint for name in ("drums", "other", "vocals"))
    assert not any(name in caught.value.hint for name in ("bass", "mixture"))
    with pytest.raises(InputError, match="drums"):
        open_songs(root, "test", ("drums",), RATE)


def test_a_damaged_file_leaves_no_cache(root: Path, tmp_path: Path) -> None:
    (root / "train" / "B - Two" / "bass.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"bass\.wav"):
        open_songs(root, "train", ("drums", "bass"), RATE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "index",
    [
        "[]",
        "[[[0, 4000]]]",
        "[[[0, 4000]], [[0, 4000]], []]",
        "[[[0, -1]], [[0, 4000]]]",
        "[[[0, 1e300]], [[0, 4000]]]",
        "[[[0, 9223372036854775807]], [[0, 4000]]]",
        "[[], []]",
        "[" * 100_000,
        "null",
    ],
    ids=lambda index: index[:20],
)
def test_a_damaged_index_is_refused(root: Path, tmp_path: Path, index: str) -> None:
    def opened() -> StemBank:
        return open_songs(root, "test", ("drums", "bass"), RATE, tmp_path / "cache")

    opened()
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "index.json").write_text(index)
    with pytest.raises(InputError, match=re.escape(str(folder))):
        opened()


def test_a_stem_that_nobody_hears_is_silent(root: Path) -> None:
    for song, peak in (("A - One", 1e-40), ("B - Two", 5e-7), ("D - Four", 2e-6)):
        soundfile.write(root / "train" / song / "drums.wav", np.float32(peak) * np.ones(80), RATE, "FLOAT")
    bank = open_songs(root, "train", ("drums",), RATE)
    assert bank.songs[0].tolist() == [2]
    assert set(bank.samples[0].tolist()) == {round(PEAK * 32767)}


def test_songs_that_may_not_be_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        open_songs(root, "test", ("bass",), RATE)


def test_songs_may_have_any_name(root: Path) -> None:
    song = root / "test" / "C - Three"
    folder = song.rename(song.with_name(os.fsdecode(b"\xff \x1b[31m=1+1 %s")))
    assert open_songs(root, "test", ("bass",), RATE).seconds == (0.5,)
    (folder / "bass.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"bass\.wav"):
        open_songs(root, "test", ("bass",), RATE)


@pytest.mark.parametrize("name", ["#recycle", ".@__thumb", "@eaDir", "__MACOSX", ".hidden"])
def test_copies_that_devices_keep_are_no_songs(root: Path, name: str) -> None:
    shutil.copytree(root / "test" / "C - Three", root / "test" / name)
    (root / "test" / "._C - Three.stem.mp4").write_bytes(bytes(300))
    (root / "test" / "readme.txt").touch()
    found = open_musdb(root)
    assert list(found.songs) == ["C - Three"]
    (note,) = found.notes
    assert all(passed in note for passed in ("3 entries", name, "._C - Three", "readme.txt"))
    assert open_songs(root, "test", ("bass",), RATE).seconds == (0.5,)
    shutil.rmtree(root / "test" / "C - Three")
    shutil.rmtree(root / "train")
    assert not is_musdb(root)


def test_a_subset_may_be_empty(root: Path) -> None:
    assert find_songs(root, "valid")
    shutil.rmtree(root / "train" / min(validation_songs()))
    shutil.rmtree(root / "test")
    assert [bool(find_songs(root, subset)) for subset in ("train", "valid", "test")] == [True, False, False]
    with pytest.raises(InputError, match=r"\bvalid\b"):
        open_songs(root, "validation", ("bass",), RATE)
