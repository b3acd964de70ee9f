"""What programs leave, beside references: models, splits, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from sepcli.errors import InputError
from sepcli.evaluation.folder_layouts import ESTIMATES, IMAGES, SOUNDS, holds, pair_folders


def _write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, [0.0, 0.5], 1000, format="WAV")
    return root


def _tracks(pattern: str, stems: tuple[str, ...] = ("bass", "drums")) -> list[str]:
    return [pattern.format(t=t, s=s) for t in ("one", "two") for s in stems]


def test_every_model_is_a_row_and_a_track_needs_all_of_them(tmp_path: Path) -> None:
    est = _write(
        tmp_path / "separated", *_tracks("a/{t}/{s}.wav"), *_tracks("b/{t}/{s}.wav", ("bass", "flute"))
    )
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav"))
    pairing = pair_folders(est, ref)
    assert pairing.stems == ("bass",)
    assert pairing.ignored == ("drums", "flute")
    assert [(track.id, list(track.estimates)) for track in pairing.tracks] == [
        ("one", ["a", "b"]),
        ("two", ["a", "b"]),
    ]
    (est / "b" / "two" / "bass.wav").unlink()
    pairing = pair_folders(est, ref)
    (failure,) = pairing.failures
    assert failure.track == "two"
    assert re.search(r"(?=.*\bb\b)(?=.*\bbass\b)", failure.reason)


@pytest.mark.parametrize("estimates", ["{t}/{s}.wav", "test/{t}/{s}.wav", "{t}.stem/{s}.wav"])
def test_of_references_in_splits_only_those_with_estimates_count(tmp_path: Path, estimates: str) -> None:
    est = _write(tmp_path / "est", *_tracks(estimates))
    ref = _write(tmp_path / "musdb", *_tracks("test/{t}/{s}.wav"), "train/three/bass.wav")
    pairing = pair_folders(est, ref)
    assert [(track.id, list(track.estimates)) for track in pairing.tracks] == [
        ("one", [ESTIMATES]),
        ("two", [ESTIMATES]),
    ]
    assert not pairing.failures
    _write(est, estimates.format(t="three", s="bass"))
    assert [f.track for f in pair_folders(est, ref).failures] == ["three"]  # no drums


def test_a_demucs_folder_against_items_by_stem(tmp_path: Path) -> None:
    est = _write(tmp_path / "separated", *_tracks("htdemucs/{t}/{s}.wav", ("bass", "drums", "vocals")))
    ref = _write(tmp_path / "items", *_tracks("{s}/{t}.wav"))
    pairing = pair_folders(est, ref)
    assert pairing.stems == ("bass", "drums")
    assert pairing.ignored == ("vocals",)
    assert [track.id for track in pairing.tracks] == ["one", "two"]


def test_ambiguous_references_are_refused(tmp_path: Path) -> None:
    est = _write(tmp_path / "est", *_tracks("{t}/{s}.wav"))
    with pytest.raises(InputError, match="a, b"):
        pair_folders(est, _write(tmp_path / "x", *_tracks("a/{t}/{s}.wav"), *_tracks("b/{t}/{s}.wav")))
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "y"))):
        pair_folders(est, _write(tmp_path / "y", *_tracks("test/{t}/{s}.wav"), *_tracks("train/{t}/{s}.wav")))


def test_what_a_folder_holds(tmp_path: Path) -> None:
    assert not holds(tmp_path / "missing", SOUNDS)
    for depth, name in enumerate(("x.wav", "a/x.wav", "a/b/x.wav")):
        folder = _write(tmp_path / str(depth), name)
        assert holds(folder, SOUNDS)
        assert not holds(folder, IMAGES)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav"))
    inside = Path.iterdir

    def locked(path: Path) -> Iterator[Path]:
        if path.name == "two":
            raise PermissionError(13, "Permission denied")
        return inside(path)

    monkeypatch.setattr(Path, "iterdir", locked)
    with pytest.raises(InputError, match=r"\btwo\b"):
        pair_folders(folder, folder)
