"""Training of a prior of images: data, network and card of a denoiser, a score network or a flow."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import measure, named_classes, to_float_images
from sepcli.errors import InputError, UsageError
from sepcli.priors.images.denoiser import DenoiserConfig
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.finetune_glow import check_finetune, finetune
from sepcli.priors.images.flow import FlowPrior
from sepcli.priors.images.from_mixtures import unmixed
from sepcli.priors.images.glow import GlowConfig
from sepcli.priors.images.image_tarflow import TarFlowConfig
from sepcli.priors.images.independent import Trainable
from sepcli.priors.images.load import NETWORKS, load_image_prior
from sepcli.priors.images.ncsn import NcsnConfig
from sepcli.priors.images.options import DenoiserOptions, GlowOptions, ImageOptions, TarFlowOptions
from sepcli.priors.images.train_task import PRESETS, ImageData, ImageTask, data_facts, open_images
from sepcli.priors.start import start_from
from sepcli.protocols import ProgressCallback
from sepcli.training.checkpoints import Progress
from sepcli.training.config import TrainConfig
from sepcli.training.previews import SHEET, save_sheet
from sepcli.training.run import OnMessage, Recipe, Setup, Stage

Config = DenoiserConfig | NcsnConfig | GlowConfig | TarFlowConfig

LANGEVIN = ("ncsn", "glow", "tarflow")
"""Families that are trained on the noise of Langevin dynamics only, their sampler by default."""
EXAMPLES = 256
"""Images on which a flow starts with unit variance."""
TEMPERATURE = 0.7
"""Standard deviation of the latents of previews, as in Glow's paper: at 1 few images are like the data."""
MIN_SIDE = 4
"""Least side of an image after squeezing."""
MAX_SCALES = 4
"""Greatest number of scales chosen by ``fitting_scales``."""
ROWS, COLUMNS = 4, 8
"""Size of the preview, in images."""
NOISE = {1: (-1.2, 1.4), 3: (-0.8, 1.7)}
"""Channels → mean and standard deviation of ln σ in a denoiser's training.

Colorization starts at σ = 20 or above, for noise of σ is noise of σ/√n in the mean color of n pixels: ln 0.01
and ln 20 are 2.2 standard deviations to either side of -0.8, and two thirds of all levels are between 0.1 and
3, where contents are decided.
"""


def recipe(options: ImageOptions, config: TrainConfig) -> Recipe:
    """Decide how a prior of images is trained.

    Raises:
        UsageError: several sources, or options that are not for these data.
        InputError: the data are not images.
    """
    sources = source_names(config)
    if isinstance(options, GlowOptions) and options.finetune_noise:
        check_finetune(options, config)
        return Recipe(
            config.family, sources, asdict(options), partial(finetune, options, config), in_place=True
        )
    classes = named_classes(config.data, options.classes)
    opened = partial(_open, options, replace(config, sources=sources), classes)
    return Recipe(config.family, sources, {**asdict(options), "classes": classes}, opened)


def source_names(config: TrainConfig) -> tuple[str, ...]:
    """Return the one name of what the images show: by default digit, or the name of the folder.

    Raises:
        UsageError: several names.
        InputError: the data are not images.
    """
    if len(config.sources) > 1:
        raise UsageError(
            f"a {config.family} of images is a prior of one source, not of {','.join(config.sources)}",
            "name one source",
            argument="sources",
        )
    if config.sources:
        return config.sources
    return ("digit",) if kind_of(config.data) is Kind.DIGITS else (config.data.resolve().name or "image",)


def card_of(out: Path, family: str, source: str) -> cards.Card:
    """Return the card of a prior of images in ``out``, without parts and files."""
    return cards.Card(
        name=out.resolve().name,
        medium="image",
        engine="score",
        sources=(source,),
        settings={"score": {"sampler": "langevin"}} if family in LANGEVIN else {},
    )


def draw_images(flow: FlowPrior, seed: int, count: int = ROWS * COLUMNS) -> Tensor:
    """Sample clean images of any class (count, C, H, W) at ``TEMPERATURE``, on the CPU."""
    rng = torch.Generator().manual_seed(seed)
    # one by one, in the memory of one, for wide flows of large images
    return torch.cat([flow.sample(1, rng, temperature=TEMPERATURE).cpu() for _ in range(count)])


