"""The engine of denoisers of MDCT coefficients: the transform, and a score engine on the coefficients.

The mixing is linear and the transform orthogonal, so that all sampling is done on coefficients; the waveform
appears at the two ends only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.precision import fastest
from sepcli.protocols import DensityPrior, ProgressCallback
from sepcli.separation.engines import ScoreEngine
from sepcli.signal.mdct import imdct, mdct

AUDIBLE = (1.0, 0.003)
"""Range of sigmas for the ranking by the prior: from full scale to 30 dB below a typical mixture."""


@dataclass(frozen=True)
class MdctEngine:
    """Separation of waveforms in the MDCT domain; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        inner: separates coefficients (B, 1, M, N).
        hop: M, samples of a frame.
        weights: α_k of the mixing m = Σ α_k x_k.
        scale: c; the priors are of c x_k, and ``inner`` mixes those with the weights α_k/c. Priors of audio
            are trained at the levels that sources have in a mixture, and a mixture comes at one level
            whatever the α_k add up to; so c is their mean size, and only their ratios count.
        interference_trained: whether every prior was trained beside interference, so that estimates are
            nearer to the sources than masks computed from them.
        other: the share of the mixture's power that the last source, ``other``, is expected to have; None:
            there is none.
    """

    inner: ScoreEngine
    hop: int
    weights: tuple[float, ...]
    scale: float = 1.0
    interference_trained: bool = False
    other: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K sources."""
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
        """Sample sources.

        Args:
            mixture: (B, 1, T), float32, full scale 1.
            seeds: (B, S) int64, one per item and sample; or (B, S, Z), one per Z-th part of the frames too;
                a sample depends on its seeds only.
            on_progress: called after every evaluation.

        Returns:
            (B, S, K, 1, T) on the CPU: S samples of the unweighted sources.
        """
        coefficients = self.inner.sample(mdct(mixture, self.hop), seeds, on_progress)
        return imdct(coefficients, mixture.shape[-1]) / self.scale

    def describe(self) -> dict[str, Any]:
        """Return engine, sampler, and the settings of sampler, posterior and ``other`` that run."""
        description = self.inner.describe()
        other = {} if self.other is None else {"other": self.other}
        return {**description, "settings": {**description["settings"], **other}}

    def log_prior(self, sources: Tensor) -> Tensor | None:
        """How probable sources (B, K, 1, T) are, (B,) in nats up to a constant; see ``ScoreEngine``."""
        return self.inner.log_prior(mdct(sources * self.scale, self.hop), *AUDIBLE)


@dataclass(frozen=True)
class FastPrior:
    """A prior whose network runs in the device's fastest precision (see ``sepcli.priors.precision``).

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
