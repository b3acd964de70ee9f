"""Priors of sounds → a separator of recordings: one prior per source, known weights, an exact mixture.

The mixing is linear and the transform orthogonal, so that all sampling is done on MDCT coefficients; the
waveform appears at the two ends only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog import engines, resolve
from sepcli.catalog.card import Card
from sepcli.catalog.engines import add_rest, refuse_single, source_names
from sepcli.catalog.network import load_network
from sepcli.catalog.settings import typed
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.gaussian_bands import SECONDS, fit_other
from sepcli.priors.audio.load_flows import WaveEngine, assemble_waves, is_flow
from sepcli.priors.audio.mdct_denoiser import SpectralConfig, SpectralPrior
from sepcli.priors.precision import fastest
from sepcli.protocols import DensityPrior, ProgressCallback
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.independent import IndependentPriors
from sepcli.separation.weights import mixing_weights
from sepcli.signal.mdct import imdct, mdct

REACH = 4.0
"""Sampling begins with noise of so many times the standard deviation of the loudest band."""
SIGMA_MIN = 3e-4
"""It ends at -70 dB of full scale, 50 dB below the usual level of a mixture."""
BATCH = 4
"""Windows and draws computed at once: windows are long enough to keep several cores busy."""
HEARD = (1.0, 0.003)
"""Noise between which sources are judged by their prior: from full scale to 30 dB below a usual mixture."""
NEAR = 0.19
"""Seconds to either side by which chains are compared: longer than an onset, shorter than most notes."""

SELECTIVE: Mapping[str, Any] = {
    "from_mixture": 1,
    "steps": 13,
    "sigma_max": 0.1,
    "sigma_min": 3e-3,
    "rho": 3.0,
}
"""What ``projected`` is told where all priors are selective: they take from the mixture what is theirs, so
that little noise and few steps will do. Found on validation songs."""


@dataclass(frozen=True)
class MdctEngine:
    """Separation of waveforms in the MDCT domain; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        inner: separates coefficients (B, 1, M, N).
        hop: M, samples of a frame.
        weights: α_k of the mixing m = Σ α_k x_k.
        scale: c; the priors know the sources as c x_k, and ``inner`` mixes those with the weights α_k/c.
            Priors of sound were trained at the levels that sources have in a mixture, and a mixture comes at
            one level whatever the α_k add up to; so c is their mean size, and only their ratios count.
        interference_trained: whether every prior takes what is its own from the mixture, so that estimates are nearer to
            the sources than masks made of them are.
        rest: the share of the mixture's power that the last source, a rest, is expected to have; None: there
            is no rest.
    """

    inner: ScoreEngine
    hop: int
    weights: tuple[float, ...]
    scale: float = 1.0
    interference_trained: bool = False
    rest: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the K sources."""
        return self.inner.names

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
        """None: score networks are no densities."""
        return self.inner.density

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.inner.device

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw sources.

        Args:
            mixture: (B, 1, T), float32, full scale 1.
            seeds: (B, S) int64, one per item and draw; or (B, S, Z), one per Z-th part of the frames too;
                a draw depends on its own seeds only.
            on_progress: told about progress, evaluation by evaluation.

        Returns:
            (B, S, K, 1, T) on the CPU: S draws of the unweighted sources.
        """
        coefficients = self.inner.sample(mdct(mixture, self.hop), seeds, on_progress)
        return imdct(coefficients, mixture.shape[-1]) / self.scale

    def describe(self) -> dict[str, Any]:
        """Return the sampler's name and the settings of sampler, posterior and rest, for records."""
        made = self.inner.describe()
        rest = {} if self.rest is None else {"other": self.rest}
        return {**made, "settings": {**made["settings"], **rest}}

    def log_prior(self, sources: Tensor) -> Tensor | None:
        """How probable sources (B, K, 1, T) are, (B,) in nats up to a constant; see ``ScoreEngine``."""
        return self.inner.log_prior(mdct(sources * self.scale, self.hop), *HEARD)


