"""Whether a card lists every file that its families read: what is not listed is not verified.

Only cards are read here, and torch is not imported.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from sepcli.catalog import diffusers_layout
from sepcli.catalog.card import Card
from sepcli.errors import PriorError
from sepcli.priors import FAMILIES, Family

LOADABLE = frozenset({".safetensors", ".json", *diffusers_layout.PICKLES})
"""Suffixes of weights, configs and indexes."""


def family_of(card: Card, engine: str) -> Family:
    """Return the row of the part that separates; a part that has only files is of its folder's family.

    Raises:
        PriorError: the card has no such part, several, or one of an unknown family.
    """
    folders = {row.part: row.name for row in FAMILIES.values()}
    listed = {name.partition("/")[0] for name in card.files} & folders.keys()
    families = {folder: folders[folder] for folder in sorted(listed)}
    families |= {folder: part.family for folder, part in card.parts.items() if part.family != "table"}
    for family in families.values():
        if family not in FAMILIES:
            raise PriorError(
                f"prior {card.name} has a part of the unknown family '{family}'",
                f"families of this version: {', '.join(FAMILIES)}",
            )
    fitting = [row for row in FAMILIES.values() if row.engine == engine and card.medium in row.separator]
    rows = [row for row in fitting if row.name in families.values()]
    if not rows:  # the list of missing files says what is missing
        begun = [row for row in fitting if any(name in card.files for name in row.needs)]
        rows = fitting if len(fitting) == 1 else begun
    if len(rows) != 1:
        raise PriorError(
            f"prior {card.name} has {len(rows)} parts for the engine {engine}: "
            + (", ".join(row.name for row in rows) or "none"),
            "train or fetch the prior again",
            argument="priors",
        )
    return rows[0]


def check_complete(card: Card, engine: str) -> None:
    """Refuse a card that lacks a file that its engine reads, whether or not the file is in the folder.

    Raises:
        PriorError: it does; see also ``family_of``.
    """
    family = family_of(card, engine)
    demanded = family.files
    if family.name == "diffusers":
        parts = diffusers_layout.find_parts(card.files)
        demanded = demanded if parts is None else (*parts.configs, *parts.weights)
    for name in demanded:
        if name not in card.files:
            raise PriorError(
                f"prior {card.name} is not complete: its card lists no {name}",
                "train or fetch the prior again: what is not listed is not verified",
            )


def own_engines(card: Card) -> tuple[str, ...]:
    """Return the engines whose networks are the card's own; those of the priors that it names have cards."""
    return tuple(engine for engine in card.engines if not (card.priors and engine == "score"))


def not_covered(card: Card, folder: Path) -> tuple[str, ...]:
    """Return weights and configs in a prior's folder that its card does not list, sorted; none is loaded.

    Args:
        card: of the prior, with the files of the priors in subfolders.
        folder: the prior's.
    """
    present = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    loadable = (name for name in present if PurePosixPath(name).suffix.lower() in LOADABLE)
    return tuple(sorted(name for name in loadable if name not in card.files))
