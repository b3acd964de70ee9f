"""Generative priors of clean sources. ``FAMILIES`` is the table of model families; this module imports no torch.

A family's room holds everything about it: network, loss, presets, loading, engine and training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """A row of ``FAMILIES``; callables are ``module:attribute``.

    Attributes:
        name: on the command line and in ``[parts.NAME] family`` of a card.
        medium: what it is a prior of.
        part: the folder, inside a prior's folder, that holds its network.
        presets: names of its sizes, the smallest first.
        options: the frozen dataclass of its training options; "" if it cannot be trained here.
        task: (options, config, data) → what ``sepcli.training.run`` trains.
        load: folder → network, float32 on the CPU.
        separator: selection of opened priors → engine; "" for parts that do not separate by themselves.
        summary: one line.
    """

    name: str
    medium: Literal["audio", "image", "both"]
    part: str
    summary: str
    presets: tuple[str, ...] = ("tiny", "small", "base")
    options: str = ""
    task: str = ""
    load: str = ""
    separator: str = ""


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("vqvae", "both", "codec", "codec of LASS: signals to tokens and back"),
        Family("transformer", "both", "transformer", "autoregressive prior over a codec's tokens"),
        Family("latent", "audio", "latent", "Gaussian likelihood of the mixture's latents (LASS)"),
        Family("context", "audio", "context", "likelihood of the mixture around a token (LASS)"),
        Family("denoiser", "both", "denoiser", "denoising score network, of images or of MDCT coefficients"),
        Family("ncsn", "image", "ncsn", "noise-conditional score network (Song & Ermon 2019)"),
        Family("glow", "image", "glow", "normalizing flow with log p(x)"),
        Family("flow", "audio", "flow", "normalizing flow of waveforms"),
        Family("variational", "audio", "encoders", "variational posteriors of mixtures"),
        Family("diffusers", "image", "unet", "diffusion model of the package diffusers", presets=()),
    )
}
"""Name → row."""


def resolve(reference: str) -> Any:
    """Import what a row names as ``module:attribute``."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
