"""Rules of a card beyond the types of its entries."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec.structs import asdict

if TYPE_CHECKING:
    from sepcli.catalog.card import Card

KEYS = frozenset({"score", "lass", "variational", "colorize"})
"""Keys of a card's settings: its engines, and colorization."""


def contradictions(card: Card) -> dict[str, str]:
    """Return entry → what is wrong with it, beyond its type."""
    reasons: dict[str, str] = {}
    texts = (card.name, card.title, card.licence, card.data, card.repo, card.revision)
    texts = (*texts, *card.limits, *(text for entry in card.datasets for text in asdict(entry).values()))
    shown = (*texts, *card.sources, *card.priors, *card.files, *card.parts)
    if not all(character.isprintable() or character in "\n\t" for text in shown for character in text):
        reasons["name"] = "names and descriptions consist of printable characters"
    if not all(source.strip() for source in card.sources):
        reasons["sources"] = "every source has a name"
    if len(set(card.sources)) < len(card.sources):
        reasons["sources"] = "their names differ"
    if len(card.weights) not in (0, len(card.sources)):
        reasons["weights"] = "there is one weight per source"
    if not all(math.isfinite(weight) and weight != 0 for weight in card.weights):
        reasons["weights"] = "weights are finite numbers other than 0"
    if (card.medium == "audio") != (card.sample_rate > 0):
        reasons["sample_rate"] = "it is positive for audio and 0 for images"
    if card.resolution and (card.medium != "image" or len(card.resolution) != 2):
        reasons["resolution"] = "images have a height and a width, audio has none"
    if unknown := card.settings.keys() - KEYS:
        reasons["settings"] = f"'{min(unknown)}' is neither an engine nor colorize"
    multi_source = [engine for engine in card.engines if engine != "score"]
    if card.priors and (len(card.sources) < 2 or len(card.priors) != len(card.sources)):
        reasons["priors"] = "a prior of all sources together has one score prior per source"
    if multi_source and card.engine == "score" and not card.priors:
        reasons["engine"] = "score needs score priors"
    return reasons


def leaves_folder(path: PurePosixPath) -> bool:
    """Whether a path of a card may lead out of its folder."""
    return path.is_absolute() or not path.parts or ".." in path.parts or bool(set("\\:") & set(str(path)))
