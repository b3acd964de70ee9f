"""Card → separator. ``BUILDERS`` is the one dict that names the families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.engines import with_engine
from sepcli.catalog.network import load_network
from sepcli.catalog.settings import typed
from sepcli.errors import PriorError, UsageError
from sepcli.priors.audio.load_denoisers import build_spectral, load_composed
from sepcli.priors.audio.load_encoders import build_variational
from sepcli.priors.images.load_score import build_score
from sepcli.priors.lass.audio_engine import LassSeparator
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.latent import LatentConfig, LatentLikelihood
from sepcli.priors.lass.posterior import LassSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.protocols import DescribedSeparator
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam

SAMPLERS: Mapping[str, type[Any]] = {
    "greedy": Greedy,
    "ancestral": Ancestral,
    "top-k": Ancestral,
    "beam": Beam,
}
"""Token samplers by name."""
SAMPLER_SETTINGS: Mapping[str, str] = {"top_k": "top-k", "width": "beam"}
"""A setting of a sampler → the sampler that it belongs to."""
LASS_FILES: Mapping[str, str] = {
    "codec/config.json": "train it with `sepcli train-prior --family vqvae`",
    "codec/model.safetensors": "train it with `sepcli train-prior --family vqvae`",
    "transformer/config.json": "train it with `sepcli train-prior --family transformer`",
    "transformer/model.safetensors": "train it with `sepcli train-prior --family transformer`",
    "table/table.safetensors": "count it with `sepcli build-likelihood`",
}
"""What a LASS prior is made of, and where each file comes from."""


def load_codec(folder: Path) -> tuple[Vqvae1d, str]:
    """The codec of a prior's folder and the sha256 of its weights, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    codec = load_network(lambda config: Vqvae1d(Vqvae1dConfig(**config)), folder / "codec")
    return codec, cards.sha256(folder / "codec" / "model.safetensors")


def load_prior(folder: Path) -> TransformerPrior:
    """The autoregressive prior of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    return load_network(lambda config: TransformerPrior(TransformerConfig(**config)), folder / "transformer")


def load_latent(folder: Path) -> LatentLikelihood:
    """The latent likelihood of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    return load_network(lambda config: LatentLikelihood(LatentConfig(**config)), folder / "latent")


def load_context(folder: Path) -> ContextLikelihood:
    """The context likelihood of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    context = load_network(lambda config: ContextLikelihood(ContextConfig(**config)), folder / "context")
    if not bool((context.counts.isfinite() & (context.counts >= 1)).all()):  # NaN fails both
        raise PriorError(
            f"{folder / 'context' / 'model.safetensors'} counts no tokens", "fetch or train the prior again"
        )
    return context


def load_table(card: Card, folder: Path, vocabulary: int, digest: str) -> LikelihoodTable:
    """The likelihood table of a prior's folder, for a codec of V codes and the sha256 ``digest``.

    Raises:
        PriorError: it is missing or damaged, or belongs to another codec.
    """
    table = LikelihoodTable.load(folder / "table" / "table.safetensors")
    if table.codec != digest or table.vocabulary != vocabulary:
        raise PriorError(
            f"the likelihood table of {card.name} belongs to another codec",
            "count it again with `sepcli build-likelihood`",
        )
    return table


def check_prior(
    card: Card, prior: TransformerPrior, sources: tuple[str, ...], vocabulary: int, digest: str
) -> None:
    """Refuse an autoregressive prior whose ``sources`` are not the card's, or that is of another codec.

    Raises:
        PriorError: it is.
    """
    made_for = trained(card, "transformer").get("codec", digest)
    if (sources, prior.config.vocabulary, made_for) != (card.sources, vocabulary, digest):
        raise PriorError(
            f"the autoregressive prior of {card.name} was trained for another codec or other sources",
            "train it again with `sepcli train-prior --family transformer --overwrite`",
        )


def load_separator(
    prior: str,
    *,
    method: str | None = None,
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> DescribedSeparator:
    """The separator of a prior: a bundled name or a folder; its files are verified against its card.

    Args:
        prior: name or folder.
        method: the engine, lass or score; None: the one that has the sampler, else the card's own.
        device: where to compute.
        sampler: overrides the card's.
        settings: ``--set key=value`` pairs, override the card's; an unknown key is an error.

    Raises:
        PriorError: missing, damaged or of an unknown family.
        UsageError: the prior is not for the method; unknown sampler or setting, or a value out of range.
    """
    found, folder = resolve.find(prior)
    card = with_engine(found, folder, method, sampler)
    if card.priors:
        return load_composed(
            card.priors,
            card.weights or None,
            names=card.sources,
            device=device,
            sampler=sampler,
            settings=settings,
        )
    cards.verify(card, folder)
    chosen, options = choose_sampler(card, sampler, settings or {})
    kind = "spectral" if (card.engine, card.medium) == ("score", "audio") else card.engine
    return BUILDERS[kind](card, folder, torch.device(device), chosen, options)


def choose_sampler(
    card: Card, sampler: str | None, settings: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """A sampler's name and all settings, from a card and from what was asked for, which overrides it."""
    own = card.defaults(card.engine)
    usual = str(own.pop("sampler", "ancestral"))
    chosen = usual if sampler is None else sampler
    # a card may hold the settings of several samplers; what was asked for by name is never ignored
    own = {key: value for key, value in own.items() if SAMPLER_SETTINGS.get(key, chosen) == chosen}
    return chosen, {**own, **settings}


