"""Counting the likelihood table of LASS: random pairs of clean sources, their mixture, one count per triple.

The folder ``table/`` of a prior holds two files: ``counts.safetensors`` with all counts, for resuming and
merging, and ``table.safetensors``, pruned to the size that ships.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sepcli.errors import OutputError, UsageError
from sepcli.priors.lass.chunks import Chunks
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import COUNTS, TableJob, finish
from sepcli.protocols import ProgressCallback


def count(
    job: TableJob,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Count triples for a prior, write its table and card, and return the measures of ``finish``.

    Args:
        job: prior, data and budget.
        resume: add to existing counts.
        overwrite: replace existing counts.
        on_progress: called with (tokens, tokens in all), or seconds, after every batch.

    Raises:
        OutputError: there are counts already, and neither resume nor overwrite is given.
        UsageError: the counts to be resumed are of another codec or of other settings; or there is no budget.
        InputError: the data cannot be read.
    """
    if job.counts.exists() and not (resume or overwrite):
        raise OutputError(f"{job.counts} exists", "resume it to add to it, or overwrite it")
    train = job.open("train", on_progress)
    counted = LikelihoodTable.load(job.counts) if resume and job.counts.exists() else None
    if counted is not None:
        _check_codec(job, job.counts, counted)
        if counted.symmetric != job.settings.symmetric:
            orders = "both orders" if counted.symmetric else "one order"
            raise UsageError(
                f"{job.counts} was counted in {orders}", "resume it likewise, or overwrite it", "symmetric"
            )
    counted = _run(job, train, counted, on_progress)
    return finish(job, counted, job.open("validation"))


def merge(job: TableJob, shards: Sequence[Path], overwrite: bool = False) -> dict[str, Any]:
    """Add the counts of shards into a prior, write its table and card, and return the measures of ``finish``.

    Args:
        job: prior, data on whose held-out part the table is measured, and size of the table.
        shards: files of counts, or folders of priors that hold one.
        overwrite: replace counts of the folder that are not among the shards.

    Raises:
        PriorError: a shard is missing or damaged.
        OutputError: the folder has counts that are not among the shards, and overwrite is not given.
        UsageError: a shard is given twice, or of another codec.
        InputError: the data cannot be read.
    """
    paths = [shard / COUNTS if shard.is_dir() else shard for shard in shards]
    resolved = {path.resolve() for path in paths}
    if len(resolved) < len(paths):
        raise UsageError("a shard is given twice", "name each once: its counts would count double", "merge")
    if job.counts.exists() and job.counts.resolve() not in resolved and not overwrite:
        raise OutputError(
            f"{job.counts} exists and is not among the shards",
            f"merge {job.folder} as well, or overwrite it",
        )
    tables = [LikelihoodTable.load(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        _check_codec(job, path, table)
    held_out = job.open("validation")
    merged = LikelihoodTable.merge(tables)
    job.save(merged)
    job = replace(job, settings=replace(job.settings, symmetric=merged.symmetric))
    return finish(job, merged, held_out)


def _run(
    job: TableJob, train: Chunks, counted: LikelihoodTable | None, on_progress: ProgressCallback | None
) -> LikelihoodTable:
    """Count until the budget is spent, on top of what was counted before; write the counts now and then."""
    settings, started = job.settings, time.monotonic()
    saved, done = started, counted.pairs if counted else 0
    counter = TripleCounter(job.codec.vocabulary, symmetric=settings.symmetric)
    while all(spent < limit for spent, limit in _budgets(settings, done + counter.pairs, started)):
        rng = np.random.default_rng([settings.seed, (done + counter.pairs) // job.tokens, 7])
        counter.add(*job.sample(train, rng))
        if on_progress:
            for spent, limit in _budgets(settings, done + counter.pairs, started)[:1]:
                on_progress(int(min(spent, limit)), max(1, int(limit)))
        if time.monotonic() - saved > settings.save_seconds:
            counted = _flush(job, counted, counter)
            counter = TripleCounter(job.codec.vocabulary, symmetric=settings.symmetric)
            done, saved = counted.pairs, time.monotonic()
    if counter.pairs:
        counted = _flush(job, counted, counter)
    if counted is None:
        raise UsageError("nothing to count", "ask for at least one token or second", "tokens")
    return counted


def _flush(job: TableJob, counted: LikelihoodTable | None, counter: TripleCounter) -> LikelihoodTable:
    """Write and return all counts."""
    fresh = LikelihoodTable.of(counter, job.digest)
    total = fresh if counted is None else LikelihoodTable.merge([counted, fresh])
    job.save(total)
    return total


def _check_codec(job: TableJob, path: Path, table: LikelihoodTable) -> None:
    if table.codec != job.digest:
        raise UsageError(f"{path} was counted for another codec", "overwrite it")


def _budgets(settings: CountSettings, tokens: int, started: float) -> list[tuple[float, float]]:
    """Return what is spent of each budget, and the budget: tokens, and seconds."""
    spent = ((tokens, settings.tokens), (time.monotonic() - started, settings.seconds))
    return [(value, limit) for value, limit in spent if limit is not None]
