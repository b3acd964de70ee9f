"""Priors of sounds → a separator of recordings: one prior per source, known weights, an exact mixture.

The mixing is linear and the transform orthogonal, so that all sampling is done on MDCT coefficients; the
waveform appears at the two ends only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog.card import Card
from sepcli.catalog.network import load_network
from sepcli.catalog.score import assemble, picture_names
from sepcli.errors import PriorError, UsageError
from sepcli.mdct import imdct, mdct
from sepcli.priors.joint import SourcePriors
from sepcli.priors.precision import fastest
from sepcli.priors.spectral import SpectralConfig, SpectralPrior
from sepcli.protocols import OnStep
from sepcli.separators import ScoreSeparator

REACH = 4.0
"""Sampling begins with noise of so many times the deviation of the loudest band."""
SIGMA_MIN = 3e-4
"""It ends at -70 dB of full scale, 50 dB below the usual level of a mixture."""
BATCH = 16
"""Windows and draws computed at once."""


@dataclass(frozen=True)
class SpectralSeparator:
    """Separation of waveforms in the MDCT domain; fulfils ``sepcli.protocols.Separator``.

    Attributes:
        inner: separates coefficients (B, 1, M, N).
        hop: M.
    """

    inner: ScoreSeparator
    hop: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K sources."""
        return self.inner.names

    @property
    def weights(self) -> tuple[float, ...]:
        """α_k of the mixing m = Σ α_k x_k."""
        return self.inner.weights

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.inner.sample_rate

    def __call__(self, mixture: Tensor, seeds: Tensor, on_step: OnStep | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, 1, T), float32, full scale 1.
            seeds: (B, S) int64, one per item and draw; a draw depends on its own seed only.
            on_step: told about progress, evaluation by evaluation.

        Returns:
            (B, S, K, 1, T) on the CPU: S draws of the unweighted sources.
        """
        coefficients = self.inner(mdct(mixture, self.hop), seeds, on_step)
        return imdct(coefficients, mixture.shape[-1])


@dataclass(frozen=True)
class FastPrior:
    """A prior whose network is asked in the device's fastest precision (see ``sepcli.priors.precision``).

    Attributes:
        prior: the network.
    """

    prior: SpectralPrior

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, 1, M, N) for σ ()."""
        with fastest(x.device):
            return self.prior.score(x, sigma)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean coefficients, each like x."""
        with fastest(x.device):
            return self.prior.moments(x, sigma)


def load_composed(
    priors: Sequence[str],
    weights: Sequence[float] | None = None,
    *,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> SpectralSeparator:
    """A separator of recordings out of one prior per source.

    Args:
        priors: K ≥ 2 names or folders, one per source.
        weights: α_k of m = Σ α_k x_k; 1 each if None.
        device: where to compute.
        sampler: a key of ``sepcli.catalog.score.SAMPLERS``; the first prior's own, or projected, if None.
        settings: of the sampler and the posterior, over the first card's own; an unknown key is an error.

    Raises:
        PriorError: a prior is missing, damaged or not of sounds.
        UsageError: fewer than two priors, of different rates or bands, another number of weights; an unknown
            sampler or setting.
    """
    found = [_open(name) for name in priors]
    owners = [card for card, _ in found]
    if len(found) < 2:
        refuse_single(owners[0])
    alphas = (1.0,) * len(found) if weights is None else tuple(weights)
    if len(alphas) != len(found):
        raise UsageError(f"{len(alphas)} weights for {len(found)} priors", "give one weight per --prior")
    networks = _load({folder for _, folder in found}, device)
    every = [networks[folder] for _, folder in found]
    _check_alike(owners, every)
    chosen = sampler or str(owners[0].settings.get("sampler", "projected"))
    own = {k: v for k, v in owners[0].settings.items() if k != "sampler"} if sampler is None else {}
    options = {**sampler_defaults(chosen, every), **own, **(settings or {})}
    fast = {id(network): FastPrior(network) for network in every}
    joint = SourcePriors([fast[id(network)] for network in every])
    names = picture_names(owners)
    inner = assemble(joint, 1, names, alphas, torch.device(device), chosen, options)
    inner = replace(inner, sample_rate=owners[0].sample_rate, batch=BATCH)
    return SpectralSeparator(inner, every[0].config.bins)


def build_spectral(
    card: Card, folder: Path, device: torch.device, sampler: str, options: Mapping[str, Any]
) -> NoReturn:
    """The builder of ``catalog.build``, which has one prior: too few.

    Raises:
        UsageError: always.
    """
    refuse_single(card)


def refuse_single(card: Card) -> NoReturn:
    """Say that a mixture has more than one source.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        f"prior {card.name} knows {card.sources[0]} alone, and a mixture needs two sources or more",
        "give --prior once per source, for example --prior violin --prior cello",
    )


def load_spectral(fields: dict[str, Any]) -> SpectralPrior:
    """The network of the fields of its config, untrained."""
    return SpectralPrior(SpectralConfig(**fields)).requires_grad_(False)


def ladder(networks: Sequence[SpectralPrior]) -> dict[str, float]:
    """The range of σ for some priors: from far above their loudest band to inaudible."""
    return {"sigma_max": round(REACH * greatest_std(networks), 4), "sigma_min": SIGMA_MIN, "rho": 7.0}


def greatest_std(networks: Sequence[SpectralPrior]) -> float:
    """The deviation of the loudest band."""
    return max(float(network.band_std.max()) for network in networks)


def sampler_defaults(chosen: str, networks: Sequence[SpectralPrior]) -> dict[str, Any]:
    """What samplers are told unless it is said: levels, and to weigh sources if every prior can."""
    levels, loudest = ladder(networks), greatest_std(networks)
    weigh = {"weigh": int(all(network.config.variance for network in networks))}
    defaults: dict[str, dict[str, Any]] = {
        "projected": {"steps": 50, **levels, **weigh},
        "halving": {
            "steps": 50,
            "decide_from": round(loudest / 2, 5),
            "decide_to": round(loudest / 10, 5),
            "end_from": round(loudest / 10, 5),
            **levels,
            **weigh,
        },
        "multi-source": {**levels, **weigh},
        "langevin": {"sigma_max": levels["sigma_max"], "sigma_min": 1e-3, "levels": 20, "steps": 20},
    }
    return defaults.get(chosen, {})


def _open(name: str) -> tuple[Card, Path]:
    card, folder = cards.find(name)
    if card.family != cards.SOUND:
        raise PriorError(
            f"prior {card.name} is not one of a single sound but of {card.family}",
            "choose priors made by `sepcli train-prior --family denoiser` from recordings",
        )
    cards.verify(card, folder)
    return card, folder


def _load(folders: set[Path], device: str) -> dict[Path, SpectralPrior]:
    return {folder: load_network(load_spectral, folder / "denoiser").to(device) for folder in folders}


def _check_alike(owners: Sequence[Card], networks: Sequence[SpectralPrior]) -> None:
    kinds = {(network.config.sample_rate, network.config.bins) for network in networks}
    if len(kinds) > 1:
        told = ", ".join(
            f"{card.name} {n.config.sample_rate} Hz" for card, n in zip(owners, networks, strict=True)
        )
        raise UsageError(f"the priors differ in sample rate or bands: {told}", "choose priors of one kind")
