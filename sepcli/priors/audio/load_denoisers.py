"""Denoisers of MDCT coefficients → the engine: defaults of samplers, and the source for all that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.catalog.bounded import Files
from sepcli.catalog.network import load_network
from sepcli.priors.audio.engine import AudioEngine, check_alike, for_inference
from sepcli.priors.audio.gaussian_bands import SECONDS, fit_other
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.selection import Selection
from sepcli.separation.engines import score_engine
from sepcli.separation.independent import IndependentPriors
from sepcli.separation.presets import DRAWS
from sepcli.settings import check, take

PART = "denoiser"
"""The folder of a denoiser inside a prior's."""
REACH = 4.0
"""Sampling begins with noise of so many times the standard deviation of the loudest band."""
SIGMA_MIN = 3e-4
"""It ends at -70 dB of full scale, 50 dB below the typical level of a mixture."""
BATCH = 4
"""Windows and samples computed at once: windows are long enough to keep several cores busy."""
NEAR = 0.19
"""Seconds to either side by which chains are compared: longer than an onset, shorter than most notes."""

EXTRACTING: Mapping[str, Any] = {
    "from_mixture": 1,
    "steps": 4,
    "sigma_max": 0.08,
    "sigma_min": 0.05,
    "rho": 1.0,
}
"""Defaults of ``projected`` where all priors were trained beside interference: these extract their source
from the mixture, so that little noise and few steps suffice. Each step replaces all noise and corrects the
one before, which needs noise of about the same level throughout. Chosen on validation songs."""
DRAWING: Mapping[str, Any] = {"sigma_min": 3e-3, "rho": 2.0}
"""What the preset ``draws`` has instead: a sample, as its last step returns a mean, ends at little noise."""


@dataclass(frozen=True)
class OtherSettings:
    """Settings of the source that stands for all that no prior explains.

    Attributes:
        other: its share of the mixture's power, in (0, 1]; see
            ``sepcli.priors.audio.gaussian_bands.fit_other``.
    """

    other: Annotated[float, Meta(gt=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        check(self)


def mdct_engine(selection: Selection, device: torch.device) -> AudioEngine:
    """Make the engine of denoisers of MDCT coefficients, one per source.

    Raises:
        PriorError: a prior is damaged.
        UsageError: priors of different rates or bands; an unknown sampler or setting.
    """
    priors = selection.networks(lambda _, folder: for_inference(load_mdct_denoiser(folder), device))
    networks = [prior.prior for prior in priors]
    config, other, weights = networks[0].config, selection.other, selection.weights
    check_alike(selection, [(network.config.sample_rate, network.config.bins) for network in networks])
    given = selection.default_sampler
    sampler = default_sampler(networks, other) if given is None else given
    draws = DRAWING if selection.preset.name == DRAWS and extracting(networks, other) else {}
    options = {**sampler_defaults(sampler, networks, other), **draws, **selection.options()}
    scale = sum(abs(weight) for weight in weights) / len(weights) or 1.0
    relative = tuple(weight / scale for weight in weights)
    fraction = take(OtherSettings, options if other else {}).other
    frames = SECONDS * config.sample_rate / config.bins

    def beside_other(mixture: Tensor) -> IndependentPriors:
        unweighted = fraction / relative[-1] ** 2  # the prior is of the source before it is weighted
        return IndependentPriors([*priors, fit_other(mixture, unweighted, frames)])

    joint, fitted = IndependentPriors(priors), beside_other if other else None
    inner = score_engine(
        joint, selection.names, relative, device, sampler, options, channels=1, fitted=fitted
    )
    likelihood = {**inner.likelihood, **({"other": fraction} if other else {})}
    inner = replace(inner, sample_rate=selection.sample_rate, batch=BATCH, likelihood=likelihood)
    extracts = extracting(networks, other) and sampler == "projected"
    return AudioEngine(inner, config.bins, weights, scale, interference_trained=extracts)


def load_mdct_denoiser(folder: Files) -> SpectralPrior:
    """Return the denoiser of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    prior = load_network(lambda fields: SpectralPrior(SpectralConfig(**fields)), folder / PART)
    return prior.requires_grad_(False)


def sigma_range(networks: Sequence[SpectralPrior]) -> dict[str, float]:
    """Return the range of σ for some priors: from far above their loudest band to inaudible."""
    return {"sigma_max": round(REACH * _loudest(networks), 4), "sigma_min": SIGMA_MIN, "rho": 7.0}


def extracting(networks: Sequence[SpectralPrior], other: bool) -> bool:
    """Whether all extract their source from the mixture, and none stands for what they leave."""
    return all(network.config.interference_trained for network in networks) and not other


def default_sampler(networks: Sequence[SpectralPrior], other: bool = False) -> str:
    """Return halving, or projected for interference-trained priors, without variance, or beside ``other``."""
    certain = all(network.config.variance for network in networks) and not other
    return "halving" if certain and not extracting(networks, other) else "projected"


def sampler_defaults(chosen: str, networks: Sequence[SpectralPrior], other: bool = False) -> dict[str, Any]:
    """Return the defaults of a sampler: its sigmas, and weighing by variance if every prior has one.

    Beside ``other`` sources are not weighed: its variance is never as small as that of a network, so that
    it would take from the others at every level. Halving begins at the level of the sources; ``other`` may
    be louder.
    """
    levels, loudest, config = sigma_range(networks), _loudest(networks), networks[0].config
    certain = all(network.config.variance for network in networks) and not other
    weigh = {"weigh": int(certain), "isotropic": 1}
    extraction = EXTRACTING if extracting(networks, other) else {}
    defaults: dict[str, dict[str, Any]] = {
        "projected": {"steps": 50, **levels, **weigh, **extraction},
        "halving": {
            **levels,
            **weigh,
            "steps": 50,
            "candidates": 8,
            "sigma_max": levels["sigma_max"] if other else loudest,
            "decide_from": loudest / 8,
            "decide_to": loudest / 160,
            "end_from": loudest / 160,
            "local": max(1, round(NEAR * config.sample_rate / config.bins)),
        },
        "multi-source": {**levels, **weigh},
        "langevin": {"sigma_max": levels["sigma_max"], "sigma_min": 1e-3, "levels": 20, "steps": 20},
    }
    return defaults.get(chosen, {})


def _loudest(networks: Sequence[SpectralPrior]) -> float:
    """Return the standard deviation of the loudest band."""
    return max(float(network.band_std.max()) for network in networks)
