"""``sepcli evaluate --dataset toy-waves``: means of toy waves, separated with flows or encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import structs

from sepcli.cli import console
from sepcli.cli.resolve import compose, engine_of, find_card, load
from sepcli.cli.scoring import Kept, resumable
from sepcli.cli.settings import parse_settings
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.evaluation.report import Report

ITEMS = 100
"""Mixtures, unless it is said."""


def score_toys(
    priors: Sequence[str],
    metrics: Sequence[str],
    chosen: Mapping[str, Any],
    counts: Mapping[str, Any],
    kept: Kept,
) -> Report:
    """Separate and score mixtures of toy waves, the means of their sources.

    Args:
        priors: words: a flow of every shape, or one prior that brings all sources along.
        metrics: si-sdr and sdr if none.
        chosen: ``methods``, ``device``, ``sampler``, ``settings`` (words), ``draws``.
        counts: ``limit``, ``seed``, ``batch``.
        kept: see there.

    Raises:
        SepError: the priors do not fit each other or toy waves.
    """
    if not priors:
        raise UsageError(
            "--dataset toy-waves needs priors", "give --prior once per shape, or one of encoders"
        )
    if len(chosen["methods"]) > 1 or any(method.blind for method in chosen["methods"]):
        raise UsageError("toy waves are separated with priors, one engine at a time", "give one --method")
    card, sampler = _card(priors, chosen)
    separator, made_with = load(
        card,
        priors[0],
        device=chosen["device"],
        sampler=sampler,
        settings=parse_settings(chosen["settings"]),
    )
    from sepcli.evaluation.toys import evaluate_toys

    with resumable("items", kept), console.progress("separating", kept.quiet) as on_progress:
        return evaluate_toys(
            separator,
            metrics or ("si-sdr", "sdr"),
            pairs=counts["limit"] or ITEMS,
            seed=counts["seed"],
            draws=chosen["draws"] or 1,
            batch=counts["batch"],
            settings=made_with,
            journal=kept.journal,
            replace_journal=kept.overwrite,
            on_progress=on_progress,
        )


def _card(priors: Sequence[str], chosen: Mapping[str, Any]) -> tuple[Card, str | None]:
    """All sources as one card, mixed by their mean, and the sampler."""
    method, sampler = engine_of(next(iter(chosen["methods"]), None), chosen["sampler"])
    card = compose(find_card(method, priors[0], sampler), priors, None, None)
    if len(priors) > 1:
        card = structs.replace(card, weights=(1 / len(priors),) * len(priors))
    return card, sampler
