"""Training task of a denoiser, a score network or a flow of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import open_data, to_float_images
from sepcli.priors.images.glow import GlowPrior, negative_log_likelihood
from sepcli.priors.images.independent import Trainable
from sepcli.priors.images.options import ImageOptions
from sepcli.priors.noise import device_of
from sepcli.protocols import ProgressCallback
from sepcli.training.config import TrainConfig
from sepcli.training.run import OnMessage

PRESETS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "denoiser": {
        "tiny": {"widths": (16, 24), "blocks": 1, "embedding": 32},
        "small": {"widths": (96, 160), "blocks": 2, "embedding": 128},
        "base": {"widths": (128, 256, 256), "blocks": 3, "attention": 2, "embedding": 512, "fold": 1},
    },
    "ncsn": {"tiny": {"width": 8}, "small": {"width": 32}, "base": {"width": 64}},
    "glow": {
        "tiny": {"steps": 2, "width": 8, "embedding": 8},
        "small": {"steps": 16, "width": 64},
        "base": {"steps": 32, "width": 512, "embedding": 64},
    },
}
"""Family → its sizes: ``small`` for an hour on two CPU cores (denoiser: 3 M parameters), ``base`` for a GPU,
``tiny`` for tests. Those of ``base`` are the papers' for ncsn of digits, and for glow but for the number of
scales, which is that of the images."""


@dataclass(frozen=True)
class ImageTask:
    """Denoising score matching, or likelihood, of images; fulfils ``sepcli.training.loop.Task``.

    With ``flip`` it trains on mirror images, left to right, as well.
    """

    model: Trainable
    evaluated: Trainable
    train: LabelledImages
    held_out: LabelledImages
    batch: int
    flip: bool = False

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of a random batch, and its figures."""
        chosen = rng.integers(0, len(self.train.images), self.batch)
        images = to_float_images(self.train.images[chosen])
        if self.flip:
            mirrored = torch.from_numpy(rng.random(self.batch) < 0.5)[:, None, None, None]
            images = torch.where(mirrored, images.flip(-1), images)
        return _loss(self.model, images, self.train.labels[chosen], rng)

    def validate(self) -> dict[str, float]:
        """Return the loss on held-out images, with the same noise every time."""
        rng = np.random.default_rng(0)
        total: dict[str, float] = {}
        for start in range(0, len(self.held_out.images), self.batch):
            part = self.held_out.only(slice(start, start + self.batch))
            loss, figures = _loss(self.evaluated, to_float_images(part.images), part.labels, rng)
            share = len(part.images) / len(self.held_out.images)
            for key, value in {"loss": float(loss), **figures}.items():
                total[key] = total.get(key, 0.0) + share * value
        return total


def open_images(
    options: ImageOptions,
    config: TrainConfig,
    classes: tuple[str, ...],
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> tuple[LabelledImages, LabelledImages]:
    """Return training images and held-out ones, labelled with the classes."""
    return open_data(
        config.data,
        classes,
        size=options.size,
        channels=options.channels,
        cache=config.cache,
        on_progress=on_progress,
        on_message=on_message,
    )


def _loss(
    prior: Trainable, images: Tensor, labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    device = device_of(prior)
    classes = torch.from_numpy(labels).to(device) if prior.config.classes else None
    return prior.loss(images.to(device), rng, classes)


def data_facts(
    prior: Trainable, train: LabelledImages, held_out: LabelledImages, flip: bool
) -> dict[str, Any]:
    """Return what a card says of the data, and of a density its bits per dimension on held-out images."""
    facts = {"images": len(train.images), "classes": list(prior.config.classes), "flip": flip}
    if not isinstance(prior, GlowPrior):
        return facts
    bits = negative_log_likelihood(prior, to_float_images(held_out.images)).mean()
    return {**facts, "bits_per_dim": round(float(bits), 4)}
