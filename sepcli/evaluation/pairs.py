"""Mix clean sources, separate the mixtures, score what comes out beside the baselines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepcli.datasets.pairs import Pair
from sepcli.errors import InputError
from sepcli.evaluation.baselines import AVERAGE, ORACLE, average, oracle_mask
from sepcli.evaluation.batches import Scores, check_finite, draw_seeds, score_batches
from sepcli.evaluation.journal import Finished
from sepcli.evaluation.previews import REFERENCE, Clip, ClipsOf, clips_of_rows, encode_sound
from sepcli.evaluation.score import Signals, TrackScore, score_track
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.engines import part_of
from sepcli.separation.levels import gain_to
from sepcli.separation.settings import StreamSettings
from sepcli.signal.consistency import completed, fft_size, project, wiener

RAW, REFINED = "sepcli raw", "sepcli"
"""The rows of the prior: its first draw as it comes, and all draws made consistent with the mixture."""

Refine = Callable[[Tensor, Tensor], Tensor]
"""Draws (S, K, T), as they sound in the mixture, and the mixture (C, T) to stems (K, C, T) that sum to it."""


def evaluate_pairs(
    pairs: Iterable[Pair],
    separator: Engine | None,
    *,
    others: Mapping[str, Engine] | None = None,
    metrics: Sequence[str],
    seed: int = 0,
    draws: int = 1,
    batch: int = 8,
    level: float | None = None,
    refine: Refine | None = None,
    finished: Finished | None = None,
    journal: Path | None = None,
    on_progress: ProgressCallback | None = None,
    total: int = 0,
) -> Iterator[Scores]:
    """Separate Σ α_k x_k for every item, α being the separators' weights, and score the result.

    Args:
        pairs: Items; the order fixes their seeds.
        separator: Draws sources from mixtures; None where only others are to be scored.
        others: Separators by row, of the same names and weights; their first draw is scored as it comes.
        metrics: Keys of ``sepcli.metrics.METRICS``.
        seed: Of the draws; an item's draws depend on this and its position only.
        draws: S, draws per item.
        batch: Items that are separated together; batches are the same whatever is finished.
        level: RMS that every mixture is brought to for the separator, and back; None leaves it alone.
        refine: Adds the row of estimates made consistent with the mixture.
        finished: Scores of a run that was interrupted; batches found here in whole are not separated again.
        journal: Takes in the scores of every other batch.
        on_progress: Told about progress, in thousandths of an item.
        total: How many items there are, for ``on_progress``.

    Returns:
        Batch by batch, scores by item, in the order of the items.

    Raises:
        InputError: if an item does not fit a separator.
        SepError: if what a separator returns is not finite.
        ValueError: if there is no separator at all.
    """
    engines = _engines(separator, others)
    first = next(iter(engines.values()))

    def score(items: list[tuple[int, Pair]], told: ProgressCallback | None) -> Scores:
        seeds = torch.stack([draw_seeds(seed, index, draws) for index, _ in items])
        drawn = _draw([pair for _, pair in items], engines, seeds, level, told)
        return {
            pair.id: score_pair(pair, first, rows, metrics, refine)
            for (_, pair), rows in zip(items, drawn, strict=True)
        }

    return score_batches(
        pairs, score, batch=batch, total=total, finished=finished, journal=journal, on_progress=on_progress
    )


def pair_clips(
    pairs: Callable[[], Iterable[Pair]],
    separator: Engine | None,
    *,
    others: Mapping[str, Engine] | None = None,
    seed: int = 0,
    draws: int = 1,
    level: float | None = None,
    refine: Refine | None = None,
) -> ClipsOf:
    """Where the clips of items come from: an item is separated again, as it was to be scored.

    Args:
        pairs: To the same items, from the first, every time.
        separator: This and the others: see ``evaluate_pairs``.
        others: By row.
        seed: Of the draws.
        draws: S, per item.
        level: RMS of mixtures.
        refine: Adds the row of estimates made consistent with the mixture.
    """
    engines = _engines(separator, others)
    first = next(iter(engines.values()))

    def clips(track: str) -> list[Clip]:
        number, pair = next((number, pair) for number, pair in enumerate(pairs()) if pair.id == track)
        (drawn,) = _draw([pair], engines, draw_seeds(seed, number, draws)[None], level, None)
        return sound_clips(pair, first, drawn, refine)

    return clips


def sound_clips(
    pair: Pair, separator: Engine, drawn: Mapping[str, Tensor], refine: Refine | None = None
) -> list[Clip]:
    """An item's mixture, its sources and the estimates that ``score_pair`` scores, as clips."""
    rows = {REFERENCE: torch.from_numpy(pair.sources), **_estimates(pair, separator, drawn, refine)}
    mixture = mix(rows[REFERENCE], separator.weights)
    encode = partial(encode_sound, rate=pair.sample_rate)
    return clips_of_rows(
        separator.names, _frames(mixture), {row: _frames(signals) for row, signals in rows.items()}, encode
    )


def score_pair(
    pair: Pair,
    separator: Engine,
    drawn: Mapping[str, Tensor],
    metrics: Sequence[str],
    refine: Refine | None = None,
) -> list[TrackScore]:
    """Score one item: the refined estimates, every method's first draw, the average and the oracle.

    Args:
        pair: The item, mono sources (K, T).
        separator: Names and weights of the sources.
        drawn: (S, K, T) by row, draws of the unweighted sources; those of ``RAW`` are refined.
        metrics: Keys of ``sepcli.metrics.METRICS``.
        refine: See ``evaluate_pairs``.
    """
    sources = torch.from_numpy(pair.sources)
    mixture = mix(sources, separator.weights)
    rows = _estimates(pair, separator, drawn, refine)
    rows[AVERAGE] = average(mixture[None], separator.weights)[:, 0]
    rows[ORACLE] = oracle_mask(mixture[None], sources[:, None], separator.weights, pair.sample_rate)[:, 0]
    scores: list[TrackScore] = []
    for method, estimates in rows.items():
        arrays = _frames(sources), _frames(estimates), _frames(mixture)
        scores += score_track(pair.id, method, separator.names, *arrays, metrics, pair.sample_rate)
    return scores


