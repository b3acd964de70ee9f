"""A checkpoint as taming-transformers writes it, with small weights that depend on their names only.

``python tests/released_vqgan.py`` records tests/data/vqgan/outputs.json: what the package itself computes
with these weights (pip install --no-deps taming-transformers==0.0.1).
"""

from __future__ import annotations

import json
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.import_vqgan import CODES, FIRST, RENAMES, SECOND
from sepcli.priors.lass.vqgan import Vqgan, VqganConfig

OUTPUTS = Path(__file__).parent / "data" / "vqgan" / "outputs.json"
SIDE, CODEC_CODES, CLASSES = 16, 24, 3
CODEC = VqganConfig(3, (SIDE, SIDE), 32, (1, 1, 2), 1, (2,), 16, CODEC_CODES, 8)
GPT = GptConfig(CODEC_CODES, ("image",), dim=32, layers=2, heads=2, context=20)
LIGHTNING = "pytorch_lightning.callbacks.model_checkpoint"


def values(name: str, shape: torch.Size) -> Tensor:
    """The weights of a tensor: near 1 for norms, else noise that keeps the size of what passes."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if "norm" in name or ".ln" in name or name.startswith("ln"):
        return torch.from_numpy(float("weight" in name) + 0.1 * noise).float()
    fan_in = max(1, int(np.prod(shape[1:])))
    return torch.from_numpy(noise / fan_in**0.5 if len(shape) > 1 else 0.1 * noise).float()


def first_stage() -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Vqgan(CODEC).state_dict().items()}
    theirs = {new: old for old, new in RENAMES.items()}
    return {theirs.get(name, name): values(theirs.get(name, name), shape) for name, shape in shapes.items()}


def second_stage() -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in GptPrior(GPT).state_dict().items()}
    causal = torch.ones(GPT.context, GPT.context).tril()[None, None]
    masks = {f"blocks.{n}.attn.mask": causal for n in range(GPT.layers)}
    return {name: values(name, shape) for name, shape in shapes.items()} | masks


def whole() -> dict[str, Tensor]:
    """Both stages, as in a checkpoint of Net2NetTransformer."""
    second = {SECOND + name: tensor for name, tensor in second_stage().items()}
    first = {FIRST + name: tensor for name, tensor in first_stage().items()}
    return {**second, **first, f"{FIRST}loss.discriminator.main.0.weight": torch.ones(2, 2)}


def save_released(path: Path, state: dict[str, Tensor]) -> Path:
    """Save a checkpoint as PyTorch Lightning does: with an entry of a callback, under its class."""
    modules = LIGHTNING.split(".")
    names = [".".join(modules[: n + 1]) for n in range(len(modules))]
    sys.modules.update({name: types.ModuleType(name) for name in names})
    callback: Any = type("ModelCheckpoint", (), {"__module__": LIGHTNING})
    sys.modules[LIGHTNING].ModelCheckpoint = callback  # type: ignore[attr-defined]
    instance = callback()
    instance.best = torch.tensor(1.0)
    try:
        entries = {"best": instance, "score": np.float64(0.5), "path": Path("last.ckpt")}
        content = {"epoch": 3, "callbacks": {callback: entries}, "state_dict": state}
        torch.save(content, path)
    finally:
        for name in names:
            del sys.modules[name]
    return path


def inputs() -> tuple[Tensor, Tensor]:
    """Two images in [0, 1], and the tokens that begin two sequences."""
    images = np.random.RandomState(0).random_sample((2, *CODEC.shape))
    return torch.from_numpy(images).float(), torch.tensor([0, CLASSES - 1])


def record() -> None:
    """Write what the package computes."""
    from taming.modules.diffusionmodules.model import Decoder, Encoder  # type: ignore[import-not-found]
    from taming.modules.transformer.mingpt import GPT as MinGpt  # type: ignore[import-not-found]
    from taming.modules.vqvae.quantize import VectorQuantizer  # type: ignore[import-not-found]

    sizes: dict[str, Any] = {
        "ch": CODEC.width,
        "out_ch": CODEC.channels,
        "ch_mult": CODEC.multiples,
        "num_res_blocks": CODEC.residuals,
        "attn_resolutions": [SIDE // CODEC.patch],
        "in_channels": CODEC.channels,
        "resolution": SIDE,
        "z_channels": CODEC.latent_channels,
        "double_z": False,
    }
    model = torch.nn.Module()
    model.encoder, model.decoder = Encoder(**sizes), Decoder(**sizes)
    model.quantize = VectorQuantizer(CODEC.vocabulary, CODEC.code_dim, beta=0.25)
    model.quant_conv = torch.nn.Conv2d(CODEC.latent_channels, CODEC.code_dim, 1)
    model.post_quant_conv = torch.nn.Conv2d(CODEC.code_dim, CODEC.latent_channels, 1)
    model.load_state_dict(first_stage())
    gpt = MinGpt(GPT.vocabulary, GPT.context, GPT.layers, GPT.heads, GPT.dim)
    gpt.load_state_dict(second_stage())
    images, begin = inputs()
    with torch.no_grad():
        codes, _, info = model.eval().quantize(model.quant_conv(model.encoder(2 * images - 1)))
        tokens = info[2].view(2, -1)
        decoded = model.decoder(model.post_quant_conv(codes))
        logits, _ = gpt.eval()(torch.cat([begin[:, None], tokens], dim=1)[:, :-1])
    found = {"tokens": tokens, "decoded": decoded[:, :, ::3, ::3], "logits": logits[:, ::5]}
    document = {name: np.round(tensor.double().numpy(), 6).tolist() for name, tensor in found.items()}
    OUTPUTS.parent.mkdir(exist_ok=True)
    OUTPUTS.write_text(json.dumps(document))
    print(CODES, {name: tuple(tensor.shape) for name, tensor in found.items()})


if __name__ == "__main__":
    record()
