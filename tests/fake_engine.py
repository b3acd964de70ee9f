"""What all engines of tests have in common; see ``sepcli.protocols.Engine``."""

from __future__ import annotations

from typing import Any

import torch


class FakeEngine:
    """An engine without a prior: subclasses have names, weights, sample_rate and ``sample``."""

    channels: int | None = None
    hop: int | None = None
    evaluations = 1
    density = None
    interference_trained = False
    device = torch.device("cpu")

    def log_prior(self, sources: torch.Tensor) -> torch.Tensor | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"engine": "fake", "sampler": None, "settings": {}, "device": "cpu"}
