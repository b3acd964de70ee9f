"""A likelihood table to be counted: its prior, its data, and its completion.

A complete table is pruned to the size that ships, with β fitted and coverage measured on held-out pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.atomic import remove_leftovers
from sepcli.catalog import card as cards
from sepcli.catalog.verified import Verified
from sepcli.datasets.image_splits import open_like
from sepcli.errors import OutputError
from sepcli.priors.lass.chunks import Chunks, ImageChunks
from sepcli.priors.lass.codebook import nearest
from sepcli.priors.lass.load import TABLE, LassCodec, check_sources, load_codec, mixture_weights
from sepcli.priors.lass.open_chunks import open_audio
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.vqvae1d import Vqvae1d
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum

AT_ONCE: Mapping[str, int] = {"audio": 16, "image": 256}
"""Medium → pairs per batch; of large images fewer."""
PIXELS = 1 << 21
"""Values of the first images of the pairs of a batch."""
COUNTS = Path("table", "counts.safetensors")
"""All counts of a prior, in its folder."""
Triples = tuple[Tensor, Tensor, Tensor]
"""Tokens of two sources and of their mixture, (N,) each, int64."""


@dataclass(frozen=True)
class TableJob:
    """The prior that a table is for, and the data that it is counted on.

    Attributes:
        folder: the prior's folder.
        card: the prior's card.
        codec: the prior's codec, on the device of the counting.
        digest: sha256 of the codec's weights.
        data: songs of Slakh2100's layout or MUSDB18, or images.
        cache: folder for decoded recordings and images; None: decode again.
        settings: budget and size of the table.
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

    @property
    def tokens(self) -> int:
        """Number of triples that are counted at once."""
        codec, per_chunk = self.codec, self.settings.chunk_tokens
        return self._pairs * (per_chunk if isinstance(codec, Vqvae1d) else codec.config.tokens)

    def open(self, split: str, on_progress: ProgressCallback | None = None) -> Chunks:
        """Open the sources of a split, ``train`` or ``validation``.

        Raises:
            InputError: the data cannot be read.
            OutputError: the cache cannot be written.
        """
        if isinstance(self.codec, Vqvae1d):
            length = self.settings.chunk_tokens * self.codec.config.hop
            return open_audio(self.data, split, self.card.sources, self.card.sample_rate, length, self.cache)
        train, held_out = open_like(self.data, self.codec.config.shape, (), self.cache, on_progress)
        return ImageChunks(train if split == "train" else held_out)

    def sample(self, chunks: Chunks, rng: np.random.Generator) -> Triples:
        """Sample random pairs of sources and encode them with their mixtures.

        Of more than two sources, the pairs are any two of them.
        """
        sources, weights = chunks.sample(rng, self._pairs), mixture_weights(self.card)
        if sources.shape[1] > 2:
            chosen = np.stack([rng.permutation(sources.shape[1])[:2] for _ in range(len(sources))])
            sources = sources[torch.arange(len(sources))[:, None], torch.from_numpy(chosen)]
        return encode(self.codec, sources, weights[:2])

    def remove_leftovers(self) -> None:
        """Remove what killed runs left in the prior's folder and the table's."""
        for folder in (self.folder, self.counts.parent):
            remove_leftovers(folder)

    def save(self, counted: LikelihoodTable) -> None:
        """Write all counts; OutputError if the folder cannot be written."""
        folder = self.counts.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot write to {folder}: {error.strerror}", "choose a folder that can be written"
            ) from error
        counted.save(self.counts)

    @property
    def _pairs(self) -> int:
        if self.settings.pairs or isinstance(self.codec, Vqvae1d):
            return self.settings.pairs or AT_ONCE["audio"]
        return max(1, min(AT_ONCE["image"], PIXELS // math.prod(self.codec.config.shape)))


def open_job(
    folder: Path, data: Path, settings: CountSettings, cache: Path | None, device: torch.device | str = "cpu"
) -> TableJob:
    """Open the prior of a table to be counted; see ``TableJob``.

    Raises:
        PriorError: its card or codec is missing or damaged, it is of one source of audio, or of more than two
            that are not mixed alike.
    """
    card = cards.read(folder)
    check_sources(card)
    codec, digest = load_codec(Verified(card, folder), card)
    alike = card.medium == "image" or len(card.sources) > 2
    settings = replace(settings, symmetric=settings.symmetric or alike)
    return TableJob(folder, card, codec.to(device), digest, data, cache, settings)


def finish(job: TableJob, counted: LikelihoodTable, held_out: Chunks) -> dict[str, Any]:
    """Prune, fit β and measure coverage on held-out pairs, write ``table.safetensors`` and the card.

    Returns:
        tokens, nonzeros and density (%) of all counts; the same of the table kept; bytes; β; coverage of
        held-out tokens (see ``Coverage``).
    """
    settings = job.settings
    rng = np.random.default_rng([settings.seed, 1])
    triples = [job.sample(held_out, rng) for _ in range(settings.held_out)]
    a, b, m = (torch.cat(parts) for parts in zip(*triples, strict=True))
    kept = counted.prune(settings.max_nonzeros, settings.max_marginals)
    kept = replace(kept, nearest=nearest_seen(job.codec.quantizer.codebook.cpu(), kept))
    kept = replace(kept, beta=kept.fit_beta(a, b, m))
    path = job.folder / TABLE
    kept.save(path, compress=True)
    summary = {
        "tokens": counted.pairs,
        "counted": _size(counted),
        "kept": {**_size(kept), "file_bytes": path.stat().st_size},
        "beta": kept.beta,
        "coverage_counted": counted.coverage(a, b, m)._asdict(),
        "coverage_kept": kept.coverage(a, b, m)._asdict(),
        "held_out_nats": -float(kept.log_likelihood(a, b, m).mean()),
        "settings": {key: value for key, value in asdict(settings).items() if value is not None},
    }
    card = cards.with_part(cards.read(job.folder), "table", cards.Part("table", summary))
    cards.write(cards.with_files(card, job.folder), job.folder)
    return summary


@torch.inference_mode()
def encode(codec: LassCodec, sources: Tensor, weights: tuple[float, ...]) -> Triples:
    """Encode two sources (B, 2, C, *D) and their mixture Σ α_k x_k: tokens (B·L,) each, on the CPU."""
    x = sources.to(codec.quantizer.codebook.device)
    tokens = codec.encode(torch.cat([x[:, 0], x[:, 1], WeightedSum(weights)(x)])).cpu()
    first, second, mixed = (part.flatten() for part in tokens.chunk(3))
    return first, second, mixed


def nearest_seen(codebook: Tensor, table: LikelihoodTable) -> Tensor:
    """Return for every code of the codebook (V, D) the nearest counted as a mixture code: (V,) int64."""
    codes = torch.arange(len(codebook))
    seen = codes[table.support(codes) == codes]
    near = seen[nearest(codebook, codebook[seen])]
    near[seen] = seen
    return near


def _size(table: LikelihoodTable) -> dict[str, Any]:
    return {"nonzeros": table.nonzeros, "density_percent": table.density, "bytes": table.nbytes}
