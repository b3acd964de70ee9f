"""The score engine: any score prior, a posterior of sources given a mixture, and a sampler that follows it.

Source: Jayaram & Thickstun 2020 (BASIS); samplers and posteriors name theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.posterior.dirac import DiracPosterior
from sepcli.posterior.elbo import log_density_bound
from sepcli.posterior.gaussian import WIDTHS, GaussianPosterior
from sepcli.protocols import DenoisingPrior, DensityPrior, Posterior, ProgressCallback, Sampler, ScorePrior
from sepcli.samplers import name_of
from sepcli.samplers.construct import check_name, describe_sampler, signal_sampler
from sepcli.samplers.langevin import Langevin
from sepcli.separation.denoising import denoising_energies
from sepcli.separation.likelihood import DiracSettings, GaussianSettings
from sepcli.separation.parallel import side_by_side, threads_of
from sepcli.settings import parse
from sepcli.signal.mixing import WeightedSum

LANGEVIN_PRESETS: Mapping[str, Mapping[str, float]] = {
    "paper": {"width": WIDTHS["paper"], "ratio": 0.2},
    "released-mnist": {"width": WIDTHS["released-mnist"], "ratio": 0.3},
    "released-color": {"width": WIDTHS["released-color"], "ratio": 0.2},
    "fine": {"width": WIDTHS["released-mnist"], "ratio": 0.3, "levels": 200, "steps": 10, "polish": 20},
}
"""``preset=NAME`` of Langevin dynamics: the paper's settings, those of its released runs, and smaller noise
steps that end without noise."""

ELSEWHERE = ("weigh", "bounded", "moments", "products")
"""Settings of a posterior on the constraint that are no arguments of ``DiracPosterior``."""


@dataclass(frozen=True)
class ScoreEngine:
    """Separation in the signal domain; fulfils ``sepcli.protocols.Engine`` for K ≥ 2 sources.

    Attributes:
        posterior: mixtures (B, C, *D) → their posterior.
        sampler: follows its score.
        names: of the K sources.
        weights: α_k of the mixing m = Σ α_k x_k.
        device: of the prior.
        channels: C; None: any.
        sample_rate: Hz; 0 for images.
        batch: samples computed at once.
        prior: p_σ(x) of the K sources side by side; None: unknown.
        density: the same as a density, if it is one: it ranks samples exactly.
        likelihood: the settings of the posterior.
        scale: factor on a mixture before the posterior, which mixes with the weights scale · α_k.
        reentrant: whether several threads may evaluate the prior at once.
    """

    posterior: Callable[[Tensor], Posterior]
    sampler: Sampler
    names: tuple[str, ...]
    weights: tuple[float, ...]
    device: torch.device
    channels: int | None = None
    sample_rate: int = 0
    batch: int = 64
    prior: ScorePrior | None = None
    density: DensityPrior | None = None
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    reentrant: bool = True

    hop: ClassVar[None] = None
    interference_trained: ClassVar[bool] = False

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the prior per sample and source."""
        return self.sampler.evaluations

    def describe(self) -> dict[str, Any]:
        """Engine, sampler, and the settings of sampler and posterior that run."""
        name, settings = describe_sampler(self.sampler)
        used = {**settings, **self.likelihood}
        return {"engine": "score", "sampler": name, "settings": used, "device": str(self.device)}

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Draw samples of the sources of mixtures in the prior's units; see ``sepcli.protocols.Engine``.

        Mixtures of images in [0, 1] are up to Σ α_k; for seeds (B, S, Z) see ``sepcli.samplers.rng``.
        """
        repeated = (self.scale * mixture).to(self.device).repeat_interleave(seeds.shape[1], dim=0)
        threads = threads_of(self.device) if self.reentrant else 1
        size = min(self.batch, -(-len(repeated) // threads))
        rows, parts = torch.split(repeated, size), torch.split(seeds.flatten(0, 1), size)

        def sampled(part: tuple[Tensor, Tensor], progress: ProgressCallback) -> Tensor:
            posterior = self.posterior(part[0])
            with torch.no_grad():
                return posterior.sources(self.sampler(posterior, part[1], progress)).cpu()

        joined = torch.cat(side_by_side(sampled, [*zip(rows, parts, strict=True)], threads, on_progress))
        return joined.reshape(*seeds.shape[:2], *joined.shape[1:])

    def log_prior(self, sources: Tensor, sigma_max: float = 1.0, sigma_min: float = 0.05) -> Tensor | None:
        """Log prior (B,) of sources (B, K, C, *D) in nats, for ranking; None without a prior.

        It is log p itself of a density; else, up to a constant, a bound (see ``sepcli.posterior.elbo``) with
        the same noise for all, between ``sigma_max``, beyond which all is coarse, and ``sigma_min``.
        """
        if self.density is not None:
            log_prob: Callable[[Tensor], Tensor] = self.density.log_prob
        elif self.prior is not None:
            log_prob = partial(log_density_bound, self.prior, sigma_max=sigma_max, sigma_min=sigma_min)
        else:
            return None
        with torch.no_grad():
            return torch.cat(
                [log_prob(part.to(self.device)).cpu() for part in torch.split(sources, self.batch)]
            )

    def denoising_energies(self, mixture: Tensor, sources: Tensor, sigma: float, seeds: Tensor) -> Tensor:
        """Return the energies (B, 2) of denoising error and mixture; see ``sepcli.separation.fit``.

        Raises:
            UsageError: the engine has no prior that is independent of the mixture.
        """
        if self.prior is None:
            raise UsageError("the engine has no prior", "leave out the source other", argument="other")
        rows = (torch.split(part, self.batch) for part in (mixture, sources, seeds))
        parts = [
            denoising_energies(self.prior, self.weights, m, x.to(self.device), sigma, s)
            for m, x, s in zip(*rows, strict=True)
        ]
        return torch.cat(parts)


def score_engine(
    prior: DenoisingPrior,
    names: Sequence[str],
    weights: Sequence[float],
    device: torch.device,
    sampler: str | Sampler,
    settings: Mapping[str, Any],
    *,
    channels: int | None = None,
    fitted: Callable[[Tensor], DenoisingPrior] | None = None,
    bounds: tuple[float, float] | None = None,
    scale: float = 1.0,
) -> ScoreEngine:
    """Put prior, posterior and sampler together.

    Args:
        prior: p(x) of the K sources side by side, on ``device``.
        names: of the sources.
        weights: α_k.
        device: where to compute.
        sampler: a name, constructed with ``settings``, or a sampler, of which ``settings`` has nothing.
        settings: of the sampler and the posterior; an unknown key is an error.
        channels: of the mixture; None: any.
        fitted: mixtures (B, C, *D) → p(x) instead of ``prior``, where it depends on them.
        bounds: of the sources' values, if they have some.
        scale: factor on a mixture before the posterior, which mixes with the weights scale · α_k.

    Raises:
        UsageError: an unknown sampler or setting, or a value out of range.
    """
    name = sampler if isinstance(sampler, str) else name_of(sampler)
    if isinstance(sampler, str):
        check_name(sampler, "signal")
    options = _with_preset(settings) if sampler == "langevin" else dict(settings)
    kind: type[GaussianSettings | DiracSettings] = GaussianSettings if name == "langevin" else DiracSettings
    keys = {f.name for f in fields(kind)}
    if name != "halving" or bounds is not None:
        keys.discard("local")  # one chain; or images, whose columns are no frames
    likelihood: GaussianSettings | DiracSettings = parse(
        kind, {key: value for key, value in options.items() if key in keys}
    )
    rest = {key: value for key, value in options.items() if key not in keys}
    if isinstance(sampler, str):
        sampler = signal_sampler(sampler, rest)
    elif rest:
        key = next(iter(rest))
        raise UsageError(f"unknown setting '{key}'", "set it in the sampler", argument=f"settings.{key}")
    if name == "particles" and vars(likelihood)["sigma_y"] == 0.0:
        likelihood = replace(likelihood, sigma_y=vars(sampler)["sigma_min"])
    mixing = WeightedSum(tuple(scale * weight for weight in weights))
    if isinstance(sampler, Langevin):
        _check_step(sampler, vars(likelihood)["width"], mixing.weights)

    def posterior(mixture: Tensor) -> Posterior:
        joint = prior if fitted is None else fitted(mixture)
        products = likelihood.products if likelihood.moments == "jacobian" else 0
        if isinstance(likelihood, GaussianSettings) and not products:
            return GaussianPosterior(joint, mixing, mixture, len(names), width=likelihood.width)
        if isinstance(likelihood, GaussianSettings):
            return DiracPosterior(joint, mixing, mixture, isotropic=True, products=products)
        chosen = {key: value for key, value in vars(likelihood).items() if key not in ELSEWHERE}
        moments = joint.moments if likelihood.weigh else None
        limits = bounds if likelihood.bounded else None
        return DiracPosterior(
            joint, mixing, mixture, moments=moments, bounds=limits, products=products, **chosen
        )

    return ScoreEngine(
        posterior,
        sampler,
        tuple(names),
        tuple(weights),
        device,
        channels,
        prior=prior if fitted is None else None,
        likelihood={key: value for key, value in vars(likelihood).items() if key in keys},
        scale=scale,
    )


def part_of(on_progress: ProgressCallback, number: int, parts: int) -> ProgressCallback:
    """Progress in one of equal parts of the work as progress of the whole."""
    return lambda done, steps: on_progress(number * steps + done, parts * steps)


def _check_step(sampler: Langevin, width: float, weights: Sequence[float]) -> None:
    """Refuse steps that overshoot: with the precision λ = 1/σ² + Σα²/γ² of a sharp prior, η λ is below 2."""
    reach = sampler.ratio * (1.0 + sum(w * w for w in weights) / width)
    if reach >= 2.0:
        raise UsageError(
            f"Langevin steps overshoot: η (1/σ² + Σα²/γ²) is {reach:.2f} with these weights, not below 2",
            f"set ratio={1.5 / reach * sampler.ratio:.2g} or a larger width",
            argument="settings.ratio",
        )


def _with_preset(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(settings)
    if "preset" not in given:
        return given
    name = given.pop("preset")
    if name not in LANGEVIN_PRESETS:
        raise UsageError(
            f"unknown preset '{name}'", f"one of: {', '.join(LANGEVIN_PRESETS)}", argument="settings.preset"
        )
    return {**LANGEVIN_PRESETS[name], **given}
