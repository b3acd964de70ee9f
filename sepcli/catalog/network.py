"""Networks from the parts of a prior's folder."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from sepcli.atomic import write_text
from sepcli.catalog.bounded import Files, read_json
from sepcli.catalog.storage import read_weights
from sepcli.errors import PriorError, UsageError, refuse_newer

Network = TypeVar("Network", bound=nn.Module)

CONFIG = "config.json"
FORMAT = 1
"""The format of the configs that this version writes; it stands in the file beside the fields."""
REPEATED = ("blocks", "layers", "scales", "steps", "sigmas", "weights")
"""Fields of configs that are numbers of layers, or have an entry per layer; every layer has tensors."""
MOST_TENSORS = 20_000
"""Tensors of a network; trained ones have up to a thousand."""
LARGEST_NUMBER = 10_000_000
"""The largest number in a config, unless the network has more weights."""


def load_network(make: Callable[[dict[str, Any]], Network], part: Files) -> Network:
    """Return the network of a part of a prior's folder, float32 on the CPU.

    Args:
        make: the fields of ``config.json`` → the network.
        part: holds ``config.json`` and ``model.safetensors``.

    Raises:
        PriorError: a file is missing or damaged, or they do not fit each other.
    """
    try:
        config = dict(read_json(part / CONFIG))
        tensors = read_weights(part / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise PriorError(f"{part}/ holds no usable network", "train it with `sepcli train-prior`") from error
    config = _without_format(config, part)
    try:
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        _check_shapes(make, fields, tensors)
        network = make(fields)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise PriorError(
            f"{part / 'model.safetensors'} does not fit its config", "fetch or train the prior again"
        ) from error
    return network.eval()


def read_config(part: Files) -> Mapping[str, Any]:
    """Return the config of a part of a prior's folder.

    Raises:
        PriorError: it is missing or damaged.
    """
    try:
        config = read_json(part / CONFIG)
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {part / CONFIG}: {error}", "fetch or train the prior again") from error
    return _without_format(config, part)


def write_config(part: Path, config: Any) -> None:
    """Write the config of a part, a dataclass, with the format.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(part / CONFIG, json.dumps({"format": FORMAT, **asdict(config)}, indent=1))


def check_compiler(device: torch.device) -> None:
    """Refuse a device for which nothing can be compiled.

    Raises:
        UsageError: nothing can be compiled for the device here.
    """
    try:
        torch.compile(torch.neg)(torch.ones(1, device=device))
    except RuntimeError as error:
        raise UsageError(
            "nothing can be compiled here: " + str(error).strip().partition("\n")[0],
            "install a C++ compiler, or leave compile out",
            argument="settings.compile",
        ) from error


def compile_networks(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Compile networks at their first call, and again for inputs of another shape.

    Raises:
        UsageError: nothing can be compiled for the device here.
    """
    check_compiler(device)
    for network in networks:
        network.compile(dynamic=False)


def _without_format(config: Mapping[str, Any], part: Files) -> dict[str, Any]:
    """Return a config without its format, which is 1 if there is none.

    Raises:
        FormatError: it is newer.
    """
    refuse_newer(f"the config {part / CONFIG}", config.get("format"), FORMAT)
    return {key: value for key, value in config.items() if key != "format"}


def _check_cost(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a config with more layers or larger numbers than the tensors can have: ValueError."""
    counts = [fields.get(name, 0) for name in REPEATED]
    layers = math.prod(max(1, len(count) if isinstance(count, tuple) else count) for count in counts)
    lists = [value for name, value in fields.items() if isinstance(value, tuple) and name != "size"]
    longest = max((len(v) for v in lists if all(isinstance(item, int) for item in v)), default=0)
    if layers * max(1, longest) > len(tensors) or len(tensors) > MOST_TENSORS:
        raise ValueError("more layers than tensors")
    largest = max(LARGEST_NUMBER, sum(tensor.numel() for tensor in tensors.values()))
    if any(isinstance(value, int) and value > largest for value in fields.values()):
        raise ValueError("a number beyond all sizes")


def _check_shapes(
    make: Callable[[dict[str, Any]], Network], fields: dict[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Refuse a config whose network has other tensors, before memory is allocated for it.

    Raises:
        ValueError: it does; ``make`` may raise other errors.
    """
    _check_cost(fields, tensors)
    with torch.device("meta"), warnings.catch_warnings():  # no memory: a config may claim any width
        warnings.simplefilter("ignore")  # PyTorch's, on layers without weights
        expected = make(fields).state_dict()
    if {n: t.shape for n, t in expected.items()} != {n: t.shape for n, t in tensors.items()}:
        raise ValueError("other tensors than those of the config")
