"""From a checkpoint of somebody else's network to a prior's folder; nothing that the file holds is run.

The authors of noise-conditional score networks save ``[state of the network, state of the optimiser]`` as a
pickle, the network inside ``DataParallel``. It is read by PyTorch's ``weights_only`` unpickler, which builds
tensors and plain containers and refuses the rest; the tensors are renamed, checked and stored as safetensors.

Source: github.com/ermongroup/ncsn, whose three released checkpoints (MNIST, CIFAR-10, CelebA) were trained
    with σ from 1 to 0.01 in 10 levels on images in [0, 1].
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.errors import InputError, OutputError
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.priors.images.train import card_of
from sepcli.training.config import check_alone, check_free
from sepcli.training.loop import forget, write_tensors, write_text

UNITS = {
    f"{block + 1}_{stage + 1}_{kind}": f"{kind}s.{2 * block + stage}"
    for block in range(3)
    for stage in range(2)
    for kind in ("norm", "conv")
}
"""The layers of their residual units, 1_1_norm to 3_2_conv → ours."""
RENAMES: Mapping[str, str] = {
    "begin_conv": "enter",
    "res1": "down.0",
    "res2": "down.1",
    "res3": "down.2",
    "res4": "down.3",
    "normalize1": "norm1",
    "normalize2": "norm2",
    "shortcut": "skip",
    "conv": "",  # theirs is wrapped together with the pooling after it
    "refine1": "up.0",
    "refine2": "up.1",
    "refine3": "up.2",
    "refine4": "up.3",
    "adapt_convs": "adapt",
    "msf": "fuse",
    "crp": "pool",
    "output_convs": "out",
    "normalizer": "norm",
    "end_conv": "leave",
    **UNITS,
}
"""Their word → ours, between the dots of a tensor's name; other words stay."""


def import_ncsn(
    checkpoint: Path, out: Path, *, source: str, size: int | None = None, overwrite: bool = False
) -> NcsnConfig:
    """Write the prior of a noise-conditional score network's checkpoint into ``out``.

    Args:
        checkpoint: ``[network, optimiser]`` or the network's state alone, saved by ``torch.save``.
        out: the prior's folder; its card is written last, so that it is a prior only when it is whole.
        source: what the images are of.
        size: height and width of the images that it was trained on; 28 for gray ones and 32 for color if
            None, as in the released ones.
        overwrite: replace a score network that is there.

    Returns:
        The config; width, channels and levels are those of the tensors.

    Raises:
        InputError: the checkpoint cannot be read, holds more than weights, or is of another network.
        OutputError: the folder holds something, or cannot be written.
    """
    folder = out / "ncsn"
    check_free(folder, overwrite=overwrite)
    check_alone(folder)
    tensors = {_renamed(name): tensor for name, tensor in read_state(checkpoint).items()}
    config = _config(checkpoint, tensors, size)
    with torch.device("meta"):  # shapes without memory: a checkpoint may claim any width
        expected = {name: tensor.shape for name, tensor in NcsnPrior(config).state_dict().items()}
    check_tensors(checkpoint, tensors, expected, "import a checkpoint of the network CondRefineNetDilated")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}", "choose another --out folder"
        ) from error
    forget(folder)
    whole = {name: t.float().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    write_tensors(folder / "model.safetensors", whole)  # of clones, for tensors of a pickle may share memory
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1))
    entry = {"checkpoint": checkpoint.name, "sha256": cards.sha256(checkpoint), "classes": []}
    card = cards.with_part(card_of(out, "ncsn", source), "ncsn", cards.Part("ncsn", entry))
    cards.write(cards.with_files(card, out), out)
    return config


def read_state(checkpoint: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """The tensors of a checkpoint's network by their own names, without the prefix of ``DataParallel``.

    Args:
        checkpoint: a file of ``torch.save``.
        mapped: leave the tensors in the file until they are used, if its format allows it.

    Raises:
        InputError: it cannot be read, or is of more than tensors.
    """
    if not os.path.isfile(checkpoint):
        raise InputError(f"there is no file {checkpoint}", "name a checkpoint, such as checkpoint.pth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on pickles for their authors
            mapped = mapped and _is_stored(checkpoint)
            found = torch.load(str(checkpoint), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(
            f"cannot read {checkpoint}: {_reason(error)}",
            "a checkpoint must be whole, and hold tensors in lists and dicts and nothing else",
        ) from error
    if isinstance(found, list | tuple) and found:
        found = found[0]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise InputError(
            f"{checkpoint} does not hold the state of a network",
            "save model.state_dict(), or a list that begins with it",
        )
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def check_tensors(
    checkpoint: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], hint: str
) -> None:
    """Refuse tensors that are not those of a network.

    Args:
        checkpoint: what they are of.
        tensors: by name.
        expected: name → shape.
        hint: what to do.

    Raises:
        InputError: names or shapes differ, or values are not finite floating-point numbers.
    """
    shared = [name for name in expected if name in tensors]
    alike = [name for name in shared if tensors[name].shape == expected[name]]
    problems = {
        "missing": [name for name in expected if name not in tensors],
        "unknown": [name for name in tensors if name not in expected],
        "of another shape": [name for name in shared if name not in alike],
        "not of finite numbers": [name for name in alike if not _finite(tensors[name])],
    }
    told = [
        f"{len(names)} {what} ({', '.join(map(repr, names[:3]))}{', …' if len(names) > 3 else ''})"
        for what, names in problems.items()
        if names
    ]
    if told:
        raise InputError(f"the tensors of {checkpoint} do not fit the network: {'; '.join(told)}", hint)


def _is_stored(path: Path) -> bool:
    """Whether a file is an archive of which nothing is compressed, as ``torch.save`` makes them.

    Raises:
        ValueError: it is one, and damaged; PyTorch does not look at checksums.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError("checksum")
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _reason(error: Exception) -> str:
    """Why it could not be read, without PyTorch's advice to trust the file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    asked = re.search(r"GLOBAL (\S+)", str(error))
    return f"it calls for {asked[1][:80]!r}" if asked else "it is damaged, or not a file of torch.save"


def _renamed(name: str) -> str:
    words = (RENAMES.get(word, word) for word in name.split("."))
    return ".".join(["net", *(word for word in words if word)])


def _config(checkpoint: Path, tensors: Mapping[str, Tensor], size: int | None) -> NcsnConfig:
    enter, table = tensors.get("net.enter.weight"), tensors.get("net.norm.embed.weight")
    if enter is None or table is None or enter.dim() != 4 or table.dim() != 2:
        raise InputError(
            f"{checkpoint} is not a noise-conditional score network: it lacks begin_conv or normalizer",
            "import a checkpoint of the network CondRefineNetDilated",
        )
    width, channels = enter.shape[:2]
    side = size or (28 if channels == 1 else 32)
    return NcsnConfig(channels=channels, size=(side, side), width=width, levels=table.shape[0])


def _finite(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
    return plain and bool(tensor.float().isfinite().all())
