"""The program that brings voices and music into Slakh's layout."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sepcli.datasets.slakh2100 import slakh_songs

PROGRAM = Path(__file__).parents[2] / "examples" / "speech_and_music.py"
RATE = 22050


def tone(path: Path, hertz: float, seconds: float, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number in range(6):
        tone(tmp_path / "in" / "voice" / f"{number}.wav", 200.0, 1.0, 16000)
    for number in range(2):
        tone(tmp_path / "in" / "pieces" / f"{number}.flac", 1000.0, 5.0, 44100)
    return tmp_path / "in"


def build(recordings: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[dict[str, np.ndarray]]:
    out = recordings.parent / "set"
    words = [str(out), "--speech", str(recordings / "voice"), "--music", str(recordings / "pieces")]
    monkeypatch.setattr("sys.argv", [str(PROGRAM), *words, "--split", "test", "--seconds", "3", *options])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    songs = slakh_songs(out, "test")
    return [
        {name: soundfile.read(stem.paths[0])[0] for name, stem in stems.items()} for stems in songs.values()
    ]


def loudest(audio: np.ndarray) -> float:
    """Hertz of the strongest partial."""
    return float(np.abs(np.fft.rfft(audio)).argmax() * RATE / len(audio))


def test_tracks_are_utterances_beside_an_excerpt(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = build(recordings, monkeypatch)
    assert [set(track) for track in tracks] == [{"speech", "music"}] * len(tracks)
    assert all(len(track["speech"]) == len(track["music"]) <= 3 * RATE for track in tracks)
    assert loudest(tracks[0]["speech"]) == pytest.approx(200, abs=2)  # the first version is as recorded
    assert sum(np.abs(track["speech"] > 0).sum() for track in tracks) / RATE == pytest.approx(3, abs=0.5)


def test_other_versions_are_other_voices(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, last = build(recordings, monkeypatch, "--versions", "2", "--tracks", "1")
    assert loudest(first["speech"]) == pytest.approx(200, abs=2)
    assert 155 < loudest(last["speech"]) < 260
    assert abs(loudest(last["speech"]) - 200) > 4


def test_stems_have_the_ratios_that_are_asked_for(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = build(recordings, monkeypatch, "--ratio", "5", "--ratio", "-5")
    for track, ratio in zip(tracks, (5, -5), strict=False):
        power = {name: np.square(audio).mean() for name, audio in track.items()}
        assert 10 * np.log10(power["speech"] / power["music"]) == pytest.approx(ratio, abs=0.05)
        assert np.abs(track["speech"] + track["music"]).max() <= 1


def test_a_folder_without_recordings_is_named(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recordings / "pieces" / "0.flac").unlink()
    (recordings / "pieces" / "1.flac").unlink()
    with pytest.raises(SystemExit, match="pieces"):
        build(recordings, monkeypatch)
