"""Estimates of one item of audio by every row, as values and as previews."""

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
from sepcli.evaluation.baselines import AVERAGE, ORACLE, average, oracle_mask
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows, encode_audio
from sepcli.evaluation.samples import mix
from sepcli.evaluation.score import Signals, TrackScore, score_track
from sepcli.protocols import Engine
from sepcli.separation.settings import StreamSettings
from sepcli.signal.consistency import completed, fft_size, project, wiener

RAW, REFINED = "sepcli raw", "sepcli"
"""The rows of a prior: the first sample unchanged, and all samples, consistent with the mixture."""

Refine = Callable[[Tensor, Tensor], Tensor]
"""Samples (S, K, T), weighted, and the mixture (C, T) to stems (K, C, T) that sum to it."""


def score_pair(
    pair: Pair,
    frame: Engine,
    samples_by_row: Mapping[str, Tensor],
    metrics: Sequence[str],
    refine: Refine | None = None,
) -> list[TrackScore]:
    """Score one item: the refined estimates, every row's first sample, the average and the oracle.

    Args:
        pair: mono sources (K, T).
        frame: names and weights of the sources.
        samples_by_row: (S, K, T) by row, samples of the unweighted sources; those of ``RAW`` are refined.
        metrics: keys of ``sepcli.metrics.METRICS``, of tracks.
        refine: adds the row of estimates that are consistent with the mixture.
    """
    sources = torch.from_numpy(pair.sources)
    mixture = mix(sources, frame.weights)
    rows = _estimates(pair, frame, samples_by_row, refine)
    rows[AVERAGE] = average(mixture[None], frame.weights)[:, 0]
    rows[ORACLE] = oracle_mask(mixture[None], sources[:, None], frame.weights, pair.sample_rate)[:, 0]
    scores: list[TrackScore] = []
    for method, estimates in rows.items():
        arrays = _frames(sources), _frames(estimates), _frames(mixture)
        scores += score_track(pair.id, method, frame.names, *arrays, metrics, pair.sample_rate)
    return scores


def sound_clips(
    pair: Pair, frame: Engine, samples_by_row: Mapping[str, Tensor], refine: Refine | None = None
) -> list[Clip]:
    """Return an item's mixture, its sources and the estimates that ``score_pair`` scores, as previews."""
    rows = {REFERENCE: torch.from_numpy(pair.sources), **_estimates(pair, frame, samples_by_row, refine)}
    mixture = mix(rows[REFERENCE], frame.weights)
    encode = partial(encode_audio, rate=pair.sample_rate)
    signals = {row: _frames(signals) for row, signals in rows.items()}
    return clips_of_rows(frame.names, _frames(mixture), signals, encode)


def refine_as(sample_rate: int, stream: StreamSettings, weights: Sequence[float]) -> Refine | None:
    """Return how ``sepcli separate`` makes stems of samples with these settings; None: samples unchanged.

    Args:
        sample_rate: Hz.
        stream: settings.
        weights: α_k of the mixing.
    """
    if stream.consistency == "none":
        return None
    n_fft = fft_size(stream.fft_seconds, sample_rate)

    def refine(samples: Tensor, mixture: Tensor) -> Tensor:
        masks: dict[str, Any] = {"n_fft": n_fft, "hop": n_fft // 4, "exponent": stream.exponent}
        if stream.consistency == "residual":
            return completed(samples, samples.mean(dim=0)[:, None], mixture, **masks)
        if stream.consistency == "project":
            return project(samples.mean(dim=0)[:, None], mixture, torch.tensor(list(weights)))
        return wiener(samples, mixture, **masks)

    return refine


def blind_rows(methods: Sequence[str], engine: Engine | None, sample_rate: int) -> dict[str, Engine]:
    """Return baselines by name, with names, weights and rate of the engine, or the rate of the items.

    Raises:
        UsageError: a method is unknown, or separates other sources than the engine.
    """
    if engine is None:
        return {method: BaselineEngine(method, sample_rate=sample_rate) for method in methods}
    frame = (tuple(engine.names), tuple(engine.weights), engine.sample_rate)
    return {method: BaselineEngine(method, *frame) for method in methods}


def source_names(engine: Engine | None, methods: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the sources of an engine, or of the baselines.

    Raises:
        UsageError: there is neither an engine nor a baseline.
    """
    if engine is None and not methods:
        raise UsageError("there is nothing to evaluate", "give a separator or a method")
    return tuple(SOURCES if engine is None else engine.names)


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
