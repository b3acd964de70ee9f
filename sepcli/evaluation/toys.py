"""Separations of toy waves: means of one wave of every shape, separated and scored beside the average.

Source: Frank 2020, the toy data of its experiments; it has no scores of separations, these are si-sdr and sdr
    as of all other sounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sepcli.datasets.pairs import Pair
from sepcli.datasets.toy_waves import SAMPLE_RATE, SHAPES, ToyWaves
from sepcli.errors import UsageError
from sepcli.evaluation.batches import item_seeds
from sepcli.evaluation.journal import resume_journal
from sepcli.evaluation.pairs import evaluate_pairs, mixture_words, pair_clips, refine_as
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Report, make_report
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.settings import StreamSettings

LENGTH = 16_384
"""Samples of an item that are separated: 1.1 s, as the test of the priors hears of it."""


def toy_pairs(waves: ToyWaves, count: int) -> Iterator[Pair]:
    """The first test items; number n depends on shapes, seed and n only."""
    for number in range(min(count, len(waves))):
        yield Pair(f"toy-{number:04d}", waves.item(number, LENGTH), SAMPLE_RATE)


def evaluate_toys(
    separator: Engine,
    metrics: Sequence[str],
    *,
    pairs: int = 100,
    seed: int = 0,
    draws: int = 1,
    batch: int = 8,
    settings: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    replace_journal: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Mix, separate and score test items.

    Args:
        separator: its names are the shapes, its weights those of the mixture.
        metrics: keys of ``sepcli.metrics.METRICS``.
        pairs: how many items, at most all.
        seed: of items, draws and bootstrap.
        draws: per item; all of them make the row that is consistent with the mixture.
        batch: items that are separated together.
        settings: of the separator, for the protocol.
        journal: keeps finished items; a run that finds its own journal continues it.
        replace_journal: start over when the journal is of a run with other settings.
        on_progress: told about progress.

    Raises:
        UsageError: the separator is not of toy waves.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    unknown = [name for name in separator.names if name not in SHAPES]
    if unknown or separator.sample_rate != SAMPLE_RATE:
        what = f"a source is {unknown[0]}" if unknown else f"their rate is {separator.sample_rate} Hz"
        raise UsageError(
            f"the priors are not of toy waves: {what}",
            f"use those of {', '.join(SHAPES)} at {SAMPLE_RATE} Hz",
        )
    waves, stream = ToyWaves(separator.names, "test", seed), StreamSettings()
    count = min(pairs, len(waves))
    protocol = Protocol(
        metrics=tuple(metrics),
        dataset=f"toy waves, test items 0 … {count - 1} of seed {seed}, their first {LENGTH} samples",
        stems=tuple(separator.names),
        mixture=mixture_words(separator),
        tracks=count,
        seed=seed,
        settings={
            **(settings or {}),
            "level": None,
            "batch": batch,
            "draws": draws,
            "mask_window_seconds": stream.fft_seconds,
            "mask_exponent": stream.exponent,
        },
    )
    drawing: dict[str, Any] = {
        "seed": seed,
        "draws": draws,
        "refine": refine_as(SAMPLE_RATE, stream, separator.weights),
    }
    scored = evaluate_pairs(
        toy_pairs(waves, count),
        separator,
        **drawing,
        metrics=metrics,
        batch=batch,
        finished=resume_journal(journal, protocol.fingerprint(), replace_journal),
        journal=journal,
        on_progress=on_progress,
        total=count,
    )
    by_item = {name: scores for batch in scored for name, scores in batch.items()}
    report = make_report(protocol, [score for scores in by_item.values() for score in scores])
    clips = pair_clips(lambda: toy_pairs(waves, count), separator, **drawing)
    return replace(report, seeds=item_seeds(seed, by_item), clips_of=clips)
