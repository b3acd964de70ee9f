"""Small untrained networks of the package diffusers, saved by its own classes; needs the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel


def tiny_unet(**settings: Any) -> UNet2DModel:
    """A network of 8 x 8 color images, with attention, whose answer depends on images and time."""
    usual = {
        "sample_size": 8,
        "block_out_channels": (8, 8),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DModel(**{**usual, **settings}).eval().requires_grad_(False)


def exploding_unet(**settings: Any) -> UNet2DModel:
    """One of the variance-exploding kind, that is told σ and answers with the score."""
    return tiny_unet(time_embedding_type="fourier", center_input_sample=True, **settings)


def save_ddpm(folder: Path, scheduler: DDPMScheduler | None = None, **settings: Any) -> Path:
    """A pipeline as the library saves it: model_index.json, unet/ and scheduler/."""
    pipeline = DDPMPipeline(unet=tiny_unet(**settings), scheduler=scheduler or DDPMScheduler())
    pipeline.save_pretrained(folder)
    return folder
