"""What LASS trains: a codec of sources and mixtures, an autoregressive prior of tokens, and likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.datasets.chunks import Gains, draw_chunks
from sepcli.datasets.stems import StemBank
from sepcli.errors import PriorError
from sepcli.priors.lass.context import ContextLikelihood
from sepcli.priors.lass.latent import LatentLikelihood
from sepcli.priors.lass.load import load_codec, load_transformer
from sepcli.priors.lass.quantizer import perplexity
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae1d import Vqvae1d
from sepcli.signal.mixing import WeightedSum

CODEC_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"dim": 64, "encoder_dilations": (1, 1), "decoder_dilations": (1, 1), "vocabulary": 256},
    "small": {"dim": 256},
    "base": {
        "dim": 384,
        "encoder_dilations": (1, 1, 1, 1, 2, 2, 4, 4),
        "decoder_dilations": (4, 4, 2, 2, 1, 1, 1, 1),
    },
}
"""Sizes of the codec: ``small`` for an hour on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""

PRIOR_PRESETS: Mapping[str, Mapping[str, int]] = {
    "tiny": {"dim": 64, "layers": 1, "heads": 2, "head_dim": 32, "context": 64},
    "small": {"dim": 256, "layers": 4, "heads": 4, "context": 256},
    "base": {"dim": 384, "layers": 6, "heads": 6, "context": 512},
}
"""Sizes of the autoregressive prior, likewise."""

LATENT_PRESETS: Mapping[str, Mapping[str, int]] = {
    "tiny": {"hidden": 32},
    "small": {"hidden": 128},
    "base": {"hidden": 256},
}
"""Sizes of the latent likelihood, likewise."""

CONTEXT_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"dim": 32, "dilations": (1, 2)},
    "small": {},
    "base": {"dim": 512, "dilations": (1, 2, 4, 8, 16, 32, 64) * 2},
}
"""Sizes of the context likelihood, likewise."""

VALIDATED = 3
"""Seconds of the chunks that a codec is validated on."""


def audio_codec(folder: Path) -> tuple[Vqvae1d, str]:
    """The codec of a prior of audio; see ``sepcli.priors.lass.load.load_codec``."""
    codec, digest = load_codec(folder)
    if not isinstance(codec, Vqvae1d):
        raise PriorError(f"{folder} is a prior of images", "choose another folder, or give images")
    return codec, digest


