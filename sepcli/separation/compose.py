"""An engine of priors: sources with weights, or the channels of an image, by a sampler."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import torch

from sepcli.errors import UsageError
from sepcli.protocols import DenoisingPrior, Engine, Sampler, ScorePrior
from sepcli.samplers import name_of
from sepcli.separation.colorize import NAMES, Colorizer
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.independent import IndependentPriors, provides_variance, sigma_range
from sepcli.separation.presets import preset_of
from sepcli.separation.weights import image_scale, mixing_weights
from sepcli.signal.mixing import ChannelSum, WeightedSum

UNIT = (0.0, 1.0)
"""The range of the values of images."""


class Composed(NamedTuple):
    """An engine, the kinds of its sources (of one kind: interchangeable), and the colorizer, if any."""

    engine: Engine
    groups: tuple[Hashable, ...]
    colorizer: Colorizer | None


def compose(
    priors: ScorePrior | Sequence[ScorePrior],
    weights: Sequence[float] | None,
    mixing: WeightedSum | ChannelSum | None,
    names: Sequence[str] | None,
    sampler: str | Sampler | None,
    settings: Mapping[str, Any],
    preset: str | None,
    sample_rate: int,
    device: torch.device,
) -> Composed:
    """Make the engine of the arguments of ``sepcli.separation.separator.Separator``.

    Raises:
        UsageError: see there.
    """
    members = list(priors) if isinstance(priors, Sequence) else [priors]
    chosen = preset_of(preset, sampler if sampler is None or isinstance(sampler, str) else name_of(sampler))
    general: dict[str, Any] = {}
    if sampler is None:
        weigh = {"weigh": 1} if chosen.sampler and all(map(provides_variance, members)) else {}
        general = {**sigma_range(members), **weigh, **chosen.settings}
    make = partial(
        score_engine,
        device=device,
        sampler="projected" if sampler is None else sampler,
        settings={**general, **settings},
        bounds=None if sample_rate else UNIT,
    )
    if isinstance(mixing, ChannelSum):
        if len(members) != 1 or weights is not None or sample_rate:
            raise UsageError(
                "colorization takes one prior of color images",
                "pass one prior, without weights",
                argument="priors",
            )

        def engine_of(prior: DenoisingPrior, gray: Sequence[float]) -> ScoreEngine:
            return replace(make(prior, NAMES, gray, channels=1), reentrant=False)

        colorizer = Colorizer(cast(DenoisingPrior, members[0]), engine_of)
        return Composed(colorizer.engine(mixing.weights), NAMES, colorizer)
    alphas = _weights(len(members), weights, mixing, images=not sample_rate)
    every = members * len(alphas) if len(members) == 1 else members
    titles = tuple(names) if names is not None else tuple(f"source-{k + 1}" for k in range(len(alphas)))
    if not all(title.strip() for title in titles):
        raise UsageError("a source has an empty name", "give each source a name", argument="names")
    if len({*titles}) != len(alphas):
        raise UsageError(
            f"{len(titles)} names for {len(alphas)} sources",
            "give each source a different name",
            argument="names",
        )
    scale = 1.0 if sample_rate else image_scale(alphas)
    engine = make(IndependentPriors(every), titles, alphas, scale=scale)
    groups = tuple((id(prior), weight) for prior, weight in zip(every, alphas, strict=True))
    return Composed(replace(engine, sample_rate=sample_rate, reentrant=False), groups, None)


def _weights(
    priors: int, weights: Sequence[float] | None, mixing: WeightedSum | None, *, images: bool
) -> tuple[float, ...]:
    """The α_k of K sources."""
    if mixing is not None and weights is not None:
        raise UsageError("weights and mixing contradict each other", "pass one of them", argument="weights")
    given = mixing.weights if mixing is not None else weights
    count = len(given) if given is not None else max(2, priors)
    if count < 2 or priors not in (1, count):
        raise UsageError(
            f"{priors} priors for {count} sources",
            "pass one prior, or one per source; two sources or more",
            argument="priors",
        )
    return tuple(map(float, mixing_weights(given, (), images=images, sources=count)))
