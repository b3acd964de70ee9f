"""Whole songs: mixed, separated window by window, scored; stopping and going on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fake_engine import FakeEngine
from torch import Tensor

from sepcli.datasets.songs import Recording, Songs, SongSet, song_pairs
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.report import Report
from sepcli.evaluation.run import run
from sepcli.evaluation.tasks.songs import WholeSongs, separate_song
from sepcli.protocols import ProgressCallback
from sepcli.separation.seeds import item_seed
from sepcli.separation.settings import StreamSettings

RATE = 4000
STREAM = StreamSettings(window=0.5, overlap=0.1, consistency="none", reference_rms=None)


@dataclass
class Scaled(FakeEngine):
    """Every source is the mixture over K times its weight; counts windows."""

    names: tuple[str, ...] = ("drums", "bass")
    weights: tuple[float, ...] = (0.5, 0.25)
    sample_rate: int = RATE
    windows: int = 0

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        self.windows += len(mixture)
        shares = torch.tensor([1 / (2 * w) for w in self.weights])
        return (mixture[:, None] * shares[:, None, None])[:, None].expand(-1, seeds.shape[1], -1, -1, -1)


def evaluate_songs(songs: Songs, engine: Scaled | None, limit: int | None = None, **options: Any) -> Report:
    return run(WholeSongs(SongSet("test", songs, limit), engine, stream=STREAM), ["usdr"], **options)


@pytest.fixture
def songs(tmp_path: Path) -> Songs:
    """Four songs; the third lacks its bass, a file of the fourth is damaged."""
    found: dict[str, dict[str, Recording]] = {}
    for number in range(4):
        rng = np.random.default_rng(number)
        for stem in ("bass", "drums", "vocals"):
            path = tmp_path / f"{number}-{stem}.wav"
            soundfile.write(path, rng.uniform(-0.5, 0.5, 2 * RATE), RATE, subtype="FLOAT")
            found.setdefault(f"song {number}", {})[stem] = Recording((path,))
    del found["song 2"]["bass"]
    (tmp_path / "3-drums.wav").write_bytes(b"RIFF")
    return found


def test_a_song_goes_through_the_stream_and_back(songs: Songs) -> None:
    pair, engine = next(song_pairs(songs, ("drums", "bass"), RATE)), Scaled()
    told: list[tuple[int, int]] = []
    estimates = separate_song(pair, engine, STREAM, 0, lambda *step: told.append(step))
    mixture = 0.5 * pair.sources[0] + 0.25 * pair.sources[1]
    np.testing.assert_allclose(estimates[0], mixture, atol=1e-5)
    np.testing.assert_allclose(estimates[1], 2 * mixture, atol=1e-5)
    assert engine.windows > 3
    assert told[-1] == (2000, 2000)


def test_songs_are_scored_and_failures_said(songs: Songs) -> None:
    report = evaluate_songs(songs, Scaled())
    rows = report.results["usdr"]
    assert list(rows) == ["sepcli", "average", "oracle mask"]
    for stem in ("drums", "bass"):
        assert rows["sepcli"][stem].mean == pytest.approx(rows["average"][stem].mean, abs=1e-3)
    assert {score.track for score in report.scores} == {"song 0", "song 1"}
    assert [failure.track for failure in report.failures] == ["song 3"]
    assert report.seeds["song 1"] == item_seed(0, 1)
    assert any(re.search(r"\b1\b", note) for note in report.notes)
    assert report.protocol.mixture == "0.5·drums + 0.25·bass"
    assert report.protocol.settings["songs"] == ["song 0", "song 1", "song 3"]


def test_songs_can_be_heard(songs: Songs) -> None:
    report = evaluate_songs(songs, Scaled())
    assert report.clips_of is not None
    clips = report.clips_of("song 1")
    assert [(clip.row, clip.stem) for clip in clips] == [
        ("mixture", "mixture"),
        ("reference", "drums"),
        ("reference", "bass"),
        ("sepcli", "drums"),
        ("sepcli", "bass"),
    ]
    pair = next(song_pairs({"song 1": songs["song 1"]}, ("drums", "bass"), RATE))
    heard = [clip.signal[:, 0] for clip in clips]
    np.testing.assert_allclose(heard[1], pair.sources[0], atol=1e-4)
    np.testing.assert_allclose(heard[0], 0.5 * pair.sources[0] + 0.25 * pair.sources[1], atol=1e-4)
    np.testing.assert_allclose(heard[3], heard[0], atol=1e-4)
    with pytest.raises(InputError, match="drums"):
        report.clips_of("song 3")


def test_a_stopped_run_goes_on_to_the_same_report(songs: Songs, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    whole = evaluate_songs(songs, Scaled())

    def stop(done: int, total: int) -> None:
        if done > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_songs(songs, Scaled(), journal=journal, on_progress=stop)
    rest = Scaled()
    assert evaluate_songs(songs, rest, journal=journal) == whole
    once = Scaled()
    evaluate_songs(songs, once, limit=1)
    assert rest.windows == once.windows  # the first song was finished, the last one fails before
    again = evaluate_songs(songs, Scaled(), journal=journal)
    assert again == whole  # the failure is found again
    assert replace(again, failures=()) != again


def test_nothing_to_score_is_an_error(songs: Songs) -> None:
    with pytest.raises(InputError, match="song 3"):
        evaluate_songs({"song 3": songs["song 3"]}, Scaled())
    with pytest.raises(InputError, match=r"\btest\b"):
        evaluate_songs({"song 2": songs["song 2"]}, Scaled())
    with pytest.raises(UsageError):
        evaluate_songs(songs, None)
