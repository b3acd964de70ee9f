"""Baselines as engines, so that files and evaluations use them like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sepcli.baselines import BASELINES, SAMPLE_RATE, SOURCES, WEIGHTS
from sepcli.errors import UsageError
from sepcli.protocols import ProgressCallback


@dataclass(frozen=True)
class BaselineEngine:
    """A baseline; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        method: A key of ``BASELINES``.
        names: ``drums`` and ``bass``, in any order.
        weights: α_k of the mixing m = Σ α_k x_k.
        sample_rate: Hz.

    Raises:
        UsageError: The method is unknown, or the names are not drums and bass.
    """

    method: str
    names: tuple[str, ...] = SOURCES
    weights: tuple[float, ...] = WEIGHTS
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.method not in BASELINES:
            raise UsageError(
                f"unknown method '{self.method}'", f"methods: {', '.join(BASELINES)}", argument="method"
            )
        if sorted(self.names) != sorted(SOURCES):
            raise UsageError(
                f"{self.method} separates {' and '.join(SOURCES)}, not {', '.join(self.names)}",
                "use a prior of these sources",
                argument="method",
            )

    @property
    def channels(self) -> int | None:
        """Number of channels C of mixtures; None: any."""
        return None

    @property
    def hop(self) -> None:
        """None, because there is no noise."""
        return None

    @property
    def evaluations(self) -> int:
        """Evaluations of a prior per source of a sample: 0."""
        return 0

    @property
    def density(self) -> None:
        """None, because there is no density."""
        return None

    @property
    def interference_trained(self) -> bool:
        """Whether estimates are better than masks of them: no."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of the computation: the CPU."""
        return torch.device("cpu")

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Separate mixtures; the result is deterministic, and all samples are equal.

        Args:
            mixture: (B, C, T).
            seeds: (B, S); only S is used.
            on_progress: Called after every item.

        Returns:
            (B, S, 2, C, T), unweighted.
        """
        separate = BASELINES[self.method].load()
        order = [SOURCES.index(name) for name in self.names]
        alpha = torch.tensor(self.weights, dtype=mixture.dtype, device=mixture.device)[:, None, None]
        items: list[Tensor] = []
        for item in mixture:
            items.append(separate(item, self.sample_rate)[order] / alpha)
            if on_progress is not None:
                on_progress(len(items), len(mixture))
        return torch.stack(items)[:, None].expand(-1, seeds.shape[1], -1, -1, -1)

    def describe(self) -> dict[str, Any]:
        """Return the method; there are neither a sampler nor settings."""
        return {"engine": self.method, "sampler": None, "settings": {}, "device": "cpu"}

    def log_prior(self, sources: Tensor) -> None:
        """Return None, because there is no prior."""
        return None
