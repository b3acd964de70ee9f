"""A network of the package diffusers, in a folder or in memory, as a prior of images.

The package is an optional extra; it is imported here, inside the functions.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog.card import HUB
from sepcli.catalog.diffusers_layout import OTHER, Parts, image_size, parts_in, read_json
from sepcli.catalog.resolve import find
from sepcli.errors import PriorError, UsageError
from sepcli.priors.images.diffusers import DiffusionUnetConfig, DiffusionUnetPrior
from sepcli.priors.images.independent import ClassPrior

SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
"""The part of a scheduler's config that is the noise of training."""
LONGEST = 100_000
"""Timesteps."""


def load_unet(folder: Path) -> DiffusionUnetPrior:
    """Return the prior of a folder with a network of diffusers, float32 on the CPU.

    Raises:
        PriorError: the package is not installed, or the files are damaged or of no use.
    """
    parts, config = _parts_of(folder)
    scheduler = None if parts.scheduler is None else read_json(folder / parts.scheduler)
    with _quiet():
        return prior_of(_load(folder / parts.weights), config, scheduler)


def diffusers_prior(model: Any, label: int | None = None) -> ClassPrior:
    """Make a prior of images in [0, 1] of a diffusion model; see ``sepcli.from_diffusers``.

    Raises:
        UsageError: the label is not one of the network's classes.
        PriorError: the package diffusers is missing, or the files are damaged, not fetched or of another
            kind.
    """
    if isinstance(model, str | os.PathLike):
        name = os.fspath(model)
        reference = name if os.path.isdir(name) or name.startswith(HUB) else f"{HUB}{name}"
        prior = load_unet(find(reference)[1])
    else:
        prior = prior_of(model, dict(model.config), None)
    classes = len(prior.config.classes)
    if label is not None and not 0 <= label < classes:
        raise UsageError(
            f"label {label} is none of {classes} classes", "use a label from 0", argument="label"
        )
    return ClassPrior(prior.requires_grad_(False), label, fast=True)


def prior_of(unet: Any, config: Mapping[str, Any], scheduler: Mapping[str, Any] | None) -> DiffusionUnetPrior:
    """Make the prior of a ``UNet2DModel`` in memory, float32.

    Its noise is that of the config of a scheduler; None: the library's defaults.

    Raises:
        PriorError: network and scheduler do not fit each other, or one of them is of another kind.
    """
    with _quiet():
        prediction, sigmas = _noise_levels(scheduler, config)
    prior_config = DiffusionUnetConfig(
        channels=unet.config.in_channels,
        size=image_size(config),
        sigmas=sigmas,
        prediction=prediction,
        multiple=2 ** (len(unet.config.block_out_channels) - 1),
        classes=tuple(map(str, range(unet.config.num_class_embeds or 0))),
    )
    return DiffusionUnetPrior(prior_config, unet.float()).eval()


def unet_images(folder: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return channels, height and width of a network's images and the names of its classes, from its config.

    Raises:
        PriorError: the config is missing or damaged.
    """
    _, config = _parts_of(folder)
    classes = tuple(map(str, range(config.get("num_class_embeds") or 0)))
    return (config.get("in_channels", 3), *image_size(config)), classes


def expected_shapes(folder: Path, config: str) -> dict[str, torch.Size]:
    """Return names and shapes of the tensors of a network in a folder, by the library's newest names.

    Raises:
        PriorError: the package is not installed, or cannot make a network of the config.
    """
    network, settings = _network_class(folder), read_json(folder / config)
    try:
        with _quiet(), torch.device("meta"):  # no memory: a config may ask for any width
            return {n: t.shape for n, t in network.from_config(dict(settings)).state_dict().items()}
    except Exception as error:  # whatever the library makes of a damaged config
        raise PriorError(f"{folder / config} describes no network of diffusers", OTHER) from error


def _parts_of(folder: Path) -> tuple[Parts, Mapping[str, Any]]:
    """Return the files of a network, and its config."""
    parts = parts_in(folder)
    if parts is None:
        raise PriorError(f"the folder {folder} holds no network of diffusers", OTHER)
    return parts, read_json(folder / parts.config)


def _network_class(folder: Path) -> Any:
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise PriorError(
            f"the prior in {folder} needs the package diffusers", "pip install 'sepcli[diffusers]'"
        ) from error
    return UNet2DModel


def _load(weights: Path) -> Any:
    """Load the network of the library, which converts older names of weights; its config is beside them."""
    network = _network_class(weights.parent)
    wrong = PriorError(f"{weights} does not fit its config", "fetch or save the network again")
    try:
        unet, report = network.from_pretrained(
            str(weights.parent),
            use_safetensors=True,
            low_cpu_mem_usage=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever the library makes of a damaged file
        raise wrong from error
    if report["missing_keys"] or report["unexpected_keys"]:
        raise wrong
    return unet


def _noise_levels(
    scheduler: Mapping[str, Any] | None, config: Mapping[str, Any]
) -> tuple[str, tuple[float, ...]]:
    """Return what the network predicts, and its noise levels; see ``prior_of``."""
    embedding = config.get("time_embedding_type", "positional")
    default = "ScoreSdeVeScheduler" if embedding == "fourier" else "DDPMScheduler"
    settings = {"_class_name": default} if scheduler is None else scheduler
    kind = str(settings.get("_class_name"))
    exploding = kind == "ScoreSdeVeScheduler"
    if embedding != ("fourier" if exploding else "positional"):
        raise PriorError(f"a network with {embedding} timesteps does not fit the scheduler {kind}", OTHER)
    try:
        if exploding:
            return "score", (float(settings.get("sigma_min", 0.01)), float(settings.get("sigma_max", 1348.0)))
        if not (kind.startswith(("DDPM", "DDIM")) or {"beta_start", "trained_betas"} & settings.keys()):
            raise PriorError(f"the scheduler {kind} is not one of DDPM or of variance exploding", OTHER)
        prediction = str(settings.get("prediction_type", "epsilon"))
        if prediction == "score":
            raise ValueError("prediction_type")
        return prediction, _ddpm_levels(settings)
    except (TypeError, ValueError, IndexError, NotImplementedError, RuntimeError) as error:
        raise PriorError(f"the config of the scheduler {kind} is damaged: {error}", OTHER) from error


def _ddpm_levels(settings: Mapping[str, Any]) -> tuple[float, ...]:
    """√((1-ᾱ_t)/ᾱ_t) for all t, of the library's β_t; summed up in float64, for 1-ᾱ_0 is small."""
    from diffusers import DDPMScheduler

    if int(settings.get("num_train_timesteps", 1000)) > LONGEST:
        raise ValueError(f"more than {LONGEST} timesteps")
    ddpm = DDPMScheduler(**{key: settings[key] for key in SCHEDULE if key in settings})
    kept = (1.0 - ddpm.betas.double()).cumprod(0)
    sigmas = ((1.0 - kept) / kept).sqrt()
    return tuple(sigmas.tolist()[: -1 if sigmas[-1].isinf() else None])  # so it is with zero terminal SNR


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's log and warnings, which concern its settings."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)
