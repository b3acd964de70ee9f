"""The engine of audio: a score engine on MDCT coefficients, for denoisers, or on samples, for flows.

The mixing is linear and the transform orthogonal, so that all sampling is done on coefficients; the waveform
appears at the two ends only.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.priors.audio.frame_net import FrameConv
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.precision import fastest
from sepcli.priors.selection import Selection
from sepcli.protocols import DensityPrior, ProgressCallback
from sepcli.separation.engines import ScoreEngine
from sepcli.signal.mdct import imdct, mdct

AUDIBLE = (1.0, 0.003)
"""Range of sigmas for the ranking by the prior: from full scale to 30 dB below a typical mixture."""


@dataclass(frozen=True)
class AudioEngine:
    """Separation of waveforms; fulfils ``sepcli.protocols.Engine``.

    Attributes:
        inner: separates coefficients (B, 1, M, N), or signals (B, 1, T) whose length is a multiple of
            ``hop``.
        hop: M, samples of a frame, or of a position of the flows.
        weights: α_k of the mixing m = Σ α_k x_k.
        scale: c; the priors are of c x_k, and ``inner`` mixes those with the weights α_k/c. Denoisers of
            audio are trained at the levels that sources have in a mixture, and a mixture comes at one level
            whatever the α_k add up to; so c is their mean size, and only their ratios count.
        interference_trained: whether every prior was trained beside interference, so that estimates are
            nearer to the sources than masks computed from them.
        lapped: whether ``inner`` separates MDCT coefficients.
        channels: C of the mixtures.
    """

    inner: ScoreEngine
    hop: int
    weights: tuple[float, ...]
    scale: float = 1.0
    interference_trained: bool = False
    lapped: bool = True
    channels: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K sources."""
        return self.inner.names

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.inner.sample_rate

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per source of a sample."""
        return self.inner.evaluations

    @property
    def density(self) -> DensityPrior | None:
        """The flows as one density; None: score networks are no densities."""
        return self.inner.density

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.inner.device

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Sample sources of mixtures (B, 1, T), float32, full scale 1; see ``sepcli.protocols.Engine``."""
        samples, length = self.inner.sample(self.entered(mixture), seeds, on_progress), mixture.shape[-1]
        return imdct(samples, length) / self.scale if self.lapped else samples[..., :length]

    def describe(self) -> dict[str, Any]:
        """Return engine, sampler, and the settings of sampler, posterior and ``other`` that run."""
        return self.inner.describe()

    def log_prior(self, sources: Tensor) -> Tensor | None:
        """Return log p of sources (B, K, 1, T), (B,) in nats, of score networks up to a constant.

        That of flows is under the noise that the sampler leaves in the sources; see ``ScoreEngine``.
        """
        return self.inner.log_prior(self.entered(sources * self.scale), *AUDIBLE)

    def denoising_energies(self, mixture: Tensor, sources: Tensor, sigma: float, seeds: Tensor) -> Tensor:
        """Return the energies (B, 2) of denoising error and mixture; see ``sepcli.separation.fit``."""
        entered = self.entered(mixture), self.entered(sources * self.scale)
        return self.inner.denoising_energies(*entered, sigma, seeds)

    def entered(self, signal: Tensor) -> Tensor:
        """Return coefficients of signals (…, T), or the signals with silence after them, as flows need it."""
        return mdct(signal, self.hop) if self.lapped else F.pad(signal, (0, -signal.shape[-1] % self.hop))


@dataclass(frozen=True)
class FastPrior:
    """A prior whose network runs in the device's fastest precision (see ``sepcli.priors.precision``)."""

    prior: SpectralPrior

    @property
    def has_variance(self) -> bool:
        """Whether the network provides the posterior variance."""
        return self.prior.has_variance

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, K, 1, M, N) for σ ()."""
        with fastest(x.device):
            return self.prior.score(x, sigma)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean D and variance C of the clean coefficients, each like x."""
        with fastest(x.device):
            return self.prior.moments(x, sigma)


def for_inference(prior: SpectralPrior, device: torch.device) -> FastPrior:
    """Return a copy of a prior on a device, with the weights in the type and layout of its products."""
    network = deepcopy(prior).to(device)
    with fastest(device):
        enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    for module in network.modules():
        if isinstance(module, FrameConv):
            module.freeze(dtype if enabled else torch.float32)
    return FastPrior(network)


def check_alike(selection: Selection, kinds: Sequence[tuple[int, ...]]) -> None:
    """Refuse priors of different kinds: the sample rate of each, and the number of bands if it has any.

    Raises:
        UsageError: they differ.
    """
    if len(set(kinds)) > 1:
        each = zip(selection.cards, kinds, strict=True)
        rates = ", ".join(f"{card.name} {kind[0]} Hz" for card, kind in each)
        raise UsageError(
            f"the priors differ in sample rate or bands: {rates}",
            "choose priors of one kind",
            argument="priors",
        )
