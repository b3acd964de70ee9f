"""Baselines as engines, so that files and evaluations use them like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sepcli.baselines import BASELINES, SAMPLE_RATE, SOURCES, WEIGHTS
from sepcli.errors import UsageError
from sepcli.protocols import ProgressCallback


@dataclass(frozen=True)
class BaselineEngine:
    """A baseline; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        method: a key of ``BASELINES``.
        names: ``drums`` and ``bass``, in any order.
        weights: α_k of the mixing m = Σ α_k x_k.
        sample_rate: Hz.

    Raises:
        UsageError: the method is unknown, or the names are not drums and bass.
    """

    method: str
    names: tuple[str, ...] = SOURCES
    weights: tuple[float, ...] = WEIGHTS
    sample_rate: int = SAMPLE_RATE
    channels: ClassVar[None] = None
    hop: ClassVar[None] = None
    evaluations: ClassVar[int] = 0
    density: ClassVar[None] = None
    device: ClassVar[torch.device] = torch.device("cpu")
    interference_trained: ClassVar[bool] = False

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

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Separate mixtures; the result is deterministic, and all samples are equal.

        Args:
            mixture: (B, C, T).
            seeds: (B, S); only S is used.
            on_progress: called after every item.

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
