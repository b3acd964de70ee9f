"""A noise-conditional score network of images: s_i(x) ≈ ∇ log p_σ(x) at noise levels σ = σ_i.

    σ_1 > … > σ_L, geometric
    loss = 1/L Σ_i σ_i² · ½ E‖s_i(x_0 + σ_i ε) + ε/σ_i‖² = 1/L Σ_i ½ E‖σ_i s_i(x_0 + σ_i ε) + ε‖²

The weights σ_i² balance the noise levels, because ‖s_i‖ is about 1/σ_i. Images are in [0, 1]; the input of
the network is 2x - 1, its output the score in the units of x. With classes, every pair of class and noise
level has a row in the normalizations; the last class is the unknown class. Without classes the
architecture is the one that the authors released.

Source: Song & Ermon 2019, equations 5 and 6 (the loss, λ(σ) = σ²), section 4 (the noise schedule); used for
    separation by Jayaram & Thickstun 2020 (BASIS).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.priors.images.refinenet import RefineNet
from sepcli.priors.images.rows import column, drop_classes, rows_of
from sepcli.priors.noise import noise_rows, noise_seeds, without_variance


@dataclass(frozen=True)
class NcsnConfig:
    """Architecture and noise levels; stored beside the weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the training images; other sizes have a score, too.
        width: channels at full size; the authors' is 64 for digits, 128 for color.
        levels: number of noise levels L.
        sigma_max: greatest noise level σ_1.
        sigma_min: least noise level σ_L.
        classes: names of the classes that the network can be conditioned on.
        class_dropout: fraction of training images whose class is dropped.
    """

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    width: int = 64
    levels: int = 10
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    classes: tuple[str, ...] = ()
    class_dropout: float = 0.5


class NcsnPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` with the same prior for all sources."""

    sigmas: Tensor
    has_variance = False
    moments = without_variance

    def __init__(self, config: NcsnConfig) -> None:
        super().__init__()
        self.config, self.sigma_min, self.sigma_max = config, config.sigma_min, config.sigma_max
        self.net = RefineNet(config.channels, config.width, config.levels * (len(config.classes) + 1))
        schedule = np.geomspace(config.sigma_max, config.sigma_min, config.levels)
        self.register_buffer("sigmas", torch.tensor(schedule, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return ∇ log p_σ, float32, at images (N, C, H, W) of any size, at noise levels of training.

        Args:
            x: the images.
            levels: (N,) int64, i - 1 for σ_i.
            labels: (N,) int64, the class of each image, ``len(classes)``: unknown; None: all are unknown.
        """
        label = len(self.config.classes) if labels is None else labels
        scores: Tensor = self.net(2.0 * x - 1.0, levels + self.config.levels * label)
        return scores.float()

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ (), of class ``label``; None: any class.

        Between the noise levels it is that of the nearest one in ln σ, rescaled: s_σ(x) ≈ s_i(x) σ_i/σ. The
        estimated noise -σ s_σ(x) has unit variance per pixel at all levels and varies slowly with them, while
        the score is proportional to 1/σ. Far outside the range of the noise levels this is a poor
        approximation: use samplers that start at σ_1.
        """
        rows, labels = rows_of(x, self.config.channels, label)
        sigma = sigma.to(self.sigmas)
        level = (self.sigmas.log() - sigma.log()).abs().argmin()
        score: Tensor = self(rows.float(), level.expand(len(rows)), labels)
        return (score * (self.sigmas[level] / sigma)).to(x.dtype).view_as(x)

    def loss(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of the module's docstring, per pixel, and the metric ``mse``, twice the loss.

        Images are (N, C, H, W) in [0, 1], classes (N,) int64; each image has a random noise level.
        """
        return self.batch_loss(*self.prepare(images, rng, labels))

    def prepare(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, NDArray[np.int64]]:
        """Sample the random numbers of the loss; return the arguments of ``batch_loss``, each by image."""
        config = self.config
        levels = torch.from_numpy(rng.integers(0, config.levels, len(images)))
        labels = drop_classes(labels, len(config.classes), config.class_dropout, rng)
        return images, labels, levels, noise_seeds(len(images), rng)

    def batch_loss(
        self, images: Tensor, labels: Tensor | None, levels: Tensor, seeds: NDArray[np.int64]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same for classes after dropout (N,), given noise levels (N,), int64, and seeds (N,)."""
        levels = levels.to(images.device)
        noise, sigma = noise_rows(images, seeds), column(self.sigmas[levels])
        mse = (sigma * self(images + sigma * noise, levels, labels) + noise).square().mean()
        return 0.5 * mse, {"mse": float(mse.detach())}
