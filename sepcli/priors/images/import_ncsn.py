"""Import of a released noise-conditional score network; nothing in the file is run.

The authors save ``[state of the network, state of the optimizer]`` as a pickle, the network inside
``DataParallel``. Its tensors are renamed, checked and stored as safetensors.

Source: github.com/ermongroup/ncsn, whose three released checkpoints (MNIST, CIFAR-10, CelebA) were trained
    with σ from 1 to 0.01 in 10 levels on images in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sepcli.atomic import make_folder
from sepcli.catalog import card as cards
from sepcli.catalog.network import write_config
from sepcli.errors import InputError
from sepcli.priors.checkpoint import check_tensors, read_state, write_clones
from sepcli.priors.images.ncsn import NcsnConfig, NcsnPrior
from sepcli.priors.images.train import card_of
from sepcli.training.checkpoints import forget
from sepcli.training.config import check_alone, check_free

UNITS = {
    f"{block + 1}_{stage + 1}_{kind}": f"{kind}s.{2 * block + stage}"
    for block in range(3)
    for stage in range(2)
    for kind in ("norm", "conv")
}
"""Layers of residual units in the checkpoint, 1_1_norm to 3_2_conv → layer here."""
RENAMES: Mapping[str, str] = {
    **{f"res{stage + 1}": f"down.{stage}" for stage in range(4)},
    **{f"refine{stage + 1}": f"up.{stage}" for stage in range(4)},
    **{f"normalize{number}": f"norm{number}" for number in (1, 2)},
    "begin_conv": "enter",
    "shortcut": "skip",
    "conv": "",  # in the checkpoint it is wrapped together with the pooling after it
    "adapt_convs": "adapt",
    "msf": "fuse",
    "crp": "pool",
    "output_convs": "out",
    "normalizer": "norm",
    "end_conv": "leave",
    **UNITS,
}
"""Component of a tensor's name in the checkpoint → here; other components stay."""


def import_ncsn(
    checkpoint: Path, out: Path, *, source: str, size: int | None = None, overwrite: bool = False
) -> NcsnConfig:
    """Write the prior of a noise-conditional score network's checkpoint into ``out``.

    Args:
        checkpoint: ``[network, optimizer]`` or the network's state alone, saved by ``torch.save``.
        out: the prior's folder; its card is written last, so that it is a prior only when it is complete.
        source: name of what the images show.
        size: height and width of the training images; None: 28 for gray images and 32 for color, as in the
            released checkpoints.
        overwrite: replace a score network in the folder.

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
    make_folder(folder, "choose another folder", "out")
    forget(folder)
    write_clones(folder / "model.safetensors", {name: tensor.float() for name, tensor in tensors.items()})
    write_config(folder, config)
    entry = {"checkpoint": checkpoint.name, "sha256": cards.sha256(checkpoint), "classes": []}
    card = cards.with_part(card_of(out, "ncsn", source), "ncsn", cards.Part("ncsn", entry))
    cards.write(cards.with_files(card, out), out)
    return config


def _renamed(name: str) -> str:
    parts = (RENAMES.get(part, part) for part in name.split("."))
    return ".".join(["net", *(part for part in parts if part)])


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
