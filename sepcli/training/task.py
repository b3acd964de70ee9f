"""What the training loop is given: a task, and settings with a budget of seconds or steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import numpy as np
from msgspec import Meta
from torch import Tensor, nn

from sepcli.catalog.card import DEFAULT_STORAGE, Storage
from sepcli.settings import LONGEST, Seed, Steps, check
from sepcli.training.checkpoints import Progress

Batch = tuple[Any, ...]
"""What a step computes its loss from: arrays and tensors have a row per item; all else is of all items."""


class Task(Protocol):
    """A training task: a module, its loss on a random batch, and its loss on held-out data."""

    @property
    def model(self) -> nn.Module:
        """The module whose parameters are trained."""

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample the items of a step and all random numbers of their loss, on the CPU."""

    def loss(self, *batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss () of a batch on the model's device, and figures to log."""

    def validate(self) -> dict[str, float]:
        """Return figures on fixed held-out data; ``loss`` is the one to minimise."""


@dataclass(frozen=True)
class LoopSettings:
    """Budget, learning rate and schedule of the training loop.

    Attributes:
        seconds: time budget of all runs together; None to count steps instead.
        steps: step budget; None to count seconds instead.
        learning_rate: peak of the schedule.
        warmup: steps of linear warm-up.
        weight_decay: AdamW's, on matrices only.
        clip: largest gradient norm.
        validations: how many validations over the budget.
        checkpoint_seconds: a checkpoint at least this often.
        seed: of all randomness.
        storage: of the weights that are kept.
        run: what determines the weights, ready for JSON; a checkpoint of another run is not continued.

    Raises:
        UsageError: a value is out of range.
    """

    seconds: Annotated[float, Meta(gt=0, le=LONGEST)] | None = 600.0
    steps: Steps | None = None
    learning_rate: Annotated[float, Meta(gt=0, le=100)] = 1e-3
    warmup: Annotated[int, Meta(ge=0, le=100_000_000)] = 100
    weight_decay: Annotated[float, Meta(ge=0, le=100)] = 0.01
    clip: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    validations: Annotated[int, Meta(ge=1, le=100_000)] = 10
    checkpoint_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 60.0
    seed: Seed = 0
    storage: Storage = DEFAULT_STORAGE
    run: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    @property
    def identity(self) -> dict[str, Any]:
        """Settings that must match when a run is resumed; the budget may change."""
        return {**self.run, "seed": self.seed, "learning rate": self.learning_rate}


def spent_share(progress: Progress, settings: LoopSettings) -> float:
    """Return the share of the budget that is spent, 1 or more when the run is finished."""
    pairs = ((progress.elapsed, settings.seconds), (progress.step, settings.steps))
    return max((done / budget for done, budget in pairs if budget is not None), default=0.0)
