"""Settings of separation among tokens and of counting likelihood tables; this module imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from sepcli.settings import Seed, check

Power = Annotated[float, Meta(ge=0, le=1e9)]
Count = Annotated[int, Meta(ge=1, le=10**15)]
Entries = Annotated[int, Meta(ge=1, le=10**10)]


@dataclass(frozen=True)
class LassSettings:
    """Settings of likelihood, candidates, choice and refinement.

    Attributes:
        lam: λ, power of the likelihood table; with several codebooks, of the likelihood of latents.
        latent: κ, power of the latent likelihood.
        context: μ, power of the context likelihood.
        temperature: T, divides the log-probabilities of the priors.
        max_candidates: largest number of pairs of a mixture code that are rated, those counted most often.
        shortlist: r; the r likeliest codes of prior 1 times the r likeliest of prior 2 are rated, too; with
            several codebooks, these alone.
        candidates: number of separations, or of a beam's best hypotheses, that every sample is the best of.
        refine: steps of refinement of a sample's latents.
        refine_rate: learning rate of the refinement.
        exact: whether the sources are moved to the nearest ones that sum to the mixture exactly.
        noise: s, standard deviation per value of the residual of candidates, where all weights are 1; 0:
            candidates are compared by their residual alone, not by their prior.
        sweeps: number of times that every pair of more than two sources is sampled, given the others.
        chains: number of searches, of more than two sources, that a sample is the best of; they share the
            candidates.

    Raises:
        UsageError: a value is out of range.
    """

    lam: Power = 1.0
    latent: Power = 0.0
    context: Power = 0.0
    temperature: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    max_candidates: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1024
    shortlist: Annotated[int, Meta(ge=0, le=4096)] = 0
    candidates: Annotated[int, Meta(ge=1, le=100_000)] = 1
    refine: Annotated[int, Meta(ge=0, le=100_000)] = 0
    refine_rate: Annotated[float, Meta(gt=0, le=1e9)] = 0.1
    exact: bool = False
    noise: Power = 0.0
    sweeps: Annotated[int, Meta(ge=1, le=10_000)] = 4
    chains: Annotated[int, Meta(ge=1, le=10_000)] = 4

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CodebookSettings:
    """Settings of separation among the tokens of several codebooks.

    Attributes:
        lam: λ, power of the likelihood of the mixture's latents.
        temperature: T, divides the log-probabilities of the priors.
        shortlist: r; the r likeliest codes of every prior are candidates.
        sweeps: number of times that every pair of more than two sources is decided, given the others.

    Raises:
        UsageError: a value is out of range.
    """

    lam: Power = 1.0
    temperature: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    shortlist: Annotated[int, Meta(ge=1, le=4096)] = 512
    sweeps: Annotated[int, Meta(ge=1, le=10_000)] = 4

    def __post_init__(self) -> None:
        check(self)


DEFAULTS: Mapping[Literal["audio", "image"], Mapping[str, Any]] = {
    "audio": {},
    "image": {"candidates": 512, "refine": 500, "exact": True},
}
"""Medium → settings where neither card nor caller has others; for images those of Postolache et al. 2023 for
MNIST, and sources that make the mixture exactly."""


@dataclass(frozen=True)
class CountSettings:
    """Budget of counting a likelihood table, and size of the table.

    Attributes:
        tokens: stop after so many token triples; None: by time only.
        seconds: stop after so many seconds of this run; None: by tokens only.
        symmetric: count both orders: the sources are exchangeable, as images always are.
        max_nonzeros: triples kept in the table that separates.
        max_marginals: entries kept of each back-off table.
        seed: seed of the random pairs; shards to be merged need different ones.
        save_seconds: longest time between two writes of the counts, in seconds.
        pairs: pairs of sources that are counted at once; None: 16 chunks of audio or 256 images.
        chunk_tokens: tokens of a chunk of audio; an image has a fixed number.
        held_out: batches of held-out pairs on which the table is measured.

    Raises:
        UsageError: a value is out of range.
    """

    tokens: Count | None = 20_000_000
    seconds: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    symmetric: bool = False
    max_nonzeros: Entries = 2_000_000
    max_marginals: Entries = 500_000
    seed: Seed = 0
    save_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 180.0
    pairs: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    chunk_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    held_out: Annotated[int, Meta(ge=1, le=100_000)] = 12

    def __post_init__(self) -> None:
        check(self)
