"""Posterior samplers of azula and deepinv for ``posterior_exactness.py``, as their documentation uses them.

azula's state is x_t = α_t x + σ_t ε, so that the denoiser of x_t is that of x_t/α_t at σ_t/α_t. The mixture
is exact; both get a measurement noise of standard deviation 0.01.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from counted import Counted
from torch import Tensor

BUDGET = 64
NOISE = 0.01
Run = Callable[[Counted, Tensor, int], Tensor]
"""(prior, mixtures (N, 1, 1, n), seed) → signals (N, 2, 1, 1, n)."""


def azula(iterations: int) -> Run:
    """Return MMPS with a number of iterations of its solver, sampled by DDIM with fresh noise."""
    from azula.denoise import Denoiser, DiracPosterior
    from azula.guidance import MMPSDenoiser
    from azula.linalg.covariance import IsotropicCovariance
    from azula.noise import VPSchedule
    from azula.sample import DDIMSampler

    class Joint(Denoiser):
        def __init__(self, prior: Counted) -> None:
            super().__init__()
            self.prior, self.schedule = prior, VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **_: Any) -> DiracPosterior:
            alpha, sigma = self.schedule(t)
            return DiracPosterior(mean=self.prior.mean(x_t / alpha, sigma / alpha))

    def run(prior: Counted, mixtures: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        y = mixtures.flatten(1)
        noise = IsotropicCovariance(torch.tensor(NOISE**2, dtype=y.dtype))
        inner = MMPSDenoiser(Joint(prior), y, lambda x: x.mean(1).flatten(1), noise, iterations=iterations)
        sampler = DDIMSampler(inner, eta=1.0, steps=BUDGET, silent=True)
        start = sampler.init((len(y), 2, 1, y.shape[1])).to(y)
        return sampler(start)[:, :, None].detach()

    return run


def deepinv(kind: str) -> Run:
    """Return posterior diffusion with an approximation of the likelihood, by its default process."""
    import deepinv as package
    from peers_deepinv import Joint, physics

    def run(prior: Counted, mixtures: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        sampling = package.sampling
        solver = sampling.DDPMSolver(timesteps=torch.linspace(1, 0, BUDGET + 1, dtype=torch.float64))
        sde = sampling.VariancePreservingDiffusion(alpha=1.0)
        model = sampling.PosteriorDiffusion(getattr(sampling, kind)(), Joint(prior), sde, solver)
        measured = torch.cat([mixtures, torch.zeros_like(mixtures)], dim=1).float()
        with torch.no_grad():
            signals: Tensor = model(measured, physics(tuple(mixtures.shape[2:]), NOISE))
        return signals[:, :, None]

    return run


ROWS: Mapping[str, Mapping[str, Callable[[], Run]]] = {
    "azula": {f"MMPS, {n} iteration{'s' * (n > 1)}": lambda n=n: azula(n) for n in (1, 3)},
    "deepinv": {
        "MomentMatching": lambda: deepinv("MomentMatchingDataFidelity"),
        "PiGDM": lambda: deepinv("PiGDMDataFidelity"),
    },
}
"""Package → rows of the benchmark."""


def installed() -> list[str]:
    """Return the packages that are installed."""
    return [package for package in ROWS if find_spec(package)]