def refine_as(sample_rate: int, stream: StreamSettings, weights: Sequence[float]) -> Refine | None:
    """Stems from the draws, as ``sepcli separate`` makes them with these settings; None: as they are drawn.

    Args:
        sample_rate: in Hz.
        stream: settings.
        weights: α_k of the mixing.
    """
    if stream.consistency == "none":
        return None
    n_fft = fft_size(stream.fft_seconds, sample_rate)

    def refine(draws: Tensor, mixture: Tensor) -> Tensor:
        masks: dict[str, Any] = {"n_fft": n_fft, "hop": n_fft // 4, "exponent": stream.exponent}
        if stream.consistency == "residual":
            return completed(draws, draws.mean(dim=0)[:, None], mixture, **masks)
        if stream.consistency == "project":
            return project(draws.mean(dim=0)[:, None], mixture, torch.tensor(list(weights)))
        return wiener(draws, mixture, **masks)

    return refine


def mix(sources: Tensor, weights: Sequence[float]) -> Tensor:
    """Σ α_k x_k: (K, T) to (T,)."""
    return torch.einsum("k,kt->t", torch.tensor(list(weights), dtype=sources.dtype), sources)


def mixture_words(separator: Engine) -> str:
    """How a separator's mixtures are made of its sources, for a protocol: 0.5·drums + 0.5·bass."""
    parts = zip(separator.weights, separator.names, strict=True)
    return " + ".join(f"{weight:g}·{name}" for weight, name in parts)


def _engines(separator: Engine | None, others: Mapping[str, Engine] | None) -> dict[str, Engine]:
    """By row."""
    engines = {**({} if separator is None else {RAW: separator}), **(others or {})}
    if not engines:
        raise ValueError("nothing to evaluate: no separator")
    return engines


def _estimates(
    pair: Pair, separator: Engine, drawn: Mapping[str, Tensor], refine: Refine | None
) -> dict[str, Tensor]:
    """(K, T) by row: the refined estimates, every method's first draw."""
    rows = {row: draws[0] for row, draws in drawn.items()}
    if refine is not None and RAW in drawn:
        alpha = torch.tensor(list(separator.weights))[:, None]
        mixture = mix(torch.from_numpy(pair.sources), separator.weights)
        rows = {REFINED: refine(alpha * drawn[RAW], mixture[None])[:, 0] / alpha, **rows}
    return rows


def _draw(
    items: Sequence[Pair],
    engines: Mapping[str, Engine],
    seeds: Tensor,
    level: float | None,
    on_progress: ProgressCallback | None,
) -> list[dict[str, Tensor]]:
    """Draws (S, K, T) by row, of every item."""
    rows: list[dict[str, Tensor]] = [{} for _ in items]
    for number, (row, engine) in enumerate(engines.items()):
        told = None if on_progress is None else part_of(on_progress, number, len(engines))
        for found, draws in zip(rows, _separate(items, engine, seeds, level, told), strict=True):
            found[row] = draws
    return rows


def _separate(
    items: Sequence[Pair],
    separator: Engine,
    seeds: Tensor,
    level: float | None,
    on_progress: ProgressCallback | None,
) -> list[Tensor]:
    """Draws (S, K, T) of every item; items of the same length that follow each other share a call."""
    for pair in items:
        _check(pair, separator)
    drawn: list[Tensor] = []
    for _, group in itertools.groupby(zip(items, seeds, strict=True), lambda item: item[0].sources.shape[-1]):
        members = list(group)
        mixtures = torch.stack(
            [mix(torch.from_numpy(pair.sources), separator.weights) for pair, _ in members]
        )
        gains = _gains(mixtures, level, separator.sample_rate)
        result = separator.sample(
            (gains * mixtures)[:, None], torch.stack([row for _, row in members]), on_progress
        )
        check_finite(result, [pair for pair, _ in members])
        drawn += [d[:, :, 0].float().cpu() / gain for d, gain in zip(result.detach(), gains, strict=True)]
    return drawn


def _gains(mixtures: Tensor, level: float | None, second: int) -> Tensor:
    """(B, 1), what brings mixtures (B, T) to the RMS ``level``, as ``sepcli separate`` finds it."""
    parts = torch.split(mixtures.double(), second, dim=-1)
    energies = torch.stack([part.square().mean(dim=-1) for part in parts], dim=-1)
    peaks = mixtures.abs().amax(-1).tolist()
    gains = [gain_to(rows.numpy(), peak, level) for rows, peak in zip(energies, peaks, strict=True)]
    return torch.tensor(gains)[:, None]


def _check(pair: Pair, separator: Engine) -> None:
    if pair.sources.shape[0] != len(separator.names):
        raise InputError(
            f"item {pair.id} has {pair.sources.shape[0]} sources, the separator {len(separator.names)}",
            f"give a folder with {', '.join(separator.names)}",
        )
    if pair.sample_rate != separator.sample_rate:
        raise InputError(
            f"item {pair.id} is at {pair.sample_rate} Hz, the separator works at {separator.sample_rate} Hz",
            "resample the items to that rate",
        )


def _frames(signal: Tensor) -> Signals:
    """(..., T) to (..., T, 1)."""
    return signal.float().numpy()[..., None]
