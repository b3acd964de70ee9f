"""The file of a likelihood table: one safetensors file, written as a whole, checked before it is believed.

Every conditional is stored as its keys m · size + c in rising order: ``step``, from each key to the next (the
first from -1), and ``count``; where something was pruned, also ``total``, the exact n_c of the contexts held,
in rising order. Of these lists few numbers are large, so that they take one or two bytes each, whichever is
shorter in all; numbers that do not fit have their index in ``.at`` and their value in ``.large``.
Other integers take the smallest type that holds them. In a compressed file every tensor is a stream of
deflate of its bytes, the first of every integer first, then the second (zlib, uint8), and ``packed`` in the
metadata holds type and length of each.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from sepcli.atomic import write_whole
from sepcli.catalog.bounded import Files
from sepcli.catalog.storage import read_tensors, to_bytes
from sepcli.errors import PriorError, refuse_newer
from sepcli.priors.lass.table.conditional import Conditional
from sepcli.priors.lass.table.counts import MAX_VOCABULARY, Counts

FORMAT = "sepcli-likelihood-table"
VERSIONS = ("2", "3")
"""Versions that are read: of plain tensors, and of compressed ones."""
MOSTLY_SMALL = (".step", ".count", ".total")
"""Names of lists in which few numbers are large."""
NARROW = (torch.uint8, torch.int16)
"""What their small numbers may be stored as."""
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY)
"""Strategies of zlib, of which the shortest result is kept."""
MAX_LENGTH = 1 << 27
"""The most integers of all compressed lists, so that a small file cannot fill the memory."""


def write(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], compress: bool = False
) -> None:
    """Write a table, atomically; OutputError if the file cannot be written."""
    small = {name: part for whole, t in tensors.items() for name, part in _small(whole, t).items()}
    version, packed = VERSIONS[compress], {}
    if compress:
        packed = {"packed": json.dumps({n: [str(t.dtype).split(".")[1], len(t)] for n, t in small.items()})}
        small = {name: _deflated(tensor) for name, tensor in small.items()}
    write_whole(path, to_bytes(small, {"format": FORMAT, "version": version, **packed, **metadata}))


def read(path: Files) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors (int64) and the metadata of a table.

    Raises:
        PriorError: the file is missing, is no likelihood table, or is of an older version.
        FormatError: it is of a newer version.
    """
    try:
        tensors, metadata = read_tensors(path)
    except FileNotFoundError as error:
        raise PriorError(
            f"the likelihood table {path} is missing",
            "fetch the prior again, or count one with `build-likelihood`",
        ) from error
    except (OSError, SafetensorError) as error:
        raise _broken(path, str(error)) from error
    check(path, metadata.get("format") == FORMAT, "it is not a likelihood table")
    version = metadata.get("version", "")
    refuse_newer(
        f"the likelihood table {path}", int(version) if version.isdecimal() else 0, int(VERSIONS[-1])
    )
    if version not in VERSIONS:
        raise PriorError(
            f"the likelihood table {path} has format version {version}, not {VERSIONS[-1]}",
            "count the table again with `build-likelihood`",
        )
    integers = not any(t.is_floating_point() or t.is_complex() or t.dim() != 1 for t in tensors.values())
    check(path, integers, "it holds tensors other than lists of integers")
    if metadata["version"] == VERSIONS[1]:
        tensors = _inflated(tensors, metadata.get("packed", ""), path)
    return _whole({name: tensor.to(torch.int64) for name, tensor in tensors.items()}, path), metadata


def pack(name: str, part: Conditional) -> dict[str, Tensor]:
    """Return the tensors of one conditional, their names beginning with ``name``."""
    keys = part.counts.keys
    tensors = {f"{name}.step": keys.diff(prepend=keys.new_tensor([-1])), f"{name}.count": part.counts.values}
    if int(part.lost.sum()):
        tensors[f"{name}.total"] = part.contexts.values
    return tensors


def unpack(name: str, tensors: Mapping[str, Tensor], vocabulary: int, size: int, path: Files) -> Conditional:
    """Make a conditional of the tensors of ``pack``.

    Raises:
        PriorError: something is missing, out of order or out of range.
    """
    try:
        step, count = (tensors[f"{name}.{n}"] for n in ("step", "count"))
    except KeyError as error:
        raise _broken(path, f"{error.args[0]} is missing") from error
    check(path, len(step) == len(count), f"{name} is cut short")
    check(path, _within(step, 1, MAX_VOCABULARY**3), f"{name} is not sorted")
    inside = float(step.double().sum()) < 2.0**62 and int(step.sum()) <= vocabulary * size
    check(path, inside, f"{name} holds codes outside the vocabulary")
    check(path, _within(count, 1, 1 << 48), f"{name}.count holds impossible counts")
    whole = Conditional.of(Counts(step.cumsum(0) - 1, count), size)
    total = tensors.get(f"{name}.total", whole.contexts.values)
    check(path, len(total) == len(whole.contexts), f"{name}.total is cut short")
    lost = total - whole.contexts.values
    check(path, _within(lost, 0, 1 << 48), f"{name}.total holds impossible counts")
    return Conditional(whole.counts, Counts(whole.contexts.keys, total), lost, size)


