"""Flows of waveforms → a separator of recordings: one prior per source, sampled on the samples themselves.

Unlike priors of the MDCT domain they are densities: draws are ranked by log p itself. They know sources at
the levels of their training, and the α_k are taken as they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.wave_flow import WaveFlow, WaveFlowConfig
from sepcli.protocols import DensityPrior, ProgressCallback
from sepcli.separation.engines import LANGEVIN_PRESETS, ScoreEngine, score_engine
from sepcli.separation.independent import IndependentDensities, IndependentPriors

PART = "flow"
"""The part of a prior's folder that a flow of waveforms is in."""
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
"""What samplers are told unless it is said: from full scale down to 40 dB below it."""


@dataclass(frozen=True)
class WaveEngine:
    """Separation of waveforms with flows; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        inner: separates signals (B, 1, T) whose length is a multiple of ``hop``.
        hop: samples that become one place of the flows.
    """

    inner: ScoreEngine
    hop: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K sources."""
        return self.inner.names

    @property
    def weights(self) -> tuple[float, ...]:
        """The α_k of the mixing m = Σ α_k x_k."""
        return self.inner.weights

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.inner.sample_rate

    @property
    def channels(self) -> int:
        """C of the mixtures."""
        return 1

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per source of a sample."""
        return self.inner.evaluations

    @property
    def density(self) -> DensityPrior | None:
        """The flows as one density."""
        return self.inner.density

    @property
    def interference_trained(self) -> bool:
        """Whether estimates are better than masks made of them."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.inner.device

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, 1, T), float32, full scale 1.
            seeds: (B, S) int64, one per item and draw; or (B, S, Z), one per Z-th part of the signal, too; a
                draw depends on its own seeds only.
            on_progress: told about progress, evaluation by evaluation.

        Returns:
            (B, S, K, 1, T) on the CPU: S draws of the unweighted sources.
        """
        return self.inner.sample(self._whole(mixture), seeds, on_progress)[..., : mixture.shape[-1]]

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler and posterior, for records."""
        return self.inner.describe()

    def log_prior(self, sources: Tensor) -> Tensor | None:
        """log p of sources (B, K, 1, T) under the noise that the sampler leaves in them, (B,) in nats."""
        return self.inner.log_prior(self._whole(sources))

    def _whole(self, signal: Tensor) -> Tensor:
        """The signal (..., T) with silence after it, as flows need it."""
        return F.pad(signal, (0, -signal.shape[-1] % self.hop))


def is_flow(folder: Path) -> bool:
    """Whether a prior of sound is a flow of waveforms."""
    return (folder / PART).is_dir()


def load_wave_flow(folder: Path) -> WaveFlow:
    """The flow of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    return load_network(lambda fields: WaveFlow(WaveFlowConfig(**fields)), folder / PART).requires_grad_(
        False
    )


def load_source_flow(card: Card, folder: Path) -> WaveFlow:
    """The flow of a prior that is to separate, so that nothing may be known of a sound but itself.

    Raises:
        PriorError: it is missing or damaged, or conditioned on mel frames.
    """
    flow = load_wave_flow(folder)
    if flow.config.mels:
        raise PriorError(
            f"prior {card.name} cannot separate: it needs mel frames of every source, which are not known",
            "choose a prior that was trained without --mels",
        )
    return flow


def assemble_waves(
    found: Sequence[tuple[Card, Path]],
    weights: Sequence[float],
    names: Sequence[str],
    *,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> WaveEngine:
    """A separator of recordings out of one flow per source.

    Args:
        found: cards and verified folders, one per source.
        weights: α_k of m = Σ α_k x_k.
        names: of the sources.
        device: where to compute.
        sampler: a key of ``sepcli.samplers.SAMPLERS``; if None the first prior's own, or projected where
            all flows know how far sounds are from 0, for estimates are kept within that, or else langevin.
        settings: of sampler and posterior, over the first card's own; an unknown key is an error.

    Raises:
        PriorError: a prior is damaged, or conditioned on mel frames.
        UsageError: the priors are not all flows of one sample rate; an unknown sampler or setting.
    """
    for card, folder in found:
        if not is_flow(folder):
            raise UsageError(
                f"prior {card.name} is of the MDCT domain and the others are of waveforms",
                "choose priors of one kind: all with --family denoiser, or all with --family flow",
            )
    cards = {folder: card for card, folder in found}
    networks = {folder: load_source_flow(card, folder).to(device) for folder, card in cards.items()}
    every = [networks[folder] for _, folder in found]
    if len({network.config.sample_rate for network in every}) > 1:
        told = ", ".join(
            f"{card.name} {n.config.sample_rate} Hz" for (card, _), n in zip(found, every, strict=True)
        )
        raise UsageError(f"the priors differ in sample rate: {told}", "choose priors of one rate")
    peaks = [network.config.peak for network in every]
    bounds = (-max(peaks), max(peaks)) if all(peaks) else None
    own = found[0][0].defaults("score")
    usual = str(own.pop("sampler", "langevin" if bounds is None else "projected"))
    chosen = sampler or usual
    kept = own if chosen == usual else {}
    options = {**_defaults(chosen, weights), **kept, **(settings or {})}
    if "preset" in options:  # it brings its own width and step
        options = {
            k: v for k, v in options.items() if k not in LANGEVIN_PRESETS["paper"] or k in (settings or {})
        }
    joint, place = IndependentPriors(every), torch.device(device)
    inner = score_engine(joint, names, weights, place, chosen, options, channels=1, bounds=bounds)
    left = float(getattr(inner.sampler, "sigma_min", 0.0))
    inner = replace(
        inner, sample_rate=every[0].config.sample_rate, batch=1, density=IndependentDensities(every, left)
    )
    return WaveEngine(inner, max(network.config.factor for network in every))


def _defaults(chosen: str, weights: Sequence[float]) -> dict[str, Any]:
    """What a sampler is told unless it is said; the likelihood is as wide as BASIS', whatever the weights.

    The noise of x is Σ α_k² σ² in A x; for two sources of weight 1 the paper's γ² is half of that.
    """
    own = dict(DEFAULTS.get(chosen, {}))
    return {**own, "width": sum(w * w for w in weights) / 2} if chosen == "langevin" else own
