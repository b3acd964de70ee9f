"""Counting the likelihood table of LASS: random pairs of clean sources, their mixture, three token sequences,
one count per triple.

The folder ``table/`` of a prior holds two files: ``counts.safetensors`` with all that was counted (what
resuming and merging need) and ``table.safetensors``, pruned to the size that ships, with β fitted and
coverage measured on held-out pairs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sepcli.errors import OutputError, UsageError
from sepcli.priors.lass.chunks import Chunks
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import TableJob, finish, open_job
from sepcli.protocols import ProgressCallback

COUNTS = Path("table", "counts.safetensors")
"""All counts of a prior, in its folder."""


def count(
    folder: Path,
    data: Path,
    settings: CountSettings,
    *,
    cache: Path | None,
    device: torch.device,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Count triples for a prior of audio or images, then write its table and card.

    Args:
        folder: of the prior.
        data: songs of Slakh2100's layout or MUSDB18; for a prior of images, images.
        settings: how much to count and to keep.
        cache: folder for decoded recordings and images; None: decode again.
        device: where to encode.
        resume: add to the counts that are there.
        overwrite: replace the counts that are there.
        on_progress: called with (tokens, tokens in all), or seconds, after every batch.

    Returns:
        The measures of the table: see ``finish``.

    Raises:
        PriorError: the folder has no codec or card, or the prior is not one of two sources.
        OutputError: there are counts already, and neither resume nor overwrite is given.
        UsageError: the counts to be resumed are of another codec or of other settings; or there is no budget.
        InputError: the data cannot be read.
    """
    job = open_job(folder, data, settings, cache, device)
    if job.counts.exists() and not (resume or overwrite):
        raise OutputError(f"{job.counts} exists", "resume it to add to it, or overwrite it")
    train = job.open("train", on_progress)
    counted = LikelihoodTable.load(job.counts) if resume and job.counts.exists() else None
    if counted is not None:
        _check_same(job, job.counts, counted)
    counted = _run(job, train, counted, on_progress)
    return finish(job, counted, job.open("validation"))


def merge(
    folder: Path,
    shards: Sequence[Path],
    data: Path,
    settings: CountSettings,
    cache: Path | None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Add the counts of shards into a prior and write its table and card.

    Args:
        folder: of the prior.
        shards: files of counts, or folders of priors that hold one.
        data: as in ``count``; the table is measured on its held-out part.
        settings: how much to keep.
        cache: as in ``count``.
        overwrite: replace counts of the folder that are not among the shards.

    Returns:
        The measures of the table: see ``finish``.

    Raises:
        PriorError: the folder has no codec or card, or a shard is missing or damaged.
        OutputError: the folder has counts that are not among the shards, and overwrite is not given.
        UsageError: a shard is given twice, or of another codec.
        InputError: the data cannot be read.
    """
    job = open_job(folder, data, settings, cache, torch.device("cpu"))
    paths = [shard / COUNTS if shard.is_dir() else shard for shard in shards]
    resolved = {path.resolve() for path in paths}
    if len(resolved) < len(paths):
        raise UsageError("a shard is given twice", "name each once: its counts would count double", "merge")
    if job.counts.exists() and job.counts.resolve() not in resolved and not overwrite:
        raise OutputError(
            f"{job.counts} exists and is not among the shards", f"merge {folder} as well, or overwrite it"
        )
    tables = [LikelihoodTable.load(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        _check_codec(job, path, table)
    held_out = job.open("validation")
    merged = LikelihoodTable.merge(tables)
    _make(job.counts.parent)
    merged.save(job.counts)
    job = replace(job, settings=replace(settings, symmetric=merged.symmetric))
    return finish(job, merged, held_out)


def _run(
    job: TableJob, train: Chunks, counted: LikelihoodTable | None, on_progress: ProgressCallback | None
) -> LikelihoodTable:
    """Count until the budget is spent, on top of what was counted before; write the counts now and then."""
    settings, started = job.settings, time.monotonic()
    saved, done = started, counted.pairs if counted else 0
    counter = TripleCounter(job.codec.vocabulary, symmetric=settings.symmetric)
    while not _enough(done + counter.pairs, time.monotonic() - started, settings):
        rng = np.random.default_rng([settings.seed, (done + counter.pairs) // job.tokens, 7])
        counter.add(*job.sample(train, rng))
        if on_progress:
            on_progress(*_progress(done + counter.pairs, time.monotonic() - started, settings))
        if time.monotonic() - saved > settings.save_seconds:
            counted, counter = _flush(job, counted, counter)
            done, saved = counted.pairs, time.monotonic()
    if counter.pairs:
        counted, _ = _flush(job, counted, counter)
    if counted is None:
        raise UsageError("nothing to count", "ask for at least one token or second", "tokens")
    return counted


def _check_same(job: TableJob, path: Path, table: LikelihoodTable) -> None:
    """Refuse counts of another codec or order.

    Raises:
        UsageError: they are.
    """
    _check_codec(job, path, table)
    if table.symmetric != job.settings.symmetric:
        orders = "both orders" if table.symmetric else "one order"
        raise UsageError(
            f"{path} was counted in {orders}", "resume it likewise, or overwrite it", argument="symmetric"
        )


def _check_codec(job: TableJob, path: Path, table: LikelihoodTable) -> None:
    if table.codec != job.digest:
        raise UsageError(f"{path} was counted for another codec", "overwrite it")


def _flush(
    job: TableJob, counted: LikelihoodTable | None, counter: TripleCounter
) -> tuple[LikelihoodTable, TripleCounter]:
    """Write all counts; return them, and an empty counter."""
    fresh = LikelihoodTable.of(counter, job.digest)
    total = fresh if counted is None else LikelihoodTable.merge([counted, fresh])
    _make(job.counts.parent)
    total.save(job.counts)
    return total, TripleCounter(counter.vocabulary, symmetric=counter.symmetric)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}", "choose a folder that can be written"
        ) from error


def _enough(tokens: int, seconds: float, settings: CountSettings) -> bool:
    by_tokens = settings.tokens is not None and tokens >= settings.tokens
    return by_tokens or (settings.seconds is not None and seconds >= settings.seconds)


def _progress(tokens: int, seconds: float, settings: CountSettings) -> tuple[int, int]:
    if settings.tokens is not None:
        return min(tokens, settings.tokens), settings.tokens
    return int(seconds), max(1, int(settings.seconds or 1))
