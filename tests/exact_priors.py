"""Priors whose scores, moments and posteriors are known in closed form, K sources side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class GaussianPixels:
    """Every pixel of source k is N(mean_k, var_k), on its own; keeps what it was asked about."""

    mean: Sequence[float]
    var: Sequence[float]
    asked: list[Tensor] = field(default_factory=list)

    def column(self, values: Sequence[float], x: Tensor) -> Tensor:
        return torch.tensor(list(values)).to(x).view(1, -1, *[1] * (x.dim() - 2))

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        var = self.column(self.var, x) + sigma**2
        return (-((x - self.column(self.mean, x)) ** 2) / (2 * var) - var.log() / 2).flatten(1).sum(1)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.asked.append(x)
        return (self.column(self.mean, x) - x) / (self.column(self.var, x) + sigma**2)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        var = self.column(self.var, x)
        return x + sigma**2 * self.score(x, sigma), (var * sigma**2 / (var + sigma**2)).expand_as(x)


@dataclass
class GaussianFields:
    """Source k is N(mean_k, cov_k) over its n pixels: mean (K, n), cov (K, n, n)."""

    mean: Tensor
    cov: Tensor

    @classmethod
    def random(cls, sources: int, pixels: int, seed: int = 0) -> GaussianFields:
        g = torch.Generator().manual_seed(seed)
        root = torch.randn(sources, pixels, pixels, generator=g, dtype=torch.float64) / pixels**0.5
        floor = 0.2 * torch.eye(pixels, dtype=torch.float64)
        mean = torch.randn(sources, pixels, generator=g, dtype=torch.float64)
        return cls(mean, root @ root.mT + floor)

    def posterior(self, weights: Sequence[float], mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (K n,) and covariance (K n, K n) given Σ α_k x_k = mixture (n,)."""
        cov, mean = torch.block_diag(*self.cov), self.mean.flatten()
        eye = torch.eye(self.cov.shape[-1], dtype=cov.dtype)
        a = torch.kron(torch.tensor([list(weights)], dtype=cov.dtype), eye)
        gain = cov @ a.T @ torch.linalg.inv(a @ cov @ a.T)
        return mean + gain @ (mixture - a @ mean), cov - gain @ a @ cov

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        noisy = self.cov + sigma**2 * torch.eye(self.cov.shape[-1], dtype=x.dtype)
        gap = x.flatten(2) - self.mean
        return -0.5 * (gap * torch.linalg.solve(noisy, gap[..., None])[..., 0]).flatten(1).sum(1)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        noisy = (self.cov + sigma**2 * torch.eye(self.cov.shape[-1], dtype=self.cov.dtype)).to(x)
        gap = self.mean.to(x) - x.flatten(2)
        return torch.einsum("kij,bkj->bki", torch.linalg.inv(noisy), gap).view_as(x)


@dataclass
class MixturePixels:
    """Every pixel of source k is Σ_j share_kj N(mean_kj, var_kj): all (K, J)."""

    share: Tensor
    mean: Tensor
    var: Tensor

    def _parts(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share, mean, var = (
            t.to(x).view(1, t.shape[0], *[1] * (x.dim() - 2), -1) for t in (self.share, self.mean, self.var)
        )
        var = var + sigma**2
        log = share.log() - (x[..., None] - mean) ** 2 / (2 * var) - (2 * torch.pi * var).log() / 2
        return log, mean, var

    def log_prob(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Σ over everything but the batch."""
        return self.log_density(x, sigma).flatten(1).sum(1)

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._parts(x, sigma)[0].logsumexp(-1)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        log, mean, var = self._parts(x, sigma)
        return (log.softmax(-1) * (mean - x[..., None]) / var).sum(-1)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Tweedie's formulas, D = x + σ² s and C = σ² + σ⁴ ∂s/∂x."""
        log, mean, var = self._parts(x, sigma)
        share, pull = log.softmax(-1), (mean - x[..., None]) / var
        s = (share * pull).sum(-1)
        slope = (share * (pull**2 - 1 / var)).sum(-1) - s**2
        return x + sigma**2 * s, sigma**2 + sigma**4 * slope


def gaussian_posterior(
    mean: Sequence[float], var: Sequence[float], weights: Sequence[float], mixture: float, noise: float
) -> tuple[Tensor, Tensor]:
    """Mean (K,) and covariance (K, K) of one pixel's sources given Σ α_k x_k + N(0, noise) = mixture."""
    mu, v, a = (torch.tensor(list(t), dtype=torch.float64) for t in (mean, var, weights))
    total = (a**2 * v).sum() + noise
    return mu + a * v * (mixture - a @ mu) / total, v.diag() - torch.outer(a * v, a * v) / total


def moments_of(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (K,) and covariance (K, K) over the pixels of draws (1, K, 1, n)."""
    x = draws[0].flatten(1).double()
    return x.mean(1), torch.cov(x)
