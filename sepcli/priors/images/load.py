"""Score priors of images → the engine: one prior for all sources, or one per source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sepcli.catalog import diffusers_layout as diffusers
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.network import compile_networks, load_network, read_config
from sepcli.errors import PriorError, UsageError
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.flow import FlowPrior
from sepcli.priors.images.glow import GlowConfig, glow_prior
from sepcli.priors.images.image_tarflow import TarFlowConfig, tarflow_prior
from sepcli.priors.images.independent import ClassPrior, ImagePrior, Trainable
from sepcli.priors.images.load_diffusers import load_unet, unet_images
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.priors.selection import Selection
from sepcli.protocols import Sampler
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.independent import IndependentDensities, IndependentPriors
from sepcli.separation.weights import image_scale
from sepcli.settings import take

UNIT = (0.0, 1.0)
"""The range of images' values."""
LEAST, MOST = 0.01, 20.0
"""Noise levels between which images in [0, 1] are sampled: below the first, less than three of 255 values
are undecided; above the second, everything is."""
BATCH = 64
"""Samples computed at once."""
PIXELS = 2 * 256 * 256
"""Pixels of the samples computed at once by a network of diffusers or a flow: gigabytes of 128 channels."""


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of how the networks run.

    Attributes:
        compile: whether they are compiled first, which takes up to a minute and makes each evaluation faster.
    """

    compile: bool = False


Pairs = Sequence[tuple[ImagePrior, int | None]]
"""The network and the class of every source."""
NETWORKS: Mapping[str, Callable[[dict[str, Any]], Trainable]] = {
    "denoiser": lambda config: DenoiserPrior(DenoiserConfig(**config)),
    "ncsn": lambda config: NcsnPrior(NcsnConfig(**config)),
    "glow": lambda config: glow_prior(GlowConfig(**config)),
    "tarflow": lambda config: tarflow_prior(TarFlowConfig(**config)),
}
"""Part of a prior's folder → its network, of the fields of its config."""


def load_image_prior(folder: Files) -> ImagePrior:
    """Return the network of a prior's folder, whichever it holds, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    part = next((name for name in NETWORKS if (folder / name).is_dir()), "denoiser")
    if not (folder / part).is_dir() and diffusers.parts_in(folder):
        return load_unet(folder).requires_grad_(False)
    return load_network(NETWORKS[part], folder / part).requires_grad_(False)


def image_engine(selection: Selection, device: torch.device) -> ScoreEngine:
    """Make the engine of score priors of images.

    Raises:
        PriorError: a prior is damaged.
        UsageError: priors of grayscale and of color images; an unknown sampler, setting or class.
    """
    networks = selection.networks(lambda _, folder: load_image_prior(folder).to(device))
    if len({network.config.channels for network in networks}) > 1:
        raise UsageError(
            "priors of grayscale and of color images do not mix",
            "choose priors of one kind",
            argument="priors",
        )
    options = {**_defaults(selection, networks), **selection.options()}
    pairs = list(zip(networks, selection.labels or (None,) * len(networks), strict=True))
    compiled = prepare(dict.fromkeys(networks), options, device)
    engine = score_engine(
        _joint(pairs),
        selection.names,
        selection.weights,
        device,
        "projected" if selection.default_sampler is None else selection.default_sampler,
        options,
        channels=networks[0].config.channels,
        bounds=UNIT,
        scale=image_scale(selection.weights),
    )
    return replace(
        engine,
        batch=min(map(samples_at_once, networks)),
        density=_density(pairs, engine.sampler),
        likelihood={**engine.likelihood, **compiled},
    )


def describe_images(card: Card, folder: Files) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return channels, height and width of a prior's images and its classes, without loading weights.

    Raises:
        PriorError: a config is missing or damaged.
    """
    part = next((name for name in NETWORKS if (folder / name).is_dir()), None)
    if part is None:
        return unet_images(folder)
    config = read_config(folder / part)
    try:
        height, width = (int(side) for side in config["size"])
        return (int(config["channels"]), height, width), tuple(map(str, config["classes"]))
    except (LookupError, TypeError, ValueError) as error:
        raise PriorError(
            f"the config of prior {card.name} does not describe its images", "fetch or train the prior again"
        ) from error


def prepare(networks: Iterable[ImagePrior], options: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Do to the networks what ``NetworkSettings`` among the options say; take those out, and return them.

    Raises:
        UsageError: a value is neither 1 nor 0, or nothing can be compiled here.
    """
    chosen = take(NetworkSettings, options)
    if chosen.compile:
        compile_networks(networks, device)
    return vars(chosen)


def samples_at_once(network: ImagePrior) -> int:
    """Return how many samples fit into memory; networks of diffusers have many channels at full size.

    A flow's score is a gradient, for which everything on the way is kept.
    """
    if not isinstance(network, DiffusionUnetPrior | FlowPrior):
        return BATCH
    return max(1, min(BATCH, PIXELS // math.prod(network.config.size)))


def _defaults(selection: Selection, networks: Sequence[ImagePrior]) -> dict[str, Any]:
    """Return the defaults of a preset with a sampler: the noise of the training, and weights by variance."""
    if selection.sampler is not None or selection.preset.sampler is None:
        return {}
    weigh = int(all(network.has_variance for network in networks))
    return {**trained_range(networks), "rho": 7.0, "weigh": weigh}


def trained_range(networks: Iterable[ImagePrior]) -> dict[str, float]:
    """Return ``sigma_max`` and ``sigma_min`` within the noise that all networks were trained on.

    Of denoisers, whose ln σ is normal, they are two standard deviations away from the mean.
    """
    ranges = []
    for network in networks:
        if isinstance(network, DenoiserPrior):
            config = network.config
            ends = (config.p_mean - 2.0 * config.p_std, config.p_mean + 2.0 * config.p_std)
            ranges.append((math.exp(ends[0]), math.exp(ends[1])))
        else:
            ranges.append((float(network.sigma_min), float(network.sigma_max)))
    return {
        "sigma_min": round(max(LEAST, *(low for low, _ in ranges)), 4),
        "sigma_max": round(min(MOST, *(high for _, high in ranges)), 3),
    }


def _joint(pairs: Pairs) -> IndependentPriors:
    for network, label in pairs:
        if label is not None and not 0 <= label < len(network.config.classes):
            raise UsageError(
                f"the prior has no class {label}",
                "use a prior that was trained with classes",
                argument="labels",
            )
    priors = {pair: ClassPrior(*pair, fast=True) for pair in pairs}
    return IndependentPriors([priors[pair] for pair in pairs])


def _density(pairs: Pairs, sampler: Sampler) -> IndependentDensities | None:
    """Return p of the sources under the noise that the sampler leaves; None unless all are densities."""
    if not all(isinstance(network, FlowPrior) for network, _ in pairs):
        return None
    left, noisy = float(getattr(sampler, "sigma_min", 0.0)), getattr(sampler, "noise_left", 0.0) > 0.0
    return IndependentDensities([ClassPrior(*pair) for pair in pairs], left, noisy)
