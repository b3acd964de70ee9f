"""The word after ``--device`` → a torch device."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sepcli.errors import UsageError

if TYPE_CHECKING:
    import torch


def choose_device(word: str) -> torch.device:
    """``auto`` is the first of CUDA, MPS and CPU that is there.

    Raises:
        UsageError: not a device, or one that is not there.
    """
    import torch

    if word == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", word):
            raise ValueError(word)
        device = torch.device(word)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"no device '{word}' here", "use auto, cpu, cuda, cuda:N or mps") from error
    return device
