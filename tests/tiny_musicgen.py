"""Tiny networks of the real classes of MusicGen, with weights by a seed: codes differ from frame to frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sepcli.errors import PriorError
from sepcli.priors.lass.music_networks import require_library

RATE, HOP, VOCABULARY, CODEBOOKS, CONTEXT = 4000, 20, 16, 3, 48


def make_musicgen(seed: int = 0, codec_seed: int = 0, **decoder: Any) -> Any:
    """A ``MusicgenForConditionalGeneration`` whose codebooks are of the size of its latents."""
    try:
        require_library("this test")
    except PriorError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    import transformers as library

    codec_config = library.EncodecConfig(
        target_bandwidths=[2.4],
        sampling_rate=RATE,
        num_filters=2,
        hidden_size=4,
        upsampling_ratios=[5, 4],
        codebook_size=VOCABULARY,
        use_causal_conv=False,
        num_lstm_layers=1,
        last_kernel_size=3,
    )
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "num_hidden_layers": 2,
        "ffn_dim": 16,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "num_codebooks": CODEBOOKS,
        "pad_token_id": VOCABULARY,
        "bos_token_id": VOCABULARY,
        "initializer_factor": 0.5,
    }
    decoder_config = library.MusicgenDecoderConfig(**(sizes | decoder))
    text = library.T5Config(vocab_size=8, d_model=6, d_kv=2, d_ff=4, num_layers=1, num_heads=2)
    torch.manual_seed(seed)
    network = library.MusicgenForConditionalGeneration(
        library.MusicgenConfig(text_encoder=text, audio_encoder=codec_config, decoder=decoder_config)
    )
    torch.manual_seed(codec_seed)
    codec = library.EncodecModel(codec_config)
    for name, weight in codec.named_parameters():
        with torch.no_grad():
            weight.mul_(0 if "bias" in name else 2 if "original0" in name else 1)
    for level, layer in enumerate(codec.quantizer.layers):
        layer.codebook.embed.normal_().mul_(0.4 / 2**level)
    network.audio_encoder.load_state_dict(codec.state_dict())
    return network.eval()


def save_musicgen(folder: Path, seed: int = 0, codec_seed: int = 0, **decoder: Any) -> Path:
    make_musicgen(seed, codec_seed, **decoder).save_pretrained(folder)
    return folder


def make_prior(folder: Path, source: str, seed: int = 0, codec_seed: int = 0, **decoder: Any) -> str:
    """Import one; its released folder is beside it."""
    from sepcli.priors.lass.import_musicgen import import_musicgen

    released = save_musicgen(folder.parent / f"{folder.name}-released", seed, codec_seed, **decoder)
    import_musicgen(released, folder, source=source)
    return str(folder)
