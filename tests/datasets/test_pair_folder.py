import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.datasets.pair_folder import PairFolder
from sepcli.errors import InputError

RATE = 8000
NAMES = ("bass", "drums")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for value, name in ((0.25, "drums"), (0.5, "bass")):
        (tmp_path / name).mkdir()
        for item in range(3):
            soundfile.write(tmp_path / name / f"{item:03d}.flac", np.full(100 + item, value), RATE)
    (tmp_path / "pairs.csv").write_text("pair\n")
    return tmp_path


def test_items_come_in_order_with_sources_in_the_order_of_names(folder: Path) -> None:
    pairs = list(PairFolder(folder).items(NAMES))
    assert [pair.id for pair in pairs] == ["000", "001", "002"]
    for length, (_, sources, rate) in zip((100, 101, 102), pairs, strict=True):
        assert sources.shape == (2, length)
        assert sources.dtype == np.float32
        assert rate == RATE
        np.testing.assert_array_equal(sources[:, 0], [0.5, 0.25])


def test_the_order_of_sources_can_be_chosen_and_items_limited(folder: Path) -> None:
    (pair,) = PairFolder(folder).pairs(1).items(("drums", "bass"))
    np.testing.assert_array_equal(pair.sources[:, 0], [0.25, 0.5])
    assert PairFolder(folder).ids(("drums",)) == ("000", "001", "002")


def test_stereo_is_averaged(folder: Path) -> None:
    soundfile.write(folder / "bass" / "000.flac", np.tile([0.0, 0.5], (100, 1)), RATE)
    np.testing.assert_array_equal(
        next(PairFolder(folder).items(NAMES)).sources[0], np.full(100, 0.25, np.float32)
    )


def test_an_item_without_one_of_the_sources_is_an_error(folder: Path) -> None:
    (folder / "bass" / "001.flac").unlink()
    with pytest.raises(InputError, match=r"(?=.*\bbass\b)(?=.*001)"):
        list(PairFolder(folder).items(NAMES))


def test_other_files_are_passed_over_with_a_note(folder: Path) -> None:
    assert PairFolder(folder).notes(NAMES) == ()
    (folder / "bass" / "@eaDir").mkdir()
    for name in ("bass/@eaDir/000.flac", "bass/._000.flac", "drums/notes.txt", "drums/.DS_Store"):
        (folder / name).touch()
    assert PairFolder(folder).ids(NAMES) == ("000", "001", "002")
    (note,) = PairFolder(folder).notes(NAMES)
    assert all(name in note for name in ("3 entries", "bass/@eaDir", "bass/._000.flac", "drums/notes.txt"))


def test_items_of_any_format_but_not_of_two(folder: Path) -> None:
    for name in NAMES:
        soundfile.write(folder / name / "003.ogg", np.zeros(RATE), RATE)
    assert PairFolder(folder).ids(NAMES) == ("000", "001", "002", "003")
    soundfile.write(folder / "bass" / "003.wav", np.zeros(RATE), RATE)
    with pytest.raises(InputError, match=r"\b003\b"):
        PairFolder(folder).ids(NAMES)


def test_a_missing_source_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match="guitar"):
        list(PairFolder(folder).items(("drums", "guitar")))


@pytest.mark.parametrize(("length", "rate"), [(99, RATE), (100, 2 * RATE)])
def test_sources_that_differ_are_an_error(folder: Path, length: int, rate: int) -> None:
    soundfile.write(folder / "bass" / "000.flac", np.zeros(length), rate)
    with pytest.raises(InputError, match="000"):
        list(PairFolder(folder).items(NAMES))


def test_folders_without_items_are_an_error(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=re.escape(str(place))):
            list(PairFolder(place).items(NAMES))


@pytest.mark.parametrize("samples", [np.zeros(0), np.array([0.0, np.nan])])
def test_files_without_usable_samples_are_an_error(folder: Path, samples: np.ndarray) -> None:
    (folder / "bass" / "000.flac").unlink()
    soundfile.write(folder / "bass" / "000.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"000\.wav"):
        next(PairFolder(folder).items(NAMES))
