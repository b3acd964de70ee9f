"""The running mean of a network's weights, which is what is validated and kept.

    θ̄_n = β_n θ̄_{n-1} + (1 - β_n) θ_n,   β_n = (1 - 1/n)^{γ+1}

Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", equation 9.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

POWER = 16.97
"""γ: the mean spans about the last 5 % of a run of any length."""


def averaged(network: nn.Module) -> AveragedModel:
    """Return the running mean of a network's weights; ``update_parameters(network)`` adds its weights."""
    mean = AveragedModel(network, avg_fn=_power_mean)
    mean.requires_grad_(False)
    return mean


def _power_mean(mean: Tensor, weight: Tensor, count: Tensor | int) -> Tensor:
    """θ̄_n of θ̄_{n-1}, θ_n and n - 1."""
    keep = (1.0 - 1.0 / (int(count) + 1)) ** (POWER + 1.0)
    return mean.lerp(weight, 1.0 - keep)
