"""In which precision a network is asked."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def fastest(device: torch.device) -> AbstractContextManager[None]:
    """Matrix products in bfloat16 where the device has units for them; elsewhere all stays as it is.

    The preconditioning of a denoiser is outside: its error shrinks with σ as c_out does.
    """
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    units = torch.cuda.is_bf16_supported() if device.type == "cuda" else device.type == "cpu" and supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=units)
