"""A prior with its weights in another storage: the same networks, in other bytes, and a card that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from msgspec import structs

from sepcli.atomic import make_folder, write_whole
from sepcli.catalog import card as cards
from sepcli.catalog import files, index, resolve, storage
from sepcli.catalog.bounded import Files
from sepcli.catalog.card import CARD, Card, Part, Storage
from sepcli.catalog.index import inner_priors
from sepcli.catalog.low_rank import Difference
from sepcli.catalog.verified import Verified
from sepcli.errors import OutputError, PriorError, UsageError

WEIGHTS, TABLE = "model.safetensors", "table.safetensors"
"""Names of the files that are written anew; the others are copied."""
RANK = 48
"""Rank of the difference from a base: for networks trained further for half an hour."""
HIGHEST_RANK = 4096
"""The highest rank that a card may state."""
Digests = dict[str, str]
"""Sha256 of a file before → after."""


def convert(
    prior: str,
    out: Path,
    to: Storage,
    *,
    base: str | None = None,
    rank: int | None = None,
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
        rank: of that difference; None: that of the training of a part, or ``RANK``.
        overwrite: replace a prior in the folder.

    Returns:
        The relative error of the weights, ‖ŵ - w‖ / ‖w‖, by part.

    Raises:
        PriorError: there is no such prior or base, the prior is damaged, or the base of another network.
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
    priors = [("", card), *((name, cards.read(folder / name)) for name in inner_priors(card))]
    if base is not None:
        for name, each in priors:
            _check_base(each, folder / name, base)
    if (out / CARD).exists():
        if not overwrite:
            raise OutputError(
                f"{out} holds a prior", "choose another folder, or overwrite it", argument="out"
            )
        (out / CARD).unlink()
    digests: Digests = {}
    errors: dict[str, float] = {}
    for name, inner in priors[1:]:
        nested = _convert(inner, folder / name, out / name, to, digests, base, rank)
        errors |= {f"{name}/{part}": error for part, error in nested.items()}
    renamed = structs.replace(card, name=out.resolve().name)
    return errors | _convert(renamed, folder, out, to, digests, base, rank)


def _check_base(card: Card, folder: Path, base: str) -> None:
    """Check, before anything is written, that differences of all parts of a prior from a base can be stored.

    Raises:
        PriorError: the base is not bundled, or of another network.
    """
    if base not in index.names():
        raise PriorError(
            f"{base} is not a bundled prior, on which alone stored differences may rest",
            f"use one of {', '.join(index.names())}",
            argument="base",
        )
    there = resolve.find(base)[0]
    for name in card.files:
        path = PurePosixPath(name)
        if path.name == WEIGHTS:
            part = path.parent.as_posix()
            if part not in there.parts:
                raise PriorError(
                    f"{base} has no {part}",
                    "choose the prior that this one was trained from",
                    argument="base",
                )
            tensors = storage.read_weights(Verified(card, folder) / name)
            storage.base_of(tensors, Difference(f"{base}/{part}", RANK))


def _rank(part: Part, rank: int | None) -> int:
    """Return the rank of the difference of a part, by default that of its training."""
    trained = part.training.get("rank", RANK)
    valid = isinstance(trained, int) and 1 <= trained <= HIGHEST_RANK
    return rank or (trained if valid else RANK)


def _convert(
    card: Card, folder: Path, out: Path, to: Storage, digests: Digests, base: str | None, rank: int | None
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
            lower = _rank(card.parts[part], rank) if part in card.parts else rank or RANK
            difference = None if base is None else Difference(f"{base}/{part}", lower)
            errors[part] = storage.convert(source, target, to, difference)
        elif target.name == TABLE:
            _convert_table(source, target, digests)
        else:
            write_whole(target, source.read_bytes())
        digests[card.files[name].sha256] = cards.sha256(target)
    stored = {"type": to, "version": storage.VERSION}
    parts = {
        name: _described(
            part,
            out / name,
            stored if base is None else {**stored, "base": base, "rank": _rank(part, rank)},
            errors.get(name),
            digests,
        )
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
