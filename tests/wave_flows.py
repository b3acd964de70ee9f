"""Small flows of waveforms, with weights that are not those of their beginning, and random signals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sepcli.priors.audio.wave_flow import PRESETS, WaveFlow, WaveFlowConfig


def config(variant: str, **changes: Any) -> WaveFlowConfig:
    return replace(WaveFlowConfig(variant=variant, **PRESETS[variant]["tiny"]), **changes)


def flow(variant: str = "waveglow", shaken: float = 0.0, **changes: Any) -> WaveFlow:
    """A flow as it begins, or with all parameters moved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = WaveFlow(config(variant, **changes))
        for parameter in made.parameters():
            parameter.data += shaken * torch.randn(parameter.shape)
    return made.eval().requires_grad_(False)


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
