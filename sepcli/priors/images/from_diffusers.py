"""A diffusion model of the package diffusers, fetched, in a folder or in memory, as a prior of one source."""

from __future__ import annotations

import os
from typing import Any

from sepcli.catalog.card import HUB
from sepcli.catalog.resolve import find
from sepcli.errors import UsageError
from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.independent import ClassPrior
from sepcli.priors.images.load_diffusers import load_unet, prior_of


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
        prior: DiffusionUnetPrior = load_unet(find(reference)[1])
    else:
        prior = prior_of(model, dict(model.config), None)
    classes = len(prior.config.classes)
    if label is not None and not 0 <= label < classes:
        raise UsageError(
            f"label {label} is none of {classes} classes", "use a label from 0", argument="label"
        )
    return ClassPrior(prior.requires_grad_(False), label, fast=True)
