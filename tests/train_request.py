"""A training as one dictionary: fields of ``TrainConfig`` and the family's own options side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sepcli.priors.train import train
from sepcli.protocols import ProgressCallback
from sepcli.training.checkpoints import Progress
from sepcli.training.config import TrainConfig

COMMON = {field.name for field in fields(TrainConfig)}


def read_history(folder: Path) -> list[dict[str, float]]:
    """The figures of the validations that a part's folder holds."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]


def run(
    request: Mapping[str, Any],
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Progress:
    common = {key: value for key, value in request.items() if key in COMMON}
    options = {key: value for key, value in request.items() if key not in COMMON}
    return train(TrainConfig(**common), options, on_progress, log, on_message)
