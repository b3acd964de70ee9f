"""A diffusion model's U-Net as a prior of images: the noise ε̂ that it finds in x is the score of p_σ, -ε̂/σ.

Networks of DDPM see y_t = √ᾱ_t y_σ at a whole timestep t, where y_σ = y_0 + s ε is the image in their own
units [-1, 1] and s its noise there. An image x in [0, 1] with noise σ is y = 2x - 1 with s = 2σ, and

    s_t = √((1-ᾱ_t)/ᾱ_t)      √ᾱ = 1/√(1+s²)      u = F(y/√(1+s²), t)
    ε̂ = u                           if F predicts ε,
    ε̂ = s y/(1+s²) + u/√(1+s²)      if it predicts v = √ᾱ ε - √(1-ᾱ) y_0,
    ε̂ = (y - u)/s                   if it predicts the clean sample y_0.

ε̂ has no units, so that the score in the units of x is -ε̂/σ. For s between two levels, t is interpolated
linearly in ln s: the sinusoids that tell the network t are smooth in it. The factor √ᾱ is exact for every s.

Networks of the variance-exploding kind (NCSN++) see x in [0, 1] itself and are told σ; their output is the
score. Beyond the levels of training, either kind is told the nearest one, and its ε̂ is kept.

Source: Ho et al. 2020 (DDPM), equation 11 and algorithm 2; Salimans & Ho 2022, appendix D (v); Song et al.
    2021 (score-based models through stochastic differential equations), appendix C (variance exploding).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError

PREDICTIONS = ("epsilon", "v_prediction", "sample", "score")
"""What a network may predict; the first three are of DDPM, the last is variance exploding."""


@dataclass(frozen=True)
class DiffusionUnetConfig:
    """What is to be known of a network besides its weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the images it was trained on; others may be scored.
        sigmas: its noise levels in its own units, rising; of DDPM s_t for t = 0, 1, …; else the ends suffice.
        prediction: one of ``PREDICTIONS``.
        multiple: of what the height and the width have to be multiples inside.
        classes: names of the classes that it has to be conditioned on.
    """

    channels: int
    size: tuple[int, ...]
    sigmas: tuple[float, ...]
    prediction: str = "epsilon"
    multiple: int = 1
    classes: tuple[str, ...] = ()


class DiffusionUnetPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` with one prior for all sources.

    Args:
        config: what the network is.
        unet: called with images (N, C, H, W), timesteps or noise levels (N,) float32 and ``class_labels``
            (N,) int64 or None; answers with an object whose ``sample`` is (N, C, H, W). Further channels, as
            of a learned variance, are left out.

    Raises:
        PriorError: the noise levels do not rise from above 0, or the prediction is unknown.
    """

    log_sigmas: Tensor

    def __init__(self, config: DiffusionUnetConfig, unet: nn.Module) -> None:
        super().__init__()
        levels = torch.tensor(config.sigmas, dtype=torch.float64)
        rising = len(levels) > 1 and levels[0] > 0 and bool((levels.diff() > 0).all())
        if config.prediction not in PREDICTIONS or not (rising and levels.isfinite().all()):
            raise PriorError(
                f"the diffusion model predicts '{config.prediction}' at {len(levels)} noise levels",
                f"use one that predicts {', '.join(PREDICTIONS)} at levels that rise",
            )
        self.config, self.unet = config, unet
        self.register_buffer("log_sigmas", levels.log().float(), persistent=False)

    def timestep(self, s: Tensor) -> Tensor:
        """The fractional t () of a noise level s () in the network's units, within the levels of training."""
        s = s.log().to(self.log_sigmas)
        upper = torch.searchsorted(self.log_sigmas, s).clamp(1, len(self.log_sigmas) - 1)
        low, high = self.log_sigmas[upper - 1], self.log_sigmas[upper]
        return (upper - 1) + ((s - low) / (high - low)).clamp(0.0, 1.0)

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """∇ log p_σ at x (B, K, C, H, W) for σ (), of one class if ``label`` says which.

        Computed in float32 whatever autocast says: x + σ² score = x - σ ε̂ multiplies an error of ε̂ with σ.

        Raises:
            InputError: the images have another number of channels.
            PriorError: the network has classes and none is given.
        """
        if x.dim() != 5 or x.shape[2] != self.config.channels:
            raise InputError(
                f"images of shape {tuple(x.shape[2:])} for a prior of {self.config.channels} channel(s)",
                "use a gray or a color prior, as the image is",
            )
        if self.config.classes and label is None:
            raise PriorError(
                f"the prior has to be told one of its {len(self.config.classes)} classes",
                "use one that is not conditioned on classes",
            )
        rows = x.flatten(0, 1).float()
        labels = None if label is None else torch.full(rows.shape[:1], label, device=x.device)
        with torch.autocast(x.device.type, enabled=False):
            noise = self._noise(rows, sigma.to(rows), labels)
        return (-noise / sigma.to(rows)).to(x.dtype).view_as(x)

    def moments(self, x: Tensor, sigma: Tensor, label: int | None = None) -> tuple[Tensor, Tensor]:
        """There are none: such a network says nothing of the variance of clean images given noisy ones.

        Raises:
            PriorError: always.
        """
        raise PriorError("the prior does not know its posterior variance", "separate with --set weigh=0")

    def _noise(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """ε̂ in x (N, C, H, W), which is about (x - x_0)/σ."""
        if self.config.prediction == "score":
            told = sigma.clamp(self.config.sigmas[0], self.config.sigmas[-1])
            return -told * self._ask(x, told, labels)
        y, s = 2.0 * x - 1.0, 2.0 * sigma
        scale = (1.0 + s**2).sqrt()
        out = self._ask(y / scale, self.timestep(s), labels)
        if self.config.prediction == "v_prediction":
            return s * y / scale**2 + out / scale
        return (y - out) / s if self.config.prediction == "sample" else out

    def _ask(self, x: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
        height, width = x.shape[2:]
        padding = (0, -width % self.config.multiple, 0, -height % self.config.multiple)
        padded = F.pad(x, padding, mode="replicate")
        out: Tensor = self.unet(padded, time.expand(len(x)), class_labels=labels).sample
        return out[:, : x.shape[1], :height, :width].float()
