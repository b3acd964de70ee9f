"""What programs leave, beside references: models, splits, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from sepcli.errors import InputError
from sepcli.evaluation.folder_layouts import ESTIMATES, IMAGES, SOUNDS, holds
from sepcli.evaluation.folder_pairs import pair_folders
from sepcli.evaluation.tasks.folders import open_folders


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
    pairing = pair_folders(est, ref)
    assert [track.stems for track in pairing.tracks] == [("bass", "drums"), ("bass",), ("bass", "drums")]
    _write(ref / "train" / "three", "drums.wav")
    assert [f.track for f in pair_folders(est, ref).failures] == ["three"]  # no estimate of the drums


def test_one_more_stem_of_one_track_drops_no_track(tmp_path: Path) -> None:
    est = _write(tmp_path / "est", *_tracks("{t}/{s}.wav"), "three/bass.wav", "three/drums.wav")
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav"), "three/bass.wav", "three/drums.wav")
    _write(tmp_path, "est/one/piano.wav", "ref/one/piano.wav")
    for _ in range(2):
        pairing = pair_folders(est, ref)
        assert [track.stems for track in pairing.tracks] == [
            ("bass", "drums", "piano"),
            ("bass", "drums"),
            ("bass", "drums"),
        ]
        assert (pairing.failures, pairing.ignored) == ((), ())
        assert re.search(r"(?=.*\b3 tracks\b)(?=.*piano \(1\))", pairing.notes[0])
        _write(ref, "two/piano.wav", "three/piano.wav")  # of which most have no estimates
    (est / "two" / "bass.wav").unlink()  # of which most have estimates
    assert [f.track for f in pair_folders(est, ref).failures] == ["two"]


@pytest.mark.parametrize("deep", ["", "htdemucs/"])
def test_what_lies_beside_the_stems_is_passed_over(tmp_path: Path, deep: str) -> None:
    est = _write(tmp_path / "est", *_tracks(deep + "{t}/{s}.wav"))
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav"))
    for folder in (est, ref):
        clutter = (
            "demo.wav",
            "notes.txt",
            "#recycle/old.wav",
            "@eaDir/SYNOAUDIO.wav",
            ".@__thumb/one/bass.wav",
        )
        _write(folder, *clutter, "__MACOSX/one/._drums.wav", ".DS_Store", "Thumbs.db")
    _write(est, f"{deep}one/run.json", f"{deep}one/._drums.wav")
    pairing = pair_folders(est, ref)
    assert [(track.id, track.stems) for track in pairing.tracks] == [
        ("one", ("bass", "drums")),
        ("two", ("bass", "drums")),
    ]
    assert (pairing.failures, pairing.ignored, pairing.warnings) == ((), (), ())
    first, second = pairing.notes
    assert first.startswith(f"{est}: 7 entries")
    assert second.startswith(f"{ref}: 6 entries")
    assert all(name in second for name in ("#recycle", ".@__thumb", "@eaDir", "__MACOSX", "demo.wav"))


def test_files_that_may_be_stems_or_strays_are_refused(tmp_path: Path) -> None:
    est = _write(tmp_path / "est", *_tracks("{t}/{s}.wav"), "bass.wav")
    with pytest.raises(InputError, match=re.escape(str(est))):
        pair_folders(est, _write(tmp_path / "ref", *_tracks("{t}/{s}.wav")))


def test_swapped_folders_are_doubted(tmp_path: Path) -> None:
    est = _write(tmp_path / "est", *_tracks("{t}/{s}.wav"))
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav"), "one/mixture.wav")
    assert pair_folders(est, ref).warnings == ()
    (doubt,) = pair_folders(ref, est).warnings
    assert "swapped" in doubt
    _write(est, "one/mixture.wav")
    assert pair_folders(ref, est).warnings == ()


@pytest.mark.parametrize("layout", ["{t}/{s}.wav", "{s}/{t}.wav"])
def test_stems_match_in_any_case(tmp_path: Path, layout: str) -> None:
    est = _write(tmp_path / "est", *_tracks("{t}/{s}.wav", ("Bass", "DRUMS")))
    pairing = pair_folders(est, _write(tmp_path / "ref", *_tracks(layout)))
    assert [track.stems for track in pairing.tracks] == [("bass", "drums")] * 2


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


def test_names_of_audio_separator_are_tracks_stems_and_models(tmp_path: Path) -> None:
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav", ("vocals", "drums", "bass")), "one/mixture.wav")
    names = [
        f"{t}_({s})_{m}.wav" for t in ("one", "two") for s in ("Vocals", "Drums") for m in ("UVR_MDX", "b-2")
    ]
    pairing = pair_folders(_write(tmp_path / "est", *names), ref)
    assert pairing.stems == ("drums", "vocals")
    assert [(track.id, sorted(track.estimates)) for track in pairing.tracks] == [
        ("one", ["UVR_MDX", "b-2"]),
        ("two", ["UVR_MDX", "b-2"]),
    ]
    assert not pairing.failures
    assert pairing.tracks[0].estimates["b-2"]["vocals"] == tmp_path / "est" / "one_(Vocals)_b-2.wav"


@pytest.mark.parametrize(
    ("estimates", "rest"),
    [
        (("{t}/vocals.wav", "{t}/no_vocals.wav"), "no_vocals"),
        (("{t}/vocals.wav", "{t}/accompaniment.wav"), "accompaniment"),
        (("{t}_(Vocals)_x.wav", "{t}_(Instrumental)_x.wav"), "instrumental"),
    ],
)
def test_the_rest_is_the_sum_of_the_other_stems(
    tmp_path: Path, estimates: tuple[str, ...], rest: str
) -> None:
    est = _write(tmp_path / "est", *(_.format(t=t) for _ in estimates for t in ("one", "two")))
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav", ("vocals", "drums", "bass", "mixture")))
    pairing = pair_folders(est, ref)
    assert pairing.stems == tuple(sorted(("vocals", rest)))
    assert pairing.ignored == ()
    assert sorted(pairing.tracks[0].references) == sorted(("mixture", "vocals", rest))
    signal, rate = pairing.tracks[0].references[rest].read()  # type: ignore[union-attr]
    assert (signal.tolist(), rate) == ([[0.0], [1.0]], 1000)  # twice 0.5


def test_other_stems_beside_the_rest_are_scored_themselves(tmp_path: Path) -> None:
    est = _write(tmp_path / "est", *_tracks("{t}/{s}.wav", ("vocals", "drums", "no_vocals")))
    ref = _write(tmp_path / "ref", *_tracks("{t}/{s}.wav", ("vocals", "drums", "bass")))
    pairing = pair_folders(est, ref)
    assert (pairing.stems, pairing.ignored) == (("drums", "vocals"), ("bass", "no_vocals"))


def test_the_first_tracks_alone(tmp_path: Path) -> None:
    est, ref = (_write(tmp_path / name, *_tracks("{t}/{s}.wav")) for name in ("est", "ref"))
    _write(est, "zero/bass.wav")
    task = open_folders(est, ref, limit=1)
    assert [track.id for track in task.pairing.tracks] == ["one"]
    assert not task.pairing.failures
    assert re.search(r"(?=.*\b1\b)(?=.*\b2\b)", task.notes[-1])
    assert len(open_folders(est, ref, limit=5).pairing.tracks) == 2
