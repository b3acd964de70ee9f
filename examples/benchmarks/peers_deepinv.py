"""Posterior samplers of the package deepinv, for sums of two images; see ``posterior_samplers.py``.

deepinv's denoisers are of images in [0, 1] under noise of standard deviation σ, as ours; its diffusions map
their states from [-1, 1] by themselves. The sum is given by its singular values, 1/√2 for (x_1 + x_2)/√2 and
0 for (x_1 - x_2)/√2, as DDRM needs it. The mixture is exact, but the samplers need noise, from a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import deepinv
import numpy as np
import torch
from counted import Counted
from deepinv import sampling
from deepinv.optim.data_fidelity import L2
from sampler_rows import BUDGET, Method, grid
from torch import Tensor

NOISE = (0.01, 0.1)
"""Standard deviations of the mixture's noise; 0.1 is the default of ``GaussianNoise``."""
SMALLEST = 1e-3
"""σ that the denoiser gets instead of the 0 at the end of DDRM."""
SDES: Mapping[str, Callable[[], sampling.EDMDiffusionSDE]] = {
    "default VP": lambda: sampling.VariancePreservingDiffusion(alpha=1.0),
    "VE 0.02 to 4": lambda: sampling.VarianceExplodingDiffusion(sigma_min=0.02, sigma_max=4.0, alpha=1.0),
}
"""The default, and the noise levels of our samplers; the steps are those of ``deepinv.sampling.DPS``."""


class Joint(torch.nn.Module):
    """The denoiser of two images side by side (B, 2, H, W)."""

    def __init__(self, prior: Counted) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, sigma: Tensor | float, *_: Any, **__: Any) -> Tensor:
        """Return the mean of clean images given noisy ones; σ is the same for all."""
        level = torch.as_tensor(sigma, dtype=torch.float32).flatten()[0].clamp(min=SMALLEST)
        return self.prior.mean(x, level)


def physics(shape: tuple[int, ...], noise: float) -> deepinv.physics.DecomposablePhysics:
    """Return the mean of two images (H, W), with a second channel that is always zero."""
    mask = torch.zeros(1, 2, *shape)
    mask[:, 0] = 0.5**0.5
    turned = {"V_adjoint": turn, "V": turn}  # it is its own inverse
    return deepinv.physics.DecomposablePhysics(
        **turned, mask=mask, noise_model=deepinv.physics.GaussianNoise(noise)
    )


def turn(x: Tensor) -> Tensor:
    """Return sum and difference of two images, over √2."""
    return torch.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], dim=1) * 0.5**0.5


Build = Callable[[Joint, Mapping[str, Any]], torch.nn.Module]
"""(denoiser, settings) → model, called with measurement and physics."""


def diffusion(kind: Callable[..., sampling.NoisyDataFidelity]) -> Build:
    """Return posterior diffusion with an approximation of the likelihood."""

    def build(joint: Joint, settings: Mapping[str, Any]) -> torch.nn.Module:
        sde = settings["sde"]
        last = int("VE" in sde)  # the last noise of VE is not 0, and one more evaluation removes it
        solver = sampling.DDPMSolver(timesteps=torch.linspace(1, 0, BUDGET + 1 - last, dtype=torch.float64))
        options = {key: settings[key] for key in ("weight", "guidance") if key in settings}
        return sampling.PosteriorDiffusion(kind(**options), joint, SDES[sde](), solver)

    return build


def diffpir(joint: Joint, settings: Mapping[str, Any]) -> torch.nn.Module:
    """Return DiffPIR."""
    return sampling.DiffPIR(joint, L2(), sigma=settings["noise"], max_iter=BUDGET)


def ddrm(joint: Joint, settings: Mapping[str, Any]) -> torch.nn.Module:
    """Return DDRM."""
    return sampling.DDRM(joint, sigmas=np.linspace(settings["sigma_max"], 0, BUDGET))


def ula(joint: Joint, settings: Mapping[str, Any]) -> torch.nn.Module:
    """Return Langevin dynamics at one level of noise, of which the mean is taken after the first steps."""
    step = settings["step"] * settings["noise"] ** 2
    params = {"step_size": step, "alpha": settings["alpha"], "sigma": settings["sigma"]}
    likelihood, prior = L2(sigma=settings["noise"]), deepinv.optim.ScorePrior(denoiser=joint)
    return sampling.sampling_builder("ULA", likelihood, prior, params, max_iter=BUDGET, thinning=1)


def method(name: str, build: Build, choices: tuple[Mapping[str, Any], ...]) -> Method:
    """Return a row of the benchmark."""

    def run(prior: Counted, mixtures: Tensor, settings: Mapping[str, Any], seed: int) -> Tensor:
        torch.manual_seed(seed)
        measured = torch.cat([mixtures, torch.zeros_like(mixtures)], dim=1)
        model = build(Joint(prior), settings)
        with torch.no_grad():
            images: Tensor = model(measured, physics(tuple(mixtures.shape[2:]), settings["noise"]))
        return images.float()[:, :, None]

    return Method("deepinv", name, choices, run)


GUIDED = grid(sde=tuple(SDES), guidance=("norm",), weight=(1.0, 100.0), noise=NOISE[:1])
METHODS = (
    method(
        "MomentMatching",
        diffusion(sampling.MomentMatchingDataFidelity),
        grid(sde=tuple(SDES), noise=NOISE[:1]),
    ),
    method("PiGDM", diffusion(sampling.PiGDMDataFidelity), grid(sde=tuple(SDES), noise=NOISE)),
    method(
        "DPS",
        diffusion(sampling.DPSDataFidelity),
        (*GUIDED, *grid(sde=tuple(SDES), guidance=("annealed",), weight=(1.0,), noise=NOISE[:1])),
    ),
    method("DiffPIR", diffpir, grid(noise=(0.01, 0.05, 0.1))),
    method("DDRM", ddrm, grid(sigma_max=(1.0, 2.0), noise=NOISE[:1])),
    method(
        "ULA",
        ula,
        grid(step=(0.01,), alpha=(0.9,), sigma=(2 / 255,), noise=(0.1,))
        + grid(step=(0.1, 0.5), alpha=(1.0,), sigma=(0.05, 0.1), noise=(0.1,)),
    ),
)
