"""Common parts of evaluations of images: protocol, values and best order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.task import Plan
from sepcli.metrics import METRICS
from sepcli.metrics.assignment import best_permutation
from sepcli.metrics.features import Extractor
from sepcli.metrics.images import psnr

MIXTURE, RESIDUAL = "mixture", "residual"
"""The stem and the metric of what a sample leaves of the mixture."""

Pixels = NDArray[np.float32]


def image_protocol(
    plan: Plan,
    checks: Sequence[str],
    networks: Mapping[str, Extractor],
    settings: Mapping[str, Any],
    **fields: Any,
) -> Protocol:
    """Return the protocol: metrics of items first, those of sets, then checks.

    Args:
        plan: metrics, seed and batch.
        checks: measured besides.
        networks: of the metrics of sets, by name.
        settings: what the numbers depend on.
        fields: fields of ``Protocol``.
    """
    sets = plan.of("set")
    features = {"networks": {name: dict(network.about) for name, network in networks.items()}} if sets else {}
    return Protocol(
        metrics=(*plan.of("item"), *sets, *checks),
        seed=plan.seed,
        settings={**settings, "batch": plan.batch, **features},
        **fields,
    )


def image_values(
    item: str, row: str, stems: Sequence[str], metrics: Sequence[str], truth: Pixels, estimates: Pixels
) -> Iterator[TrackScore]:
    """Compare estimates (K, C, H, W), in the order of the sources, with the truth; both in [0, 1]."""
    for metric in metrics:
        measure = METRICS[metric].resolve()
        for stem, source, estimate in zip(stems, truth, estimates, strict=True):
            yield TrackScore(item, row, stem, metric, float(measure(source, estimate)))


def in_best_order(truth: Pixels, estimates: Tensor) -> Pixels:
    """Clamp estimates (K, C, H, W) to [0, 1] and put them in the order of the greatest mean PSNR."""
    clamped = estimates.clamp(0.0, 1.0).numpy()
    return np.asarray(clamped[list(best_permutation([[psnr(s, e) for e in clamped] for s in truth]))])
