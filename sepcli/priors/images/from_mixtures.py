"""Images of one source, sampled from mixtures with a source of a given prior: the E-step of an EM algorithm.

    E: x_n ~ p(x | m_n),   m_n = α (x_n + y_n),   y of the given prior, x of the prior of the round before
    M: train the prior of x on x_1 … x_N

Each round raises the likelihood of the mixtures, up to the errors of sampling and training; clean images of x
are never seen. Before the first round the prior of x is Gaussian, with mean and covariance of the mixtures
less those of y. A round is one training, which starts from the weights of the round before.

Source: Rozet et al. 2024 (learning diffusion priors from observations); Data-Driven Prism (arXiv 2510.05205).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sepcli.catalog import resolve
from sepcli.catalog.verified import verified
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import to_float_images
from sepcli.errors import UsageError
from sepcli.posterior.unconditional import Unconditional
from sepcli.priors.images.independent import ClassPrior
from sepcli.priors.images.load import UNIT, load_image_prior, trained_range
from sepcli.protocols import DenoisingPrior, ProgressCallback
from sepcli.samplers.projected import Projected
from sepcli.separation.engines import ScoreEngine, score_engine
from sepcli.separation.independent import IndependentPriors
from sepcli.separation.presets import DRAWS, PRESETS
from sepcli.separation.seeds import item_seed, sample_seeds

WEIGHT = 0.5
"""α of both sources."""
MOMENTS = 256
"""Samples of the given prior by which its mean and covariance are measured."""
MOST_VALUES = 4096
"""Values of an image up to which a Gaussian prior has a full covariance."""
FLOOR = 1e-4
"""Least variance of a Gaussian prior in any direction."""


@dataclass(frozen=True)
class GaussianImages:
    """N(mean, V diag(λ) Vᵀ) of images; fulfils ``sepcli.protocols.ScorePrior`` for each source.

    Attributes:
        mean: (n,), of the values of an image.
        basis: V (n, n).
        variances: λ (n,).
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor

    has_variance = False

    @classmethod
    def of_difference(cls, mixtures: Tensor, others: Tensor) -> GaussianImages:
        """Return the Gaussian of x in α (x + y), for mixtures (N, C, H, W) and samples of y.

        Raises:
            UsageError: the images are too large.
        """
        if mixtures[0].numel() > MOST_VALUES:
            raise UsageError(
                f"images of {mixtures[0].numel()} values are too large for a first round",
                f"start from a prior, or use {MOST_VALUES} values at most",
                argument="init",
            )
        m, y = (part.flatten(1).double() for part in (mixtures / WEIGHT, others))
        variances, basis = torch.linalg.eigh(torch.cov(m.T) - torch.cov(y.T))
        mean = m.mean(0) - y.mean(0)
        return cls(mean.float(), basis.float(), variances.clamp(min=FLOOR).float())

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, K, C, H, W) for σ ()."""
        apart = (x.flatten(2) - self.mean) @ self.basis
        return (-(apart / (self.variances + sigma**2)) @ self.basis.T).view_as(x)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the clean images, each like x."""
        total = self.basis.square() @ (self.variances * sigma**2 / (self.variances + sigma**2))
        return x + sigma**2 * self.score(x, sigma), total.view(x.shape[2:]).expand_as(x)


def unmixed(
    mixtures: Sequence[LabelledImages],
    given: str,
    init: str | None,
    steps: int,
    seed: int,
    device: torch.device,
    on_progress: ProgressCallback | None = None,
) -> tuple[LabelledImages, ...]:
    """Sample the images of x in sets of mixtures.

    Args:
        mixtures: those for training, and others, of one shape.
        given: name or folder of the prior of y.
        init: likewise of x, of the round before; None: a Gaussian.
        steps: noise levels of the sampler.
        seed: of the samples.
        device: where to compute.
        on_progress: called with (mixtures done, all).

    Raises:
        UsageError: the priors are of other images.
        PriorError: one is damaged.
    """
    y, levels = _load(given, device)
    settings = {**PRESETS[DRAWS].networks, "steps": steps}
    levels = {"sigma_min": levels["sigma_min"], "sigma_max": float(settings["sigma_max"])}
    if init is None:
        like = torch.empty((MOMENTS, 1, *mixtures[0].images.shape[1:]), device=device)
        sampler = Projected(steps, levels["sigma_max"], levels["sigma_min"], 3.0, average=True)
        others = sampler(Unconditional(y, like), torch.arange(MOMENTS) + seed)[:, 0].cpu()
        x: DenoisingPrior = GaussianImages.of_difference(to_float_images(mixtures[0].images), others)
    else:
        x, _ = _load(init, device)
    engine = score_engine(
        IndependentPriors([x, y]),
        ("x", "y"),
        (WEIGHT, WEIGHT),
        device,
        "projected",
        {**settings, **levels},
        bounds=UNIT,
        scale=1.0 / WEIGHT,
    )
    total, done, results = sum(len(part.images) for part in mixtures), 0, []
    for number, part in enumerate(mixtures):
        sampled = np.empty_like(part.images)
        for start in range(0, len(part.images), engine.batch):
            rows = slice(start, start + engine.batch)
            sampled[rows] = _sampled(engine, part.images[rows], seed + number, start)
            done += len(part.images[rows])
            if on_progress is not None:
                on_progress(done, total)
        results.append(replace(part, images=sampled))
    return tuple(results)


def _sampled(engine: ScoreEngine, images: np.ndarray, seed: int, start: int) -> np.ndarray:
    """Sample x in mixtures (N, C, H, W), uint8, of which the first is number ``start``."""
    seeds = [sample_seeds(item_seed(seed, start + n), 0, 1) for n in range(len(images))]
    x = engine.sample(to_float_images(images), torch.tensor(seeds))[:, 0, 0]
    return np.asarray((x.clamp(0.0, 1.0) * 255).round().to(torch.uint8).numpy())


def _load(reference: str, device: torch.device) -> tuple[ClassPrior, dict[str, float]]:
    """Return a prior of images, and its noise levels."""
    card, folder = resolve.find(reference)
    network = load_image_prior(verified(card, folder)).to(device)
    return ClassPrior(network, fast=True), trained_range([network])
