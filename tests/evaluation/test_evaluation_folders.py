"""Finding what belongs together, and scoring it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.errors import InputError
from sepcli.evaluation.folders import pair_folders, score_folders
from sepcli.evaluation.report import Failure
from sepcli.evaluation.runs import evaluate_folders

RATE = 1000


def _write(path: Path, seed: int = 0, rate: int = RATE, length: int = 3 * RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (length, channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")


def _tracks(folder: Path, pattern: str, seed: int = 0) -> Path:
    for track in ("one", "two"):
        for number, stem in enumerate(("bass", "drums")):
            _write(folder / pattern.format(track=track, stem=stem), seed + number)
    return folder


@pytest.mark.parametrize("estimates", ["{track}/{stem}.flac", "{stem}/{track}.wav"])
@pytest.mark.parametrize("references", ["{track}/{stem}.wav", "{stem}/{track}.flac"])
def test_both_layouts_pair(tmp_path: Path, estimates: str, references: str) -> None:
    pairing = pair_folders(_tracks(tmp_path / "est", estimates), _tracks(tmp_path / "ref", references))
    assert pairing.stems == ("bass", "drums")
    assert [track for track, _, _ in pairing.tracks] == ["one", "two"]
    for track, est, ref in pairing.tracks:
        for stem in pairing.stems:
            assert {track, stem} <= {est[stem].stem, est[stem].parent.name}
            assert {track, stem} <= {ref[stem].stem, ref[stem].parent.name}
    assert not pairing.failures


def test_unusual_stem_names_follow_the_estimates_layout(tmp_path: Path) -> None:
    for track in ("one", "two"):
        for stem in ("sitar", "tabla"):
            _write(tmp_path / "est" / track / f"{stem}.wav")
            _write(tmp_path / "ref" / stem / f"{track}.wav")
    pairing = pair_folders(tmp_path / "est", tmp_path / "ref")
    assert pairing.stems == ("sitar", "tabla")
    assert len(pairing.tracks) == 2


@pytest.mark.parametrize("nested", ["neither", "estimates", "references"])
def test_stems_of_one_track_lie_in_the_folder_itself(tmp_path: Path, nested: str) -> None:
    for which in ("estimates", "references"):
        folder = tmp_path / which / "song" if which == nested else tmp_path / which
        for stem in ("bass", "drums"):
            _write(folder / f"{stem}.wav")
    pairing = pair_folders(tmp_path / "estimates", tmp_path / "references")
    assert [track for track, _, _ in pairing.tracks] == ["references" if nested == "neither" else "song"]


def test_missing_partners_fail_their_track_only(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    (est / "two" / "bass.wav").unlink()
    _write(est / "three" / "bass.wav")
    _write(est / "three" / "drums.wav")
    _write(ref / "one" / "vocals.wav")
    pairing = pair_folders(est, ref)
    assert [track for track, _, _ in pairing.tracks] == ["one"]
    assert {f.track: f.reason for f in pairing.failures} == {
        "two": "no estimate of bass",
        "three": "no reference of bass, no reference of drums",
    }
    assert pairing.ignored == ("vocals",)


def test_nothing_in_common_and_no_folder(tmp_path: Path) -> None:
    est, ref = _tracks(tmp_path / "est", "{track}/{stem}.wav"), tmp_path / "ref"
    with pytest.raises(InputError, match="not a folder"):
        pair_folders(est, ref)
    ref.mkdir()
    with pytest.raises(InputError, match="no audio"):
        pair_folders(est, ref)
    _write(ref / "elsewhere" / "piano.wav")
    with pytest.raises(InputError, match="in common"):
        pair_folders(est, ref)
    _write(ref / "piano.wav")
    with pytest.raises(InputError, match="beside"):
        pair_folders(est, ref)


def test_one_stem_in_two_formats_is_refused(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    _write(est / "one" / "bass.flac")
    with pytest.raises(InputError, match="twice"):
        pair_folders(est, ref)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"rate": 2000}, "2000 Hz"), ({"length": 2999}, "2999 samples"), ({"channels": 2}, "2 channel")],
    ids=str,
)
def test_unlike_files_fail_their_track(tmp_path: Path, change: dict[str, int], reason: str) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    _write(est / "one" / "bass.wav", **change)
    bad, good = score_folders(pair_folders(est, ref), ["sdr"])
    assert isinstance(bad, Failure)
    assert reason in bad.reason
    assert isinstance(good, list)


def test_scores_are_those_of_the_files(tmp_path: Path) -> None:
    for stem, seed in (("bass", 1), ("drums", 2)):
        x = np.random.default_rng(seed).uniform(-0.5, 0.5, (3 * RATE, 2))
        for folder, gain in (("ref", 1.0), ("est", 0.9)):
            (tmp_path / folder / "song").mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / folder / "song" / f"{stem}.wav", gain * x, RATE, subtype="FLOAT")
    report = evaluate_folders(tmp_path / "est", tmp_path / "ref", ["sdr", "si-sdri"])
    rows = report.results["sdr"]
    assert list(rows) == ["estimates", "average", "oracle mask"]
    assert rows["estimates"]["bass"].mean == pytest.approx(20.0, abs=1e-3)
    assert rows["average"]["bass"].mean == pytest.approx(3.0, abs=0.3)
    assert rows["average"]["bass"].mean < rows["oracle mask"]["bass"].mean < 20
    assert report.results["si-sdri"]["average"]["bass"].mean == pytest.approx(0.0, abs=1e-4)
    assert report.protocol.tracks == 1


def test_a_mixture_beside_the_references_is_used(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    without = evaluate_folders(est, ref, ["sdr"]).results["sdr"]["average"]["bass"].mean
    for track in ("one", "two"):
        _write(ref / track / "mixture.wav", seed=9)
    report = evaluate_folders(est, ref, ["sdr"])
    assert report.protocol.stems == ("bass", "drums")
    assert report.results["sdr"]["average"]["bass"].mean < without - 1


def test_nothing_scored_is_an_error(tmp_path: Path) -> None:
    est, ref = (
        _tracks(tmp_path / "est", "{track}/{stem}.wav"),
        _tracks(tmp_path / "ref", "{track}/{stem}.wav"),
    )
    for track in ("one", "two"):
        _write(est / track / "bass.wav", rate=2000)
    with pytest.raises(InputError, match=r"none of 2 track\(s\) can be scored"):
        evaluate_folders(est, ref, ["sdr"])
