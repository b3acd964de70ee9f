"""A folder of ImageGPT as the package transformers writes it, with weights that depend on their names only.

``python tests/released_imagegpt.py`` records tests/data/imagegpt/outputs.json: what the package itself
computes with these weights (pip install transformers==5.24.0).
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

OUTPUTS = Path(__file__).parent / "data" / "imagegpt" / "outputs.json"
SIDE, COLORS, DIM, LAYERS, HEADS = 4, 12, 16, 2, 2
CONFIG: dict[str, Any] = {
    "model_type": "imagegpt",
    "vocab_size": COLORS + 1,
    "n_positions": SIDE**2,
    "n_embd": DIM,
    "n_layer": LAYERS,
    "n_head": HEADS,
}


def values(name: str, *shape: int) -> Tensor:
    """The weights of a tensor: near 1 for norms, else noise."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if "ln_" in name:
        return torch.from_numpy(1 + 0.1 * noise).float()
    return torch.from_numpy(0.3 * noise).float()


def state() -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (COLORS + 1, DIM),
        "transformer.wpe.weight": (SIDE**2, DIM),
        "transformer.ln_f.weight": (DIM,),
        "lm_head.weight": (COLORS, DIM),
    }
    for n in range(LAYERS):
        for name, inner, outer in (
            ("attn.c_attn", DIM, 3 * DIM),
            ("attn.c_proj", DIM, DIM),
            ("mlp.c_fc", DIM, 4 * DIM),
            ("mlp.c_proj", 4 * DIM, DIM),
        ):
            shapes[f"transformer.h.{n}.{name}.weight"] = (inner, outer)
            shapes[f"transformer.h.{n}.{name}.bias"] = (outer,)
        shapes |= {f"transformer.h.{n}.ln_{k}.weight": (DIM,) for k in (1, 2)}
    return {name: values(name, *shape) for name, shape in shapes.items()}


def palette() -> Tensor:
    return values("palette", COLORS, 3).mul(2).clamp(-1, 1)


def images() -> Tensor:
    """Two images in [0, 1]."""
    return torch.from_numpy(np.random.RandomState(0).random_sample((2, 3, SIDE, SIDE))).float()


def save_released(folder: Path, pickled: bool = False, **changes: Any) -> Path:
    """Write config, palette and weights, in either format."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "preprocessor_config.json").write_text(json.dumps({"clusters": palette().tolist()}))
    if pickled:
        masks = {f"transformer.h.{n}.attn.bias": torch.ones(1, 1, 4, 4) for n in range(LAYERS)}
        torch.save(state() | masks, folder / "pytorch_model.bin")
    else:
        save_file(state(), folder / "model.safetensors")
    return folder


def record() -> None:
    """Write what the package computes."""
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling
    from transformers.models.imagegpt.image_processing_pil_imagegpt import color_quantize

    model = ImageGPTForCausalImageModeling(ImageGPTConfig(**CONFIG)).eval()
    model.load_state_dict(state())
    pixels = 2 * images().permute(0, 2, 3, 1) - 1
    tokens = torch.from_numpy(color_quantize(pixels.reshape(-1, 3).numpy(), palette().numpy())).view(2, -1)
    begun = torch.cat([torch.full_like(tokens[:, :1], COLORS), tokens[:, :-1]], dim=1)
    with torch.no_grad():
        logits = model(input_ids=begun).logits
    found = {"tokens": tokens, "logits": logits[:, ::3]}
    document = {name: np.round(tensor.double().numpy(), 6).tolist() for name, tensor in found.items()}
    OUTPUTS.parent.mkdir(exist_ok=True)
    OUTPUTS.write_text(json.dumps(document))
    print({name: tuple(tensor.shape) for name, tensor in found.items()})


if __name__ == "__main__":
    record()
