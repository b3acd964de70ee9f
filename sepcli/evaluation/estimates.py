"""Engines, baselines and their estimates of items of audio, as values and as previews."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sepcli.baselines import SOURCES
from sepcli.baselines.engine import BaselineEngine
from sepcli.datasets.pair_folder import Pair
from sepcli.errors import UsageError
from sepcli.evaluation.baselines import score_rows
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows
from sepcli.evaluation.samples import mix
from sepcli.evaluation.score import TrackScore
from sepcli.metrics.tracks import Signals
from sepcli.protocols import Engine
from sepcli.separation.settings import StreamSettings
from sepcli.signal.consistency import completed, project, wiener
from sepcli.signal.spectra import fft_size

RAW, REFINED = "sepcli raw", "sepcli"
"""The rows of a prior: the first sample unchanged, and all samples, consistent with the mixture."""

Refine = Callable[[Tensor, Tensor], Tensor]
"""Samples (S, K, T), weighted, and the mixture (C, T) to stems (K, C, T) that sum to it."""


def source_names(engine: Engine | None, methods: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the sources of an engine, or of the baselines.

    Raises:
        UsageError: there is neither an engine nor a baseline.
    """
    if engine is None and not methods:
        raise UsageError("there is nothing to evaluate", "give a separator or a method")
    return tuple(SOURCES if engine is None else engine.names)


def engines_of(row: str, engine: Engine | None, methods: Sequence[str], rate: int) -> dict[str, Engine]:
    """Return the engine, if there is one, as ``row``, and baselines by name.

    Baselines have the names, weights and rate of the engine, or the rate that is given.

    Raises:
        UsageError: a method is unknown, or separates other sources than the engine.
    """
    if engine is None:
        return {method: BaselineEngine(method, sample_rate=rate) for method in methods}
    frame = (tuple(engine.names), tuple(engine.weights), engine.sample_rate)
    return {row: engine, **{method: BaselineEngine(method, *frame) for method in methods}}


def score_pair(
    pair: Pair,
    frame: Engine,
    samples_by_row: Mapping[str, Tensor],
    metrics: Sequence[str],
    refine: Refine | None = None,
) -> list[TrackScore]:
    """Score the refined estimates and every row's first sample of an item, beside the baselines.

    Args:
        pair: mono sources (K, T).
        frame: names and weights of the sources.
        samples_by_row: (S, K, T) by row, unweighted; those of ``RAW`` are refined.
        metrics: keys of ``sepcli.metrics.METRICS``, of tracks.
        refine: adds the row of estimates that are consistent with the mixture.
    """
    sources, weights = torch.from_numpy(pair.sources), frame.weights
    estimates = _estimates(pair, frame, samples_by_row, refine)
    rows = {row: partial(_frames, signals) for row, signals in estimates.items()}
    signals = _frames(sources), _frames(mix(sources, weights))
    return score_rows(pair.id, rows, frame.names, *signals, weights, metrics, pair.sample_rate)


def sound_clips(
    pair: Pair, frame: Engine, samples_by_row: Mapping[str, Tensor], refine: Refine | None = None
) -> list[Clip]:
    """Return previews of an item's mixture, its sources and the estimates that ``score_pair`` scores."""
    rows = {REFERENCE: torch.from_numpy(pair.sources), **_estimates(pair, frame, samples_by_row, refine)}
    mixture = mix(rows[REFERENCE], frame.weights)
    signals = {row: _frames(signals) for row, signals in rows.items()}
    return clips_of_rows(frame.names, _frames(mixture), signals, pair.sample_rate)


def refine_as(sample_rate: int, stream: StreamSettings, weights: Sequence[float]) -> Refine | None:
    """Return the function by which ``sepcli separate`` makes stems of samples; None: they are unchanged."""
    if stream.consistency == "none":
        return None
    n_fft = fft_size(stream.fft_seconds, sample_rate)
    masks: dict[str, Any] = {"n_fft": n_fft, "hop": n_fft // 4, "exponent": stream.exponent}

    def refine(samples: Tensor, mixture: Tensor) -> Tensor:
        if stream.consistency == "wiener":
            return wiener(samples, mixture, **masks)
        kept = samples.mean(dim=0)[:, None]
        if stream.consistency == "residual":
            return completed(samples, kept, mixture, **masks)
        return project(kept, mixture, torch.tensor(list(weights)))

    return refine


def _estimates(
    pair: Pair, frame: Engine, samples_by_row: Mapping[str, Tensor], refine: Refine | None
) -> dict[str, Tensor]:
    """(K, T) by row: the refined estimates, every row's first sample."""
    rows = {row: samples[0] for row, samples in samples_by_row.items()}
    if refine is not None and RAW in samples_by_row:
        alpha = torch.tensor(list(frame.weights))[:, None]
        mixture = mix(torch.from_numpy(pair.sources), frame.weights)
        rows = {REFINED: refine(alpha * samples_by_row[RAW], mixture[None])[:, 0] / alpha, **rows}
    return rows


def _frames(signal: Tensor) -> Signals:
    """(..., T) to (..., T, 1)."""
    return signal.float().numpy()[..., None]
