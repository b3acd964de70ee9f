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
from sepcli.catalog.build import load_codec
from sepcli.datasets.chunks import Gains
from sepcli.datasets.image_splits import open_like
from sepcli.datasets.song_banks import open_songs
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.lass.image_engine import MIXED
from sepcli.priors.lass.load_images import load_image_codec
from sepcli.priors.lass.source_pairs import ImagePairs, SourcePairs, StemPairs
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.vqvae1d import Vqvae1d
from sepcli.priors.lass.vqvae2d import Vqvae2d
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum

CHUNK_TOKENS = 512
CHUNKS = 16
IMAGES = 256
"""Pairs of images that are counted at once."""
HELD_OUT = 12
"""Draws of pairs that the table is measured on."""


@dataclass(frozen=True)
class CountSettings:
    """How much to count and how much to keep.

    Attributes:
        tokens: stop after so many token triples; None: by time only.
        seconds: stop after so many seconds of this run; None: by tokens only.
        symmetric: count both orders (sources that may be exchanged, as images always may).
        max_nonzeros: triples kept in the table that ships.
        max_marginals: entries kept of each back-off table.
        seed: of the pairs; shards to be merged need different seeds.
        save_seconds: write the counts at least this often.
    """

    tokens: int | None = 20_000_000
    seconds: float | None = None
    symmetric: bool = False
    max_nonzeros: int = 2_000_000
    max_marginals: int = 500_000
    seed: int = 0
    save_seconds: float = 180.0


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
    """Count triples for the prior in ``folder`` from songs of Slakh2100's layout or MUSDB18, or from images
    if it is a prior of such, then write table and card.

    Returns:
        What was counted: see ``finish``.

    Raises:
        PriorError: the folder has no codec or card, or the prior is not of two sources.
        OutputError: there are counts already and neither resume nor overwrite was asked for.
        UsageError: what is to be resumed was counted for another codec or otherwise.
        InputError: the data cannot be read.
    """
    card, codec, digest = _open(folder)
    settings = replace(settings, symmetric=settings.symmetric or card.medium == "image")
    codec = codec.to(device)
    path = folder / "table" / "counts.safetensors"
    if path.exists() and not (resume or overwrite):
        raise OutputError(f"{path} exists", "add to it with --resume, or replace it with --overwrite")
    pairs = _open_pairs(card, codec, data, "train", cache, on_progress)
    counted = LikelihoodTable.load(path) if resume and path.exists() else None
    if counted is not None:
        _check_same(path, counted, digest)
        if counted.symmetric != settings.symmetric:
            raise UsageError(
                f"{path} was counted {'with' if counted.symmetric else 'without'} --symmetric",
                "resume it likewise, or count afresh with --overwrite",
            )
    started = saved = time.monotonic()
    done = counted.pairs if counted else 0
    counter = TripleCounter(codec.vocabulary, symmetric=settings.symmetric)
    while not _enough(done + counter.pairs, time.monotonic() - started, settings):
        rng = np.random.default_rng([settings.seed, (done + counter.pairs) // pairs.tokens, 7])
        counter.add(*encode(codec, pairs(rng), _mixed(card)))
        if on_progress:
            on_progress(*_progress(done + counter.pairs, time.monotonic() - started, settings))
        if time.monotonic() - saved > settings.save_seconds:
            counted, counter = _flush(counted, counter, digest, path)
            done, saved = counted.pairs, time.monotonic()
    if counter.pairs:
        counted, _ = _flush(counted, counter, digest, path)
    if counted is None:
        raise UsageError("nothing to count", "ask for at least one token or second")
    return finish(folder, counted, _open_pairs(card, codec, data, "validation", cache), codec, settings)


def merge(
    folder: Path,
    shards: Sequence[Path],
    data: Path,
    settings: CountSettings,
    cache: Path | None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Add the counts of shards (files, or prior folders) into ``folder`` and write its table and card.

    Raises:
        PriorError: the folder has no codec or card, or a shard is missing or damaged.
        OutputError: the folder has counts that are not among the shards, and overwrite was not asked for.
        UsageError: a shard is named twice, or was counted for another codec.
        InputError: the data cannot be read.
    """
    card, codec, digest = _open(folder)
    paths = [shard / "table" / "counts.safetensors" if shard.is_dir() else shard for shard in shards]
    places = {path.resolve() for path in paths}
    if len(places) < len(paths):
        raise UsageError("a shard is named twice", "name each once, or its counts would count double")
    target = folder / "table" / "counts.safetensors"
    if target.exists() and target.resolve() not in places and not overwrite:
        raise OutputError(
            f"{target} exists and is not among the shards",
            f"add it with --merge {folder}, or replace it with --overwrite",
        )
    tables = [LikelihoodTable.load(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        _check_same(path, table, digest)
    held_out = _open_pairs(card, codec, data, "validation", cache)
    merged = LikelihoodTable.merge(tables)
    _make(target.parent)
    merged.save(target)
    return finish(folder, merged, held_out, codec, replace(settings, symmetric=merged.symmetric))


def finish(
    folder: Path,
    counted: LikelihoodTable,
    held_out: SourcePairs,
    codec: Vqvae1d | Vqvae2d,
    settings: CountSettings,
) -> dict[str, Any]:
    """Prune, fit β and measure coverage on held-out pairs, write ``table.safetensors`` and the card.

    Returns:
        tokens, nonzeros and density (%) of all counts; the same of the table kept; bytes; β; coverage of
        held-out tokens (``codes``: mixture tokens with support, ``triples``: (z_1, z_2) found in their slice,
        ``pairs``: seen at all).
    """
    card = cards.read(folder)
    rng = np.random.default_rng([settings.seed, 1])
    triples = [encode(codec, held_out(rng), _mixed(card)) for _ in range(HELD_OUT)]
    a, b, m = (torch.cat(parts) for parts in zip(*triples, strict=True))
    kept = counted.prune(settings.max_nonzeros, settings.max_marginals)
    kept = replace(kept, nearest=nearest_seen(codec.quantizer.codebook.cpu(), kept))
    kept = replace(kept, beta=kept.fit_beta(a, b, m))
    path = folder / "table" / "table.safetensors"
    kept.save(path)
    summary = {
        "tokens": counted.pairs,
        "counted": {
            "nonzeros": counted.nonzeros,
            "density_percent": counted.density,
            "bytes": counted.nbytes,
        },
        "kept": {
            "nonzeros": kept.nonzeros,
            "density_percent": kept.density,
            "bytes": kept.nbytes,
            "file_bytes": path.stat().st_size,
        },
        "beta": kept.beta,
        "coverage_counted": counted.coverage(a, b, m)._asdict(),
        "coverage_kept": kept.coverage(a, b, m)._asdict(),
        "held_out_nats": -float(kept.log_likelihood(a, b, m).mean()),
        "settings": {key: value for key, value in asdict(settings).items() if value is not None},
    }
    card = cards.with_part(card, "table", cards.Part("table", summary))
    cards.write(cards.with_files(card, folder), folder)
    return summary


@torch.inference_mode()
def encode(
    codec: Vqvae1d | Vqvae2d, sources: Tensor, weights: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
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


def _open(folder: Path) -> tuple[cards.Card, Vqvae1d | Vqvae2d, str]:
    """Card and codec of a prior of two sources, or of images, and the hash of the codec."""
    card = cards.read(folder)
    if card.medium == "image":
        return card, *load_image_codec(folder)
    if len(card.sources) != 2:
        raise PriorError(
            f"a likelihood table is over two sources, {card.name} has {len(card.sources)}",
            "train a prior of two sources",
        )
    return card, *load_codec(folder)


def _open_pairs(
    card: cards.Card,
    codec: Vqvae1d | Vqvae2d,
    data: Path,
    split: str,
    cache: Path | None,
    on_progress: ProgressCallback | None = None,
) -> SourcePairs:
    """Pairs of a split, ``train`` or ``validation``."""
    if isinstance(codec, Vqvae1d):
        bank = open_songs(data, split, card.sources, card.sample_rate, cache)
        levels = Gains() if split == "train" else None
        return StemPairs(bank, CHUNKS, CHUNK_TOKENS, codec.config.hop, levels)
    height, width = codec.config.size
    learn, held_out = open_like(data, (codec.config.channels, height, width), (), cache, on_progress)
    return ImagePairs(learn if split == "train" else held_out, IMAGES, codec.config.tokens)


def _mixed(card: cards.Card) -> tuple[float, ...]:
    return MIXED if card.medium == "image" else card.weights or (1.0,) * len(card.sources)


def _check_same(path: Path, table: LikelihoodTable, digest: str) -> None:
    if table.codec != digest:
        raise UsageError(f"{path} was counted for another codec", "count afresh with --overwrite")


def _flush(
    counted: LikelihoodTable | None, counter: TripleCounter, digest: str, path: Path
) -> tuple[LikelihoodTable, TripleCounter]:
    fresh = LikelihoodTable.of(counter, digest)
    total = fresh if counted is None else LikelihoodTable.merge([counted, fresh])
    _make(path.parent)
    total.save(path)
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
