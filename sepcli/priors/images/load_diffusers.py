"""A network of the package diffusers, in a folder or in memory, as a prior of images.

The package is an optional extra; it is imported here, inside the functions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from sepcli.catalog.bounded import Files
from sepcli.catalog.card import HUB
from sepcli.catalog.diffusers_layout import OTHER, Parts, check_sizes, image_size, parts_in, read_json
from sepcli.catalog.resolve import find
from sepcli.catalog.storage import read_tensors
from sepcli.catalog.verified import verified
from sepcli.errors import PriorError, UsageError
from sepcli.priors.images.diffusers import DiffusionUnetConfig, DiffusionUnetPrior
from sepcli.priors.images.independent import ClassPrior
from sepcli.priors.library import load_class, quiet

SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
"""The part of a scheduler's config that is the noise of training."""
LIBRARY = "diffusers"
LONGEST = 100_000
"""Timesteps."""
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Attention layers before diffusers 0.13 → now."""
FREQUENCIES = ("time_proj.W", "time_proj.weight")
"""One tensor under two names in the first variance-exploding networks; only the second is still used."""


def load_unet(folder: Files) -> DiffusionUnetPrior:
    """Return the prior of a folder with a network of diffusers, float32 on the CPU.

    The library gets tensors and config, no path: it would read other files beside them, such as an index.

    Raises:
        PriorError: the package is not installed, or the files are damaged or of no use.
    """
    parts, config = _parts_of(folder)
    scheduler = None if parts.scheduler is None else read_json(folder / parts.scheduler)
    with quiet(LIBRARY):
        return prior_of(_load([folder / name for name in parts.weights], config), config, scheduler)


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
        prior = load_unet(verified(*find(reference)))
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
    with quiet(LIBRARY):
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


def unet_images(folder: Files) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return channels, height and width of a network's images and the names of its classes, from its config.

    Raises:
        PriorError: the config is missing or damaged.
    """
    _, config = _parts_of(folder)
    classes = tuple(map(str, range(config.get("num_class_embeds") or 0)))
    return (config.get("in_channels", 3), *image_size(config)), classes


def expected_shapes(config: Mapping[str, Any], path: object) -> dict[str, torch.Size]:
    """Return names and shapes of the tensors of a network, by the library's newest names, without its memory.

    Args:
        config: of the network.
        path: of the config, for messages.

    Raises:
        PriorError: the package is not installed, or cannot make a network of the config.
    """
    check_sizes(config, str(path))
    network = _network_class(path)
    try:
        with quiet(LIBRARY), torch.device("meta"):  # no memory: a config may ask for any width
            return {n: t.shape for n, t in network.from_config(dict(config)).state_dict().items()}
    except Exception as error:  # whatever the library makes of a damaged config
        raise PriorError(f"{path} describes no network of diffusers", OTHER) from error


def renamed(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Rename tensors to the library's newest names.

    Args:
        tensors: of a checkpoint.
        expected: names and shapes of the network's.
    """
    named = {_newest(name, tensors, expected): tensor for name, tensor in tensors.items()}
    before, now = FREQUENCIES
    if before in named and now in expected:
        twice = now in named and _same(named[before], named[now])
        if twice or now not in named:
            named[now] = named.pop(before)
    return named


def _newest(name: str, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> str:
    components = name.split(".")
    new = ".".join([*components[:-2], *(OLD.get(part, part) for part in components[-2:])])
    return new if new in expected and new not in tensors else name


def _same(first: Tensor, second: Tensor) -> bool:
    plain = first.layout == second.layout == torch.strided and first.device == second.device
    return plain and first.dtype == second.dtype and torch.equal(first, second)


def _parts_of(folder: Files) -> tuple[Parts, Mapping[str, Any]]:
    """Return the files of a network, and its config."""
    parts = parts_in(folder)
    if parts is None:
        raise PriorError(f"the folder {folder} holds no network of diffusers", OTHER)
    config = read_json(folder / parts.config)
    check_sizes(config, folder.name)
    return parts, config


def _network_class(path: object) -> Any:
    return load_class(LIBRARY, "UNet2DModel", "diffusers", f"the prior in {path}")


def _load(weights: Sequence[Files], config: Mapping[str, Any]) -> Any:
    """Return the network of the library with the weights of all shards, which may have older names."""
    wrong = PriorError(f"{weights[0]} does not fit its config", "fetch or save the network again")
    expected = expected_shapes(config, weights[0])
    try:
        shards = [read_tensors(file)[0] for file in weights]
        tensors = renamed({name: tensor for shard in shards for name, tensor in shard.items()}, expected)
    except (OSError, ValueError, SafetensorError) as error:
        raise wrong from error
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise wrong
    unet = _network_class(weights[0]).from_config(dict(config))
    unet.load_state_dict(tensors)
    return unet.eval()


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
