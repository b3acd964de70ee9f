"""Counting the likelihood table of LASS: random pairs of clean sources, their mixture, three token sequences,
one count per triple.

The folder ``table/`` of a prior holds two files: ``counts.safetensors`` with all that was counted (what
resuming and merging need) and ``table.safetensors``, pruned to the size that ships, with β fitted and
coverage measured on held-out pairs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.lass.load import LassCodec, load_codec, mixture_weights
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.source_pairs import SourcePairs, open_pairs
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum

COUNTS = "table/counts.safetensors"
"""All counts of a prior, in its folder."""


@dataclass(frozen=True)
class Counted:
    """The prior that a table is for, and the data that it is counted on.

    Attributes:
        folder: of the prior.
        card: of the prior.
        codec: of the prior, on the device of the counting.
        digest: sha256 of the codec's weights.
        data: songs of Slakh2100's layout or MUSDB18, or images.
        cache: folder for decoded recordings and images; None: decode again.
        settings: of the counting.
    """

    folder: Path
    card: cards.Card
    codec: LassCodec
    digest: str
    data: Path
    cache: Path | None
    settings: CountSettings

    @property
    def counts(self) -> Path:
        """The file of all counts."""
        return self.folder / COUNTS

    def pairs(self, split: str, on_progress: ProgressCallback | None = None) -> SourcePairs:
        """Open the random pairs of a split, ``train`` or ``validation``."""
        own = self.settings
        return open_pairs(
            self.data, split, self.card, self.codec, own.pairs, own.chunk_tokens, self.cache, on_progress
        )

    def encode(self, sources: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of two sources (B, 2, C, *D) and of their mixture, (B·L,) each, on the CPU."""
        return encode(self.codec, sources, mixture_weights(self.card))


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
        on_progress: called with (tokens, tokens in all), or seconds, after every draw.

    Returns:
        The measures of the table: see ``finish``.

    Raises:
        PriorError: the folder has no codec or card, or the prior is not one of two sources.
        OutputError: there are counts already, and neither resume nor overwrite is given.
        UsageError: the counts to be resumed are of another codec or of other settings; or there is no budget.
        InputError: the data cannot be read.
    """
    job = _open(folder, data, settings, cache, device)
    if job.counts.exists() and not (resume or overwrite):
        raise OutputError(f"{job.counts} exists", "resume it to add to it, or overwrite it")
    pairs = job.pairs("train", on_progress)
    counted = LikelihoodTable.load(job.counts) if resume and job.counts.exists() else None
    if counted is not None:
        _check_same(job, job.counts, counted)
    counted = _run(job, pairs, counted, on_progress)
    return finish(job, counted, job.pairs("validation"))


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
    job = _open(folder, data, settings, cache, torch.device("cpu"))
    paths = [shard / COUNTS if shard.is_dir() else shard for shard in shards]
    places = {path.resolve() for path in paths}
    if len(places) < len(paths):
        raise UsageError("a shard is given twice", "name each once: its counts would count double", "merge")
    if job.counts.exists() and job.counts.resolve() not in places and not overwrite:
        raise OutputError(
            f"{job.counts} exists and is not among the shards", f"merge {folder} as well, or overwrite it"
        )
    tables = [LikelihoodTable.load(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        _check_codec(job, path, table)
    held_out = job.pairs("validation")
    merged = LikelihoodTable.merge(tables)
    _make(job.counts.parent)
    merged.save(job.counts)
    job = replace(job, settings=replace(settings, symmetric=merged.symmetric))
    return finish(job, merged, held_out)


def finish(job: Counted, counted: LikelihoodTable, held_out: SourcePairs) -> dict[str, Any]:
    """Prune, fit β and measure coverage on held-out pairs, write ``table.safetensors`` and the card.

    Returns:
        tokens, nonzeros and density (%) of all counts; the same of the table kept; bytes; β; coverage of
        held-out tokens (``codes``: mixture tokens with support, ``triples``: (z_1, z_2) found in their slice,
        ``pairs``: seen at all).
    """
    own = job.settings
    rng = np.random.default_rng([own.seed, 1])
    triples = [job.encode(held_out(rng)) for _ in range(own.held_out)]
    a, b, m = (torch.cat(parts) for parts in zip(*triples, strict=True))
    kept = counted.prune(own.max_nonzeros, own.max_marginals)
    kept = replace(kept, nearest=nearest_seen(job.codec.quantizer.codebook.cpu(), kept))
    kept = replace(kept, beta=kept.fit_beta(a, b, m))
    path = job.folder / "table" / "table.safetensors"
    kept.save(path)
    summary = {
        "tokens": counted.pairs,
        "counted": _size(counted),
        "kept": {**_size(kept), "file_bytes": path.stat().st_size},
        "beta": kept.beta,
        "coverage_counted": counted.coverage(a, b, m)._asdict(),
        "coverage_kept": kept.coverage(a, b, m)._asdict(),
        "held_out_nats": -float(kept.log_likelihood(a, b, m).mean()),
        "settings": {key: value for key, value in asdict(own).items() if value is not None},
    }
    card = cards.with_part(cards.read(job.folder), "table", cards.Part("table", summary))
    cards.write(cards.with_files(card, job.folder), job.folder)
    return summary


@torch.inference_mode()
def encode(codec: LassCodec, sources: Tensor, weights: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of two sources (B, 2, C, *D) and of their mixture Σ α_k x_k, (B·L,) each, on the CPU."""
    x = sources.to(codec.quantizer.codebook.device)
    tokens = codec.encode(torch.cat([x[:, 0], x[:, 1], WeightedSum(weights)(x)])).cpu()
    first, second, mixed = (part.flatten() for part in tokens.chunk(3))
    return first, second, mixed


