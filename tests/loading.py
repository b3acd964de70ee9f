"""Engines of priors, as the command line and the API load them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sepcli.priors.load import load_selection
from sepcli.priors.select import choose
from sepcli.separation.separator import Separator


def engine_of(priors: str | Sequence[str], weights: Sequence[float] | None = None, **options: Any) -> Any:
    return load_selection(choose(priors, weights=weights, **options)).engine


def colorizer_of(prior: str, weights: Sequence[float], **options: Any) -> Separator:
    return load_selection(choose(prior, colorize=weights, **options))
