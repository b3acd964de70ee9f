"""Flows of waveforms → the engine: one prior per source, sampled on the samples themselves.

Unlike priors of the MDCT domain they are densities: samples are ranked by log p itself. They are of sources
at the levels of their training, and the α_k are taken as they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.engine import AudioEngine, check_alike
from sepcli.priors.audio.wave_flow import WaveFlow, WaveFlowConfig
from sepcli.priors.selection import Selection
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


def is_flow(folder: Files) -> bool:
    """Whether a prior of audio is a flow of waveforms."""
    return (folder / PART).is_dir()


def load_wave_flow(folder: Files) -> WaveFlow:
    """Return the flow of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    flow = load_network(lambda fields: WaveFlow(WaveFlowConfig(**fields)), folder / PART)
    return flow.requires_grad_(False)


def load_source_flow(card: Card, folder: Files, device: torch.device) -> WaveFlow:
    """Return the flow of a prior that is to separate, without any other knowledge of the sources.

    Raises:
        PriorError: it is missing or damaged, or conditioned on mel frames.
    """
    flow = load_wave_flow(folder).to(device)
    if flow.config.mels:
        raise PriorError(
            f"prior {card.name} cannot separate: it needs mel frames of every source, which are unknown",
            "choose a prior that was trained without mel frames",
            argument="priors",
        )
    return flow


def wave_engine(selection: Selection, device: torch.device) -> AudioEngine:
    """Make the engine of one flow per source.

    The default sampler is the card's; else projected where all flows state the peak of their sources, which
    bounds the estimates, or langevin.

    Raises:
        PriorError: a prior is damaged, or conditioned on mel frames.
        UsageError: flows of different sample rates, or beside ``other``; an unknown sampler or setting.
    """
    if selection.other:
        raise UsageError(
            "flows of waveforms cannot be beside another source", "leave it out", argument="other"
        )
    flows = selection.networks(lambda card, folder: load_source_flow(card, folder, device))
    check_alike(selection, [(flow.config.sample_rate,) for flow in flows])
    peaks = [flow.config.peak for flow in flows]
    bounds = (-max(peaks), max(peaks)) if all(peaks) else None
    defaults, settings, weights = dict(selection.defaults), selection.settings, selection.weights
    default_sampler = str(defaults.pop("sampler", "langevin" if bounds is None else "projected"))
    sampler = default_sampler if selection.sampler is None else selection.sampler
    of_card = defaults if sampler == default_sampler else {}
    options = {**_defaults(sampler, weights), **of_card, **settings}
    if "preset" in options:  # it sets width and step
        options = {k: v for k, v in options.items() if k not in LANGEVIN_PRESETS["paper"] or k in settings}
    joint = IndependentPriors(flows)
    inner = score_engine(joint, selection.names, weights, device, sampler, options, channels=1, bounds=bounds)
    density = IndependentDensities(flows, float(getattr(inner.sampler, "sigma_min", 0.0)))
    inner = replace(inner, sample_rate=flows[0].config.sample_rate, batch=1, density=density)
    return AudioEngine(inner, max(flow.config.factor for flow in flows), weights, lapped=False)


def _defaults(chosen: str, weights: Sequence[float]) -> dict[str, Any]:
    """Return the defaults of a sampler; the likelihood is as wide as that of BASIS, whatever the weights.

    The noise of x is Σ α_k² σ² in A x; for two sources of weight 1 the paper's γ² is half of that.
    """
    defaults = dict(DEFAULTS.get(chosen, {}))
    return {**defaults, "width": sum(w * w for w in weights) / 2} if chosen == "langevin" else defaults
