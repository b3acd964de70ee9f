"""Cards of the family ``score`` → separators: one prior for all sources, or one per source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog import diffusers_layout as diffusers
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.engines import source_names
from sepcli.catalog.network import compile_networks, load_network
from sepcli.catalog.settings import typed
from sepcli.errors import PriorError, UsageError
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.glow import GlowConfig, GlowPrior
from sepcli.priors.images.independent import ClassPrior, ImagePrior
from sepcli.priors.images.load_diffusers import load_unet
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.protocols import Sampler
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.independent import IndependentDensities, IndependentPriors
from sepcli.separation.weights import image_scale, mixing_weights

UNIT = (0.0, 1.0)
"""The range of images' values."""
BATCH = 64
"""Draws at once."""
PIXELS = 2 * 256 * 256
"""Of the draws at once of a network of diffusers or a flow: some gigabytes, for 128 channels at full size."""


@dataclass(frozen=True)
class NetworkSettings:
    """Of the networks.

    Attributes:
        compile: whether they are compiled first, which takes up to a minute and makes each evaluation faster.
    """

    compile: bool = False


NETWORKS: Mapping[str, Callable[[dict[str, Any]], ImagePrior]] = {
    "denoiser": lambda config: DenoiserPrior(DenoiserConfig(**config)),
    "ncsn": lambda config: NcsnPrior(NcsnConfig(**config)),
    "glow": lambda config: GlowPrior(GlowConfig(**config)),
}
"""Part of a prior's folder → its network, of the fields of its config."""


def load_image_prior(folder: Path) -> ImagePrior:
    """The network of a prior's folder, whichever it holds, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    part = next((name for name in NETWORKS if (folder / name).is_dir()), "denoiser")
    if not (folder / part).is_dir() and diffusers.parts_in(folder):
        return load_unet(folder).requires_grad_(False)
    return load_network(NETWORKS[part], folder / part).requires_grad_(False)


def load_images(
    priors: Sequence[str],
    weights: Sequence[float],
    *,
    labels: Sequence[int | None] | None = None,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> ScoreEngine:
    """A separator of images, K sources of known weights.

    Args:
        priors: one name or folder for all sources, or K of them.
        weights: α_k.
        labels: a class per source, for priors that are conditioned on classes; None: any.
        device: where to compute.
        sampler: a key of ``SAMPLERS``; the first prior's own if None.
        settings: of the sampler and the posterior, over the first card's own; an unknown key is an error.

    Raises:
        PriorError: a prior is missing, damaged or not of images.
        UsageError: the numbers of priors, weights and labels differ; an unknown sampler or setting.
    """
    if len(priors) not in (1, len(weights)) or len(weights) < 2:
        raise UsageError(
            f"{len(priors)} priors for {len(weights)} sources",
            "give one prior, or one per source; two or more",
        )
    found = {name: open_card(name) for name in dict.fromkeys(priors)}
    card, _ = found[priors[0]]
    networks = {name: load_image_prior(folder).to(device) for name, (_, folder) in found.items()}
    if len({network.config.channels for network in networks.values()}) > 1:
        raise UsageError("priors of gray and of color images do not mix", "choose priors of one kind")
    every = list(priors) * (len(weights) // len(priors))
    chosen = sampler or str(card.defaults("score").get("sampler", "projected"))
    own = {k: v for k, v in card.defaults("score").items() if k != "sampler"} if sampler is None else {}
    own_networks, told = [networks[name] for name in every], labels or [None] * len(every)
    joint = _joint(own_networks, told)
    names = source_names([found[name][0] for name in every])
    channels, options = networks[priors[0]].config.channels, {**own, **(settings or {})}
    of_networks = prepare(networks.values(), options, torch.device(device))
    scale = image_scale(weights)
    relative = tuple(scale * weight for weight in weights)
    made = score_engine(
        joint, names, relative, torch.device(device), chosen, options, channels=channels, bounds=UNIT
    )
    together = min(draws_at_once(network) for network in networks.values())
    density = _density(own_networks, told, made.sampler)
    return replace(
        made,
        weights=tuple(weights),
        scale=scale,
        batch=together,
        density=density,
        likelihood={**made.likelihood, **of_networks},
    )


def build_score(
    card: Card, folder: Path, device: torch.device, sampler: str, options: Mapping[str, Any]
) -> ScoreEngine:
    """The builder of ``catalog.build``: two sources of the card's kind; see ``mixing_weights``."""
    network = load_image_prior(folder).to(device)
    two, told = [network] * 2, [None] * 2
    joint, names = _joint(two, told), source_names([card] * 2)
    chosen = "projected" if sampler == "ancestral" else sampler  # what ``load_separator`` takes for unsaid
    weights = mixing_weights(None, card.weights, images=True, sources=2)
    scale = image_scale(weights)
    relative = tuple(scale * weight for weight in weights)
    channels = network.config.channels
    made = score_engine(joint, names, relative, device, chosen, options, channels=channels, bounds=UNIT)
    density = _density(two, told, made.sampler)
    return replace(made, weights=weights, scale=scale, batch=draws_at_once(network), density=density)


