"""Numerical precision of the networks."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def fast_type(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the device multiplies matrices of it in hardware, else float32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    enabled = (
        torch.cuda.is_bf16_supported() if device.type == "cuda" else device.type == "cpu" and supported()
    )
    return torch.bfloat16 if enabled else torch.float32


def fastest(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which matrix products use bfloat16 if the device supports it in hardware.

    The preconditioning of a denoiser is outside of it, so that errors decrease with σ as c_out does.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_type(device) == torch.bfloat16)