class CodecTask:
    """Train the codec on equal numbers of chunks of every source and of their mixtures.

    Args:
        model: the codec, on its device.
        bank: training recordings.
        held_out: recordings for validation.
        weights: α_k of the mixing.
        batch: chunks per step, rounded up to a multiple of K + 1.
        tokens: tokens per chunk.
    """

    def __init__(
        self,
        model: Vqvae1d,
        bank: StemBank,
        held_out: StemBank,
        weights: tuple[float, ...],
        batch: int,
        tokens: int,
    ) -> None:
        self.model, self.bank, self.held_out = model, bank, held_out
        self.mixing = WeightedSum(weights)
        self.pairs = -(-batch // (len(weights) + 1))
        self.length = tokens * model.config.hop

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of fresh chunks at random levels."""
        sources = draw_chunks(self.bank, rng, self.pairs, self.length, Gains())
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        return self.model.loss(self._with_mixtures(sources).flatten(0, 1)[:, None], generator)

    def validate(self) -> dict[str, float]:
        """Reconstruction SDR (dB, median over 3 s chunks) per source and mixture; perplexity."""
        length = VALIDATED * self.model.config.sample_rate // self.model.config.hop * self.model.config.hop
        signals = self._with_mixtures(draw_chunks(self.held_out, np.random.default_rng(1), 64, length, None))
        figures, tokens = {}, []
        for k, name in enumerate((*self.bank.names, "mixture")):
            z = self.model.encode(signals[:, k, None])
            error = self.model.decode(z)[:, 0] - signals[:, k]
            ratio = signals[:, k].square().sum(-1) / error.square().sum(-1).clamp_min(1e-9)
            figures[f"sdr_{name}"] = float(10 * torch.log10(ratio).median())
            tokens.append(z)
        score = -float(np.mean([figures[f"sdr_{name}"] for name in self.bank.names]))
        return {"score": score, **figures, "perplexity": perplexity(torch.cat(tokens), self.model.vocabulary)}

    def _with_mixtures(self, sources: NDArray[np.float32]) -> Tensor:
        """(B, K, T) to (B, K + 1, T), the mixture last, on the model's device."""
        x = torch.from_numpy(sources).to(self.model.quantizer.codebook.device)
        return torch.cat([x, self.mixing(x)[:, None]], dim=1)


class PriorTask:
    """Train the autoregressive prior on the tokens of clean chunks of every source.

    Args:
        model: the prior, on its device.
        codec: the trained codec, on the same device.
        bank: training recordings.
        held_out: recordings for validation.
        batch: sequences per step, rounded up to a multiple of K.
        tokens: tokens per sequence.
    """

    def __init__(
        self,
        model: TransformerPrior,
        codec: Vqvae1d,
        bank: StemBank,
        held_out: StemBank,
        batch: int,
        tokens: int,
    ) -> None:
        self.model, self.codec, self.bank, self.held_out = model, codec.eval(), bank, held_out
        self.items = -(-batch // len(bank.names))
        self.tokens = tokens

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of fresh sequences at random levels."""
        return self.model.loss(*self._encode(draw_chunks(self.bank, rng, self.items, self._length, Gains())))

    def validate(self) -> dict[str, float]:
        """Negative log-likelihood in nats per token on held-out sequences, together and per source."""
        sources = draw_chunks(self.held_out, np.random.default_rng(1), 32, self._length, None)
        _, figures = self.model.loss(*self._encode(sources))
        return {"score": figures["nll"], **figures}

    @property
    def _length(self) -> int:
        return self.tokens * self.codec.config.hop

    @torch.no_grad()
    def _encode(self, sources: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Chunks (B, K, T) to tokens (B·K, L) and the index of their source (B·K,)."""
        device = self.codec.quantizer.codebook.device
        tokens = self.codec.encode(torch.from_numpy(sources).flatten(0, 1)[:, None].to(device))
        return tokens, torch.arange(sources.shape[1], device=device).repeat(len(sources))


def new_prior(config: TransformerConfig, codebook: Tensor, codec: str, init: str | None) -> TransformerPrior:
    """An autoregressive prior to be trained: a new one, or one that was trained before.

    Args:
        config: of the network that is asked for.
        codebook: (V, D) of the codec whose tokens it is for; a new prior's embeddings begin in its order.
        codec: sha256 of that codec's weights.
        init: a trained prior, name or folder; None: begin anew.

    Raises:
        PriorError: there is no such prior, or it is of another network or codec.
    """
    if init is None:
        prior = TransformerPrior(config)
        prior.embed_codes(codebook)
        return prior
    card, folder = resolve.find(init)
    if not {"codec/model.safetensors", "transformer/model.safetensors"} <= card.files.keys():
        raise PriorError(f"prior {card.name} has no autoregressive prior", "give one of the method lass")
    cards.verify(card, folder)
    if cards.sha256(folder / "codec" / "model.safetensors") != codec:
        raise PriorError(
            f"prior {card.name} is over the tokens of another codec", "copy its codec/ into the --out folder"
        )
    before = load_transformer(folder)
    if before.config != config:
        raise PriorError(
            f"prior {card.name} is of another network than the one asked for",
            "give the --preset, --sources and --classes that it was trained with",
        )
    return before


@dataclass(frozen=True)
class LikelihoodTask:
    """Train a likelihood on unrelated chunks of all sources and their mixtures.

    Attributes:
        model: the likelihood, on its device.
        nll: sources (B, K, T) → its loss, in nats per token, and figures with ``nll`` among them.
        bank: training recordings.
        held_out: recordings for validation.
        batch: mixtures per step.
        length: samples of a chunk.
        device: where the model is.
    """

    model: nn.Module
    nll: Callable[[Tensor], tuple[Tensor, dict[str, float]]]
    bank: StemBank
    held_out: StemBank
    batch: int
    length: int
    device: torch.device

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of fresh chunks at random levels."""
        return self.nll(self._draw(self.bank, rng, self.batch, Gains()))

    def validate(self) -> dict[str, float]:
        """The loss of held-out chunks as they are."""
        _, figures = self.nll(self._draw(self.held_out, np.random.default_rng(1), 64, None))
        return {"score": figures["nll"], **figures}

    def _draw(self, bank: StemBank, rng: np.random.Generator, count: int, levels: Gains | None) -> Tensor:
        return torch.from_numpy(draw_chunks(bank, rng, count, self.length, levels)).to(self.device)


def latent_nll(
    model: LatentLikelihood, codec: Vqvae1d, mixing: WeightedSum, sources: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """-log p(h_m | z_1, z_2) up to a constant, of two sources (B, 2, T); ``model`` has the codebook."""
    with torch.autocast(sources.device.type, enabled=False):  # 8 bits are too few for distances within a cell
        with torch.no_grad():
            first, second = _tokens(codec, sources).unbind(1)
            latents = F.normalize(codec.latents(mixing(sources)[:, None]), dim=-1)
        nll = -model.log_prob(latents, first, second).mean()
    return nll, {"nll": float(nll.detach())}


def context_nll(
    model: ContextLikelihood, codec: Vqvae1d, mixing: WeightedSum, sources: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """-log q_k(z_k | c), the mean of K sources (B, K, T); while training, their tokens are counted."""
    with torch.no_grad():
        tokens = _tokens(codec, sources)
        features = codec.features(mixing(sources)[:, None])
    if model.training:
        model.count(tokens)
    logits = model.logits(model(features))
    wanted = tokens.transpose(1, 2)
    nll = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").view_as(wanted)
    of_source = zip(model.config.sources, nll.detach().mean((0, 1)).tolist(), strict=True)
    return nll.mean(), {
        "nll": float(nll.detach().mean()),
        **{f"nll_{name}": mean for name, mean in of_source},
    }


def _tokens(codec: Vqvae1d, sources: Tensor) -> Tensor:
    """Of sources (B, K, T): (B, K, L)."""
    return codec.encode(sources.flatten(0, 1)[:, None]).view(*sources.shape[:2], -1)
