"""Colorization: a grayscale image is the mixture of the channels of one color image.

The prior samples the chroma of the reduced image; it is brought back to full size with the gray locked (see
``sepcli.signal.chroma``).

Source: Jayaram & Thickstun 2020 (BASIS), section 5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sepcli.protocols import DenoisingPrior, ProgressCallback
from sepcli.separation.engines import ScoreEngine
from sepcli.separation.independent import provides_variance
from sepcli.separation.ranking import RankedSamples, finite, ranked
from sepcli.signal.chroma import enlarged, hinted, locked, reduced, stretched, working_size

NAMES = ("red", "green", "blue")
"""The sources of the engine."""
STEM = "colorized"
"""The one source of the result."""

EngineOf = Callable[[DenoisingPrior, Sequence[float]], ScoreEngine]
"""A prior of the channels as sources, and the weights of their gray → the engine that separates them."""


@dataclass(frozen=True)
class ChannelsAsSources:
    """p(x) of an image (B, 1, C, H, W), seen as C sources of one channel; fulfils ``DenoisingPrior``."""

    prior: DenoisingPrior

    @property
    def has_variance(self) -> bool:
        """Whether the prior provides its posterior variance."""
        return provides_variance(self.prior)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, C, 1, H, W) for σ ()."""
        return self.prior.score(x.transpose(1, 2), sigma).transpose(1, 2)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean image, each like x."""
        mean, variance = self.prior.moments(x.transpose(1, 2), sigma)
        return mean.transpose(1, 2), variance.transpose(1, 2)


@dataclass(frozen=True)
class HintedPrior:
    """p(x) N(y; x, 1/λ): a prior times a Gaussian likelihood of target values; fulfils ``DenoisingPrior``.

    With D and C the mean and variance of clean x_0 given x under the prior,

        D' = D + C λ/(1 + C λ) (y - D),   C' = C/(1 + C λ),   score = (D' - x)/σ²

    exact for values that are Gaussian and independent given x. Source: Kalman's update.

    Attributes:
        prior: p(x). Without a posterior variance it is taken to be flat, C = σ².
        target: y, broadcast against x (B, K, C, *D).
        precision: λ, likewise; 0 where there is no target.
    """

    prior: DenoisingPrior
    target: Tensor
    precision: Tensor

    @property
    def has_variance(self) -> bool:
        """Whether the prior provides its posterior variance."""
        return provides_variance(self.prior)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, *D) for σ ()."""
        if self.has_variance:
            mean, variance = self.prior.moments(x, sigma)
        else:
            variance = sigma**2
            mean = x + variance * self.prior.score(x, sigma)
        return (self._updated(mean, variance)[0] - x) / sigma**2

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D' and variance C' of the clean sources, each like x."""
        return self._updated(*self.prior.moments(x, sigma))

    def _updated(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        kept = 1.0 / (1.0 + variance * self.precision)
        return self.target + kept * (mean - self.target), kept * variance


@dataclass(frozen=True)
class Colorizer:
    """A prior of color images and the engine that samples colors for a grayscale image.

    Attributes:
        prior: p(x) of color images.
        engine_of: see ``EngineOf``.
        short: short side of the images that the prior was trained on; None: images are not reduced.
        hint_sigma: standard deviation of the color of a fully opaque stroke of a hint.
    """

    prior: DenoisingPrior
    engine_of: EngineOf
    short: int | None = None
    hint_sigma: float = 0.05

    def engine(self, weights: Sequence[float], hint: tuple[Tensor, Tensor] | None = None) -> ScoreEngine:
        """The engine for a gray Σ w_c x_c, with target colors (3, h, w) and their weights (h, w), 0 to 1."""
        prior: DenoisingPrior = ChannelsAsSources(self.prior)
        if hint is not None:
            device = self.engine_of(prior, weights).device
            target, weight = (part.to(device) for part in hint)
            prior = HintedPrior(prior, target[:, None], weight / self.hint_sigma**2)
        return self.engine_of(prior, weights)


@dataclass(frozen=True)
class ColorSamples:
    """Ranked samples of the colors of one image, small, and the image at full size.

    Attributes:
        gray: (H, W), full size.
        small: (h, w), the gray that the prior was given.
        ranked: samples (S, 3, 1, h, w) of exactly that gray, the best first; their residual was measured
            before.
        weights: w of the gray.
    """

    gray: Tensor
    small: Tensor
    ranked: RankedSamples
    weights: tuple[float, ...]

    def full(self, number: int, gray: Tensor | None = None) -> Tensor:
        """Sample ``number`` (3, H, W), or the mean of the samples if it is their number, for ``gray`` at
        any size."""
        colors = self.ranked.samples[number] if number < len(self.ranked.samples) else self.ranked.mean
        large = self.gray if gray is None else gray
        return enlarged(large, self.small, colors[:, 0] - self.small, self.weights)

    def all_full(self) -> Tensor:
        """All samples at full size, (S, 3, H, W)."""
        return torch.stack([self.full(number) for number in range(len(self.ranked.samples))])

    @property
    def std(self) -> Tensor:
        """(1, h, w): root mean square over the channels of the standard deviation over the samples."""
        return self.ranked.std[:, 0].square().mean(0, keepdim=True).sqrt()

    def full_std(self, size: tuple[int, int], scale: float = 1.0) -> Tensor:
        """The standard deviation times ``scale`` at another size, (1, H, W)."""
        return torch.cat([rows for _, rows in stretched(scale * self.std, size)], dim=1)


def at_equal_chroma(log_prior: Tensor, colors: Tensor) -> Tensor:
    """Return by how many nats every sample's log prior exceeds what its chroma lets expect, (S,).

    Dull colors are easy to predict, so that the likeliest of several samples is duller than photographs are:
    the mode of a distribution is not typical of it. What is expected is a straight line in the logarithm of
    the chroma, fitted to the samples; of fewer than three the richer in color is better.

    Args:
        log_prior: (S,) in nats, up to a constant.
        colors: samples (S, 3, h, w) for one gray image.
    """
    chroma = colors.double() - colors.double().mean(1, keepdim=True)
    richness = chroma.square().flatten(1).mean(1).sqrt().clamp_min(1e-9).log()
    if len(richness) < 3:
        return richness
    nats, richness = log_prior.to(richness), richness - richness.mean()
    nats = nats - nats.mean()
    return nats - richness * (nats @ richness) / (richness @ richness).clamp_min(1e-12)


def sample_colors(
    colorizer: Colorizer,
    grays: Tensor,
    weights: tuple[float, ...],
    seeds: Tensor,
    hint: tuple[Tensor, Tensor] | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[ColorSamples]:
    """Sample the colors of grayscale images of one size.

    Args:
        colorizer: prior and sampler.
        grays: (B, H, W) float32 in [0, 1].
        weights: w of the gray Σ w_c x_c.
        seeds: (B, S) int64.
        hint: strokes (3, H, W) in [0, 1] and their opacity (H, W), 0 to 1, at full size; for a single image.
        on_progress: called by the engine.

    Raises:
        SepError: the samples are not finite.
    """
    height, width = grays.shape[1:]
    size = (height, width) if colorizer.short is None else working_size(height, width, colorizer.short)
    small = torch.stack([reduced(gray[None], size)[0] for gray in grays])
    engine = colorizer.engine(weights, None if hint is None else hinted(*hint, small[0], weights))
    samples = finite(engine.sample(small[:, None], seeds, on_progress))
    results = []
    for gray, small_gray, sampled in zip(grays, small, samples, strict=True):
        log_prior = engine.log_prior(sampled) if len(sampled) > 1 else None
        merit = None if log_prior is None else at_equal_chroma(log_prior, sampled[:, :, 0])
        sets = ranked(sampled, small_gray[None], weights, log_prior, merit)
        exact = locked(small_gray, sets.samples[:, :, 0] - small_gray, weights)
        sets = replace(sets, samples=exact[:, :, None])
        results.append(ColorSamples(gray, small_gray, sets, weights))
    return results
