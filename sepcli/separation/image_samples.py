"""Samples of images, with their sources aligned, ranked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from sepcli.errors import SepError
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.ranking import RankedSamples, align, ranked


def sample_images(
    engine: Engine,
    mixtures: Tensor,
    seeds: Tensor,
    groups: Sequence[Hashable],
    on_progress: ProgressCallback | None = None,
) -> list[RankedSamples]:
    """Separate mixtures of images, several samples of each, the best first.

    Args:
        engine: samples the sources.
        mixtures: (B, C, H, W), float32, of sources in [0, 1].
        seeds: (B, S) int64.
        groups: per source, of what kind it is: sources of one kind are interchangeable.
        on_progress: called by the engine.

    Raises:
        SepError: the samples are not finite.
    """
    raw = engine.sample(mixtures, seeds, on_progress)
    if not torch.isfinite(raw).all():
        raise SepError("the sampled sources are not finite", "use more steps, or another sampler or prior")
    results = []
    for mixture, samples in zip(mixtures, raw, strict=True):
        aligned = align(samples.clamp(0, 1), groups)
        log_prior = engine.log_prior(aligned) if len(aligned) > 1 else None
        results.append(ranked(aligned, mixture, engine.weights, log_prior))
    return results
