"""What trains a denoiser, a score network or a flow: random images, and the running mean of its weights.

The mean is what validates and what is kept in the end.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from sepcli.datasets.image_folder import LabelledImages
from sepcli.priors.images.denoiser import DenoiserPrior
from sepcli.priors.images.glow import GlowPrior
from sepcli.priors.images.ncsn import NcsnPrior
from sepcli.training.loop import write_tensors

DENOISER_PRESETS: Mapping[str, Mapping[str, object]] = {
    "tiny": {"widths": (16, 24), "blocks": 1, "embedding": 32},
    "small": {"widths": (96, 160), "blocks": 2, "embedding": 128},
    "base": {"widths": (128, 256, 256), "blocks": 3, "attention": 2, "embedding": 512, "fold": 1},
}
"""Sizes: ``small`` for an hour on two CPU cores (3 M parameters), ``base`` for a GPU, ``tiny`` for tests."""
NCSN_PRESETS: Mapping[str, Mapping[str, object]] = {
    "tiny": {"width": 8},
    "small": {"width": 32},
    "base": {"width": 64},
}
"""Sizes of score networks: ``base`` is the paper's for digits."""
GLOW_PRESETS: Mapping[str, Mapping[str, object]] = {
    "tiny": {"steps": 2, "width": 8, "embedding": 8},
    "small": {"steps": 16, "width": 64},
    "base": {"steps": 32, "width": 512, "embedding": 64},
}
"""Sizes of flows: ``base`` is Glow's, but that the number of scales is that of the images."""

Network = TypeVar("Network", bound=nn.Module)
Trainable = DenoiserPrior | NcsnPrior | GlowPrior
"""Priors of images that are trained here."""

HALVES = ("0-4", "5-9")
"""The two classes of the class-split protocol."""
POWER = 16.97
"""Exponent of the running mean; it spans about the last 5 % of a run of any length (Karras et al. 2024)."""


class Averaged(nn.Module, Generic[Network]):
    """A network and the running mean of its weights, θ̄_n = β θ̄_{n-1} + (1 - β) θ_n with β = (1 -
    1/n)^{γ+1}.

    Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
        equation 9.
    """

    steps: Tensor

    def __init__(self, live: Network) -> None:
        super().__init__()
        self.live = live
        self.mean = copy.deepcopy(live).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they now are into the mean."""
        self.steps += 1
        keep = (1.0 - 1.0 / int(self.steps)) ** (POWER + 1.0)
        for mean, live in zip(self.mean.parameters(), self.live.parameters(), strict=True):
            mean.lerp_(live, 1.0 - keep)


@dataclass(frozen=True)
class DenoiserTask:
    """Denoising score matching, or likelihood, of images; fulfils ``sepcli.training.loop.Task``.

    Attributes:
        model: the network and its mean.
        train: images to learn from.
        held_out: images to validate on.
        batch: images per step.
        flip: whether to learn from the mirror images, left to right, as well.
    """

    model: Averaged[Trainable]
    train: LabelledImages
    held_out: LabelledImages
    batch: int
    flip: bool = False

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of a random batch; the mean takes in the weights of the step before."""
        self.model.update()
        chosen = rng.integers(0, len(self.train.images), self.batch)
        images = to_float_images(self.train.images[chosen])
        if self.flip:
            mirrored = torch.from_numpy(rng.random(self.batch) < 0.5)[:, None, None, None]
            images = torch.where(mirrored, images.flip(-1), images)
        return self._loss(self.model.live, images, self.train.labels[chosen], rng)

    def validate(self) -> dict[str, float]:
        """The loss of the mean weights on held-out images, with the same noise every time."""
        rng = np.random.default_rng(0)
        total: dict[str, float] = {}
        parts = range(0, len(self.held_out.images), self.batch)
        for start in parts:
            part = self.held_out.only(slice(start, start + self.batch))
            loss, figures = self._loss(self.model.mean, to_float_images(part.images), part.labels, rng)
            share = len(part.images) / len(self.held_out.images)
            for key, value in {"score": float(loss), **figures}.items():
                total[key] = total.get(key, 0.0) + share * value
        return total

    def _loss(
        self, prior: Trainable, images: Tensor, labels: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        device = self.model.steps.device
        told = torch.from_numpy(labels).to(device) if prior.config.classes else None
        return prior.loss(images.to(device), rng, told)


def to_float_images(images: NDArray[np.uint8]) -> Tensor:
    """Bytes (N, C, H, W), or gray ones (N, H, W), to images (N, C, H, W), float32 in [0, 1]."""
    rows = images[:, None] if images.ndim == 3 else images
    return torch.from_numpy(np.array(rows)).float() / 255.0  # a copy: torch wants memory it may write to


def keep_ema(path: Path) -> None:
    """Rewrite the weights of an ``Averaged`` as those of the prior: the mean alone, under its own names."""
    tensors = load_file(path)
    mean = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("mean.")}
    if mean:
        write_tensors(path, mean)