@dataclass(frozen=True)
class FastPrior:
    """A prior whose network is asked in the device's fastest precision (see ``sepcli.priors.precision``).

    Attributes:
        prior: the network.
    """

    prior: SpectralPrior

    @property
    def has_variance(self) -> bool:
        """Whether the network provides the posterior variance."""
        return self.prior.config.variance

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, 1, M, N) for σ ()."""
        with fastest(x.device):
            return self.prior.score(x, sigma)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean coefficients, each like x."""
        with fastest(x.device):
            return self.prior.moments(x, sigma)


@dataclass(frozen=True)
class RestSettings:
    """Of the source that stands for all else.

    Attributes:
        other: its share of the mixture's power, in (0, 1]; see ``sepcli.priors.audio.gaussian_bands.fit_other``.

    Raises:
        UsageError: the share is out of range.
    """

    other: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.other <= 1.0:
            raise UsageError(f"other={self.other:g} is no share of the mixture", "use more than 0, at most 1")


def load_composed(
    priors: Sequence[str],
    weights: Sequence[float] | None = None,
    *,
    names: Sequence[str] | None = None,
    rest: bool = False,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> MdctEngine | WaveEngine:
    """A separator of recordings out of one prior per source, all denoisers or all flows of waveforms.

    Args:
        priors: K ≥ 2 names or folders, one per source; one is enough beside a rest.
        weights: α_k of m = Σ α_k x_k, that of a rest last or left out; those of the cards if None.
        names: of the sources, a rest last; the priors' own if None.
        rest: add a last source, ``other``, for what no prior explains.
        device: where to compute.
        sampler: a key of ``sepcli.samplers.SAMPLERS``; the first prior's own if None, else that of
            ``usual_sampler``.
        settings: of sampler, posterior and rest, over the first card's own; an unknown key is an error.

    Raises:
        PriorError: a prior is missing, damaged or not of sounds.
        UsageError: fewer than two sources, priors of different kinds, rates or bands, flows beside a rest,
            another number of weights; an unknown sampler or setting.
    """
    found = [_open(name) for name in priors]
    owners = [card for card, _ in found]
    if len(found) + rest < 2:
        refuse_single(owners[0])
    of_cards = tuple(card.weights[0] if card.weights else 1.0 for card in owners)
    alphas = mixing_weights(weights, of_cards, images=False, sources=len(found))
    own_names = source_names(owners)
    if rest:
        own_names, alphas = add_rest(own_names, alphas)
    sources = own_names if names is None else tuple(names)
    if not len(alphas) == len(sources) == len(found) + rest:
        raise UsageError(f"{len(alphas)} weights for {len(found)} priors", "give one weight per --prior")
    if any(is_flow(folder) for _, folder in found):
        if rest:
            raise UsageError("flows of waveforms have no rest beside them", "leave out --other")
        return assemble_waves(found, alphas, sources, device=device, sampler=sampler, settings=settings)
    networks = _load({folder for _, folder in found}, device)
    every = [networks[folder] for _, folder in found]
    _check_alike(owners, every)
    chosen = sampler or str(owners[0].defaults("score").get("sampler", usual_sampler(every, rest)))
    own = {k: v for k, v in owners[0].defaults("score").items() if k != "sampler"} if sampler is None else {}
    options = {**sampler_defaults(chosen, every, rest), **own, **(settings or {})}
    fast = {id(network): FastPrior(network) for network in every}
    asked = [fast[id(network)] for network in every]
    scale = sum(abs(alpha) for alpha in alphas) / len(alphas) or 1.0
    relative = tuple(alpha / scale for alpha in alphas)
    fitted = share = None
    if rest:
        share = RestSettings(**typed(RestSettings, {"other": options.pop("other", RestSettings.other)})).other
        fitted = _beside_rest(asked, share, relative[-1], every[0].config)
    joint, place = IndependentPriors(asked), torch.device(device)
    inner = score_engine(joint, sources, relative, place, chosen, options, channels=1, fitted=fitted)
    inner = replace(inner, sample_rate=owners[0].sample_rate, batch=BATCH)
    interference_trained = selective(every) and not rest and chosen == "projected"
    return MdctEngine(inner, every[0].config.bins, alphas, scale, interference_trained, share)


def build_spectral(
    card: Card, folder: Path, device: torch.device, sampler: str, options: Mapping[str, Any]
) -> NoReturn:
    """The builder of ``catalog.build``, which has one prior: too few.

    Raises:
        UsageError: always.
    """
    refuse_single(
        card, "use `sepcli separate` with a --prior per source, then `sepcli evaluate` on its stems"
    )


def load_spectral(fields: dict[str, Any]) -> SpectralPrior:
    """The network of the fields of its config, untrained."""
    return SpectralPrior(SpectralConfig(**fields)).requires_grad_(False)


def ladder(networks: Sequence[SpectralPrior]) -> dict[str, float]:
    """The range of σ for some priors: from far above their loudest band to inaudible."""
    return {"sigma_max": round(REACH * greatest_std(networks), 4), "sigma_min": SIGMA_MIN, "rho": 7.0}


def greatest_std(networks: Sequence[SpectralPrior]) -> float:
    """The standard deviation of the loudest band."""
    return max(float(network.band_std.max()) for network in networks)


def usual_sampler(networks: Sequence[SpectralPrior], rest: bool = False) -> str:
    """Halving; projected where all are selective or one does not know its variance, and beside a rest."""
    halves = all(network.config.variance for network in networks) and not selective(networks) and not rest
    return "halving" if halves else "projected"


def selective(networks: Sequence[SpectralPrior]) -> bool:
    """Whether all have learnt to leave out what is not theirs."""
    return all(network.config.interference_trained for network in networks)


def sampler_defaults(chosen: str, networks: Sequence[SpectralPrior], rest: bool = False) -> dict[str, Any]:
    """What samplers are told unless it is said: levels, and to weigh sources if every prior can.

    Beside a rest they are not weighed: it is never as certain as a network, so that it took what the others
    leave, and left them less at every level. Halving begins as loud as the sounds; a rest may be louder.
    """
    levels, loudest, config = ladder(networks), greatest_std(networks), networks[0].config
    interference_trained = selective(networks) and not rest
    certain = all(network.config.variance for network in networks) and not rest
    weigh = {"weigh": int(certain), "isotropic": 1}
    defaults: dict[str, dict[str, Any]] = {
        "projected": {"steps": 50, **levels, **weigh, **(SELECTIVE if interference_trained else {})},
        "halving": {
            **levels,
            **weigh,
            "steps": 50,
            "candidates": 8,
            "sigma_max": levels["sigma_max"] if rest else loudest,
            "decide_from": loudest / 8,
            "decide_to": loudest / 160,
            "end_from": loudest / 160,
            "local": max(1, round(NEAR * config.sample_rate / config.bins)),
        },
        "multi-source": {**levels, **weigh},
        "langevin": {"sigma_max": levels["sigma_max"], "sigma_min": 1e-3, "levels": 20, "steps": 20},
    }
    return defaults.get(chosen, {})


def _beside_rest(
    priors: Sequence[FastPrior], share: float, weight: float, config: SpectralConfig
) -> Callable[[Tensor], IndependentPriors]:
    """Mixtures → the priors and, as the last, that of the rest."""
    own = share / weight**2  # the prior is of the rest before it is weighted
    frames = SECONDS * config.sample_rate / config.bins
    return lambda mixture: IndependentPriors([*priors, fit_other(mixture, own, frames)])


def _open(name: str) -> tuple[Card, Path]:
    card, folder = resolve.find(name)
    if not engines.is_single(card):
        raise PriorError(
            f"prior {card.name} is not one of a single sound but of {card.engine}, {card.medium}",
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
