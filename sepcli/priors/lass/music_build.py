"""From priors of MusicGen, one per source, to the engine that separates with them."""

from __future__ import annotations

import torch

from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.verified import digest as digest_of
from sepcli.errors import PriorError, UsageError
from sepcli.priors.lass.codebook_engine import CodebookEngine
from sepcli.priors.lass.encodec import EncodecCodec
from sepcli.priors.lass.music_networks import CODEC, DECODER, load_encodec, load_musicgen
from sepcli.priors.lass.musicgen import MusicgenPrior, MusicgenPriors
from sepcli.priors.lass.settings import CodebookSettings
from sepcli.priors.selection import Selection
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.construct import SAMPLER_OF, token_sampler
from sepcli.settings import parse

MOST_CACHE, MOST_VALUES = 1 << 31, 1 << 26
"""Bytes of the caches, and values of a step's candidates, of all samples at once."""
MOST_ROWS = {"cuda": 256}
"""Kind of device → samples that are computed at once; elsewhere ``CodebookEngine.rows``."""


def music_engine(selection: Selection, device: torch.device) -> CodebookEngine:
    """Make the engine of verified priors, with settings of the sampler and of ``CodebookSettings``.

    Raises:
        PriorError: a part is missing or damaged, belongs to another codec, or needs a package.
        UsageError: priors of different codecs or codebooks, an unknown sampler or setting, a value out of
            range, or unsuitable weights.
    """
    sampler, settings = _settings(selection)
    check_codecs(selection)
    priors = MusicgenPriors(tuple(selection.networks(lambda card, files: load_prior(card, files, device))))
    _check_codebooks(selection, priors)
    network, sizes = load_encodec(selection.files[0])
    if sizes.sample_rate != selection.sample_rate or sizes.vocabulary != priors.sizes.vocabulary:
        raise PriorError(
            f"the codec of {selection.cards[0].name} is not for its card or its transformer",
            "import it again",
        )
    levels = priors.sizes.codebooks
    if levels > len(network.quantizer.layers):
        raise PriorError(
            f"the codec of {selection.cards[0].name} has fewer codebooks than its transformer",
            "import it again",
        )
    pairs = levels * min(settings.shortlist, sizes.vocabulary) ** 2
    most = MOST_ROWS.get(device.type, CodebookEngine.rows)
    return CodebookEngine(
        codec=EncodecCodec(network.to(device), sizes, levels),
        priors=priors,
        sampler=sampler,
        settings=settings,
        names=tuple(selection.names),
        weights=tuple(selection.weights),
        device=device,
        rows=max(1, min(most, MOST_CACHE // priors.row_bytes, MOST_VALUES // pairs)),
    )


def load_prior(card: Card, files: Files, device: torch.device) -> MusicgenPrior:
    """Return the prior of a source on a device.

    Raises:
        PriorError: it is missing or damaged, or was trained for another codec than the one beside it.
    """
    network, sizes = load_musicgen(files)
    digest = digest_of(files / CODEC / "model.safetensors")
    part = card.parts.get(DECODER)
    if part is not None and part.training.get("codec", digest) != digest:
        raise PriorError(
            f"the autoregressive prior of {card.name} was trained for another codec", "import it again"
        )
    return MusicgenPrior(network.to(device), sizes)


def check_codecs(selection: Selection) -> None:
    """Refuse priors over the tokens of different codecs, by the sha256 of their weights and configs.

    Raises:
        UsageError: they differ.
    """
    names = tuple(f"{CODEC}/{name}" for name in ("config.json", "model.safetensors"))
    codecs = {tuple(card.files[name].sha256 for name in names) for card in selection.cards}
    if len(codecs) > 1:
        raise UsageError(
            f"the priors have different codecs: {', '.join(card.name for card in selection.cards)}",
            "choose priors of one codec, in one storage",
            argument="priors",
        )


def _check_codebooks(selection: Selection, priors: MusicgenPriors) -> None:
    kinds = {(prior.sizes.vocabulary, prior.sizes.codebooks) for prior in priors.priors}
    if len(kinds) > 1:
        raise UsageError(
            f"the priors differ in their codebooks: {', '.join(card.name for card in selection.cards)}",
            "choose priors of as many codebooks",
            argument="priors",
        )


def _settings(selection: Selection) -> tuple[Ancestral | Greedy, CodebookSettings]:
    """Return the sampler and the settings: the selection's, over the card's."""
    defaults = dict(selection.defaults)
    default_sampler = str(defaults.pop("sampler", "ancestral"))
    name = default_sampler if selection.sampler is None else selection.sampler
    defaults = {key: value for key, value in defaults.items() if SAMPLER_OF.get(key, name) == name}
    sampler, rest = token_sampler(name, {**defaults, **selection.settings})
    if not isinstance(sampler, Ancestral | Greedy):
        raise UsageError(
            f"the sampler {name} is not for priors of several codebooks",
            "use ancestral, top-k or greedy",
            argument="sampler",
        )
    return sampler, parse(CodebookSettings, rest)
