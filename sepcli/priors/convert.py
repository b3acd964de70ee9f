"""A prior with its weights in another storage: the same networks, in other bytes, and a card that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import structs

from sepcli.atomic import make_folder, write_whole
from sepcli.catalog import card as cards
from sepcli.catalog import files, resolve, storage
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import CARD, Card, Part, Storage
from sepcli.catalog.index import inner_priors
from sepcli.catalog.low_rank import Difference
from sepcli.catalog.verified import Verified
from sepcli.errors import OutputError, UsageError

WEIGHTS, TABLE = "model.safetensors", "table.safetensors"
"""Names of the files that are written anew; the others are copied."""
RANK = 48
"""Rank of the difference from a base: for networks trained further for half an hour."""
Digests = dict[str, str]
"""Sha256 of a file before → after."""


def convert(
    prior: str,
    out: Path,
    to: Storage,
    *,
    base: str | None = None,
    rank: int = RANK,
    overwrite: bool = False,
) -> dict[str, float]:
    """Write a prior into ``out`` with its weights in another storage.

    The sha256 of files by which parts name each other are replaced, as a transformer names its codec;
    likelihood tables are compressed without loss.

    Args:
        prior: name or folder.
        out: the new prior's folder; its card is written last, so that it is a prior only when it is complete.
        to: storage of the weights.
        base: a bundled prior that the prior was trained from, with the same parts, from which the weights are
            stored as a difference of low rank; None: whole.
        rank: of that difference.
        overwrite: replace a prior in the folder.

    Returns:
        The relative error of the weights, ‖ŵ - w‖ / ‖w‖, by part.

    Raises:
        PriorError: there is no such prior, or it is damaged.
        UsageError: its networks are stored by another program.
        OutputError: the folder holds a prior, or cannot be written.
    """
    card, folder = resolve.find(prior)
    whole = files.with_inner(card, folder)
    cards.verify(whole, folder)
    if not any(PurePosixPath(name).name == WEIGHTS for name in whole.files):
        raise UsageError(f"the weights of {card.name} are stored by diffusers", "choose another prior")
    if out.exists() and folder.exists() and out.resolve() == folder.resolve():
        raise OutputError(f"{out} is the prior to be converted", "choose another folder", argument="out")
    if (out / CARD).exists():
        if not overwrite:
            raise OutputError(
                f"{out} holds a prior", "choose another folder, or overwrite it", argument="out"
            )
        (out / CARD).unlink()
    digests: Digests = {}
    errors: dict[str, float] = {}
    for name in inner_priors(card):
        inner = cards.read(folder / name)
        nested = _convert(inner, folder / name, out / name, to, digests, base, rank)
        errors |= {f"{name}/{part}": error for part, error in nested.items()}
    return errors | _convert(card, folder, out, to, digests, base, rank)


def _convert(
    card: Card, folder: Path, out: Path, to: Storage, digests: Digests, base: str | None, rank: int
) -> dict[str, float]:
    """Convert one folder; add to the digests, and return the errors by part."""
    errors: dict[str, float] = {}
    for name in sorted(
        card.files, key=lambda name: PurePosixPath(name).name == TABLE
    ):  # it needs the digests
        source, target = Verified(card, folder) / name, out / name
        make_folder(target.parent, argument="out")
        if target.name == WEIGHTS:
            part = PurePosixPath(name).parent.as_posix()
            difference = None if base is None else Difference(f"{base}/{part}", rank)
            errors[part] = storage.convert(source, target, to, difference)
        elif target.name == TABLE:
            _convert_table(source, target, digests)
        else:
            write_whole(target, source.read_bytes())
        digests[card.files[name].sha256] = cards.sha256(target)
    stored = {
        "type": to,
        "version": storage.VERSION,
        **({} if base is None else {"base": base, "rank": rank}),
    }
    parts = {
        name: _described(part, out / name, stored, errors.get(name), digests)
        for name, part in card.parts.items()
    }
    listed = {name: cards.entry(out / name) for name in card.files}
    cards.write(structs.replace(card, parts=parts, files=listed), out)
    return errors


def _described(
    part: Part, folder: Path, stored: Mapping[str, Any], error: float | None, digests: Digests
) -> Part:
    """Return the entry of a part in the new card."""
    training = _renamed(part.training, digests)
    if error is None:
        if "kept" in training:
            training["kept"] = {**training["kept"], "file_bytes": (folder / TABLE).stat().st_size}
        return structs.replace(part, training=training)
    exact = {**stored, "relative_error": float(f"{error:.3g}")}
    return structs.replace(part, training=training, storage=exact)


def _renamed(value: Any, digests: Digests) -> Any:
    """Replace the digests in an entry of a card."""
    if isinstance(value, Mapping):
        return {key: _renamed(entry, digests) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(entry, digests) for entry in value]
    return digests.get(value, value) if isinstance(value, str) else value


def _convert_table(source: Files, target: Path, digests: Digests) -> None:
    from sepcli.priors.lass.table import LikelihoodTable

    table = LikelihoodTable.load(source)
    replace(table, codec=digests.get(table.codec, table.codec)).save(target, compress=True)
