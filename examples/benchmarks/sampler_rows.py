"""The rows of ``posterior_samplers.py``: what a sampler is to it, and how rows compare."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from counted import Counted
from torch import Tensor

from sepcli.metrics.statistics import bootstrap_ci

OURS = "sepcli"
BUDGET = 64
"""Evaluations for a pair."""
Run = Callable[[Counted, Tensor, Mapping[str, Any], int], Tensor]
"""(prior, mixtures (B, 1, H, W) in [0, 1], settings, seed) → images (B, 2, 1, H, W)."""


class Method(NamedTuple):
    """A sampler.

    Attributes:
        package: that it is of.
        name: of the sampler.
        grid: settings to choose from.
        run: samples.
        single: whether it gets one mixture at a time, since those of a batch influence each other.
    """

    package: str
    name: str
    grid: tuple[Mapping[str, Any], ...]
    run: Run
    single: bool = False


def grid(**choices: tuple[Any, ...]) -> tuple[Mapping[str, Any], ...]:
    """Return all combinations of settings."""
    return tuple(dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))


def compare(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the best of our rows within the budget with the best of the others, by pairs."""
    means = {id(row): float(np.mean(row["values"])) for row in rows}
    within = [row for row in rows if row["package"] == OURS and row["evaluations"] <= BUDGET]
    others = [row for row in rows if row["package"] != OURS and math.isfinite(means[id(row)])]
    if not others:
        return {}
    ours, best = (max(group, key=lambda row: means[id(row)]) for group in (within, others))
    differences = np.subtract(ours["values"], best["values"])
    low, high = bootstrap_ci(differences)
    ahead = float(np.mean(differences))
    cpu, clock = (best[key] / ours[key] for key in ("cpu_seconds", "seconds"))
    where = "ahead of" if ahead >= 0 else "behind"
    sentence = (
        f"{ours['sampler']} of {OURS} is {abs(ahead):.1f} dB {where} {best['sampler']} of {best['package']}, "
        f"the best of the others ({ahead:+.1f} [{low:+.1f}, {high:+.1f}]), and {cpu:.1f} times as fast "
        f"(seconds of the processor; {clock:.1f} times by the clock)."
    )
    names = {key: f"{row['package']} {row['sampler']}" for key, row in (("ours", ours), ("other", best))}
    numbers = {"decibels": ahead, "ci95": [low, high], "cpu_ratio": cpu, "ratio": clock}
    return {**names, **numbers, "sentence": sentence}


def summarize(row: dict[str, Any]) -> dict[str, Any]:
    """Replace the values of a row by mean and interval."""
    values = row.pop("values")
    return {**row, "psnr": float(np.mean(values)), "ci95": list(bootstrap_ci(values))}
