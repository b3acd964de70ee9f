"""Weights in a safetensors file: floats of 16 or 32 bits, or integers of 8 bits with a scale per channel.

A large tensor NAME (O, …) of the storage int8 holds q in -127 … 127; beside it ``NAME:scale`` (O, 1, …, 1),
float32, holds s > 0, and the weight is q · s: symmetric, one scale per output channel. The metadata of the
file are ``storage = "int8/1"``, name and version; a file without them holds floats only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sepcli.atomic import write_whole
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Storage
from sepcli.catalog.low_rank import BASE, LEFT, RIGHT, Difference, complete, factors
from sepcli.errors import PriorError

SCALE = ":scale"
"""Suffix of the name of a tensor of scales."""
VERSION = 1
"""The version of the storage int8 that this version writes."""
LEAST, FAN_IN = 1024, 16
"""The fewest elements of a tensor, and of one of its channels, that are stored as integers."""
WHOLE: Mapping[Storage, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.bfloat16,
}
"""The type of the tensors of a storage that are no integers."""


def pack(tensors: Mapping[str, Tensor], rounded: Collection[str], storage: Storage) -> dict[str, Tensor]:
    """Return the tensors as they are stored, on the CPU.

    Args:
        tensors: of a network, by name.
        rounded: the names of those that may be rounded; the others stay as they are.
        storage: of those that are rounded.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        values = tensor.detach().cpu()
        if name in rounded and storage == "int8" and _is_large(values):
            packed |= dict(zip((name, name + SCALE), quantize(values), strict=True))
        else:
            packed[name] = (_rounded(values, storage) if name in rounded else values).contiguous()
    return packed


