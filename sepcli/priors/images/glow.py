"""Glow, a flow of images: log p(x) itself, at every noise level, and so the score that BASIS follows.

    y = x + (u - ½)/255 + σ ε,   u uniform on [0, 1), ε ~ N(0, I)         what is modelled
    loss = -log p_σ(y)/(D ln 2) + log₂ 255                                bits per dimension

Units: images x are in [0, 1], in steps of 1/255, and so are y, σ and all densities (nats, per unit of
intensity and dimension; D dimensions). Uniform noise one step wide makes p a density without moving x; at σ =
0 the loss is the bound on the bits per dimension of 8-bit images that Glow reports, and the noise at the
level σ is s(σ) = √(σ² + 1/(12 · 255²)), never 0.

There are two ways to know p_σ. One flow may be told σ, as ln s, by its networks and its ``ActNorm``s: trained
on all σ at once, it is as small as a single flow. Or there is a ladder of copies, each fine-tuned on its own
noise, as in the paper; between its levels the nearest in ln s is asked, and the score rescaled by s.

Source: Kingma & Dhariwal 2018 (Glow), the architecture, without its activation normalisation inside the
    networks; Jayaram & Thickstun 2020 (BASIS), section 3.5, the ladder; Perez et al. 2018 (FiLM), telling σ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.flows import ActNorm, Chain, Coupling, Invertible1x1, MultiScale, Split, Squeeze
from sepcli.priors.images.denoiser import column, silence

STEP = 1 / 255
"""Of 8-bit images."""
SIDE = 4
"""Images are not squeezed below this."""
SCALES = 4
"""Nor more often than this."""


@dataclass(frozen=True)
class GlowConfig:
    """Sizes of the flow and its noise levels; they are stored beside the weights.

    Attributes:
        channels: C, 1 for gray, 3 for color.
        size: height and width of the images it was trained on; others of fitting sides have a density too.
        scales: Glow's L; sides must be multiples of 2^L. See ``fitting_scales``.
        steps: Glow's K, steps of flow per scale.
        width: channels of the networks; Glow's is 512.
        affine: whether couplings scale as well as shift.
        embedding: width of what tells the flow σ and class.
        ladder: σ of every copy of the flow; empty: one flow that is told σ.
        sigma_max: the greatest σ that it is trained on.
        sigma_min: the least but 0.
        clean: share of training images with σ = 0.
        classes: names of the classes that it can be conditioned on.
        unlabelled: share of training images whose class is withheld.
    """

    channels: int = 1
    size: tuple[int, ...] = (28, 28)
    scales: int = 2
    steps: int = 16
    width: int = 128
    affine: bool = True
    embedding: int = 32
    ladder: tuple[float, ...] = ()
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    clean: float = 0.1
    classes: tuple[str, ...] = ()
    unlabelled: float = 0.5


class Conditioner(nn.Module):
    """What a coupling asks: 3 × 3, 1 × 1 and 3 × 3 convolutions, scaled and shifted by the embedding."""

    def __init__(self, inner: int, outer: int, width: int, embedding: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inner, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        self.tell = nn.Linear(embedding, 2 * width)
        self.leave = nn.Conv2d(width, outer, 3, padding=1)
        for layer in (self.enter, self.mix):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        silence(self.tell)
        silence(self.leave)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(N, inner, H, W) and the embedding (N, E) to (N, outer, H, W)."""
        scale, shift = self.tell(context)[..., None, None].chunk(2, dim=1)
        h = self.mix(F.relu(self.enter(x)))
        out: Tensor = self.leave(F.relu(h * (1 + scale) + shift))
        return out


