"""Audio items: mix clean sources, separate the mixtures, compare beside the baselines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sepcli.baselines import BASELINES
from sepcli.datasets.pair_folder import AudioPairs, Pair
from sepcli.errors import InputError
from sepcli.evaluation.estimates import (
    RAW,
    Refine,
    engines_of,
    refine_as,
    score_pair,
    sound_clips,
    source_names,
)
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.samples import describe_mixture, sample_audio, seeds_of
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.engines import part_of
from sepcli.separation.settings import StreamSettings


@dataclass(frozen=True)
class Pairs:
    """Items of audio, each mixed as Σ α_k x_k with the separator's weights.

    Attributes:
        data: the items.
        engine: samples sources; its names are the stems. None: only baselines are scored.
        methods: keys of ``sepcli.baselines.BASELINES``, a row each.
        stream: samples per item, level and masks, as ``separate`` would use them.
        settings: description of the engine, for the protocol.
    """

    data: AudioPairs
    engine: Engine | None
    methods: Sequence[str] = ()
    stream: StreamSettings = field(default_factory=StreamSettings)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("sdr",)
    scopes: tuple[str, ...] = ("track",)
    medium: str = "audio"
    separates: bool = True
    one_by_one: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The stems."""
        return source_names(self.engine, self.methods)

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol; refuses data without items and items that do not fit."""
        ids = self.data.ids(self.names)
        if not ids:
            raise InputError(
                f"there are no items of {', '.join(self.names)}", "give a folder of STEM/ITEM.flac"
            )
        frame, rows = self._engines(plan)
        protocol = Protocol(
            metrics=plan.metrics,
            dataset=self.data.describe(self.names, plan.seed),
            stems=tuple(frame.names),
            mixture=describe_mixture(frame.weights, frame.names),
            tracks=len(ids),
            seed=plan.seed,
            settings={**self.settings, **self._settings(plan.batch)},
        )
        rules = (f"{row}: {BASELINES[row].rule}" for row in rows if row != RAW)
        notes = (*rules, *self.data.notes(self.names))
        return Setup(protocol, files=tuple(self.data.files(self.names)), notes=notes)

    def items(self, plan: Plan) -> Iterator[Pair]:
        """Yield the items."""
        return self.data.items(self.names, plan.seed)

    def score(self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Separate and score a batch."""
        started = time.monotonic()
        samples, frame, refine = self._samples(items, plan, on_progress)
        seconds = time.monotonic() - started
        scores = {
            pair.id: score_pair(pair, frame, rows, plan.metrics, refine)
            for (_, pair), rows in zip(items, samples, strict=True)
        }
        return Scored(scores, seconds=seconds)

    def clips(self, number: int, item: Pair, plan: Plan) -> list[Clip]:
        """Return the mixture, the sources and the estimates."""
        (samples,), frame, refine = self._samples([(number, item)], plan, None)
        return sound_clips(item, frame, samples, refine)

    def _engines(self, plan: Plan) -> tuple[Engine, dict[str, Engine]]:
        """An engine that has the names, weights and rate of the sources, and all engines by row."""
        rate = 0 if self.engine is not None else next(self.items(plan)).sample_rate
        rows = engines_of(RAW, self.engine, self.methods, rate)
        return next(iter(rows.values())), rows

    def _samples(
        self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None
    ) -> tuple[list[dict[str, Tensor]], Engine, Refine | None]:
        """Samples (S, K, T) by row, of every item; names and weights; refinement."""
        frame, engines = self._engines(plan)
        seeds = seeds_of(plan.seed, [number for number, _ in items], self.stream.samples)
        rows: list[dict[str, Tensor]] = [{} for _ in items]
        for number, (row, engine) in enumerate(engines.items()):
            within = None if on_progress is None else part_of(on_progress, number, len(engines))
            level = self.stream.reference_rms
            sampled = sample_audio([pair for _, pair in items], engine, seeds, level, within)
            for samples_by_row, samples in zip(rows, sampled, strict=True):
                samples_by_row[row] = samples
        return rows, frame, refine_as(frame.sample_rate, self.stream, frame.weights)

    def _settings(self, batch: int) -> dict[str, Any]:
        """Settings besides the engine's that determine the values."""
        used: dict[str, Any] = {"level": self.stream.reference_rms, "batch": batch}
        if self.engine is not None:
            used |= {
                "samples": self.stream.samples,
                "consistency": self.stream.consistency,
                "mask_window_seconds": self.stream.fft_seconds,
                "mask_exponent": self.stream.exponent,
            }
        return used | ({"methods": list(self.methods)} if self.methods else {})