def quantize(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return q (O, …), int8, and the scales s (O, 1, …, 1), float32, with weights (O, …) ≈ q · s.

    The largest weight of a channel is ±127 s; a channel of zeros has scale 1.
    """
    values = weights.float()
    largest = values.abs().flatten(1).amax(1).view(-1, *[1] * (values.dim() - 1))
    least = torch.finfo(torch.float32).tiny
    scale = torch.where(largest > 0, (largest / 127).clamp(min=least), torch.ones_like(largest))
    return (values / scale).round().clamp(-127, 127).to(torch.int8).contiguous(), scale.contiguous()


def write_weights(path: Path, packed: Mapping[str, Tensor], base: Mapping[str, str] | None = None) -> None:
    """Write the tensors of ``pack`` as safetensors, atomically.

    Args:
        path: the file.
        packed: the tensors.
        base: metadata of the base, of differences from one; see ``sepcli.catalog.low_rank``.

    Raises:
        OutputError: the file cannot be written.
    """
    integers = any(name.endswith(SCALE) for name in packed)
    metadata = {**({"storage": f"int8/{VERSION}"} if integers else {}), **(base or {})}
    write_whole(path, to_bytes(packed, metadata))  # save_file would keep others from reading


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file whose metadata are sorted; the library writes them in random order."""
    data: bytes = save(dict(tensors), dict(metadata) or None)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    if metadata:
        header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little") + text + data[start:]


def read_weights(path: Files) -> dict[str, Tensor]:
    """Return the tensors of a network by name: what is stored as integers in float32, the others as stored.

    Raises:
        OSError, SafetensorError: the file is missing or no whole safetensors file.
        PriorError: its integers and scales do not fit each other, or are of a newer version; or its base is
            not there.
    """
    stored, metadata = read_tensors(path)
    scales = {name.removesuffix(SCALE): stored.pop(name) for name in list(stored) if name.endswith(SCALE)}
    if scales or any(tensor.dtype == torch.int8 for tensor in stored.values()):
        _check_version(path, metadata)
    for name, scale in scales.items():
        if reason := _misfit(stored.get(name), scale):
            raise _damaged(path, f"{name} {reason}")
        stored[name] = stored[name].float() * scale
    if unscaled := [name for name, tensor in stored.items() if tensor.dtype == torch.int8]:
        raise _damaged(path, f"{unscaled[0]} has no scale")
    return complete(stored, metadata, path, read_weights)


def read_tensors(file: Files) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, which is read once, as they are stored, and its metadata.

    Raises:
        OSError, SafetensorError: the file is missing or no whole safetensors file.
        PriorError: see ``sepcli.catalog.verified.Verified.read_bytes``.
    """
    data = file.read_bytes()
    tensors: dict[str, Tensor] = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, dict(header.get("__metadata__") or {})


def convert(source: Files, target: Path, storage: Storage, difference: Difference | None = None) -> float:
    """Write the weights of a file in another storage; return the relative error of those converted.

    What the network keeps in full precision beside rounded weights stays so; of a file of float32 alone, and
    of one with a base, the tensors with channels are converted.

    Args:
        source: the file.
        target: the new one.
        storage: of the weights.
        difference: store them as a difference of low rank from those of a bundled prior; None: whole.

    Raises:
        PriorError: the source is missing or damaged, or the base does not fit it.
        OutputError: the target cannot be written.
    """
    try:
        tensors, (stored, metadata) = read_weights(source), read_tensors(source)
    except (OSError, SafetensorError) as error:
        raise _damaged(source, str(error)) from error
    rounded = set() if BASE in metadata else _rounded_names(stored)
    rounded = rounded or {name for name, tensor in tensors.items() if _is_large(tensor)}
    kept: Mapping[str, Tensor] = tensors
    if difference is not None:
        kept = factors(base_of(tensors, difference), tensors, difference.rank)
    names = {f"{name}{side}" for name in rounded for side in ("", LEFT, RIGHT)}
    write_weights(target, pack(kept, names, storage), None if difference is None else difference.metadata())
    written, wrong, total = read_weights(target), 0.0, 0.0
    for name in sorted(rounded):
        before = tensors[name].double()
        wrong += float((written[name].double() - before).square().sum())
        total += float(before.square().sum())
    return (wrong / total) ** 0.5 if total else 0.0


def base_of(tensors: Mapping[str, Tensor], difference: Difference) -> dict[str, Tensor]:
    """Return the weights of the base from which those of a network are stored as a difference.

    Raises:
        PriorError: there is no such base, or it is of another network.
    """
    base = read_weights(difference.file())
    if {n: t.shape for n, t in base.items()} != {n: t.shape for n, t in tensors.items()}:
        raise PriorError(
            f"{difference.base} is another network",
            "choose the prior that this one was trained from",
            argument="base",
        )
    return base


def _rounded_names(stored: Mapping[str, Tensor]) -> set[str]:
    """The names of the tensors that are stored in less than full precision."""
    return {
        name
        for name, tensor in stored.items()
        if not name.endswith(SCALE) and tensor.dtype in (torch.bfloat16, torch.float16, torch.int8)
    }


def _rounded(values: Tensor, storage: Storage) -> Tensor:
    """Floats in 16 bits; in bfloat16 what is too large for float16."""
    halves = values.to(WHOLE[storage])
    return halves if bool(halves.isfinite().all()) else values.to(torch.bfloat16)


def _is_large(values: Tensor) -> bool:
    """Whether a tensor is worth scales, and all of it is finite."""
    large = values.dim() >= 2 and values.numel() >= LEAST and values.numel() >= FAN_IN * len(values)
    return large and bool(values.isfinite().all())


def _misfit(integers: Tensor | None, scale: Tensor) -> str | None:
    """Return what is wrong with a tensor and its scales, or None."""
    if integers is None or integers.dtype != torch.int8:
        return "is not there as integers, but has scales"
    if scale.dtype != torch.float32 or scale.shape != (*integers.shape[:1], *[1] * (integers.dim() - 1)):
        return "does not have one scale per output channel"
    if not bool((scale.isfinite() & (scale > 0)).all()):
        return "has scales that are not positive numbers"
    return None


def _check_version(path: Files, metadata: Mapping[str, str]) -> None:
    """Refuse integers without a description, or of a newer version.

    Raises:
        PriorError: they are.
    """
    storage = metadata.get("storage", "")
    name, _, version = storage.partition("/")
    if not (name and version.isdecimal()):
        raise _damaged(path, "it holds integers without metadata of their storage")
    if name != "int8" or int(version) > VERSION:
        raise PriorError(
            f"{path} has weights in the storage {storage}, which this version cannot read", "update sepcli"
        )


def _damaged(path: Files, reason: str) -> PriorError:
    return PriorError(f"the weights {path} are damaged: {reason}", "fetch or train the prior again")
