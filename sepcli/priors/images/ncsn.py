"""A noise-conditional score network of images: s_i(x) ≈ ∇ log p_σ(x) on a ladder of noise levels σ = σ_i.

    σ_1 > … > σ_L, geometric
    loss = 1/L Σ_i σ_i² · ½ E‖s_i(x_0 + σ_i ε) + ε/σ_i‖² = 1/L Σ_i ½ E‖σ_i s_i(x_0 + σ_i ε) + ε‖²

The weights σ_i² make every level count alike, for ‖s_i‖ is about 1/σ_i. Images are in [0, 1]; the network
sees 2x - 1 but answers with the score in the units of x. With classes, every pair of class and level has a
row of its own in the normalisations; the last class stands for any. Without classes the network is the one
that the authors released.

Source: Song & Ermon 2019, equations 5 and 6 (the loss, λ(σ) = σ²), section 4 (the ladder); the separations
    of Jayaram & Thickstun 2020 (BASIS) follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.images.refinenet import RefineNet


@dataclass(frozen=True)
class NcsnConfig:
    """Sizes of the network and its noise levels; they are stored beside the weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the images it was trained on; others may be scored.
        width: channels at full size; the authors' is 64 for digits, 128 for color.
        levels: L.
        sigma_max: σ_1.
        sigma_min: σ_L.
        classes: names of the classes that it can be conditioned on.
        unlabelled: share of training images whose class is withheld.
    """

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    width: int = 64
    levels: int = 10
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    classes: tuple[str, ...] = ()
    unlabelled: float = 0.5


class NcsnPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` with one prior for all sources."""

    sigmas: Tensor

    def __init__(self, config: NcsnConfig) -> None:
        super().__init__()
        self.config = config
        self.net = RefineNet(config.channels, config.width, config.levels * (len(config.classes) + 1))
        ladder = np.geomspace(config.sigma_max, config.sigma_min, config.levels)
        self.register_buffer("sigmas", torch.tensor(ladder, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor, levels: Tensor, labels: Tensor | None = None) -> Tensor:
        """The score on the ladder.

        Args:
            x: (N, C, H, W), any size.
            levels: (N,) int64, i - 1 for σ_i.
            labels: (N,) int64, the class of each image, ``len(classes)`` where it is not known; None for
                all.

        Returns:
            ∇ log p_σ, (N, C, H, W), float32.
        """
        label = len(self.config.classes) if labels is None else labels
        scores: Tensor = self.net(2.0 * x - 1.0, levels + self.config.levels * label)
        return scores.float()

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """∇ log p_σ at x (B, K, C, H, W) for σ (), of one class if ``label`` says which.

        Off the ladder it is that of the nearest level in ln σ, rescaled: s_σ(x) ≈ s_i(x) σ_i/σ. What changes
        slowly from level to level is the noise that the network sees in x, -σ s_σ(x), of unit variance per
        pixel everywhere; the score itself goes like 1/σ. Far outside the ladder this is a poor guess:
        choose samplers that start at σ_1.

        Raises:
            InputError: the images have another number of channels.
        """
        if x.dim() != 5 or x.shape[2] != self.config.channels:
            raise InputError(
                f"images of shape {tuple(x.shape[2:])} for a prior of {self.config.channels} channel(s)",
                "use a gray or a color prior, as the image is",
            )
        sigma = sigma.to(self.sigmas)
        level = (self.sigmas.log() - sigma.log()).abs().argmin()
        rows = x.flatten(0, 1).float()
        labels = None if label is None else torch.full(rows.shape[:1], label, device=x.device)
        own: Tensor = self(rows, level.expand(len(rows)), labels)
        return (own * (self.sigmas[level] / sigma)).to(x.dtype).view_as(x)

    def moments(self, x: Tensor, sigma: Tensor, label: int | None = None) -> tuple[Tensor, Tensor]:
        """There are none: a score says nothing of the variance of clean images given noisy ones.

        Raises:
            PriorError: always.
        """
        raise PriorError("the prior does not know its posterior variance", "separate with --set weigh=0")

    def loss(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Denoising score matching on clean images, a random level for each.

        Args:
            images: (N, C, H, W) in [0, 1].
            rng: of levels, noise and withheld classes.
            labels: (N,) int64; None if there are no classes.

        Returns:
            The loss () of the module's docstring, per pixel, and the figure ``mse``, twice the loss.
        """
        count, device = len(images), images.device
        levels = torch.from_numpy(rng.integers(0, self.config.levels, count)).to(device)
        if labels is not None:
            withheld = torch.from_numpy(rng.random(count) < self.config.unlabelled).to(device)
            labels = torch.where(withheld, len(self.config.classes), labels)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(images.shape, generator=generator).to(device)
        sigma = self.sigmas[levels][:, None, None, None]
        mse = (sigma * self(images + sigma * noise, levels, labels) + noise).square().mean()
        return 0.5 * mse, {"mse": float(mse.detach())}