def trained(card: Card, part: str) -> dict[str, Any]:
    """Return what a card says of the training of a part; {} if nothing."""
    return card.parts[part].training if part in card.parts else {}


def check_lass_files(card: Card) -> None:
    """Refuse a LASS prior of which a part is missing.

    Raises:
        PriorError: it is.
    """
    for name, hint in LASS_FILES.items():
        if name not in card.files:
            raise PriorError(f"prior {card.name} is not complete: its card lists no {name}", hint)


def _lass(
    card: Card, folder: Path, device: torch.device, sampler: str, options: Mapping[str, Any]
) -> DescribedSeparator:
    if card.medium == "image":
        from sepcli.priors.lass.load_images import build_lass_images  # it takes its parts from here

        return build_lass_images(card, folder, device, sampler, options)
    if len(card.sources) != 2:
        raise PriorError(
            f"LASS separates two sources, {card.name} has {len(card.sources)}", "use a prior of two sources"
        )
    check_lass_files(card)
    chosen, rest = token_sampler(sampler, options)
    settings = LassSettings(**typed(LassSettings, rest))
    codec, digest = load_codec(folder)
    table = load_table(card, folder, codec.vocabulary, digest)
    prior = load_prior(folder)
    check_prior(card, prior, prior.config.sources, codec.vocabulary, digest)
    latent = load_latent(folder).to(device) if _is_used("latent", settings.latent, card) else None
    if settings.latent > 0 and (latent is None or not torch.equal(latent.codebook, codec.quantizer.codebook)):
        raise PriorError(
            f"{card.name} has no latent likelihood for its codec",
            "train it with `sepcli train-prior --family latent`, or give --set latent=0",
        )
    context = load_context(folder).to(device) if _is_used("context", settings.context, card) else None
    if settings.context > 0 and (
        context is None
        or trained(card, "context").get("codec", digest) != digest
        or (context.config.vocabulary, context.config.features) != (codec.vocabulary, codec.config.dim)
        or context.config.sources != card.sources
    ):
        raise PriorError(
            f"{card.name} has no context likelihood for its codec and sources",
            "train it with `sepcli train-prior --family context`, or give --set context=0",
        )
    return LassSeparator(
        codec.to(device),
        prior.to(device),
        table,
        chosen,
        settings,
        card.sources,
        card.weights or (1.0, 1.0),
        card.sample_rate,
        device,
        latent,
        context,
    )


def _is_used(part: str, power: float, card: Card) -> bool:
    """Whether a likelihood beside the table has a say, and is there."""
    return power > 0 and f"{part}/model.safetensors" in card.files


def token_sampler(name: str, options: Mapping[str, Any]) -> tuple[Ancestral | Beam | Greedy, dict[str, Any]]:
    """A sampler of tokens by name, and the options that are not its own.

    Raises:
        UsageError: it is unknown, an option is of another sampler, or a value is out of range.
    """
    if name not in SAMPLERS:
        raise UsageError(f"unknown sampler '{name}'", f"one of: {', '.join(SAMPLERS)}")
    for key in options:
        if SAMPLER_SETTINGS.get(key, name) != name:
            raise UsageError(
                f"the sampler {name} has no setting '{key}'", f"give --sampler {SAMPLER_SETTINGS[key]} too"
            )
    mine = {key: value for key, value in options.items() if key in SAMPLER_SETTINGS}
    if name == "top-k":
        mine.setdefault("top_k", 32)
    made: Ancestral | Beam | Greedy = SAMPLERS[name](**typed(SAMPLERS[name], mine))
    return made, {key: value for key, value in options.items() if key not in SAMPLER_SETTINGS}


Builder = Callable[[Card, Path, torch.device, str, Mapping[str, Any]], DescribedSeparator]
"""(card, its folder, device, sampler, settings) → separator."""

BUILDERS: dict[str, Builder] = {
    "lass": _lass,
    "score": build_score,
    "spectral": build_spectral,
    "variational": build_variational,
}
"""Family → builder."""
