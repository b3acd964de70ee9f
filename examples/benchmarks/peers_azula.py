"""Posterior samplers of the package azula, for sums of two images; see ``posterior_samplers.py``.

azula's images are in [-1, 1], and x_t = α_t x + σ_t ε: the denoiser of x_t is that of x_t/α_t under noise of
standard deviation σ_t/α_t, hence D((x_t/α_t + 1)/2, σ_t/(2 α_t)) of images in [0, 1]. The mixture is exact;
samplers that need the variance of its noise get one from a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.guidance import DiffPIRDenoiser, DPSSampler, MMPSDenoiser, PGDMSampler, TMPDenoiser
from azula.linalg.covariance import IsotropicCovariance
from azula.noise import Schedule, VESchedule, VPSchedule
from azula.sample import DDIMSampler, PCSampler, Sampler
from counted import Counted
from sampler_rows import BUDGET, Method, grid
from torch import Tensor

SCHEDULES: Mapping[str, Callable[[], Schedule]] = {
    "default VP": VPSchedule,
    "VE 0.02 to 4": lambda: VESchedule(0.02, 4.0),
}
"""The default, whose noise exceeds that of the denoiser's training, and the noise levels of our samplers."""
SMALL, LARGE = 0.01, 0.1
"""Standard deviations of the mixture's noise, in [-1, 1], where a sampler needs one."""


class Joint(Denoiser):
    """The denoiser of two images side by side (B, 2, H, W)."""

    def __init__(self, prior: Counted, schedule: Schedule) -> None:
        super().__init__()
        self.prior, self.schedule = prior, schedule

    def forward(self, x_t: Tensor, t: Tensor, **_: Any) -> DiracPosterior:
        """Return the mean of clean images, in [-1, 1], given noisy ones at time t ()."""
        alpha, sigma = self.schedule(t)
        mean = self.prior.mean((x_t / alpha + 1) / 2, sigma / (2 * alpha))
        return DiracPosterior(mean=2 * mean - 1)


def mix(x: Tensor) -> Tensor:
    """A: the mean of two images (B, 2, H, W), as rows (B, H W), over which azula's solvers sum."""
    return x.mean(1).flatten(1)


def unmix(y: Tensor) -> Tensor:
    """A⁺: the mixture (B, H W) in both images (B, 2, H, W)."""
    side = round(y.shape[1] ** 0.5)
    return y.view(-1, 1, side, side).expand(-1, 2, -1, -1)


Make = Callable[[Denoiser, Tensor, Mapping[str, Any]], Sampler]
"""(denoiser, mixture (B, H W), settings) → sampler."""


def conditioned(kind: Callable[..., Denoiser]) -> Make:
    """Return what samples by DDIM with a denoiser that is conditioned on the mixture."""

    def make(joint: Denoiser, y: Tensor, settings: Mapping[str, Any]) -> Sampler:
        inner = kind(joint, y, mix, settings["noise"] ** 2)
        return DDIMSampler(inner, eta=settings["eta"], steps=BUDGET, silent=True)

    return make


def moments(joint: Denoiser, y: Tensor, noise: float, iterations: int) -> Denoiser:
    """MMPS with the default solver."""
    cov_y = IsotropicCovariance(torch.tensor(noise**2))
    return MMPSDenoiser(joint, y, mix, cov_y, iterations=iterations)


def mmps(iterations: int) -> Make:
    """Return MMPS, sampled by DDIM."""
    return lambda joint, y, s: DDIMSampler(
        moments(joint, y, s["noise"], iterations), eta=s["eta"], steps=BUDGET, silent=True
    )


def corrected(joint: Denoiser, y: Tensor, settings: Mapping[str, Any]) -> Sampler:
    """Return MMPS with a step of Langevin dynamics before every step; two evaluations each."""
    return PCSampler(moments(joint, y, settings["noise"], 1), steps=BUDGET // 2, silent=True)


def pgdm(joint: Denoiser, y: Tensor, settings: Mapping[str, Any]) -> Sampler:
    """Return PGDM."""
    return PGDMSampler(joint, y, mix, unmix, eta=settings["eta"], steps=BUDGET, silent=True)


def dps(joint: Denoiser, y: Tensor, settings: Mapping[str, Any]) -> Sampler:
    """Return DPS; its norm is that of all mixtures of a batch."""
    return DPSSampler(joint, y, mix, zeta=settings["zeta"], steps=BUDGET, silent=True)


def method(name: str, make: Make, choices: tuple[Mapping[str, Any], ...], single: bool = False) -> Method:
    """Return a row of the benchmark."""

    def run(prior: Counted, mixtures: Tensor, settings: Mapping[str, Any], seed: int) -> Tensor:
        torch.manual_seed(seed)
        joint = Joint(prior, SCHEDULES[settings["schedule"]]())
        sampler = make(joint, 2 * mixtures.flatten(1) - 1, settings)
        start = sampler.init((len(mixtures), 2, *mixtures.shape[2:]))
        return ((sampler(start) + 1) / 2)[:, :, None]

    return Method("azula", name, choices, run, single)


NAMES, ETAS = tuple(SCHEDULES), (0.0, 1.0)
METHODS = (
    method("PGDM", pgdm, grid(schedule=NAMES, eta=ETAS)),
    method("MMPS, 1 iteration", mmps(1), grid(schedule=NAMES, eta=ETAS, noise=(SMALL,))),
    method("MMPS, 3 iterations", mmps(3), grid(schedule=NAMES, eta=(1.0,), noise=(SMALL,))),
    method("MMPS, Langevin correction", corrected, grid(schedule=NAMES, noise=(SMALL,))),
    method("DiffPIR", conditioned(DiffPIRDenoiser), grid(schedule=NAMES, eta=ETAS, noise=(SMALL, LARGE))),
    method("TMPD", conditioned(TMPDenoiser), grid(schedule=NAMES, eta=ETAS, noise=(SMALL,))),
    method("DPS", dps, grid(schedule=NAMES, zeta=(1.0,)), single=True),
)