def fitting_scales(height: int, width: int) -> int:
    """Return how often images can be squeezed: while their sides are even and at least ``MIN_SIDE`` after it.

    Raises:
        InputError: The images cannot be squeezed once.
    """
    count = 0
    while count < MAX_SCALES and not (height % 2 or width % 2) and min(height, width) >= 2 * MIN_SIDE:
        height, width, count = height // 2, width // 2, count + 1
    if not count:
        raise InputError(
            f"images of {height} x {width} cannot be squeezed by a flow",
            f"resize them to even sides of {2 * MIN_SIDE} or more",
        )
    return count


def _open(
    options: ImageOptions,
    config: TrainConfig,
    classes: tuple[str, ...],
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    data, facts = open_images(options, config, classes, on_progress, on_message), dict[str, Any]()
    if isinstance(options, DenoiserOptions) and options.from_mixtures:
        data, facts = _unmixed(data, options, config, on_progress)
    network_config = _config(options, config, classes, data.train)

    def task(network: Trainable, evaluated: Trainable) -> ImageTask:
        return ImageTask(network, evaluated, data, config.batch)

    def finish() -> dict[str, Any]:
        prior = load_image_prior(config.out).to(config.device)
        assert not isinstance(prior, DiffusionUnetPrior)  # it is not trained here
        return {**data_facts(prior, data), **facts}

    def preview(_: Progress) -> None:
        if isinstance(prior := load_image_prior(config.out), FlowPrior):
            images = draw_images(prior.to(config.device), config.loop.seed)
            save_sheet(config.out / SHEET, images, columns=COLUMNS)

    return Setup(
        network_config,
        Stage(partial(_network, network_config, config, data.train), task),
        card_of(config.out, config.family, config.sources[0]),
        finish=finish,
        preview=preview,
    )


def _unmixed(
    data: ImageData, options: DenoiserOptions, config: TrainConfig, on_progress: ProgressCallback | None
) -> tuple[ImageData, dict[str, Any]]:
    """Return samples of the source in the data, which are mixtures, and what a card says of them.

    Raises:
        UsageError: the data have classes.
    """
    if options.classes != "none":
        raise UsageError(
            "mixtures have no classes", "leave out one of the two", argument="settings.from_mixtures"
        )
    train, held_out = unmixed(
        (data.train, data.held_out),
        options.from_mixtures,
        config.init,
        options.posterior_steps,
        config.loop.seed,
        config.device,
        on_progress,
    )
    other, _ = resolve.find(options.from_mixtures)
    return ImageData(train, held_out, data.flip), {"from_mixtures_with": other.name}


def _config(
    options: ImageOptions, config: TrainConfig, classes: tuple[str, ...], train: LabelledImages
) -> Config:
    channels, *size = train.images.shape[1:]
    fields: dict[str, Any] = {
        "channels": channels,
        "size": tuple(size),
        "classes": classes,
        "class_dropout": options.class_dropout,
        **PRESETS[config.family][config.preset],
    }
    if isinstance(options, GlowOptions):
        sigmas = (0.0,) if options.clean else ()
        return GlowConfig(**fields, scales=fitting_scales(*size), sigmas=sigmas, denoising=options.denoising)
    if isinstance(options, TarFlowOptions):
        return _patches({**fields, **_given(options), "denoising": options.denoising})
    if not isinstance(options, DenoiserOptions):
        return NcsnConfig(**fields)
    (mean, std), (p_mean, p_std) = measure(train), NOISE[channels]
    return DenoiserConfig(
        **fields,
        data_mean=mean,
        data_std=std or 1.0,
        p_mean=p_mean if options.noise_mean is None else options.noise_mean,
        p_std=p_std if options.noise_std is None else options.noise_std,
    )


def _given(options: TarFlowOptions) -> dict[str, int]:
    values = {"patch": options.patch, "width": options.width}
    return {name: value for name, value in values.items() if value is not None}


def _patches(fields: dict[str, Any]) -> TarFlowConfig:
    """Return the config of a flow of patches.

    Raises:
        InputError: no patches fit the images.
    """
    try:
        return TarFlowConfig(**fields)
    except ValueError as error:
        raise InputError(
            f"a flow of patches cannot be of these images: {error}", "set size or patch"
        ) from error


def _network(network_config: Config, config: TrainConfig, train: LabelledImages) -> Trainable:
    """Make a network with fresh weights, of a flow fitted to a few images, or with a prior's weights."""
    network = NETWORKS[config.family](vars(network_config))
    if isinstance(network, FlowPrior):
        rng = np.random.default_rng(config.loop.seed)
        chosen = rng.integers(0, len(train.images), EXAMPLES)
        network.initialize(to_float_images(train.images[chosen]), rng)
    if config.init is not None:
        start_from(network, config.init, config.family, load_image_prior)
    return network
