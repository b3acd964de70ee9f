"""Whole songs: mix their stems, separate each mixture in windows as ``sepcli separate`` would, compare.

One song is in memory at a time. The mixture is of the stems that the separator has; a song's other stems are
no part of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sepcli import baselines
from sepcli.datasets.pair_folder import Pair
from sepcli.datasets.songs import SongSet, song_pairs
from sepcli.evaluation.estimates import REFINED, engines_of, score_pair, sound_clips, source_names
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.samples import describe_mixture, mix
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.media.folders import shortened
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.engines import part_of
from sepcli.separation.seeds import item_seed
from sepcli.separation.separator import Separator
from sepcli.separation.settings import StreamSettings

BLIND = StreamSettings(
    window=baselines.STREAM["window"],
    overlap=baselines.STREAM["overlap"],
    fft_seconds=baselines.STREAM["fft_seconds"],
    exponent=baselines.STREAM["exponent"],
)
"""Stream settings of songs for baselines."""


class Song(NamedTuple):
    """A song, whose stems are read when it is separated."""

    id: str


@dataclass(frozen=True)
class WholeSongs:
    """Songs, in mono and at the separator's rate.

    ``stream`` has the windows, level, samples and consistency of the engine; see ``Pairs`` for others.
    """

    data: SongSet
    engine: Engine | None
    methods: Sequence[str] = ()
    stream: StreamSettings = field(default_factory=StreamSettings)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("sdr",)
    scopes: tuple[str, ...] = ("track",)
    medium: str = "audio"
    separates: bool = True
    one_by_one: bool = True

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol."""
        frame, _ = self._engines()
        songs = [song.id for song in self.items(plan)]
        stems = [stem for song in songs for stem in self.data.songs[song].values()]
        protocol = Protocol(
            metrics=plan.metrics,
            dataset=f"{self.data.title}: {len(songs)} songs",
            stems=tuple(frame.names),
            mixture=describe_mixture(frame.weights, frame.names),
            tracks=len(songs),
            seed=plan.seed,
            settings={
                **self.settings,
                "songs": songs,
                "signals": f"mono, {frame.sample_rate} Hz",
                "stream": None if self.engine is None else asdict(self.stream),
                "methods": {method: asdict(BLIND) for method in self.methods},
            },
        )
        complete = {*self.data.complete(frame.names)}
        lacking = [song for song in self.data.songs if song not in complete]
        what = f"{len(lacking)} song(s) lack a stem and are left out: {shortened(lacking)}"
        notes = (*self.data.notes, *([what] if lacking else []))
        return Setup(protocol, files=tuple(path for stem in stems for path in stem.paths), notes=notes)

    def items(self, plan: Plan) -> Iterator[Song]:
        """Yield the songs that have all stems."""
        names = source_names(self.engine, self.methods)
        yield from map(Song, self.data.complete(names)[: self.data.limit])

    def score(self, items: Members[Song], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Separate and score a song."""
        ((number, song),) = items
        started = time.monotonic()
        pair, frame, estimates = self._separate(number, song, plan, on_progress)
        seconds = time.monotonic() - started
        return Scored({song.id: score_pair(pair, frame, estimates, plan.metrics)}, seconds=seconds)

    def clips(self, number: int, item: Song, plan: Plan) -> list[Clip]:
        """Return the mixture, the stems and the estimates."""
        return sound_clips(*self._separate(number, item, plan, None))

    def _engines(self) -> tuple[Engine, dict[str, Engine]]:
        """An engine that has the names, weights and rate of the sources, and all engines by row."""
        source_names(self.engine, self.methods)  # refuses that there is neither
        rows = engines_of(REFINED, self.engine, self.methods, baselines.SAMPLE_RATE)
        return next(iter(rows.values())), rows

    def _separate(
        self, number: int, song: Song, plan: Plan, on_progress: ProgressCallback | None
    ) -> tuple[Pair, Engine, dict[str, Tensor]]:
        """The song's stems, an engine that has their names and weights, and estimates (1, K, T) by row."""
        frame, rows = self._engines()
        pair = next(song_pairs({song.id: self.data.songs[song.id]}, frame.names, frame.sample_rate))
        seed = item_seed(plan.seed, number)
        estimates = {}
        for part, (row, engine) in enumerate(rows.items()):
            stream = BLIND if row in self.methods else self.stream
            within = None if on_progress is None else part_of(on_progress, part, len(rows))
            estimates[row] = separate_song(pair, engine, stream, seed, within)[None]
        return pair, frame, estimates


def separate_song(
    pair: Pair,
    engine: Engine,
    stream: StreamSettings,
    seed: int,
    on_progress: ProgressCallback | None = None,
) -> Tensor:
    """Separate a song's stems, summed with the engine's weights, into (K, T), unweighted, as a file would be.

    Progress is in milliseconds of audio.
    """
    mixture = mix(torch.from_numpy(pair.sources), engine.weights).numpy()
    result = Separator.of(engine, stream=stream).separate(
        mixture, sample_rate=pair.sample_rate, seed=seed, on_progress=on_progress
    )
    return torch.from_numpy(result.samples[0]) / torch.tensor(list(engine.weights))[:, None]
