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
from sepcli.datasets.image_splits import has_mirrored, open_data, to_float_images
from sepcli.priors.images.flow import FlowPrior, negative_log_likelihood
from sepcli.priors.images.independent import Trainable
from sepcli.priors.images.options import ImageOptions
from sepcli.priors.noise import device_of
from sepcli.protocols import ProgressCallback
from sepcli.training.config import TrainConfig
from sepcli.training.run import OnMessage
from sepcli.training.task import Batch

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
    "tarflow": {
        "tiny": {"width": 8, "depths": (1, 1), "heads": 2, "embedding": 8},
        "small": {"width": 128, "depths": (4, 2)},
        "base": {"width": 512, "depths": (8, 8, 8, 8), "heads": 8, "embedding": 128},
    },
}
"""Family → its sizes: ``small`` for an hour on two CPU cores (denoiser: 3 M parameters), ``base`` for a GPU,
``tiny`` for tests. Those of ``base`` are the papers' for ncsn of digits, and for glow but for the number of
scales, which is that of the images."""


@dataclass(frozen=True)
class ImageData:
    """Images for training and for validation; with ``flip`` also mirror images, left to right, are used."""

    train: LabelledImages
    held_out: LabelledImages
    flip: bool = False


@dataclass(frozen=True)
class ImageTask:
    """Denoising score matching, or likelihood, of images; fulfils ``sepcli.training.task.Task``."""

    model: Trainable
    evaluated: Trainable
    data: ImageData
    batch: int

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample images and the random numbers of their loss; see the network's ``prepare``."""
        train = self.data.train
        chosen = rng.integers(0, len(train.images), self.batch)
        images = to_float_images(train.images[chosen])
        if self.data.flip:
            mirrored = torch.from_numpy(rng.random(self.batch) < 0.5)[:, None, None, None]
            images = torch.where(mirrored, images.flip(-1), images)
        labels = torch.from_numpy(train.labels[chosen]) if self.model.config.classes else None
        return self.model.prepare(images, rng, labels)

    def loss(self, *batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of images, and its figures."""
        return self.model.batch_loss(*batch)

    def validate(self) -> dict[str, float]:
        """Return the loss on held-out images, with the same noise every time."""
        rng, held_out = np.random.default_rng(0), self.data.held_out
        total: dict[str, float] = {}
        for start in range(0, len(held_out.images), self.batch):
            part = held_out.only(slice(start, start + self.batch))
            loss, figures = _loss(self.evaluated, to_float_images(part.images), part.labels, rng)
            share = len(part.images) / len(held_out.images)
            for key, value in {"loss": float(loss), **figures}.items():
                total[key] = total.get(key, 0.0) + share * value
        return total


def open_images(
    options: ImageOptions,
    config: TrainConfig,
    classes: tuple[str, ...],
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> ImageData:
    """Open the images of a prior's training, labelled with its classes."""
    train, held_out = open_data(
        config.data,
        classes,
        size=options.size,
        channels=options.channels,
        cache=config.cache,
        on_progress=on_progress,
        on_message=on_message,
    )
    return ImageData(train, held_out, has_mirrored(train, options.flip))


def _loss(
    prior: Trainable, images: Tensor, labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    device = device_of(prior)
    classes = torch.from_numpy(labels).to(device) if prior.config.classes else None
    return prior.loss(images.to(device), rng, classes)


def data_facts(prior: Trainable, data: ImageData) -> dict[str, Any]:
    """Return what a card says of the data, and of a density its bits per dimension on held-out images."""
    facts = {"images": len(data.train.images), "classes": list(prior.config.classes), "flip": data.flip}
    if not isinstance(prior, FlowPrior):
        return facts
    bits = negative_log_likelihood(prior, to_float_images(data.held_out.images)).mean()
    return {**facts, "bits_per_dim": round(float(bits), 4)}
