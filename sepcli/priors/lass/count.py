"""Counting the likelihood table of LASS: random pairs of clean sources, their mixture, one count per triple.

The folder ``table/`` of a prior holds two files: ``counts.safetensors`` with all counts, for resuming and
merging, and ``table.safetensors``, pruned to the size that ships.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sepcli.errors import OutputError, SepError, UsageError
from sepcli.priors.lass.chunks import Chunks
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import COUNTS, TableJob, finish, open_job
from sepcli.protocols import ProgressCallback
from sepcli.separation.executor import Executor, OnPart, Serial, in_order

SHARD = 8
"""Batches that a worker counts at once."""
Counting = tuple[TableJob, Chunks]
"""What a worker counts: the job, and the sources for training."""


def count(
    job: TableJob,
    *,
    resume: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Count triples for a prior, write its table and card, and return the measures of ``finish``.

    Args:
        job: prior, data and budget.
        resume: add to existing counts.
        overwrite: replace existing counts.
        executor: of batches, which are the same for any executor; None: this process.
        on_progress: called with (tokens, tokens in all), or seconds, after every batch.

    Raises:
        OutputError: there are counts already, and neither resume nor overwrite is given.
        UsageError: the counts to be resumed are of another codec or of other settings; or there is no budget.
        InputError: the data cannot be read.
        SepError: a worker cannot start, or a batch failed twice; what was counted before it is kept.
    """
    if job.counts.exists() and not (resume or overwrite):
        raise OutputError(f"{job.counts} exists", "resume it to add to it, or overwrite it")
    job.remove_leftovers()
    train = job.open("train", on_progress)
    counted = LikelihoodTable.load(job.counts) if resume and job.counts.exists() else None
    if counted is not None:
        _check_codec(job, job.counts, counted)
        if counted.symmetric != job.settings.symmetric:
            orders = "both orders" if counted.symmetric else "one order"
            raise UsageError(
                f"{job.counts} was counted in {orders}", "resume it likewise, or overwrite it", "symmetric"
            )
    setup: Callable[[str], Counting] = partial(_as_opened, (job, train))
    if executor is not None:  # the cache is filled: workers read it
        setup = partial(_reopen, job.folder, job.data, job.settings, job.cache)
    counted = _run(job, setup, executor or Serial(), counted, on_progress)
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
    job.remove_leftovers()
    held_out = job.open("validation")
    merged = LikelihoodTable.merge(tables)
    job.save(merged)
    job = replace(job, settings=replace(job.settings, symmetric=merged.symmetric))
    return finish(job, merged, held_out)


def _run(
    job: TableJob,
    setup: Callable[[str], Counting],
    executor: Executor,
    counted: LikelihoodTable | None,
    on_progress: ProgressCallback | None,
) -> LikelihoodTable:
    """Count until the budget is spent, on top of what was counted before; write the counts now and then.

    Counts of shards are written in their order: those that are early wait for those before them.
    """
    settings, started = job.settings, time.monotonic()
    saved, done = started, counted.pairs if counted else 0
    counter = _counter(job)
    several = len(executor.devices) > 1 and settings.seconds is None
    shards = _shards(job, done, started, SHARD if several else 1)
    for shard in in_order(executor.map(setup, _count_shard, shards)):
        if isinstance(shard, SepError):
            if counter.pairs:
                _flush(job, counted, counter)
            raise shard
        counter.join(shard)
        if on_progress:
            for spent, limit in _budgets(settings, done + counter.pairs, started)[:1]:
                on_progress(int(min(spent, limit)), max(1, int(limit)))
        if time.monotonic() - saved > settings.save_seconds:
            counted = _flush(job, counted, counter)
            counter, done, saved = _counter(job), counted.pairs, time.monotonic()
    if counter.pairs:
        counted = _flush(job, counted, counter)
    if counted is None:
        raise UsageError("nothing to count", "ask for at least one token or second", "tokens")
    return counted


def _shards(job: TableJob, done: int, started: float, size: int) -> Iterator[range]:
    """Yield the numbers of batches, up to ``size`` at once, until the budget is spent."""
    first = number = done // job.tokens
    while all(
        spent < limit
        for spent, limit in _budgets(job.settings, done + (number - first) * job.tokens, started)
    ):
        left = size
        if job.settings.tokens is not None:
            left = min(size, -(-(job.settings.tokens - done) // job.tokens) - (number - first))
        yield range(number, number + left)
        number += left


def _counter(job: TableJob) -> TripleCounter:
    return TripleCounter(job.codec.vocabulary, symmetric=job.settings.symmetric)


def _count_shard(counting: Counting, batches: range, on_part: OnPart) -> TripleCounter:
    """Count batches, each of which has its random numbers."""
    job, train = counting
    counter = _counter(job)
    for done, number in enumerate(batches, 1):
        counter.add(*job.sample(train, np.random.default_rng([job.settings.seed, number, 7])))
        on_part(done, len(batches))
    return counter


def _as_opened(counting: Counting, device: str) -> Counting:
    return counting


def _reopen(folder: Path, data: Path, settings: CountSettings, cache: Path | None, device: str) -> Counting:
    """Open a job and its data in a worker."""
    job = open_job(folder, data, settings, cache, device)
    return job, job.open("train")


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
