"""What separates: chosen from cards alone, loaded later."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from sepcli.catalog.bounded import Files
from sepcli.catalog.card import Card
from sepcli.catalog.measured import Fit
from sepcli.catalog.verified import Verified
from sepcli.separation.fit import FitReference
from sepcli.separation.presets import DRAWS, ESTIMATE, PRESETS, Preset

SCORE, LASS, VARIATIONAL = "score", "lass", "variational"
"""The engines with priors: separation among signals, among tokens, and by encoders of the mixture."""

Network = TypeVar("Network")
FEW_STEPS, FEW_SECONDS = 200, 30
"""Steps and seconds below which a network is barely trained."""


@dataclass(frozen=True)
class Selection:
    """What separates.

    Attributes:
        engine: score, lass or variational.
        prior: name of the prior, or of several, joined by +.
        cards: of the priors that are loaded: one for all sources, or one per source (but not for ``other``).
        folders: of the cards.
        names: of the K sources; of a colorizer, of the channels.
        weights: α_k of the mixing, K of them; of a colorizer, of red, green and blue in the gray.
        stream: default settings of windows and consistency, as a card has them.
        defaults: default settings of engine and sampler, as a card has them.
        sampler: by name; None: the default one.
        settings: key → value, over the defaults.
        labels: a class per source, or None for any; () for any of all.
        other: whether the last source is what no prior explains.
        colorize: whether the channels of one image are separated.
        fit: by what it is assessed whether the priors explain a mixture; None: it is not.
        preset: of score priors: what is sampled from, where no sampler is given; see
            ``sepcli.separation.presets``.
    """

    engine: str
    prior: str
    cards: tuple[Card, ...]
    folders: tuple[Path, ...]
    names: tuple[str, ...]
    weights: tuple[float, ...]
    stream: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[int | None, ...] = ()
    other: bool = False
    colorize: bool = False
    preset: Preset = PRESETS[ESTIMATE]
    fit: Fit | None = None

    @property
    def fit_reference(self) -> FitReference | None:
        """What the fit is assessed by: it is of the default sampler and settings."""
        if self.fit is None or self.settings or not self.samples_by_default:
            return None
        return FitReference(self.fit.sigma, self.fit.errors)

    @property
    def samples_by_default(self) -> bool:
        """Whether neither a sampler nor a preset with another one is chosen."""
        return self.sampler is None and self.preset.sampler is None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said before they are used: of barely trained priors, and of draws that are none."""
        cards = {card.name: card for card in self.cards}.values()
        notes = [note for note in map(barely_trained, cards) if note is not None]
        rejecting = [card.name for card in cards if rejects_interference(card)]
        if self.preset.name == DRAWS and rejecting:
            notes += [
                f"draws of {', '.join(rejecting)} are not calibrated: trained to reject interference, such a"
                " prior is no density",
                "  their spread is no error bar; sepcli evaluate --calibration measures by how much",
            ]
        return tuple(notes)

    @property
    def draws_calibrated(self) -> bool:
        """Whether samples by the preset ``draws`` are calibrated, as the cards of all priors say."""
        separated = self.engine == SCORE and not (self.colorize or self.other)
        return separated and all(card.draws is not None and card.draws.calibrated for card in self.cards)

    @property
    def medium(self) -> Literal["audio", "image"]:
        """What is separated."""
        return self.cards[0].medium

    @property
    def sample_rate(self) -> int:
        """Hz; 0 for images."""
        return self.cards[0].sample_rate

    @property
    def default_sampler(self) -> str | None:
        """The sampler that is given, or the preset's or card's; None: the engine decides."""
        chosen = self.preset.sampler if self.sampler is None else self.sampler
        sampler = chosen if chosen is not None else self.defaults.get("sampler")
        return None if sampler is None else str(sampler)

    @cached_property
    def files(self) -> tuple[Verified, ...]:
        """The folders of the cards, verified as they are read; equal folders are one object."""
        pairs = zip(self.folders, self.cards, strict=True)
        shared = {folder: Verified(card, folder) for folder, card in pairs}
        return tuple(shared[folder] for folder in self.folders)

    def options(self) -> dict[str, Any]:
        """Return the settings that run: the defaults are those of the default sampler."""
        if self.sampler is not None or self.preset.sampler is not None:
            separated = self.medium == "image" and not self.colorize
            preset = self.preset.networks if separated else self.preset.settings
            return {**preset, **self.settings}
        return {**{k: v for k, v in self.defaults.items() if k != "sampler"}, **self.settings}

    def per_source(self) -> list[tuple[Card, Path]]:
        """Return card and folder of every source's prior, without ``other``."""
        entries = list(zip(self.cards, self.folders, strict=True))
        return entries * len(self.names) if len(entries) == 1 and self.medium == "image" else entries

    def networks(self, load: Callable[[Card, Files], Network]) -> list[Network]:
        """Return the network of every source's prior; those of one folder are one object."""
        entries = self.per_source()
        folders = dict(zip(self.folders, self.files, strict=True))
        loaded = {folder: load(files.card, files) for folder, files in folders.items()}
        return [loaded[folder] for _, folder in entries]

    def groups(self) -> tuple[Hashable, ...] | None:
        """Return of which kind every source is: sources of one kind are interchangeable; None: no two are."""
        if self.medium == "audio" or self.colorize:
            return None
        labels = self.labels or (None,) * len(self.names)
        folders = [os.path.realpath(folder) for _, folder in self.per_source()]
        return tuple(zip(folders, self.weights, labels, strict=True))

    def provenance(self) -> dict[str, Any]:
        """Return for records: the names of the priors, and the sha256 of their files."""
        files = [{name: entry.sha256 for name, entry in card.files.items()} for card in self.cards]
        if len(files) == 1 and not (self.medium == "audio" and self.engine == SCORE):
            return {"prior": self.prior, "files": files[0]}
        if self.medium == "image":
            return {"prior": [card.name for card in self.cards], "files": files}
        each = zip(self.names, files, strict=False)
        return {
            "prior": self.prior,
            "files": {
                f"{source}/{name}": digest for source, hashes in each for name, digest in hashes.items()
            },
        }


def barely_trained(card: Card) -> str | None:
    """Return a sentence on a network of a card that was barely trained; None: there is none.

    Trainings that a network started from count, too; a network without a record of its training does not.
    """
    for part in card.parts.values():
        trainings = (part.training, *part.history)
        steps, seconds = (sum(_number(one.get(key)) for one in trainings) for key in ("steps", "seconds"))
        if steps and (steps < FEW_STEPS or seconds < FEW_SECONDS):
            return f"prior {card.name} was trained for {steps:,} steps in {seconds:,} s: expect poor results"
    return None


def rejects_interference(card: Card) -> bool:
    """Whether the last training of a network of a card mixed other sources into its data."""
    return any(_share(part.training.get("interference_share")) > 0.0 for part in card.parts.values())


def _share(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0


def _number(value: object) -> int:
    return round(value) if isinstance(value, int | float) and 0 <= value < 1e12 else 0
