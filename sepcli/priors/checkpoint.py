"""Checkpoints of torch.save: tensors only, checked by name, shape and value before anything uses them.

A pickle is read by PyTorch's ``weights_only`` unpickler, which builds tensors and plain containers and
refuses all else, so that nothing in the file is run. Objects of PyTorch Lightning and OmegaConf, paths, and
numbers of NumPy, which checkpoints of those libraries hold beside the network, become empty objects of a
class that does nothing.
"""

from __future__ import annotations

import codecs
import io
import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sepcli.errors import InputError
from sepcli.training.checkpoints import write_tensors

COMPRESSED = "its entries are compressed"
TRAINERS = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "pathlib", "numpy")
"""Packages whose classes in a checkpoint are read as ``Inert``: the libraries are not imported."""
STATE = "state_dict"
"""The entry of a Lightning checkpoint that holds the tensors."""


class Inert:
    """An object of a checkpoint that is not read: it keeps no argument and no state."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_state(checkpoint: Path, *, mapped: bool = False, entry: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint's network by their names, without the prefix of ``DataParallel``.

    The file holds them in a dict, which is all of it, or the first entry of a list.

    Args:
        checkpoint: a file of ``torch.save``.
        mapped: leave the tensors in the file until they are used, if its format allows it.
        entry: name of the entry of that dict which holds them, where there is one.

    Raises:
        InputError: the file cannot be read, holds more than tensors, or fewer numbers than its tensors have:
            those may repeat a number, and take memory only when they are copied.
    """
    if not os.path.isfile(checkpoint):
        raise InputError(f"there is no file {checkpoint}", "name a checkpoint, such as checkpoint.pth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on pickles for their authors
            mapped = _is_stored(checkpoint) and mapped
            stand_ins = _stand_ins(_arguments(checkpoint))
            with _allowing([*stand_ins, codecs.encode]):  # torch allows the latter, but for 2.4
                state = torch.load(str(checkpoint), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(
            f"cannot read {checkpoint}: {_reason(error)}",
            "a checkpoint must be whole, and hold tensors in lists and dicts and nothing else",
        ) from error
    if isinstance(state, list | tuple) and state:
        state = state[0]
    if entry is not None and isinstance(state, Mapping) and isinstance(state.get(entry), Mapping):
        state = state[entry]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise InputError(
            f"{checkpoint} does not hold the state of a network",
            "save model.state_dict(), or a list that begins with it",
        )
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > checkpoint.stat().st_size:
        raise InputError(f"{checkpoint} claims more numbers than it holds", "fetch or save it again")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


@contextmanager
def _allowing(named: list[Any]) -> Iterator[None]:
    """Allow names in checkpoints: ``torch.serialization.safe_globals``, which torch 2.4 lacks."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(named)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def check_tensors(
    checkpoint: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], hint: str
) -> None:
    """Refuse tensors of a file that do not fit the names and shapes of a network.

    Raises:
        InputError: with ``hint``: names or shapes differ, or values are not finite floating-point numbers.
    """
    shared = [name for name in expected if name in tensors]
    alike = [name for name in shared if tensors[name].shape == expected[name]]
    problems = {
        "missing": [name for name in expected if name not in tensors],
        "unknown": [name for name in tensors if name not in expected],
        "of another shape": [name for name in shared if name not in alike],
        "not of finite numbers": [name for name in alike if not _finite(tensors[name])],
    }
    listed = [
        f"{len(names)} {what} ({', '.join(map(repr, names[:3]))}{', …' if len(names) > 3 else ''})"
        for what, names in problems.items()
        if names
    ]
    if listed:
        raise InputError(f"the tensors of {checkpoint} do not fit the network: {'; '.join(listed)}", hint)


def write_clones(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write clones of tensors as safetensors: those of a pickle may share memory, or not be contiguous."""
    whole = {n: t.detach().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    write_tensors(path, whole)


def _is_stored(path: Path) -> bool:
    """Whether a file is an archive, whose entries ``torch.save`` does not compress.

    Raises:
        ValueError: an entry is compressed, or damaged; PyTorch does not verify checksums.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError(COMPRESSED)
        if sum(entry.file_size for entry in entries) > path.stat().st_size or archive.testzip() is not None:
            raise ValueError("size or checksum")
    return True


def _stand_ins(arguments: list[object]) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return an inert class under the name of every class of ``TRAINERS`` that a pickle names.

    Raises:
        ValueError: the pickle makes bytes from their number, which PyTorch's unpickler allows.
    """
    texts = {argument for argument in arguments if isinstance(argument, str)}
    named = [text.split(" ") for text in sorted(texts) if text.count(" ") == 1]
    if any(text.split(" ")[-1] == "bytearray" for text in texts):
        raise ValueError("GLOBAL builtins.bytearray")
    return [
        type(name, (Inert,), {"__module__": module})
        for module, name in named
        if module.split(".")[0] in TRAINERS and name.isidentifier()
    ]


def _arguments(path: Path) -> list[object]:
    """Return the arguments of all opcodes of a pickle; of a name of Python, module and name with a space."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            streams = [io.BytesIO(archive.read(name)) for name in names]
            return [arg for stream in streams for _, arg, _ in pickletools.genops(stream)]
    with path.open("rb") as file:  # magic number, protocol, system, and what was saved
        return [arg for _ in range(4) for _, arg, _ in pickletools.genops(file)]


def _reason(error: Exception) -> str:
    """Return why a file cannot be read, without PyTorch's advice to trust it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if str(error) == COMPRESSED:
        return f"{COMPRESSED}, which may grow to any size; torch.save compresses nothing"
    called = re.search(r"GLOBAL (\S+)", str(error))
    return f"it calls {called[1][:80]!r}" if called else "it is damaged, or not a file of torch.save"


def _finite(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
    return plain and bool(tensor.float().isfinite().all())
