"""What trains a denoiser: random pictures, and the running mean of the weights that is kept in the end."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sepcli.datasets.idx import Digits
from sepcli.priors.denoiser import DenoiserPrior

DENOISER_PRESETS: Mapping[str, Mapping[str, object]] = {
    "tiny": {"widths": (16, 24), "blocks": 1, "embedding": 32},
    "small": {"widths": (96, 160), "blocks": 2, "embedding": 128},
    "base": {"widths": (128, 256, 256), "blocks": 3, "attention": 2, "embedding": 512, "fold": 1},
}
"""Sizes: ``small`` for an hour on two CPU cores (3 M parameters), ``base`` for a GPU, ``tiny`` for tests."""

HALVES = ("0-4", "5-9")
"""The two classes of the class-split protocol."""
POWER = 16.97
"""Exponent of the running mean; it spans about the last 5 % of a run of any length (Karras et al. 2024)."""


class Averaged(nn.Module):
    """A network and the running mean of its weights, θ̄_n = β θ̄_{n-1} + (1 - β) θ_n with β = (1 -
    1/n)^{γ+1}.

    Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
        equation 9.
    """

    steps: Tensor

    def __init__(self, live: DenoiserPrior) -> None:
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
    """Denoising score matching on pictures; fulfils ``sepcli.training.loop.Task``.

    Attributes:
        model: the network and its mean.
        train: pictures to learn from.
        held_out: pictures to validate on.
        batch: pictures per step.
    """

    model: Averaged
    train: Digits
    held_out: Digits
    batch: int

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of a random batch; the mean takes in the weights of the step before."""
        self.model.update()
        chosen = rng.integers(0, len(self.train.images), self.batch)
        device = self.model.steps.device
        labels = labels_of(self.train.labels[chosen], self.model.live)
        images = as_pictures(self.train.images[chosen]).to(device)
        return self.model.live.loss(images, rng, None if labels is None else labels.to(device))

    def validate(self) -> dict[str, float]:
        """The loss of the mean weights on held-out pictures, with the same noise every time."""
        rng, device = np.random.default_rng(0), self.model.steps.device
        total: dict[str, float] = {}
        parts = range(0, len(self.held_out.images), self.batch)
        for start in parts:
            part = self.held_out.only(slice(start, start + self.batch))
            labels = labels_of(part.labels, self.model.live)
            images = as_pictures(part.images).to(device)
            loss, figures = self.model.mean.loss(images, rng, None if labels is None else labels.to(device))
            share = len(part.images) / len(self.held_out.images)
            for key, value in {"score": float(loss), **figures}.items():
                total[key] = total.get(key, 0.0) + share * value
        return total


def as_pictures(images: NDArray[np.uint8]) -> Tensor:
    """Bytes (N, H, W) to grey pictures (N, 1, H, W), float32 in [0, 1]."""
    return torch.from_numpy(images)[:, None].float() / 255.0


def labels_of(digits: NDArray[np.uint8], prior: DenoiserPrior) -> Tensor | None:
    """The classes (N,) of digits (N,) for a prior of the ten digits or the halves; None without classes."""
    classes = len(prior.config.classes)
    if not classes:
        return None
    labels = torch.from_numpy(digits.astype(np.int64))
    return torch.div(labels, 5, rounding_mode="floor") if classes == len(HALVES) else labels


def keep_mean(path: Path) -> None:
    """Rewrite the weights of an ``Averaged`` as those of the prior: the mean alone, under its own names."""
    tensors = load_file(path)
    mean = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("mean.")}
    if mean:
        part = path.with_name(f".{path.name}.part")
        save_file(mean, part)
        part.replace(path)