def number(metadata: Mapping[str, str], name: str, path: Files, most: float = MAX_VOCABULARY) -> float:
    """Return a positive number of the metadata, at most ``most``; PriorError if it is none."""
    try:
        value = float(metadata[name])
    except (KeyError, ValueError) as error:
        raise _broken(path, f"its {name} is not a number") from error
    check(path, 0 < value <= most, f"its {name} is out of range")
    return value


def check(path: Files, holds: bool, reason: str) -> None:
    """Refuse a table that breaks a rule: PriorError unless it ``holds``."""
    if not holds:
        raise _broken(path, reason)


def _broken(path: Files, reason: str) -> PriorError:
    return PriorError(
        f"the likelihood table {path} is damaged: {reason}",
        "fetch the prior again, or count the table again with `build-likelihood`",
    )


def _within(values: Tensor, low: int, high: int) -> bool:
    return not len(values) or (int(values.min()) >= low and int(values.max()) <= high)


def _small(name: str, values: Tensor) -> dict[str, Tensor]:
    """The same integers in few bytes: as one tensor or, where few are large, with the large ones apart."""
    if not name.endswith(MOSTLY_SMALL):
        return {name: _shrink(values)}
    splits = [_split(name, values.cpu(), dtype) for dtype in NARROW]
    return min(splits, key=lambda parts: sum(part.nbytes for part in parts.values()))


def _split(name: str, values: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Integers in a narrow type, and apart from them those that it does not hold."""
    most = torch.iinfo(dtype).max
    large = (values > most).nonzero()[:, 0]
    parts = {name: values.clamp(max=most).to(dtype).contiguous()}
    if len(large):
        parts |= {f"{name}.at": _shrink(large), f"{name}.large": _shrink(values[large])}
    return parts


def _whole(parts: Mapping[str, Tensor], path: Files) -> dict[str, Tensor]:
    """Undo ``_small``."""
    tensors = {name: values for name, values in parts.items() if not name.endswith((".at", ".large"))}
    for name in [name for name in tensors if f"{name}.at" in parts]:
        at, large = parts[f"{name}.at"], parts.get(f"{name}.large", torch.zeros(0, dtype=torch.int64))
        check(path, len(large) == len(at), f"{name} lacks its large values")
        check(path, _within(at, 0, len(tensors[name]) - 1), f"{name} has large values at invalid positions")
        tensors[name] = tensors[name].index_copy(0, at, large)
    return tensors


def _deflated(values: Tensor) -> Tensor:
    """The bytes of integers (N,) as a stream of deflate, uint8."""
    array = values.numpy()
    planes = (
        array.astype(array.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, array.itemsize).T.tobytes()
    )
    streams = []
    for strategy in STRATEGIES:
        stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
        streams.append(stream.compress(planes) + stream.flush())
    return torch.from_numpy(np.frombuffer(min(streams, key=len), np.uint8).copy())


def _inflated(streams: Mapping[str, Tensor], packed: str, path: Files) -> dict[str, Tensor]:
    """Undo ``_deflated`` for the tensors of a file.

    Raises:
        PriorError: A stream is damaged, or not of the type and length that the metadata claim.
    """
    try:
        kinds = {name: (np.dtype(kind), int(length)) for name, (kind, length) in json.loads(packed).items()}
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise _broken(path, "its metadata do not describe its lists") from error
    check(path, kinds.keys() == streams.keys(), "its metadata do not describe its lists")
    tensors = {}
    check(
        path, sum(length for _, length in kinds.values()) <= MAX_LENGTH, "its lists are of impossible length"
    )
    for name, (kind, length) in kinds.items():
        check(path, kind.kind in "iu" and 0 <= length <= MAX_LENGTH, f"{name} is of an impossible length")
        size, stream = length * kind.itemsize, zlib.decompressobj()
        try:
            data = stream.decompress(streams[name].numpy().tobytes(), size + 1)
        except (TypeError, zlib.error) as error:
            raise _broken(path, f"{name} cannot be decompressed") from error
        check(path, len(data) == size and stream.eof, f"{name} is cut short")
        planes = np.frombuffer(data, np.uint8).reshape(kind.itemsize, length).T
        array = np.ascontiguousarray(planes).view(kind.newbyteorder("<")).reshape(length)
        tensors[name] = torch.from_numpy(array.astype(np.int64))
    return tensors


def _shrink(values: Tensor) -> Tensor:
    """The same integers in the smallest type that holds them."""
    most = int(values.abs().max()) if len(values) else 0
    dtype = next(t for t in (torch.int16, torch.int32, torch.int64) if most <= torch.iinfo(t).max)
    return values.detach().to("cpu", dtype).contiguous()