def open_card(name: str) -> tuple[Card, Path]:
    """The card and the verified folder of a prior of images, a name or a folder.

    Raises:
        PriorError: it is missing, damaged or not of images.
    """
    card, folder = resolve.find(name)
    if (card.engine, card.medium) != ("score", "image"):
        raise PriorError(
            f"prior {card.name} is not a score prior of images but of {card.engine}, {card.medium}",
            "choose another",
        )
    cards.verify(card, folder)
    return card, folder


def prepare(networks: Iterable[ImagePrior], options: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Do to the networks what ``NetworkSettings`` among the options say, and take those out.

    Returns:
        The settings by key, for records.

    Raises:
        UsageError: a value is neither 1 nor 0, or nothing can be compiled here.
    """
    keys = {f.name for f in fields(NetworkSettings)} & options.keys()
    chosen = NetworkSettings(**typed(NetworkSettings, {key: options.pop(key) for key in keys}))
    if chosen.compile:
        compile_networks(networks, device)
    return vars(chosen)


def draws_at_once(network: ImagePrior) -> int:
    """How many draws fit into memory; other people's networks work at full size, with many channels.

    A flow's score is a gradient, for which everything on the way is kept.
    """
    if not isinstance(network, DiffusionUnetPrior | GlowPrior):
        return BATCH
    return max(1, min(BATCH, PIXELS // math.prod(network.config.size)))


def _joint(networks: Sequence[ImagePrior], labels: Sequence[int | None]) -> IndependentPriors:
    if len(labels) != len(networks):
        raise UsageError(f"{len(labels)} classes for {len(networks)} sources", "give one per source")
    for network, label in zip(networks, labels, strict=True):
        if label is not None and not 0 <= label < len(network.config.classes):
            raise UsageError(f"the prior has no class {label}", "use a prior that was trained with --classes")
    made: dict[tuple[int, int | None], ClassPrior] = {}
    pairs = zip(networks, labels, strict=True)
    return IndependentPriors(
        [made.setdefault((id(n), label), ClassPrior(n, label, fast=True)) for n, label in pairs]
    )


def _density(
    networks: Sequence[ImagePrior], labels: Sequence[int | None], sampler: Sampler
) -> IndependentDensities | None:
    """p of the sources under the noise that the sampler leaves in them; None unless all are densities."""
    flows = [network for network in networks if isinstance(network, GlowPrior)]
    left = float(getattr(sampler, "sigma_min", 0.0))
    each = [ClassPrior(flow, label) for flow, label in zip(flows, labels, strict=False)]
    noisy = getattr(sampler, "noise_left", 0.0) > 0.0
    return IndependentDensities(each, left, noisy) if len(flows) == len(networks) else None
