"""Card → separator. ``BUILDERS`` is the one dict that names the families."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sepcli.catalog import card as cards
from sepcli.catalog.card import Card
from sepcli.codecs.vqvae1d import Vqvae1d, Vqvae1dConfig
from sepcli.errors import PriorError, UsageError
from sepcli.posterior import LassSettings
from sepcli.priors.transformer import TransformerConfig, TransformerPrior
from sepcli.protocols import Separator
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.separators import LassSeparator, TokenSampler
from sepcli.table import LikelihoodTable


def load_codec(folder: Path) -> tuple[Vqvae1d, str]:
    """The codec of a prior's folder and the sha256 of its weights, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    config = _config(folder / "codec")
    codec = Vqvae1d(Vqvae1dConfig(**config))
    _load(codec, folder / "codec")
    return codec.eval(), cards.sha256(folder / "codec" / "model.safetensors")


def load_prior(folder: Path) -> TransformerPrior:
    """The autoregressive prior of a prior's folder, float32 on the CPU.

    Raises:
        PriorError: it is missing or damaged.
    """
    config = _config(folder / "prior")
    prior = TransformerPrior(TransformerConfig(**config))
    _load(prior, folder / "prior")
    return prior.eval()


def _config(part: Path) -> dict[str, Any]:
    try:
        fields = json.loads((part / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PriorError(
            f"no usable {part.name} in {part.parent}", "train it with `sepcli train-prior`"
        ) from error
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def _load(module: nn.Module, part: Path) -> None:
    try:
        module.load_state_dict(
            {name: tensor.float() for name, tensor in load_file(part / "model.safetensors").items()}
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PriorError(
            f"{part / 'model.safetensors'} does not fit its config", "fetch or train the prior again"
        ) from error


def load_separator(
    prior: str, *, device: str = "cpu", sampler: str | None = None, settings: Mapping[str, str] | None = None
) -> Separator:
    """The separator of a prior: a bundled name or a folder; its files are verified against its card.

    Args:
        prior: name or folder.
        device: where to compute.
        sampler: overrides the card's.
        settings: ``--set key=value`` pairs, override the card's; an unknown key is an error.

    Raises:
        PriorError: missing, damaged or of an unknown family.
        UsageError: unknown sampler or setting, or a value out of range.
    """
    card, folder = cards.find(prior)
    if card.family not in BUILDERS:
        raise PriorError(
            f"prior {card.name} is of the unknown family '{card.family}'",
            f"this version builds: {', '.join(BUILDERS)}",
        )
    cards.verify(card, folder)
    given = {**card.settings, **(settings or {})}
    if sampler is not None:
        given["sampler"] = sampler
    return BUILDERS[card.family](card, folder, torch.device(device), given)


def _lass(card: Card, folder: Path, device: torch.device, given: Mapping[str, Any]) -> Separator:
    if len(card.sources) != 2:
        raise PriorError(
            f"LASS separates two sources, {card.name} has {len(card.sources)}", "use a prior of two sources"
        )
    codec, digest = load_codec(folder)
    table = LikelihoodTable.load(folder / "table" / "table.safetensors")
    if table.codec != digest or table.vocabulary != codec.vocabulary:
        raise PriorError(
            f"the likelihood table of {card.name} belongs to another codec",
            "count it again with `sepcli build-likelihood`",
        )
    options = dict(given)
    sampler = _token_sampler(str(options.pop("sampler", "ancestral")), options)
    settings = LassSettings(**_typed(LassSettings, options))
    return LassSeparator(
        codec.to(device),
        load_prior(folder).to(device),
        table,
        sampler,
        settings,
        card.sources,
        card.weights,
        card.sample_rate,
        device,
    )


def _token_sampler(name: str, options: dict[str, Any]) -> TokenSampler:
    """A sampler by name; takes its own settings out of ``options``."""
    kinds: dict[str, type[Any]] = {"greedy": Greedy, "ancestral": Ancestral, "top-k": Ancestral, "beam": Beam}
    if name not in kinds:
        raise UsageError(f"unknown sampler '{name}'", f"one of: {', '.join(kinds)}")
    own = {f.name for f in fields(kinds[name])} - ({"top_k"} if name == "ancestral" else set())
    mine = {key: options.pop(key) for key in list(options) if key in own}
    if name == "top-k":
        mine.setdefault("top_k", 32)
    for other in ("top_k", "width"):  # a card may hold the settings of several samplers
        options.pop(other, None)
    made: TokenSampler = kinds[name](**_typed(kinds[name], mine))
    return made


def _typed(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Words to the numbers that the fields of a dataclass hold."""
    known = {f.name: f.default for f in fields(kind)}
    typed: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            raise UsageError(f"unknown setting '{key}'", f"settings here: {', '.join(known) or 'none'}")
        number = float if isinstance(known[key], float) else int
        try:
            typed[key] = number(value)
        except ValueError as error:
            raise UsageError(
                f"{key}={value} is not {'a' if number is float else 'a whole'} number",
                "write for example --set lam=2",
            ) from error
    return typed


BUILDERS: dict[str, Callable[[Card, Path, torch.device, Mapping[str, Any]], Separator]] = {"lass": _lass}
"""Family → builder."""
