"""Training tasks of LASS: a codec of sources and mixtures, a transformer over tokens, and likelihoods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.priors.lass.chunks import Data
from sepcli.priors.lass.context import ContextLikelihood
from sepcli.priors.lass.latent import LatentLikelihood
from sepcli.priors.lass.load import LassCodec, TrainableCodec
from sepcli.priors.lass.quantizer import perplexity
from sepcli.priors.lass.transformer import TransformerPrior
from sepcli.signal.mixing import WeightedSum
from sepcli.training.distributed import ALONE, World
from sepcli.training.task import Batch

HELD_OUT = 64
"""Held-out mixtures by which a likelihood is validated."""
Loss = tuple[Tensor, dict[str, float]]
"""A loss () and figures to log."""


@dataclass(frozen=True)
class CodecTask:
    """Train a codec on equal numbers of every source and of their mixtures.

    Attributes:
        model: the codec, on its device.
        data: sources.
        batch: signals per step, rounded up to a multiple of K + 1.
        world: the processes that train together.
    """

    model: TrainableCodec
    data: Data
    batch: int
    world: World = ALONE

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample sources (B, K, C, *D), and a seed for the codes that nothing uses."""
        seed, items = int(rng.integers(2**31)), -(-self.batch // (len(self.data.weights) + 1))
        return self.data.train.sample(rng, items), seed

    def loss(self, sources: Tensor, seed: int) -> Loss:
        """Return the loss of sources and their mixtures."""
        return self.model.loss(self.signals(sources), torch.Generator().manual_seed(seed), self.world)

    def signals(self, sources: Tensor) -> Tensor:
        """Return sources (B, K, C, *D) and their mixtures (N, C, *D), on the model's device."""
        return self._with_mixtures(sources).flatten(0, 1)

    def validate(self) -> dict[str, float]:
        """Return the reconstruction quality (dB) of held-out sources and mixtures, and perplexity."""
        held_out = self.data.held_out
        signals = self._with_mixtures(held_out.sample(np.random.default_rng(1), self.data.mixtures))
        figures: dict[str, list[float]] = {}
        tokens = []
        for name, signal in zip((*held_out.names, "mixture"), signals.unbind(1), strict=True):
            z = self.model.encode(signal)
            measure, value = self.model.quality(signal, self.model.decode(z))
            figures.setdefault(f"{measure}_{name}".removesuffix("_"), []).append(value)
            tokens.append(z)
        *of_sources, _ = [value for values in figures.values() for value in values]
        return {
            "loss": -float(np.mean(of_sources)),
            **{name: float(np.mean(values)) for name, values in figures.items()},
            "perplexity": perplexity(torch.cat(tokens), self.model.vocabulary),
        }

    def _with_mixtures(self, sources: Tensor) -> Tensor:
        """(B, K, C, *D) to (B, K + 1, C, *D), the mixture last, on the model's device."""
        x = sources.to(self.model.quantizer.codebook.device)
        return torch.cat([x, WeightedSum(self.data.weights)(x)[:, None]], dim=1)


@dataclass(frozen=True)
class TransformerTask:
    """Train the autoregressive network on the tokens of clean sources.

    Attributes:
        model: the network, on its device.
        codec: the trained codec, on the same device.
        data: sources.
        batch: sequences per step, rounded up to a multiple of the sources of an item.
    """

    model: TransformerPrior
    codec: LassCodec
    data: Data
    batch: int

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample signals (N, C, *D) and their sources (N,)."""
        return self.data.train.labelled(rng, self.batch)

    def loss(self, signals: Tensor, sources: Tensor) -> Loss:
        """Return the loss of the tokens of signals."""
        return self.model.loss(*self._encode(signals, sources))

    def validate(self) -> dict[str, float]:
        """Return the negative log-likelihood of held-out sequences in nats per token: all, and by part."""
        figures = {}
        for name, (signals, sources) in self.data.held_out.validation().items():
            total = 0.0
            for part in zip(*(torch.split(each, self.batch) for each in (signals, sources)), strict=True):
                loss, _ = self.model.loss(*self._encode(*part))
                total += float(loss) * len(part[0]) / len(signals)
            figures[f"nll_{name}".removesuffix("_")] = total
        mean = float(np.mean(list(figures.values())))
        return {"loss": mean, "nll": mean, **figures}

    @torch.no_grad()
    def _encode(self, signals: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, L) of signals (N, C, *D), and their sources (N,), on the model's device."""
        device = self.codec.quantizer.codebook.device
        return self.codec.encode(signals.to(device)), sources.to(device)


@dataclass(frozen=True)
class LikelihoodTask:
    """Train a likelihood on unrelated sources and their mixtures.

    Attributes:
        model: the likelihood, on its device.
        nll: (model, codec, mixing, sources) → its loss, in nats per token, and figures with ``nll``.
        codec: the trained codec, on the same device.
        data: sources.
        batch: mixtures per step.
    """

    model: nn.Module
    nll: Callable[..., Loss]
    codec: LassCodec
    data: Data
    batch: int

    def sample(self, rng: np.random.Generator) -> Batch:
        """Sample sources (B, K, C, *D)."""
        return (self.data.train.sample(rng, self.batch),)

    def loss(self, sources: Tensor) -> Loss:
        """Return the loss of the mixtures of sources."""
        return self._loss(sources)

    def validate(self) -> dict[str, float]:
        """Return the loss of held-out mixtures."""
        _, figures = self._loss(self.data.held_out.sample(np.random.default_rng(1), HELD_OUT))
        return {"loss": figures["nll"], **figures}

    def _loss(self, sources: Tensor) -> Loss:
        x = sources.to(self.codec.quantizer.codebook.device)
        return self.nll(self.model, self.codec, WeightedSum(self.data.weights), x)


def latent_nll(model: LatentLikelihood, codec: LassCodec, mixing: WeightedSum, sources: Tensor) -> Loss:
    """-log p(h_m | z_1, z_2) up to a constant of two sources (B, 2, C, *D); ``model`` has the codebook."""
    with torch.autocast(sources.device.type, enabled=False):  # 8 bits are too few for distances within a cell
        with torch.no_grad():
            first, second = _tokens(codec, sources).unbind(1)
            latents = F.normalize(codec.latents(mixing(sources)), dim=-1)
        nll = -model.log_prob(latents, first, second).mean()
    return nll, {"nll": float(nll.detach())}


def context_nll(
    model: ContextLikelihood, codec: LassCodec, mixing: WeightedSum, sources: Tensor, world: World = ALONE
) -> Loss:
    """-log q_k(z_k | c), the mean of K sources (B, K, C, *D); while training, their tokens are counted."""
    with torch.no_grad():
        tokens = _tokens(codec, sources)
        features = codec.features(mixing(sources))
    if model.training:
        model.count(tokens, world)
    logits = model.logits(model(features))
    targets = tokens.transpose(1, 2)
    nll = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none").view_as(targets)
    means = zip(model.config.sources, nll.detach().mean((0, 1)).tolist(), strict=True)
    return nll.mean(), {"nll": float(nll.detach().mean()), **{f"nll_{name}": mean for name, mean in means}}


def _tokens(codec: LassCodec, sources: Tensor) -> Tensor:
    """Tokens (B, K, L) of sources (B, K, C, *D)."""
    return codec.encode(sources.flatten(0, 1)).view(*sources.shape[:2], -1)
