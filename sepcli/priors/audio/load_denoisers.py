"""Denoisers of MDCT coefficients → the engine: defaults of samplers, and the source for all that is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor

from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.errors import UsageError
from sepcli.priors.audio.gaussian_bands import SECONDS, fit_other
from sepcli.priors.audio.mdct_denoiser import SpectralConfig, SpectralPrior
from sepcli.priors.audio.mdct_engine import FastPrior, MdctEngine
from sepcli.priors.select import Selection
from sepcli.separation.engines import score_engine
from sepcli.separation.independent import IndependentPriors
from sepcli.settings import check, parse

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
    "steps": 13,
    "sigma_max": 0.1,
    "sigma_min": 3e-3,
    "rho": 3.0,
}
"""Defaults of ``projected`` where all priors were trained beside interference: these extract their source
from the mixture, so that little noise and few steps suffice. Chosen on validation songs."""


@dataclass(frozen=True)
class OtherSettings:
    """Settings of the source that stands for all that no prior explains.

    Attributes:
        other: its share of the mixture's power, in (0, 1]; see
            ``sepcli.priors.audio.gaussian_bands.fit_other``.

    Raises:
        UsageError: the share is out of range.
    """

    other: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.5

    def __post_init__(self) -> None:
        check(self)


def mdct_engine(selection: Selection, device: torch.device) -> MdctEngine:
    """Make the engine of denoisers of MDCT coefficients, one per source.

    Args:
        selection: of verified priors.
        device: where to compute.

    Raises:
        PriorError: a prior is damaged.
        UsageError: priors of different rates or bands; an unknown sampler or setting.
    """
    networks = {folder: load_mdct_denoiser(folder).to(device) for folder in dict.fromkeys(selection.folders)}
    every = [networks[folder] for folder in selection.folders]
    _check_alike(selection.cards, every)
    other, sources, weights = selection.other, selection.names, selection.weights
    given = selection.default_sampler
    sampler = default_sampler(every, other) if given is None else given
    options = {**sampler_defaults(sampler, every, other), **selection.options()}
    wrapped = {id(network): FastPrior(network) for network in every}
    priors = [wrapped[id(network)] for network in every]
    scale = sum(abs(weight) for weight in weights) / len(weights) or 1.0
    relative = tuple(weight / scale for weight in weights)
    fitted = share = None
    if other:
        keys = {"other": options.pop("other")} if "other" in options else {}
        share = parse(OtherSettings, keys).other
        fitted = _beside_other(priors, share, relative[-1], every[0].config)
    joint = IndependentPriors(priors)
    inner = score_engine(joint, sources, relative, device, sampler, options, channels=1, fitted=fitted)
    inner = replace(inner, sample_rate=selection.sample_rate, batch=BATCH)
    from_mixture = interference_trained(every) and not other and sampler == "projected"
    return MdctEngine(inner, every[0].config.bins, weights, scale, from_mixture, share)


def load_mdct_denoiser(folder: Path) -> SpectralPrior:
    """Return the denoiser of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    return load_network(load_spectral, folder / "denoiser")


def load_spectral(fields: dict[str, Any]) -> SpectralPrior:
    """The network of the fields of its config, untrained."""
    return SpectralPrior(SpectralConfig(**fields)).requires_grad_(False)


def sigma_range(networks: Sequence[SpectralPrior]) -> dict[str, float]:
    """Return the range of σ for some priors: from far above their loudest band to inaudible."""
    return {"sigma_max": round(REACH * greatest_std(networks), 4), "sigma_min": SIGMA_MIN, "rho": 7.0}


def greatest_std(networks: Sequence[SpectralPrior]) -> float:
    """Return the standard deviation of the loudest band."""
    return max(float(network.band_std.max()) for network in networks)


def default_sampler(networks: Sequence[SpectralPrior], other: bool = False) -> str:
    """Return halving, or projected for interference-trained priors, without variance, or beside ``other``."""
    halves = (
        all(network.config.variance for network in networks)
        and not interference_trained(networks)
        and not other
    )
    return "halving" if halves else "projected"


def interference_trained(networks: Sequence[SpectralPrior]) -> bool:
    """Whether all were trained beside interference."""
    return all(network.config.interference_trained for network in networks)


def sampler_defaults(chosen: str, networks: Sequence[SpectralPrior], other: bool = False) -> dict[str, Any]:
    """Return the defaults of a sampler: its sigmas, and weighing by variance if every prior has one.

    Beside ``other`` sources are not weighed: its variance is never as small as that of a network, so that
    it would take from the others at every level. Halving begins at the level of the sources; ``other`` may
    be louder.
    """
    levels, loudest, config = sigma_range(networks), greatest_std(networks), networks[0].config
    extracting = interference_trained(networks) and not other
    certain = all(network.config.variance for network in networks) and not other
    weigh = {"weigh": int(certain), "isotropic": 1}
    defaults: dict[str, dict[str, Any]] = {
        "projected": {"steps": 50, **levels, **weigh, **(EXTRACTING if extracting else {})},
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


def _beside_other(
    priors: Sequence[FastPrior], share: float, weight: float, config: SpectralConfig
) -> Callable[[Tensor], IndependentPriors]:
    """Return mixtures → the priors and, as the last, that of ``other``."""
    unweighted_share = share / weight**2  # the prior is of the source before it is weighted
    frames = SECONDS * config.sample_rate / config.bins
    return lambda mixture: IndependentPriors([*priors, fit_other(mixture, unweighted_share, frames)])


def _check_alike(owners: Sequence[Card], networks: Sequence[SpectralPrior]) -> None:
    kinds = {(network.config.sample_rate, network.config.bins) for network in networks}
    if len(kinds) > 1:
        each = zip(owners, networks, strict=True)
        rates = ", ".join(f"{card.name} {network.config.sample_rate} Hz" for card, network in each)
        raise UsageError(
            f"the priors differ in sample rate or bands: {rates}",
            "choose priors of one kind",
            argument="priors",
        )
