"""Whole songs: mix their stems, separate each mixture as ``sepcli separate`` would, score.

One song is in memory at a time; it is separated window by window.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from sepcli import baselines as blind
from sepcli.datasets.pairs import Pair
from sepcli.datasets.songs import Songs, song_pairs
from sepcli.errors import InputError, SepError
from sepcli.evaluation.batches import Scores, item_seeds, score_batches
from sepcli.evaluation.journal import resume_journal
from sepcli.evaluation.pairs import REFINED, mix, mixture_words, score_pair, sound_clips
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Failure, Report, make_report
from sepcli.evaluation.runs import blind_rows
from sepcli.evaluation.score import TrackScore
from sepcli.media.audio import AudioReader
from sepcli.media.stems import StemWriter
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.engines import part_of
from sepcli.separation.seeds import item_seed
from sepcli.separation.settings import StreamSettings
from sepcli.separation.stream import separate_stream

BLIND = StreamSettings(
    window=blind.STREAM["window"],
    overlap=blind.STREAM["overlap"],
    fft_seconds=blind.STREAM["fft_seconds"],
    exponent=blind.STREAM["exponent"],
)
"""How methods without a prior go through a song."""


def evaluate_songs(
    songs: Songs,
    dataset: str,
    separator: Engine | None,
    metrics: Sequence[str],
    *,
    methods: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    stream: StreamSettings | None = None,
    settings: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    replace_journal: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Mix, separate and score songs, in mono and at the separator's rate.

    The mixture is of the stems that the separator knows; the songs' other stems are no part of it.

    Args:
        songs: To be mixed.
        dataset: What they are, in words.
        separator: Its names are the stems, its weights those of the mixture. None without a prior.
        metrics: Keys of ``sepcli.metrics.METRICS``.
        methods: Keys of ``sepcli.baselines.separator.METHODS``, a row each; at least one without a prior.
        limit: Only the first songs that have all stems.
        seed: Of the draws and the bootstrap.
        stream: How songs go through the prior's separator.
        settings: Of the separator, for the protocol.
        journal: Keeps finished songs; a run that finds its own journal continues it, to the same report.
        replace_journal: Start over when the journal is of a run with other settings.
        on_progress: Told about progress.

    Returns:
        The report; songs that lack a stem or cannot be read are its failures.

    Raises:
        InputError: if no song can be scored.
        OutputError: if the journal is of a run with other settings, or cannot be written.
        UsageError: if a method is unknown, or separates other sources than the prior.
        ValueError: if there is neither a separator nor a method.
    """
    if separator is None and not methods:
        raise ValueError("nothing to evaluate: neither a separator nor a method")
    stream = stream or StreamSettings()
    others = blind_rows(methods, separator, blind.SAMPLE_RATE)
    rows = {**({} if separator is None else {REFINED: (separator, stream)})}
    rows |= {method: (engine, BLIND) for method, engine in others.items()}
    frame, _ = next(iter(rows.values()))
    run = _Run(songs, rows, tuple(metrics), seed)
    whole = [song for song, stems in songs.items() if all(name in stems for name in frame.names)][:limit]
    protocol = Protocol(
        metrics=tuple(metrics),
        dataset=f"{dataset}: {len(whole)} songs",
        stems=tuple(frame.names),
        mixture=mixture_words(frame),
        tracks=len(whole),
        seed=seed,
        settings={
            **(settings or {}),
            "songs": whole,
            "signals": f"mono, {frame.sample_rate} Hz",
            "stream": repr(stream) if separator is not None else None,
            "methods": {method: repr(BLIND) for method in methods},
        },
    )
    files = (path for song in whole for stem in songs[song].values() for path in stem.paths)
    finished = resume_journal(journal, protocol.fingerprint(files), replace_journal)
    batches = score_batches(
        [_Song(song) for song in whole],
        run,
        batch=1,
        total=len(whole),
        finished={song: scores for song, scores in finished.items() if scores},  # failed ones are tried again
        journal=journal,
        on_progress=on_progress,
    )
    scores = [score for scored in batches for song in scored.values() for score in song]
    if not scores:
        reason = f"{run.failures[0].track}: {run.failures[0].reason}" if run.failures else "no song has all"
        raise InputError(
            f"no song of {dataset} can be scored; {reason}",
            f"give songs that have {', '.join(frame.names)}",
        )
    lacking = len(songs) - sum(all(name in stems for name in frame.names) for stems in songs.values())
    notes = [f"{lacking} song(s) lack a stem and are left out"] if lacking else []
    report = make_report(protocol, scores, run.failures, notes)
    seeds = item_seeds(seed, whole)
    return replace(report, seeds=seeds, clips_of=lambda song: run.clips(whole.index(song), song))


