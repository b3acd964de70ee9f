"""Sums of two signals of 8 values with posteriors in closed form; see ``posterior_exactness.py``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PIXELS = 8
WEIGHTS = (0.5, 0.5)
FLOAT = torch.float64


@dataclass(frozen=True)
class GaussianMixture:
    """p(x_k) = Σ_j share_kj N(mean_kj, cov_k) of two signals; fulfils ``DenoisingPrior``, differentiable.

    Attributes:
        share: (2, J).
        mean: (2, J, n).
        cov: (2, n, n).
        diagonal: whether the variance of clean signals given noisy ones is provided: that of one component
            with a diagonal covariance.
    """

    share: Tensor
    mean: Tensor
    cov: Tensor
    diagonal: bool = False

    @property
    def has_variance(self) -> bool:
        """Whether ``moments`` provides the variance."""
        return self.diagonal

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, 2, 1, 1, n) for σ ()."""
        precision = torch.linalg.inv(self._noisy(sigma))
        gap = self.mean - x.reshape(-1, 2, 1, PIXELS).to(FLOAT)
        pull = torch.einsum("kab,zkjb->zkja", precision, gap)
        log = self.share.log() - 0.5 * (gap * pull).sum(-1)
        return (log.softmax(-1)[..., None] * pull).sum(2).view_as(x).to(x)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean D and the variance of independent values, C."""
        variance = torch.diagonal(self.cov, dim1=1, dim2=2)
        variance = variance * sigma.to(FLOAT) ** 2 / (variance + sigma.to(FLOAT) ** 2)
        shaped = variance.view(1, 2, *[1] * (x.dim() - 3), PIXELS).to(x)
        return x + sigma**2 * self.score(x, sigma), shaped.expand_as(x)

    def posterior(self, mixture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return shares (J·J,), means (J·J, 2 n) and covariance (2 n, 2 n) given the mixture (n,)."""
        a = torch.kron(torch.tensor([WEIGHTS], dtype=FLOAT), torch.eye(PIXELS, dtype=FLOAT))
        cov = torch.block_diag(*self.cov)
        total = a @ cov @ a.T
        gain = cov @ a.T @ torch.linalg.inv(total)
        count = self.mean.shape[1]
        pairs = torch.cartesian_prod(torch.arange(count), torch.arange(count)).view(-1, 2)
        means = torch.cat([self.mean[0, pairs[:, 0]], self.mean[1, pairs[:, 1]]], dim=1)
        gap = mixture - means @ a.T
        log = self.share[0, pairs[:, 0]].log() + self.share[1, pairs[:, 1]].log()
        log = log - 0.5 * (gap * torch.linalg.solve(total, gap.T).T).sum(1)
        return log.softmax(0), means + gap @ gain.T, cov - gain @ a @ cov

    def _noisy(self, sigma: Tensor) -> Tensor:
        return self.cov + sigma.to(FLOAT) ** 2 * torch.eye(PIXELS, dtype=FLOAT)


@dataclass(frozen=True)
class Problem:
    """A prior and the mixture (n,) of a pair of signals."""

    name: str
    prior: GaussianMixture
    mixture: Tensor


def problems(seed: int) -> list[Problem]:
    """Return correlated fields, independent values, and a mixture of two components, by a seed."""
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(2, PIXELS, PIXELS, generator=g, dtype=FLOAT) / PIXELS**0.5
    cov = root @ root.mT + 0.2 * torch.eye(PIXELS, dtype=FLOAT)
    mean = torch.randn(2, 1, PIXELS, generator=g, dtype=FLOAT)
    mixture = torch.randn(PIXELS, generator=g, dtype=FLOAT)
    one = torch.ones(2, 1, dtype=FLOAT)
    values = torch.tensor([0.2, 1.5], dtype=FLOAT)[:, None, None] * torch.eye(PIXELS, dtype=FLOAT)
    pattern = torch.tensor([1.0, -1.0], dtype=FLOAT).repeat(PIXELS // 2)
    modes = torch.stack([torch.stack([pattern, -pattern]), torch.zeros(2, PIXELS, dtype=FLOAT)])
    shares = torch.tensor([[0.6, 0.4], [0.5, 0.5]], dtype=FLOAT)
    covs = torch.stack([0.05 * torch.eye(PIXELS, dtype=FLOAT), cov[1]])
    return [
        Problem("correlated", GaussianMixture(one, mean, cov), mixture),
        Problem("independent", GaussianMixture(one, mean, values, diagonal=True), mixture),
        Problem("two components", GaussianMixture(shares, modes, covs), 0.3 * mixture),
    ]


def errors(problem: Problem, samples: Tensor) -> dict[str, float]:
    """Compare samples (N, 2, 1, 1, n) with the posterior.

    Returns:
        ``mean``: root mean square over all values of the error of the mean; ``trace``: of the covariance,
        over the true one; ``share``: the error of the posterior probability of the first component of the
        first signal; ``std``: the root mean square standard deviation of the posterior.
    """
    share, means, cov = problem.prior.posterior(problem.mixture)
    x = samples.flatten(1).to(FLOAT)
    mean = share @ means
    spread = cov + torch.einsum("j,ja,jb->ab", share, means - mean, means - mean)
    first = problem.prior.mean[0]
    near = torch.cdist(x[:, :PIXELS], first).argmin(1) == 0
    count = problem.prior.mean.shape[1]
    return {
        "mean": float((x.mean(0) - mean).square().mean().sqrt()),
        "trace": float(torch.cov(x.T).trace() / spread.trace()),
        "share": float(near.double().mean() - share.view(count, -1).sum(1)[0]),
        "std": float(spread.diagonal().mean().sqrt()),
    }
