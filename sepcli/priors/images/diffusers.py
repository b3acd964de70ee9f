"""A U-Net of a diffusion model as a prior of images: with its noise estimate ε̂ at x the score of p_σ is
-ε̂/σ.

The input of DDPM networks is y_t = √ᾱ_t y_σ at an integer timestep t, where y_σ = y_0 + s ε is the image in
their units [-1, 1] and s the noise level there. An image x in [0, 1] with noise level σ is y = 2x - 1 with s
= 2σ, and

    s_t = √((1-ᾱ_t)/ᾱ_t)      √ᾱ = 1/√(1+s²)      u = F(y/√(1+s²), t)
    ε̂ = u                           if F predicts ε,
    ε̂ = s y/(1+s²) + u/√(1+s²)      if it predicts v = √ᾱ ε - √(1-ᾱ) y_0,
    ε̂ = (y - u)/s                   if it predicts the clean sample y_0.

ε̂ has no units, so that the score in the units of x is -ε̂/σ. For s between two noise levels, t is
interpolated linearly in ln s, since the sinusoidal embedding of t is smooth. The factor √ᾱ is exact for every
s.

The inputs of variance-exploding networks (NCSN++) are x in [0, 1] and σ; their output is the score. Beyond
the noise levels of training, both kinds get the nearest one, and its ε̂ is used.

Source: Ho et al. 2020 (DDPM), equation 11 and algorithm 2; Salimans & Ho 2022, appendix D (v); Song et al.
    2021 (score-based models through stochastic differential equations), appendix C (variance exploding).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.errors import PriorError
from sepcli.priors.images.rows import rows_of
from sepcli.priors.noise import without_variance

PREDICTIONS = ("epsilon", "v_prediction", "sample", "score")
"""Prediction types; the first three are of DDPM networks, the last of variance-exploding ones."""


@dataclass(frozen=True)
class DiffusionUnetConfig:
    """Properties of a network besides its weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the training images; other sizes have a score, too.
        sigmas: noise levels in the units of the network, increasing: s_t for t = 0, 1, … of DDPM networks;
            the least and the greatest of others suffice.
        prediction: one of ``PREDICTIONS``.
        multiple: divisor of the height and width of the network's input; images are padded.
        classes: names of the classes that the network must be conditioned on.
    """

    channels: int
    size: tuple[int, ...]
    sigmas: tuple[float, ...]
    prediction: str = "epsilon"
    multiple: int = 1
    classes: tuple[str, ...] = ()


class DiffusionUnetPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` with the same prior for all sources.

    Args:
        config: properties of the network.
        unet: takes images (N, C, H, W), timesteps or noise levels (N,) float32 and ``class_labels`` (N,)
            int64 or None; returns an object whose ``sample`` is (N, C, H, W). Additional channels, such as a
            learned variance, are ignored.

    Raises:
        PriorError: The noise levels are not positive and increasing, or the prediction type is unknown.
    """

    log_sigmas: Tensor
    has_variance = False
    moments = without_variance

    def __init__(self, config: DiffusionUnetConfig, unet: nn.Module) -> None:
        super().__init__()
        levels = torch.tensor(config.sigmas, dtype=torch.float64)
        increasing = len(levels) > 1 and levels[0] > 0 and bool((levels.diff() > 0).all())
        if config.prediction not in PREDICTIONS or not (increasing and levels.isfinite().all()):
            raise PriorError(
                f"a diffusion model that predicts '{config.prediction}' at {len(levels)} noise levels is not "
                "supported",
                f"use one that predicts {', '.join(PREDICTIONS)} at increasing noise levels",
            )
        self.config, self.unet = config, unet
        unit = 1.0 if config.prediction == "score" else 0.5  # of the network's σ: ½ for images in [-1, 1]
        self.sigma_min, self.sigma_max = config.sigmas[0] * unit, config.sigmas[-1] * unit
        self.register_buffer("log_sigmas", levels.log().float(), persistent=False)

    def timestep(self, s: Tensor) -> Tensor:
        """Return the fractional timestep t () of a noise level s () of the network, clipped to its range."""
        s = s.log().to(self.log_sigmas)
        upper = torch.searchsorted(self.log_sigmas, s).clamp(1, len(self.log_sigmas) - 1)
        low, high = self.log_sigmas[upper - 1], self.log_sigmas[upper]
        return (upper - 1) + ((s - low) / (high - low)).clamp(0.0, 1.0)

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ (), of class ``label``; None: any class.

        It is computed in float32 also under autocast: x + σ² score = x - σ ε̂ multiplies errors of ε̂ by σ.

        Raises:
            InputError: The images have a different number of channels.
            PriorError: The network has classes and none is given.
        """
        rows, labels = rows_of(x, self.config.channels, label)
        if self.config.classes and label is None:
            raise PriorError(
                f"the prior needs one of its {len(self.config.classes)} classes",
                "use a prior that is not conditioned on classes",
            )
        rows = rows.float()
        with torch.autocast(x.device.type, enabled=False):
            noise = self._noise(rows, sigma.to(rows), labels)
        return (-noise / sigma.to(rows)).to(x.dtype).view_as(x)

    def _noise(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Return the noise estimate ε̂ ≈ (x - x_0)/σ at x (N, C, H, W)."""
        if self.config.prediction == "score":
            level = sigma.clamp(self.config.sigmas[0], self.config.sigmas[-1])
            return -level * self._forward(x, level, labels)
        y, s = 2.0 * x - 1.0, 2.0 * sigma
        scale = (1.0 + s**2).sqrt()
        out = self._forward(y / scale, self.timestep(s), labels)
        if self.config.prediction == "v_prediction":
            return s * y / scale**2 + out / scale
        return (y - out) / s if self.config.prediction == "sample" else out

    def _forward(self, x: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        padding = (0, -width % self.config.multiple, 0, -height % self.config.multiple)
        padded = F.pad(x, padding, mode="replicate")
        out: Tensor = self.unet(padded, time.expand(len(x)), class_labels=labels).sample
        return out[:, : x.shape[1], :height, :width].float()
