"""A card of color images → what colors gray ones: separation of the channels of one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from sepcli.catalog.settings import typed
from sepcli.errors import PriorError, UsageError
from sepcli.priors.images.glow import GlowPrior
from sepcli.priors.images.independent import ClassPrior, ImagePrior
from sepcli.priors.images.load_score import (
    UNIT,
    draws_at_once,
    load_image_prior,
    open_card,
    prepare,
)
from sepcli.priors.images.ncsn import NcsnPrior
from sepcli.protocols import DenoisingPrior
from sepcli.separation.colorize import ChannelsAsSources, HintedPrior
from sepcli.separation.engines import ScoreEngine, score_engine

NAMES = ("red", "green", "blue")
"""The sources."""
TABLE = "colorize"
"""The table of a card's settings with what is meant for colorization; the others are meant for separation."""
WIDE = {"sigma_max": 20.0, "rho": 7.0}
"""Levels that begin far above the images' own range: noise of σ is σ/√n in the mean color of n pixels, so
that on a ladder from σ = 2 the tint of the whole would be decided at the start."""
USUAL: Mapping[str, Mapping[str, Any]] = {
    "projected": {**WIDE, "eta": "ancestral", "alike": 1},
    "halving": {**WIDE, "alike": 1},
    "multi-source": {**WIDE, "sigma_min": 0.01, "alike": 1},
}
"""Sampler → its settings for colors; Langevin dynamics keep those of BASIS. Ancestral noise draws colors as
uncertain as they are, where fresh noise alone (η = 1) draws them too alike; see ``samplers.projected``."""
BATCH = 16
"""Draws at once, of images that may be larger than the prior's own."""


@dataclass(frozen=True)
class HintSettings:
    """Of hints.

    Attributes:
        hint_sigma: standard deviation of what a fully opaque stroke says of a color.
    """

    hint_sigma: float = 0.05


HINT_KEYS = {f.name for f in fields(HintSettings)}
Builder = Callable[[DenoisingPrior, Sequence[float]], ScoreEngine]
"""A prior of three sources, the channels, and the weights of their gray → what separates them."""


@dataclass(frozen=True)
class Colorizer:
    """What colors gray images.

    Attributes:
        network: the prior of color images.
        build: a prior of the channels, and weights → what separates a gray (B, 1, H, W) into them.
        weights: w of the gray Σ w_c x_c.
        hint_sigma: see ``HintSettings``.
        device: where the prior is.
    """

    network: ImagePrior
    build: Builder
    weights: Sequence[float]
    hint_sigma: float
    device: torch.device

    @property
    def short(self) -> int:
        """The short side of the images that the prior was trained on."""
        return min(self.network.config.size)

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler, posterior and hints, for records."""
        made = self.separator().describe()
        return {**made, "settings": {**made["settings"], "hint_sigma": self.hint_sigma}}

    def separator(self, hint: tuple[Tensor, Tensor] | None = None) -> ScoreEngine:
        """The separator of a gray image into its channels.

        Args:
            hint: colors (3, H, W) that are known, and how much they are meant (H, W), 0 to 1.
        """
        prior = ChannelsAsSources(ClassPrior(self.network, fast=True))
        if hint is None:
            return self.build(prior, self.weights)
        target, weight = (part.to(self.device) for part in hint)
        return self.build(HintedPrior(prior, target[:, None], weight / self.hint_sigma**2), self.weights)


def load_colors(
    prior: str,
    weights: Sequence[float],
    *,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Colorizer:
    """What colors images whose gray is Σ w_c x_c of red, green and blue.

    Args:
        prior: a name or a folder.
        weights: w, of sum 1.
        device: where to compute.
        sampler: a key of ``catalog.score.SAMPLERS``; the card's for colorization if None, else projected.
        settings: of sampler, posterior and hints, over the card's for colorization; an unknown key is an error.

    Raises:
        PriorError: the prior is missing, damaged or not of color images.
        UsageError: an unknown sampler or setting, or a value out of range.
    """
    card, folder = open_card(prior)
    network = load_image_prior(folder).to(device)
    if network.config.channels != len(NAMES):
        raise PriorError(f"prior {card.name} is of gray images", "choose a prior of color images")
    table = card.settings.get(TABLE)
    own = dict(table) if sampler is None and isinstance(table, Mapping) else {}
    chosen = sampler or str(own.pop("sampler", "projected"))
    usual = dict(USUAL.get(chosen, {}))
    if isinstance(network, NcsnPrior | GlowPrior) and "sigma_max" in usual:
        usual["sigma_max"] = network.config.sigma_max  # beyond its own ladder it only guesses
    options: dict[str, Any] = {**usual, **own, **(settings or {})}
    hints = HintSettings(**typed(HintSettings, {k: options.pop(k) for k in HINT_KEYS & options.keys()}))
    if hints.hint_sigma <= 0.0:
        raise UsageError(f"hint_sigma is {hints.hint_sigma}", "use more than 0; 0.05 if not given")
    place = torch.device(device)
    of_networks = prepare([network], options, place)

    def build(channels: DenoisingPrior, of: Sequence[float]) -> ScoreEngine:
        made = score_engine(channels, NAMES, tuple(of), place, chosen, options, channels=1, bounds=UNIT)
        used = {**made.likelihood, **of_networks}
        return replace(made, batch=min(BATCH, draws_at_once(network)), likelihood=used)

    return Colorizer(network, build, weights, hints.hint_sigma, place)
