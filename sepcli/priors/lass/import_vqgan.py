"""Import of VQ-GAN checkpoints as priors of LASS; nothing in the file is run.

A checkpoint holds the first stage alone, or both stages: the transformer under ``transformer.`` and the
first stage under ``first_stage_model.``, beside losses, which are left out. Sizes follow from the shapes of
tensors.

Source: github.com/CompVis/taming-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.priors.checkpoint import STATE, check_tensors, read_state
from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.imported import check_target, write_prior
from sepcli.priors.lass.vqgan import Vqgan, VqganConfig

FIRST, SECOND, CONDITION = "first_stage_model.", "transformer.", "cond_stage_model."
"""Prefixes of the stages, and of what a second stage may be conditioned on."""
LEFT_OUT = ("loss.", SECOND, CONDITION, "colorize")
"""Prefixes of tensors that are of no use."""
CODES = "quantize.embedding.weight"
RENAMES: Mapping[str, str] = {CODES: "quantizer.codebook"}
"""Name of a tensor of the first stage in the checkpoint → here; other names stay."""
HEAD_DIM = 64
"""Dimensions of a head, in all released transformers."""
SETTINGS: Mapping[str, Any] = {"candidates": 8, "refine": 100}
"""Settings of separation: of large images, few candidates and steps of refinement."""
HINT = "import a checkpoint of taming-transformers: of VQModel, or of Net2NetTransformer"

Config = TypeVar("Config", VqganConfig, GptConfig)
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Imported:
    """What a checkpoint held."""

    codec: VqganConfig
    transformer: GptConfig | None


def import_vqgan(
    checkpoint: Path,
    out: Path,
    *,
    source: str = "image",
    size: int = 256,
    classes: int = 0,
    heads: int | None = None,
    overwrite: bool = False,
) -> Imported:
    """Write the prior of a checkpoint into ``out``; its likelihood is counted afterwards.

    Args:
        checkpoint: a file of torch.save, see above.
        out: the prior's folder; its card is written last, so that it is a prior only when it is complete.
        source: name of what the images show.
        size: height and width of the images.
        classes: number of classes that the transformer is conditioned on; 0: none.
        heads: heads of the transformer's attention, which no tensor shows; None: of ``HEAD_DIM`` dimensions.
        overwrite: replace the networks in the folder.

    Raises:
        InputError: the checkpoint cannot be read, holds other objects, is of another network, or of a
            transformer that is conditioned on images.
        OutputError: the folder holds something, or cannot be written.
    """
    check_target(out, overwrite)
    state = read_state(checkpoint, mapped=True, entry=STATE)
    first, second = _first_stage(state), _second_stage(state)
    try:
        codec = _codec_config(first, (size, size))
        transformer = _transformer_config(second, codec, source, classes, heads) if second else None
    except (LookupError, ValueError) as error:
        raise InputError(f"{checkpoint} is no VQ-GAN of {size} x {size} pixels: {error}", HINT) from error
    _check_condition(checkpoint, state, codec, transformer)
    _check(checkpoint, first, Vqgan, codec)
    if transformer is not None:
        _check(checkpoint, second, GptPrior, transformer)
    stages = (first, codec), None if transformer is None else (second, transformer)
    write_prior(out, source, checkpoint, SETTINGS, *stages)
    return Imported(codec, transformer)


def _first_stage(state: Tensors) -> dict[str, Tensor]:
    prefix = FIRST if any(name.startswith(FIRST) for name in state) else ""
    named = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {RENAMES.get(name, name): t for name, t in named.items() if not name.startswith(LEFT_OUT)}


def _second_stage(state: Tensors) -> dict[str, Tensor]:
    named = {n.removeprefix(SECOND): t for n, t in state.items() if n.startswith(SECOND)}
    return {name: tensor for name, tensor in named.items() if not name.endswith(".attn.mask")}


def _codec_config(tensors: Tensors, size: tuple[int, int]) -> VqganConfig:
    """Read the sizes of a first stage off its tensors; LookupError or ValueError if it is none."""
    width, channels = tensors["encoder.conv_in.weight"].shape[:2]
    levels = _count(tensors, "encoder.down.{}.block.0.conv1.weight")
    if not width or not levels:
        raise ValueError("it has no levels")
    widths = [tensors[f"encoder.down.{n}.block.0.conv1.weight"].shape[0] for n in range(levels)]
    if any(after % width for after in widths):
        raise ValueError(f"{widths} channels are no multiples of {width}")
    vocabulary, code_dim = tensors[RENAMES[CODES]].shape
    return VqganConfig(
        channels=channels,
        size=size,
        width=width,
        multiples=tuple(after // width for after in widths),
        residuals=_count(tensors, "encoder.down.0.block.{}.conv1.weight"),
        attention=tuple(n for n in range(levels) if f"encoder.down.{n}.attn.0.q.weight" in tensors),
        latent_channels=tensors["encoder.conv_out.weight"].shape[0],
        vocabulary=vocabulary,
        code_dim=code_dim,
    )


def _transformer_config(
    tensors: Tensors, codec: VqganConfig, source: str, classes: int, heads: int | None
) -> GptConfig:
    """Read the sizes of a transformer off its tensors; LookupError or ValueError if it is none."""
    vocabulary, dim = tensors["tok_emb.weight"].shape
    if vocabulary != codec.vocabulary:
        raise ValueError(
            f"its transformer is over {vocabulary} tokens, its codec has {codec.vocabulary} codes"
        )
    context = tensors["pos_emb"].shape[1]
    if context < codec.tokens:
        raise ValueError(f"its transformer is of {context} tokens, such images have {codec.tokens}")
    return GptConfig(
        vocabulary=vocabulary,
        sources=(source, *map(str, range(classes))),
        dim=dim,
        layers=_count(tensors, "blocks.{}.ln1.weight"),
        heads=heads or max(1, dim // HEAD_DIM),
        context=context,
        unconditional=not classes,
    )


def _check_condition(
    checkpoint: Path, state: Tensors, codec: VqganConfig, transformer: GptConfig | None
) -> None:
    """Refuse a transformer whose sequences begin with more than one token: InputError."""
    conditioned = any(name.startswith(CONDITION) for name in state)
    if transformer is not None and (conditioned or transformer.context >= 2 * codec.tokens):
        raise InputError(
            f"the transformer of {checkpoint} is conditioned on an image or on coordinates",
            "import one of classes or without conditions, or give the size that it was trained for",
        )


def _check(
    checkpoint: Path, tensors: Tensors, network: Callable[[Config], nn.Module], config: Config
) -> None:
    with torch.device("meta"):  # shapes without memory: a checkpoint may claim any width
        try:
            on_meta = network(config)
        except ValueError as error:
            raise InputError(f"{checkpoint} is no VQ-GAN: {error}", HINT) from error
    expected = {name: tensor.shape for name, tensor in on_meta.state_dict().items()}
    check_tensors(checkpoint, tensors, expected, HINT)


def _count(tensors: Tensors, name: str) -> int:
    """Return the number of layers that have a tensor ``name``, with the number of the layer for {}."""
    number = 0
    while name.format(number) in tensors:
        number += 1
    return number