def separate_song(
    pair: Pair,
    separator: Engine,
    settings: StreamSettings,
    seed: int,
    on_progress: ProgressCallback | None = None,
) -> Tensor:
    """Separate the mixture of a song's stems, as a file would be.

    Args:
        pair: The stems.
        separator: Its weights mix them.
        settings: Of the stream.
        seed: Of the draws.
        on_progress: Told about milliseconds of sound.

    Returns:
        (K, T), unweighted.

    Raises:
        SepError: the separation failed.
    """
    mixture = mix(torch.from_numpy(pair.sources), separator.weights).numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "mixture.wav", mixture, pair.sample_rate, subtype="FLOAT")
        paths = [folder / f"{k}.wav" for k in range(len(separator.names))]
        told = None if on_progress is None else partial(_milliseconds, on_progress)
        with AudioReader(folder / "mixture.wav") as reader, StemWriter(paths, reader.info) as writer:
            separate_stream(reader, [writer], separator, settings, seed, told)
        stems = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])
    return torch.from_numpy(stems) / torch.tensor(list(separator.weights))[:, None]


@dataclass(frozen=True)
class _Song:
    id: str


@dataclass
class _Run:
    """Reads, separates and scores songs, and keeps what went wrong."""

    songs: Songs
    rows: Mapping[str, tuple[Engine, StreamSettings]]
    metrics: Sequence[str]
    seed: int
    failures: list[Failure] = field(default_factory=list)

    def __call__(self, items: list[tuple[int, _Song]], on_progress: ProgressCallback | None) -> Scores:
        """Scores of a batch of one."""
        ((number, song),) = items
        try:
            return {song.id: self._score(number, song.id, on_progress)}
        except SepError as error:
            self.failures.append(Failure(song.id, error.message))
            return {song.id: []}

    def _score(self, number: int, song: str, on_progress: ProgressCallback | None) -> list[TrackScore]:
        pair, frame, drawn = self._separate(number, song, on_progress)
        return score_pair(pair, frame, drawn, self.metrics)

    def clips(self, number: int, song: str) -> list[Clip]:
        """What there is to hear of a song, which is separated again."""
        return sound_clips(*self._separate(number, song, None))

    def _separate(
        self, number: int, song: str, on_progress: ProgressCallback | None
    ) -> tuple[Pair, Engine, dict[str, Tensor]]:
        """The song's stems, a separator that has their names and weights, and draws (1, K, T) by row."""
        frame, _ = next(iter(self.rows.values()))
        pair = next(song_pairs({song: self.songs[song]}, frame.names, frame.sample_rate))
        seed = item_seed(self.seed, number)
        drawn = {}
        for place, (row, (separator, settings)) in enumerate(self.rows.items()):
            told = None if on_progress is None else part_of(on_progress, place, len(self.rows))
            drawn[row] = separate_song(pair, separator, settings, seed, told)[None]
        return pair, frame, drawn


def _milliseconds(on_progress: ProgressCallback, done: float, total: float) -> None:
    on_progress(round(1000 * done), round(1000 * total))
