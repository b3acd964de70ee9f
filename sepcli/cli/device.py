"""``--device`` → a torch device."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sepcli.errors import UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """Return a device; ``auto`` is the first of CUDA, MPS and CPU that is available.

    Raises:
        UsageError: the name is not that of a device, or it is not available.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
            raise ValueError(name)
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"device '{name}' is not available", "use auto, cpu, cuda, cuda:N or mps") from error
    return device
