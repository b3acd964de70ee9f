"""A calibration run: truths from the prior itself or from data, their mixtures, and posterior samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.evaluation.calibration import Calibration, calibration
from sepcli.evaluation.stein import Stein, stein_discrepancy
from sepcli.posterior.dirac import DiracPosterior
from sepcli.posterior.unconditional import Unconditional
from sepcli.protocols import Engine, ProgressCallback, Sampler
from sepcli.samplers.langevin import Langevin
from sepcli.samplers.msdm import MultiSource
from sepcli.samplers.particles import Particles
from sepcli.samplers.projected import Projected
from sepcli.samplers.rng import Rng
from sepcli.separation.engines import ScoreEngine
from sepcli.separation.seeds import item_seed, sample_seeds
from sepcli.signal.mixing import WeightedSum


def signal_engine(engine: Engine) -> ScoreEngine:
    """Return the engine of an engine of score priors in whose space the noise is: of audio, coefficients.

    Raises:
        UsageError: it is of another kind, or its prior depends on the mixture.
    """
    inner = getattr(engine, "inner", engine)
    if not isinstance(inner, ScoreEngine) or inner.prior is None:
        raise UsageError(
            "calibration is for score priors",
            "choose a score prior, without the source other",
            argument="priors",
        )
    return inner


def samples_prior(sampler: Sampler) -> bool:
    """Whether a sampler without a mixture samples the prior: not at a lower temperature, nor the best."""
    if isinstance(sampler, Projected):
        return sampler.samples_posterior
    return isinstance(sampler, Particles | MultiSource | Langevin)


def prior_samples(
    engine: ScoreEngine, shape: Sequence[int], count: int, sampler: Sampler, seed: int
) -> Tensor:
    """Draw sources (N, K, C, *D) from the prior of an engine, by a sampler without a mixture.

    A network is the score of no density exactly, so that samplers of other noise levels draw from others:
    posterior samples can be calibrated only with the sampler of these truths.

    Args:
        engine: of the prior.
        shape: (C, *D).
        count: N.
        sampler: with its noise levels; see ``samples_prior``.
        seed: source k of item n depends on it, n and k only.
    """
    if engine.prior is None:
        raise UsageError("the engine has no prior", "choose a score prior", argument="priors")
    if isinstance(sampler, Particles):
        sampler = replace(sampler, particles=1)  # without a mixture all have equal weights
    parts = []
    for start in range(0, count, engine.batch):
        numbers = range(start, min(start + engine.batch, count))
        like = torch.empty((len(numbers), len(engine.names), *shape), device=engine.device)
        seeds = torch.tensor([item_seed(seed, number) for number in numbers])
        parts.append(sampler(Unconditional(engine.prior, like), seeds).cpu())
    return torch.cat(parts)


def stein(engine: ScoreEngine, mixture: Tensor, samples: int, seed: int = 0) -> Stein:
    """Test whether S samples of one mixture (C, *D) fit the score of its posterior; no truth is needed.

    The samples get the noise of the sampler's last noise level, at which the score is that of p_σ(x | m).

    Raises:
        UsageError: the sampler is not on the constraint, or there are fewer than 8 samples.
    """
    seeds = torch.tensor([sample_seeds(seed, 0, samples)])
    x = engine.sample(mixture[None], seeds)[0].to(engine.device)
    posterior = engine.posterior((engine.scale * mixture).to(engine.device).expand(samples, *mixture.shape))
    if not isinstance(posterior, DiracPosterior):
        raise UsageError(
            "the kernel Stein discrepancy is for samplers on the constraint",
            "choose another sampler",
            argument="sampler",
        )
    state, sigma = posterior.state(x), torch.tensor(float(engine.sampler.sigma_min))  # type: ignore[attr-defined]
    noisy = state + sigma * Rng(seeds[0] + 1).normal(state)
    with torch.no_grad():
        scores = posterior.score(noisy, sigma.to(noisy))
    return stein_discrepancy(noisy.cpu(), scores.cpu(), seed)


def calibrate(
    engine: Engine,
    truths: Tensor,
    samples: int,
    *,
    seed: int = 0,
    batch: int = 8,
    about: Mapping[str, Any] | None = None,
    per_second: float = 0.0,
    on_progress: ProgressCallback | None = None,
) -> Calibration:
    """Mix truths (N, K, C, *D), sample every posterior S times, and compare.

    Args:
        engine: of the posterior; its weights mix.
        truths: sources in the units of the engine.
        samples: S.
        seed: of the samples.
        batch: mixtures that are sampled together.
        about: what is recorded.
        per_second: of recordings, positions of the last axis per second, by which confidence is assessed.
        on_progress: called with (mixtures done, N).
    """
    mix, parts = WeightedSum(tuple(engine.weights)), []
    for start in range(0, len(truths), batch):
        part = truths[start : start + batch]
        seeds = [sample_seeds(item_seed(seed, start + n), 0, samples) for n in range(len(part))]
        parts.append(engine.sample(mix(part), torch.tensor(seeds)))
        if on_progress is not None:
            on_progress(min(start + batch, len(truths)), len(truths))
    return calibration(truths, torch.cat(parts), seed=seed, about=about, per_second=per_second)
