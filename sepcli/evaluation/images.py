"""Common parts of tasks of images: setup, samples and their log-likelihoods.

Source: Jayaram & Thickstun 2020 (BASIS), table 2 (Glow, 10x), and table 1, where log-likelihoods of
    separations and of test images under the prior of the least noise stand side by side.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.datasets.pair_folder import Pair
from sepcli.errors import InputError
from sepcli.evaluation.distribution import Sets
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.samples import sample, seeds_of
from sepcli.evaluation.task import Members, Plan, Setup
from sepcli.metrics import METRICS
from sepcli.priors.images.flow import bits_per_dim, noisy
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.independent import IndependentDensities

MIXTURE, RESIDUAL, NLL = "mixture", "residual", "nll"
"""The stem, and two metrics, of a mixture as a whole: the rms of its residual, and typicality."""
OURS, TRUTH = "sepcli", "truth"
"""Rows: one sample, and the true sources."""


def image_setup(
    plan: Plan,
    engine: Engine,
    sets: Sets,
    checks: Sequence[str],
    settings: Mapping[str, Any],
    unit: str,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Setup:
    """Return the setup of a task of images: metrics of items first, those of sets, then checks.

    ``settings`` are what the numbers depend on, ``unit`` is that of the cost, such as ``pair``, ``fields``
    are others of ``Protocol``.

    Raises:
        InputError: the images are too small for a metric.
    """
    features: dict[str, Any] = {}
    if sets.metrics:
        features["networks"] = {name: dict(network.about) for name, network in sets.networks.items()}
    protocol = Protocol(
        metrics=(*plan.of("item"), *sets.metrics, *checks),
        seed=plan.seed,
        settings={**settings, "batch": plan.batch, **features},
        **fields,
    )
    for metric in plan.of("item"):
        least = METRICS[metric].smallest
        if min(sets.originals.shape[2:]) < least:
            raise InputError(f"{metric} needs images of {least} pixels or more", f"leave out {metric}")

    def cost(seconds: float, items: int) -> dict[str, float]:
        took = {f"seconds_per_{unit}": seconds / items} if items else {}
        return {"evaluations": engine.evaluations, **took}

    compared = sets if sets.metrics else None
    return Setup(protocol, content=sets.originals.tobytes(), sets=compared, notes=notes, cost=cost)


def sample_rows(samples: int) -> tuple[str, ...]:
    """Names of the rows of samples: the first, and the likeliest of several."""
    return (OURS, f"{OURS}-{samples}x") if samples > 1 else (OURS,)


def sample_images(
    engine: Engine,
    items: Members[Pair],
    mixtures: Tensor,
    samples: int,
    seed: int,
    on_progress: ProgressCallback | None,
) -> tuple[Tensor, list[Tensor], float]:
    """Sample the sources of mixtures (B, C, H, W).

    Returns:
        All samples (B, S, K, C, H, W), those of the rows ``sample_rows``, and the seconds that it took.
    """
    numbers, ids = [number for number, _ in items], [item.id for _, item in items]
    started = time.monotonic()
    every = sample(engine, mixtures, seeds_of(seed, numbers, samples), ids, on_progress)
    rows = [every[:, 0], *([likeliest(engine, every)] if samples > 1 else [])]
    return every, rows, time.monotonic() - started


def likeliest(engine: Engine, samples: Tensor) -> Tensor:
    """Choose the samples (B, K, C, H, W) of (B, S, K, C, H, W) that are the most probable under the prior.

    Samples are clamped to [0, 1] before they are evaluated; a prior that is not a density ranks by its bound.
    """
    values = engine.log_prior(samples.clamp(0.0, 1.0).flatten(0, 1))
    if values is None:
        return samples[:, 0]
    return samples[torch.arange(len(samples)), values.view(samples.shape[:2]).argmax(1)]


def typicality(engine: Engine, sample: Tensor, truth: Tensor, rng: np.random.Generator) -> dict[str, float]:
    """Return bits per dimension of a sample and of the true sources, (K, C, H, W), under the least noise.

    Both get noise of the density's level, from ``rng``, a sample only if its sampler leaves it none: log p_σ
    is of noisy signals, and clean ones are likelier than these, true or not. Empty if the prior is no
    density.
    """
    density = engine.density
    if not isinstance(density, IndependentDensities):
        return {}
    levels = torch.full((len(truth),), density.sigma)
    rows = torch.stack([sample if density.noisy else noisy(sample, levels, rng), noisy(truth, levels, rng)])
    rows = rows.to(engine.device)
    with torch.no_grad():
        return dict(zip((OURS, TRUTH), bits_per_dim(density.log_prob(rows), rows).tolist(), strict=True))
