"""Import of ImageGPT from a folder of the package transformers, as a prior of LASS; nothing in it is run.

The folder holds ``config.json``, the palette in ``preprocessor_config.json``, and weights as
``model.safetensors`` or as a pickle, of which only the tensors are read. The package is not needed.

Source: Chen et al. 2020, "Generative Pretraining from Pixels"; on the Hub openai/imagegpt-small, -medium and
    -large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sepcli.catalog.bounded import read_json
from sepcli.errors import InputError
from sepcli.priors.checkpoint import check_tensors, read_state
from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.imported import check_target, write_prior
from sepcli.priors.lass.palette import Palette, PaletteConfig

CONFIG, COLORS = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
RENAMES: Mapping[str, str] = {
    "wte": "tok_emb",
    "h": "blocks",
    "ln_1": "ln1",
    "ln_2": "ln2",
    "c_fc": "0",
    "lm_head": "head",
}
"""Component of a tensor's name there → here; other components stay."""
SETTINGS: Mapping[str, Any] = {"candidates": 8, "refine": 0}
"""Settings of separation: pixels need no refinement."""
HINT = "name a folder of ImageGPTForCausalImageModeling as save_pretrained writes it, with its palette"


def import_imagegpt(folder: Path, out: Path, *, source: str = "image", overwrite: bool = False) -> GptConfig:
    """Write the prior of a folder into ``out``; its likelihood is counted afterwards.

    Args:
        folder: see above.
        out: the prior's folder; its card is written last, so that it is a prior only when it is complete.
        source: name of what the images show.
        overwrite: replace the networks in the folder.

    Raises:
        InputError: something is missing, damaged, or of another network.
        OutputError: ``out`` holds something, or cannot be written.
    """
    check_target(out, overwrite)
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise InputError(f"{folder} holds neither {' nor '.join(WEIGHTS)}", HINT)
    try:
        config, palette = _config(read_json(folder / CONFIG), source), _palette(read_json(folder / COLORS))
        codec = PaletteConfig((math.isqrt(config.context),) * 2, *palette.shape)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{folder} is no ImageGPT with its palette: {error}", HINT) from error
    if (codec.tokens, codec.colors, codec.channels) != (config.context, config.vocabulary, 3):
        raise InputError(f"{folder} has a palette of {codec.colors} colors for {config.vocabulary}", HINT)
    tensors = _renamed(_read(weights), config)
    for values, network in ((tensors, GptPrior), ({"quantizer.codebook": palette}, Palette)):
        with torch.device("meta"):  # shapes without memory: a config may claim any width
            expected = network(config if network is GptPrior else codec).state_dict()  # type: ignore[arg-type]
        check_tensors(weights, values, {name: tensor.shape for name, tensor in expected.items()}, HINT)
    colors = {"quantizer.codebook": palette}
    write_prior(out, source, weights, SETTINGS, (colors, codec), (tensors, config))
    return config


def _config(fields: Mapping[str, Any], source: str) -> GptConfig:
    """Read the sizes; LookupError, TypeError or ValueError if they are of another network."""
    dim = int(fields["n_embd"])
    plain = {
        "model_type": "imagegpt",
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "scale_attn_weights": True,
        "activation_function": "quick_gelu",
    }
    other = [name for name, value in plain.items() if fields.get(name, value) != value]
    if other or fields.get("n_inner") not in (None, 4 * dim) or "model_type" not in fields:
        raise ValueError(f"another network by its {', '.join(other) or 'n_inner'}")
    return GptConfig(
        vocabulary=int(fields["vocab_size"]) - 1,
        sources=(source,),
        dim=dim,
        layers=int(fields["n_layer"]),
        heads=int(fields["n_head"]),
        context=int(fields["n_positions"]),
        pixels=True,
    )


def _palette(fields: Mapping[str, Any]) -> Tensor:
    palette = torch.tensor(fields["clusters"], dtype=torch.float32)
    if palette.dim() != 2:
        raise ValueError("clusters are not a list of colors")
    return palette


def _read(weights: Path) -> dict[str, Tensor]:
    if weights.name != WEIGHTS[0]:
        return read_state(weights, mapped=True)
    try:
        return load_file(weights)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {weights}: {error}", "fetch it again") from error


def _renamed(state: Mapping[str, Tensor], config: GptConfig) -> dict[str, Tensor]:
    """Return the tensors under the names of ``GptPrior``; linear maps are transposed there."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):  # masks
            continue
        parts = [RENAMES.get(part, part) for part in name.removeprefix("transformer.").split(".")]
        here = ".".join(parts).replace("mlp.c_proj", "mlp.2").replace("attn.c_proj", "attn.proj")
        linear = ".attn." in here or ".mlp." in here
        turned = tensor.T.contiguous() if linear and tensor.dim() == 2 else tensor
        if "attn.c_attn" in here:
            for kind, part in zip(("query", "key", "value"), turned.chunk(3), strict=False):
                tensors[here.replace("c_attn", kind)] = part.contiguous()
        elif here == "wpe.weight":
            tensors["pos_emb"] = tensor[None]
        else:
            tensors[here] = turned
    return {name: tensor.float() for name, tensor in tensors.items()}
