"""Flows of waveforms → the engine: one prior per source, sampled on the samples themselves.

Unlike priors of the MDCT domain they are densities: samples are ranked by log p itself. They are of sources
at the levels of their training, and the α_k are taken as they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.wave_engine import WaveEngine
from sepcli.priors.audio.wave_flow import WaveFlow, WaveFlowConfig
from sepcli.priors.select import Selection
from sepcli.separation.engines import LANGEVIN_PRESETS, score_engine
from sepcli.separation.independent import IndependentDensities, IndependentPriors

PART = "flow"
"""The folder of a flow of waveforms inside a prior's."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "langevin": {
        "sigma_max": 0.5,
        "sigma_min": 0.01,
        "levels": 20,
        "steps": 50,
        "ratio": 0.05,
        "centred": 1,
    },
    "projected": {"steps": 150, "sigma_max": 1.0, "sigma_min": 0.005, "rho": 3.0},
    "halving": {"sigma_max": 1.0, "sigma_min": 0.01, "rho": 3.0},
    "multi-source": {"sigma_max": 1.0, "sigma_min": 0.01, "rho": 3.0},
}
"""Defaults of samplers: sigmas from full scale down to 40 dB below it."""


def is_flow(folder: Path) -> bool:
    """Whether a prior of audio is a flow of waveforms."""
    return (folder / PART).is_dir()


def load_wave_flow(folder: Path) -> WaveFlow:
    """Return the flow of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    return load_network(lambda fields: WaveFlow(WaveFlowConfig(**fields)), folder / PART).requires_grad_(
        False
    )


def load_source_flow(card: Card, folder: Path) -> WaveFlow:
    """Return the flow of a prior that is to separate, without any other knowledge of the sources.

    Raises:
        PriorError: it is missing or damaged, or conditioned on mel frames.
    """
    flow = load_wave_flow(folder)
    if flow.config.mels:
        raise PriorError(
            f"prior {card.name} cannot separate: it needs mel frames of every source, which are unknown",
            "choose a prior that was trained without mel frames",
            argument="priors",
        )
    return flow


def wave_engine(selection: Selection, device: torch.device) -> WaveEngine:
    """Make the engine of one flow per source.

    The default sampler is the card's; else projected where all flows state the peak of their sources, which
    bounds the estimates, or langevin.

    Args:
        selection: of verified priors.
        device: where to compute.

    Raises:
        PriorError: a prior is damaged, or conditioned on mel frames.
        UsageError: flows of different sample rates, or beside ``other``; an unknown sampler or setting.
    """
    if selection.other:
        raise UsageError(
            "flows of waveforms cannot be beside another source", "leave it out", argument="other"
        )
    cards = dict(zip(selection.folders, selection.cards, strict=True))
    networks = {folder: load_source_flow(card, folder).to(device) for folder, card in cards.items()}
    every = [networks[folder] for folder in selection.folders]
    if len({network.config.sample_rate for network in every}) > 1:
        each = zip(selection.cards, every, strict=True)
        rates = ", ".join(f"{card.name} {network.config.sample_rate} Hz" for card, network in each)
        raise UsageError(
            f"the priors differ in sample rate: {rates}", "choose priors of one rate", argument="priors"
        )
    peaks = [network.config.peak for network in every]
    bounds = (-max(peaks), max(peaks)) if all(peaks) else None
    defaults = dict(selection.defaults)
    default_sampler = str(defaults.pop("sampler", "langevin" if bounds is None else "projected"))
    sampler = default_sampler if selection.sampler is None else selection.sampler
    settings = selection.settings
    options = {
        **_defaults(sampler, selection.weights),
        **(defaults if sampler == default_sampler else {}),
        **settings,
    }
    if "preset" in options:  # it sets width and step
        options = {k: v for k, v in options.items() if k not in LANGEVIN_PRESETS["paper"] or k in settings}
    inner = score_engine(
        IndependentPriors(every),
        selection.names,
        selection.weights,
        device,
        sampler,
        options,
        channels=1,
        bounds=bounds,
    )
    sigma = float(getattr(inner.sampler, "sigma_min", 0.0))
    density = IndependentDensities(every, sigma)
    inner = replace(inner, sample_rate=every[0].config.sample_rate, batch=1, density=density)
    return WaveEngine(inner, max(network.config.factor for network in every))


def _defaults(chosen: str, weights: Sequence[float]) -> dict[str, Any]:
    """Return the defaults of a sampler; the likelihood is as wide as that of BASIS, whatever the weights.

    The noise of x is Σ α_k² σ² in A x; for two sources of weight 1 the paper's γ² is half of that.
    """
    defaults = dict(DEFAULTS.get(chosen, {}))
    return {**defaults, "width": sum(w * w for w in weights) / 2} if chosen == "langevin" else defaults
