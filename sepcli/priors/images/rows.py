"""Images and their classes as the rows that networks of images take."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import InputError


def rows_of(x: Tensor, channels: int, label: int | None) -> tuple[Tensor, Tensor | None]:
    """Return images (B, K, C, H, W) as rows (B·K, C, H, W), and their classes (B·K,); None: any class.

    Raises:
        InputError: the images do not have ``channels`` channels.
    """
    if x.dim() != 5 or x.shape[2] != channels:
        raise InputError(
            f"images of shape {tuple(x.shape[2:])} do not fit a prior of {channels} channel(s)",
            "use a prior with the number of channels of the images",
        )
    rows = x.flatten(0, 1)
    return rows, None if label is None else torch.full(rows.shape[:1], label, device=x.device)


def drop_classes(
    labels: Tensor | None, classes: int, dropout: float, rng: np.random.Generator
) -> Tensor | None:
    """Return classes (N,), a random fraction of them replaced by ``classes``, the unknown one."""
    if labels is None:
        return None
    dropped = torch.from_numpy(rng.random(len(labels)) < dropout).to(labels.device)
    return torch.where(dropped, classes, labels)


def column(values: Tensor) -> Tensor:
    """Reshape (N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]
