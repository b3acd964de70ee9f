"""A network from a part of a prior's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sepcli.errors import PriorError

Network = TypeVar("Network", bound=nn.Module)


def load_network(make: Callable[[dict[str, Any]], Network], part: Path) -> Network:
    """The network of a part of a prior's folder, float32 on the CPU: its config, then its weights.

    Args:
        make: the fields of ``config.json`` → the network.
        part: holds ``config.json`` and ``model.safetensors``.

    Raises:
        PriorError: a file is missing or damaged, or they do not fit each other.
    """
    try:
        config = json.loads((part / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(part / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise PriorError(
            f"no usable {part.name} in {part.parent}", "train it with `sepcli train-prior`"
        ) from error
    try:
        network = make({k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise PriorError(
            f"{part / 'model.safetensors'} does not fit its config", "fetch or train the prior again"
        ) from error
    return network.eval()
