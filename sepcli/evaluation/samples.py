"""Samples of an engine for items with independent seeds; evaluations call engines here only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from sepcli.datasets.pair_folder import Pair
from sepcli.errors import InputError, SepError
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.levels import gain_to
from sepcli.separation.seeds import item_seed, sample_seeds


def seeds_of(seed: int, numbers: Sequence[int], samples: int = 1) -> Tensor:
    """Return the seeds (B, S), int64, of items by number: those of ``separate`` with ``item_seed``."""
    return torch.tensor([sample_seeds(item_seed(seed, n), 0, samples) for n in numbers], dtype=torch.int64)


def sample(
    engine: Engine,
    mixtures: Tensor,
    seeds: Tensor,
    names: Sequence[str],
    on_progress: ProgressCallback | None,
) -> Tensor:
    """Sample the sources (B, S, K, C, *D), on the CPU, of named mixtures (B, C, *D) with seeds (B, S).

    Raises:
        SepError: a sample is not finite.
    """
    samples = engine.sample(mixtures, seeds, on_progress).detach().cpu()
    for name, item in zip(names, samples, strict=True):
        if not bool(torch.isfinite(item).all()):
            raise SepError(
                f"the estimates of {name} are not finite", "use more steps, or another sampler or prior"
            )
    return samples


def sample_audio(
    items: Sequence[Pair],
    engine: Engine,
    seeds: Tensor,
    level: float | None,
    on_progress: ProgressCallback | None,
) -> list[Tensor]:
    """Mix items and sample their sources; items of equal length that follow each other share a call.

    Args:
        items: B items with sources (K, T).
        engine: its weights mix them.
        seeds: (B, S).
        level: RMS to which every mixture is scaled for the engine, and back; None leaves it alone.
        on_progress: called by the engine.

    Returns:
        (S, K, T) per item, unweighted.

    Raises:
        InputError: an item does not fit the engine.
        SepError: a sample is not finite.
    """
    for pair in items:
        check_fits(pair, engine)
    sampled: list[Tensor] = []
    for _, group in itertools.groupby(zip(items, seeds, strict=True), lambda item: item[0].sources.shape[-1]):
        members, seeds_of_group = zip(*group, strict=True)
        mixtures = torch.stack([mix(torch.from_numpy(pair.sources), engine.weights) for pair in members])
        gains = _gains(mixtures, level, engine.sample_rate)
        scaled = (gains * mixtures)[:, None]
        samples = sample(
            engine, scaled, torch.stack(seeds_of_group), [pair.id for pair in members], on_progress
        )
        sampled += [d[:, :, 0].float() / gain for d, gain in zip(samples, gains, strict=True)]
    return sampled


def check_fits(pair: Pair, engine: Engine) -> None:
    """Raise ``InputError`` if an item has other sources or another rate than an engine."""
    if pair.sources.shape[0] != len(engine.names):
        raise InputError(
            f"item {pair.id} has {pair.sources.shape[0]} sources, the separator {len(engine.names)}",
            f"give a folder with {', '.join(engine.names)}",
        )
    if pair.sample_rate != engine.sample_rate:
        raise InputError(
            f"item {pair.id} is at {pair.sample_rate} Hz, the separator works at {engine.sample_rate} Hz",
            "resample the items to that rate",
        )


def mix(sources: Tensor, weights: Sequence[float]) -> Tensor:
    """Σ α_k x_k: (K, T) to (T,)."""
    return torch.einsum("k,kt->t", torch.tensor(list(weights), dtype=sources.dtype), sources)


def describe_mixture(weights: Sequence[float], names: Sequence[str]) -> str:
    """Return the mixing for a protocol: 0.5·drums + 0.5·bass."""
    return " + ".join(f"{weight:g}·{name}" for weight, name in zip(weights, names, strict=True))


def _gains(mixtures: Tensor, level: float | None, second: int) -> Tensor:
    """(B, 1), the gains that bring mixtures (B, T) to the RMS ``level``, as ``sepcli separate`` has them."""
    parts = torch.split(mixtures.double(), second, dim=-1)
    energies = torch.stack([part.square().mean(dim=-1) for part in parts], dim=-1)
    peaks = mixtures.abs().amax(-1).tolist()
    gains = [gain_to(rows.numpy(), peak, level) for rows, peak in zip(energies, peaks, strict=True)]
    return torch.tensor(gains)[:, None]
