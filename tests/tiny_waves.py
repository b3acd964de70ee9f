"""Tiny, untrained flows of waveforms, in memory and as priors on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sepcli.catalog import card as cards
from sepcli.priors.audio.wave_flow import PRESETS, WaveFlow, WaveFlowConfig
from sepcli.priors.transforms import MAX_LOG_SCALE


def make_flow(
    folder: Path,
    source: str,
    *,
    std: float = 1.0,
    weight: float = 1.0,
    settings: Mapping[str, Any] | None = None,
    stream: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A prior whose density is white noise of a standard deviation; ``changes`` are of its config."""
    variant = changes.get("variant", "waveglow")
    config = replace(WaveFlowConfig(**{"variant": variant, **PRESETS[variant]["tiny"]}), **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(source))
        flow = WaveFlow(config)
    flow.layers.scales[-1].transforms[-1].log_scale.data -= torch.tensor(std).log()
    for split in flow.layers.splits:
        outer = split.coupling.net.leave.bias
        outer.data[len(outer) // 2 :] -= MAX_LOG_SCALE * (torch.tensor(std).log() / MAX_LOG_SCALE).atanh()
    (folder / "flow").mkdir(parents=True)
    save_file(flow.state_dict(), folder / "flow" / "model.safetensors")  # not rounded: densities are compared
    (folder / "flow" / "config.json").write_text(json.dumps(asdict(config)))
    card = cards.Card(
        name=folder.name,
        medium="audio",
        engine="score",
        sources=(source,),
        weights=(weight,),
        sample_rate=config.sample_rate,
        settings={"score": dict(settings or {})},
        stream={"reference_rms": 0} if stream is None else dict(stream),
    )
    cards.write(cards.with_files(card, folder), folder)
    return str(folder)