class Flow(nn.Module):
    """One flow, log p_σ(y | class)."""

    frequencies: Tensor

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        half = config.embedding // 2
        self.register_buffer("frequencies", torch.logspace(0.0, 1.0, half, dtype=torch.float32), False)
        self.embed = nn.Sequential(
            nn.Linear(2 * half, config.embedding), nn.SiLU(), nn.Linear(config.embedding, config.embedding)
        )
        self.label = nn.Embedding(len(config.classes) + 1, config.embedding)  # the last row: any class
        nn.init.zeros_(self.label.weight)
        scales, splits, channels = [], [], config.channels
        for number in range(config.scales):
            channels *= 4
            scales.append(_scale(config, channels, last=number == config.scales - 1))
            if number < config.scales - 1:
                channels //= 2
                splits.append(Split(Conditioner(channels, 2 * channels, config.width, config.embedding)))
        self.layers = MultiScale(scales, splits)

    def context(self, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The embedding (N, E) of σ (N,) and of classes (N,), None for any."""
        angles = (noise_at(sigma).log() / 4)[:, None] * self.frequencies
        told: Tensor = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        if labels is None:
            labels = torch.full_like(sigma, len(self.label.weight) - 1, dtype=torch.int64)
        told = told + self.label(labels)
        return told

    def forward(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p_σ of noisy images (N, C, H, W) for σ (N,), in nats, (N,)."""
        return self.layers.log_prob(y - 0.5, self.context(sigma, labels))


class GlowPrior(nn.Module):
    """p(x) of images; fulfils ``sepcli.protocols.ScorePrior`` and ``DensityPrior``, one prior for all."""

    def __init__(self, config: GlowConfig) -> None:
        super().__init__()
        self.config = config
        self.flows = nn.ModuleList(Flow(config) for _ in config.ladder or (0.0,))

    def log_prob(self, x: Tensor, sigma: float = 0.0, label: int | None = None) -> Tensor:
        """Σ_k log p_σ(x_k).

        Args:
            x: (B, K, C, H, W); at σ = 0 dequantised images are typical, at others noisy ones.
            sigma: σ; of a ladder, the nearest level is meant.
            label: a class; None: any.

        Returns:
            (B,) in nats, differentiable.

        Raises:
            InputError: the images have another number of channels, or do not fit the flow.
        """
        flow, told = self._nearest(torch.tensor(sigma))
        with torch.autocast(x.device.type, enabled=False):
            return self._asked(flow, x, told, label).view(x.shape[:2]).sum(1)

    def score(self, x: Tensor, sigma: Tensor, label: int | None = None) -> Tensor:
        """∇ log p_σ at x (B, K, C, H, W) for σ (), by autograd, of one class if ``label`` says which.

        Raises:
            InputError: the images have another number of channels, or do not fit the flow.
        """
        flow, told = self._nearest(sigma)
        exactly = torch.autocast(x.device.type, enabled=False)
        with torch.inference_mode(False), torch.enable_grad(), exactly:
            free = x.detach().clone().requires_grad_()
            total = self._asked(flow, free, told, label).sum()
            (gradient,) = torch.autograd.grad(total, free)
        return gradient * (noise_at(told) / noise_at(sigma)).to(gradient)

    def moments(self, x: Tensor, sigma: Tensor, label: int | None = None) -> tuple[Tensor, Tensor]:
        """There are none: a density is not quick to say the variance of clean images given noisy ones.

        Raises:
            PriorError: always.
        """
        raise PriorError("the prior does not know its posterior variance", "separate with --set weigh=0")

    def loss(
        self, images: Tensor, rng: np.random.Generator, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Bits per dimension of images under noise; of a ladder, those of a copy at random.

        Args:
            images: (N, C, H, W) in [0, 1].
            rng: of levels, noise and withheld classes.
            labels: (N,) int64; None if there are no classes.

        Returns:
            The loss () of the module's docstring, and the figure ``bits``, the same.
        """
        config, device = self.config, images.device
        if labels is not None:
            withheld = torch.from_numpy(rng.random(len(images)) < config.unlabelled).to(device)
            labels = torch.where(withheld, len(config.classes), labels)
        copy = int(rng.integers(len(self.flows)))
        sigma = self._levels(len(images), copy, rng).to(device)
        with torch.autocast(device.type, enabled=False):  # bfloat16 is coarser than the least noise
            known = self.flows[copy](noisy(images, sigma, rng), sigma, labels)
        bits = bits_per_dim(known, images).mean()
        return bits, {"bits": float(bits.detach())}

    @torch.no_grad()
    def initialise(self, images: Tensor, rng: np.random.Generator) -> None:
        """Let every ``ActNorm`` begin at unit variance for images (N, C, H, W), with noise of training."""
        for copy in range(len(self.flows)):
            flow, sigma = self._flow(copy), self._levels(len(images), copy, rng).to(images.device)
            context = flow.context(sigma, None)
            flow.layers.initialise(noisy(images, sigma, rng) - 0.5, context)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        rng: torch.Generator,
        *,
        sigma: float = 0.0,
        temperature: float = 1.0,
        label: int | None = None,
    ) -> Tensor:
        """Draw images.

        Args:
            count: N.
            rng: on the CPU.
            sigma: of the noise in them.
            temperature: the latents' standard deviation; less than 1 for likelier, plainer images.
            label: a class; None: any.

        Returns:
            (N, C, H, W), about [0, 1].
        """
        flow, told = self._nearest(torch.tensor(sigma))
        device = next(flow.parameters()).device
        labels = None if label is None else torch.full((count,), label, device=device)
        context = flow.context(told.to(device).expand(count), labels)
        shape = (count, self.config.channels, *self.config.size)
        latents, _ = flow.layers(torch.zeros(shape, device=device), context)
        drawn = [temperature * torch.randn(z.shape, generator=rng).to(z) for z in latents]
        image_set: Tensor = flow.layers.inverse(drawn, context) + 0.5
        return image_set

    def _levels(self, count: int, copy: int, rng: np.random.Generator) -> Tensor:
        """σ (N,) of training: the copy's own, or spread evenly over all levels, ln σ from least to most."""
        config = self.config
        if config.ladder:
            return torch.full((count,), config.ladder[copy])
        place = (rng.permutation(count) + rng.random()) / count  # of [0, 1): the first share is clean
        where = (place - config.clean) / max(1.0 - config.clean, 1e-9)
        sigma = config.sigma_min * (config.sigma_max / config.sigma_min) ** where
        return torch.from_numpy(np.where(where < 0.0, 0.0, sigma)).float()

    def _nearest(self, sigma: Tensor) -> tuple[Flow, Tensor]:
        """The flow that knows σ () best, and the σ to tell it."""
        if not self.config.ladder:
            return self._flow(0), sigma.clamp(max=self.config.sigma_max)
        ladder = torch.tensor(self.config.ladder)
        apart = noise_at(ladder).log() - noise_at(sigma).cpu().log()
        copy = int(apart.abs().argmin())
        return self._flow(copy), ladder[copy].to(sigma.device)

    def _flow(self, copy: int) -> Flow:
        return cast(Flow, self.flows[copy])

    def _asked(self, flow: Flow, x: Tensor, sigma: Tensor, label: int | None) -> Tensor:
        """log p of every image of x (B, K, C, H, W), (B·K,)."""
        if x.dim() != 5 or x.shape[2] != self.config.channels:
            raise InputError(
                f"images of shape {tuple(x.shape[2:])} for a prior of {self.config.channels} channel(s)",
                "use a gray or a color prior, as the image is",
            )
        part = 2**self.config.scales
        if x.shape[3] % part or x.shape[4] % part:
            raise InputError(
                f"images of {x.shape[3]} x {x.shape[4]} do not fit a flow of {self.config.scales} scales",
                f"crop or resize them to sides that are multiples of {part}",
            )
        rows = x.flatten(0, 1).to(flow.frequencies)  # in the precision of the flow
        labels = None if label is None else torch.full(rows.shape[:1], label, device=x.device)
        found: Tensor = flow(rows, sigma.to(rows).expand(len(rows)), labels)
        return found


def noise_at(sigma: Tensor) -> Tensor:
    """s(σ), the standard deviation of all noise, that of dequantisation included."""
    return (sigma.square() + STEP**2 / 12).sqrt()


def noisy(images: Tensor, sigma: Tensor, rng: np.random.Generator) -> Tensor:
    """Images (N, C, H, W) dequantised, with noise of σ (N,)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    uniform = torch.rand(images.shape, generator=generator).to(images) - 0.5
    normal = torch.randn(images.shape, generator=generator).to(images)
    return images + STEP * uniform + column(sigma) * normal


def bits_per_dim(log_prob: Tensor, images: Tensor) -> Tensor:
    """Bits per dimension of images (N, ...) of 8 bits from densities (N,) of them dequantised, in nats."""
    return math.log2(1 / STEP) - log_prob / (math.log(2) * images[0].numel())


@torch.no_grad()
def negative_log_likelihood(
    prior: GlowPrior, images: Tensor, *, sigma: float = 0.0, seed: int = 0, batch: int = 64
) -> Tensor:
    """Bits per dimension of images (N, C, H, W) in [0, 1] under noise of σ, one by one.

    The noise of an image depends on its place in the sequence, so that its value does not depend on the
    batch.

    Args:
        prior: the flow.
        images: in steps of 1/255.
        sigma: σ; 0 for the figure of the papers.
        seed: of the noise.
        batch: images at once.

    Returns:
        (N,) float32, on the CPU; at σ = 0 an unbiased estimate of the bound on bits per dimension.
    """
    device, found = next(prior.parameters()).device, []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        level = torch.full((1,), sigma)
        rows = [
            noisy(image[None], level, np.random.default_rng([seed, start + n]))
            for n, image in enumerate(part)
        ]
        known = prior.log_prob(torch.cat(rows)[:, None].to(device), sigma)
        found.append(bits_per_dim(known, part.to(device)).cpu())
    return torch.cat(found)


def fitting_scales(height: int, width: int) -> int:
    """How often images can be squeezed: while their sides stay even numbers, and then ≥ ``SIDE``.

    Raises:
        InputError: not even once.
    """
    count = 0
    while count < SCALES and not (height % 2 or width % 2) and min(height, width) >= 2 * SIDE:
        height, width, count = height // 2, width // 2, count + 1
    if not count:
        raise InputError(
            f"a flow cannot halve images of {height} x {width}",
            f"bring them to even sides of {2 * SIDE} or more with --size",
        )
    return count


def _scale(config: GlowConfig, channels: int, last: bool) -> Chain:
    """Squeeze, then the steps of flow at this many channels; the last scale ends in unit variance."""
    half, outer = channels // 2, channels // 2 * (2 if config.affine else 1)
    layers: list[nn.Module] = [Squeeze()]
    for _ in range(config.steps):
        net = Conditioner(half, outer, config.width, config.embedding)
        layers += [
            ActNorm(channels, config.embedding),
            Invertible1x1(channels),
            Coupling(net, config.affine),
        ]
    return Chain(*layers, *([ActNorm(channels, config.embedding)] if last else []))
