"""A score prior of color images → what samples colors: separation of the channels of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from msgspec import Meta

from sepcli.errors import PriorError
from sepcli.priors.images.flow import FlowPrior
from sepcli.priors.images.independent import ClassPrior
from sepcli.priors.images.load import UNIT, load_image_prior, prepare, samples_at_once
from sepcli.priors.images.ncsn import NcsnPrior
from sepcli.priors.selection import Selection
from sepcli.protocols import DenoisingPrior
from sepcli.separation.colorize import NAMES, Colorizer
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.settings import check, take

WIDE = {"sigma_max": 20.0, "rho": 7.0}
"""Sigmas that begin far above the range of images: noise of σ is σ/√n in the mean color of n pixels, so that
from σ = 2 the tint of the whole image would be decided at the start."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "projected": {**WIDE, "eta": "ancestral", "alike": 1},
    "halving": {**WIDE, "alike": 1},
    "multi-source": {**WIDE, "sigma_min": 0.01, "alike": 1},
}
"""Sampler → its settings for colors; Langevin dynamics keep those of BASIS. Ancestral noise gives colors
their uncertainty, fresh noise alone (η = 1) too little of it; see ``sepcli.samplers.projected``."""
BATCH = 16
"""Samples computed at once, of images that may be larger than those of the prior."""


@dataclass(frozen=True)
class HintSettings:
    """Settings of hints.

    Attributes:
        hint_sigma: standard deviation of what a fully opaque stroke says of a color.
    """

    hint_sigma: Annotated[float, Meta(gt=0, le=1e6)] = 0.05

    def __post_init__(self) -> None:
        check(self)


def make_colorizer(selection: Selection, device: torch.device) -> Colorizer:
    """Make what samples the colors of a grayscale image, of one prior.

    Raises:
        PriorError: the prior is damaged or not of color images.
        UsageError: an unknown sampler or setting, or a value out of range.
    """
    network = load_image_prior(selection.files[0]).to(device)
    if network.config.channels != len(NAMES):
        raise PriorError(
            f"prior {selection.prior} is of grayscale images",
            "choose a prior of color images",
            argument="priors",
        )
    sampler = "projected" if selection.default_sampler is None else selection.default_sampler
    defaults = dict(DEFAULTS.get(sampler, {}))
    if isinstance(network, NcsnPrior | FlowPrior) and "sigma_max" in defaults:
        defaults["sigma_max"] = network.config.sigma_max  # it was not trained on more
    options: dict[str, Any] = {**defaults, **selection.options()}
    hints = take(HintSettings, options)
    compiled = prepare([network], options, device)

    def engine_of(channels: DenoisingPrior, weights: Sequence[float]) -> ScoreEngine:
        engine = score_engine(channels, NAMES, weights, device, sampler, options, channels=1, bounds=UNIT)
        likelihood = {**engine.likelihood, **compiled, **vars(hints)}
        return replace(engine, batch=min(BATCH, samples_at_once(network)), likelihood=likelihood)

    prior = ClassPrior(network, fast=True)
    return Colorizer(prior, engine_of, min(network.config.size), hints.hint_sigma)