def nearest_seen(codebook: Tensor, table: LikelihoodTable) -> Tensor:
    """For every code of the codebook (V, D) the nearest that was counted as a mixture code; (V,) int64."""
    codes = torch.arange(len(codebook))
    seen = codes[table.support(codes) == codes]
    near: Tensor = seen[(codebook @ codebook[seen].T).argmax(-1)]
    near[seen] = seen
    return near


def _open(
    folder: Path, data: Path, settings: CountSettings, cache: Path | None, device: torch.device
) -> Counted:
    """The prior of two sources, or of images, that a table is counted for.

    Raises:
        PriorError: the prior is missing, damaged or of another number of sources.
    """
    card = cards.read(folder)
    if card.medium == "audio" and len(card.sources) != 2:
        raise PriorError(
            f"a likelihood table is over two sources, {card.name} has {len(card.sources)}",
            "train a prior of two sources",
        )
    codec, digest = load_codec(folder, card)
    settings = replace(settings, symmetric=settings.symmetric or card.medium == "image")
    return Counted(folder, card, codec.to(device), digest, data, cache, settings)


def _run(
    job: Counted, pairs: SourcePairs, counted: LikelihoodTable | None, on_progress: ProgressCallback | None
) -> LikelihoodTable:
    """Count until the budget is spent, on top of what was counted before; write the counts now and then."""
    own, started = job.settings, time.monotonic()
    saved, done = started, counted.pairs if counted else 0
    counter = TripleCounter(job.codec.vocabulary, symmetric=own.symmetric)
    while not _enough(done + counter.pairs, time.monotonic() - started, own):
        rng = np.random.default_rng([own.seed, (done + counter.pairs) // pairs.tokens, 7])
        counter.add(*job.encode(pairs(rng)))
        if on_progress:
            on_progress(*_progress(done + counter.pairs, time.monotonic() - started, own))
        if time.monotonic() - saved > own.save_seconds:
            counted, counter = _flush(job, counted, counter)
            done, saved = counted.pairs, time.monotonic()
    if counter.pairs:
        counted, _ = _flush(job, counted, counter)
    if counted is None:
        raise UsageError("nothing to count", "ask for at least one token or second", "tokens")
    return counted


def _check_same(job: Counted, path: Path, table: LikelihoodTable) -> None:
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


def _check_codec(job: Counted, path: Path, table: LikelihoodTable) -> None:
    if table.codec != job.digest:
        raise UsageError(f"{path} was counted for another codec", "overwrite it")


def _flush(
    job: Counted, counted: LikelihoodTable | None, counter: TripleCounter
) -> tuple[LikelihoodTable, TripleCounter]:
    """Write all counts; return them, and an empty counter."""
    fresh = LikelihoodTable.of(counter, job.digest)
    total = fresh if counted is None else LikelihoodTable.merge([counted, fresh])
    _make(job.counts.parent)
    total.save(job.counts)
    return total, TripleCounter(counter.vocabulary, symmetric=counter.symmetric)


def _size(table: LikelihoodTable) -> dict[str, Any]:
    return {"nonzeros": table.nonzeros, "density_percent": table.density, "bytes": table.nbytes}


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
