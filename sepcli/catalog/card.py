"""A card: what a prior is, in one TOML file beside its weights, and how to find one by name or folder.

A prior's folder holds ``card.toml`` and the files that the card lists with size and sha256. Reading cards
needs neither torch nor the network, so a misspelt name is answered at once.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from sepcli.errors import OutputError, PriorError

BUNDLED = Path(__file__).parent / "bundled"
"""The folder of the priors that are part of the package."""
PICTURES = "score"
"""The family of the priors of pictures."""


@dataclass(frozen=True)
class Card:
    """A prior's card.

    Attributes:
        name: catalog name, or the folder's name.
        family: which builder of ``catalog.build`` makes it a separator.
        sources: names of the K sources.
        weights: α_k of the mixing m = Σ α_k x_k that it was made for.
        sample_rate: Hz; 0 for pictures.
        title: one line for people.
        licence: of the weights.
        data: what it was trained on, in a sentence.
        settings: the separator's defaults.
        stream: defaults of windows, draws and masks, likewise.
        files: relative path → {"sha256": hex, "size": bytes}.
        training: per part, how it was trained (command, steps, seconds, hardware, figures).
        figures: what was measured, with protocol and command.
    """

    name: str
    family: str
    sources: tuple[str, ...]
    weights: tuple[float, ...]
    sample_rate: int
    title: str = ""
    licence: str = ""
    data: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    stream: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


def names() -> tuple[str, ...]:
    """Names of the bundled priors, sorted."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob("*/card.toml")))


def find(prior: str) -> tuple[Card, Path]:
    """The card and folder of a prior: a bundled name, or a path to a folder with a card.

    Raises:
        PriorError: no such prior, or its card cannot be read.
    """
    if prior in names():
        return read(BUNDLED / prior), BUNDLED / prior
    folder = Path(prior)
    if prior and os.path.isfile(folder / "card.toml"):
        return read(folder), folder
    if prior and os.path.isdir(folder):
        raise PriorError(
            f"the folder {prior} holds no card.toml", "train a prior into it with `sepcli train-prior`"
        )
    near = difflib.get_close_matches(prior, names(), n=1, cutoff=0.5)
    known = f"the bundled priors are: {', '.join(names()) or 'none'}"
    raise PriorError(f"no prior named '{prior}'", f"did you mean {near[0]}?" if near else known)


def read(folder: Path) -> Card:
    """The card of a folder.

    Raises:
        PriorError: it cannot be read, lacks something, or lists a path that leaves the folder.
    """
    path = folder / "card.toml"
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        card = Card(**fields)
        card = replace(card, sources=tuple(map(str, card.sources)), weights=tuple(map(float, card.weights)))
        _check_kinds(card)
        paths = [PurePosixPath(name) for name in card.files]
    except (OSError, ValueError, TypeError) as error:
        raise PriorError(f"cannot read the card {path}: {error}", "restore the prior's folder") from error
    if not len(set(card.sources)) == len(card.sources) == len(card.weights) > 0:
        raise PriorError(
            f"the card {path} needs sources of different names, and one weight each",
            "restore the prior's folder",
        )
    if any(name.is_absolute() or ".." in name.parts or "\\" in str(name) for name in paths):
        raise PriorError(f"the card {path} lists a file outside its folder", "do not use this prior")
    return card


def write(card: Card, folder: Path) -> None:
    """Write ``card.toml``, atomically.

    Raises:
        OutputError: the folder cannot be written.
    """
    part = folder / ".card.toml.part"
    try:
        part.write_bytes(tomli_w.dumps(_plain(asdict(card))).encode())
        os.replace(part, folder / "card.toml")
    except OSError as error:
        raise OutputError(
            f"cannot write {folder / 'card.toml'}: {error.strerror}", "check the folder and its free space"
        ) from error


def with_files(card: Card, folder: Path) -> Card:
    """The card with size and hash of every weight and config file now in the folder's parts."""
    kept = sorted(
        p for p in folder.glob("*/*") if p.name in ("model.safetensors", "config.json", "table.safetensors")
    )
    entries = {
        p.relative_to(folder).as_posix(): {"sha256": sha256(p), "size": p.stat().st_size} for p in kept
    }
    return replace(card, files=entries)


def verify(card: Card, folder: Path) -> None:
    """Check that every listed file is there, whole and unchanged.

    Raises:
        PriorError: a file is missing, cannot be read or differs from the card.
    """
    for name, entry in card.files.items():
        path = folder / name
        if not path.is_file():
            raise PriorError(f"prior {card.name} lacks its file {name}", "fetch or train it again")
        try:
            same = path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]
        except OSError as error:
            raise PriorError(
                f"prior {card.name}: cannot read {name}: {error.strerror}", "check its permissions"
            ) from error
        if not same:
            raise PriorError(
                f"prior {card.name}: {name} differs from its card (sha256)",
                "the file was changed or damaged: restore it",
            )


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_kinds(card: Card) -> None:
    """Refuse a card whose entries are of the wrong kind.

    Raises:
        TypeError: one is.
        ValueError: a number is out of range.
    """
    words = (card.name, card.family, card.title, card.licence, card.data)
    tables = (card.settings, card.stream, card.files, card.training, card.figures)
    if not all(isinstance(word, str) for word in words):
        raise TypeError("name, family, title, licence and data are strings")
    if not all(isinstance(table, Mapping) for table in tables):
        raise TypeError("settings, stream, files, training and figures are tables")
    if not all(
        isinstance(entry, Mapping) and {"sha256", "size"} <= entry.keys() for entry in card.files.values()
    ):
        raise TypeError("every file needs its sha256 and size")
    if not isinstance(card.sample_rate, int) or card.sample_rate < (card.family != PICTURES):
        raise ValueError("sample_rate is a positive whole number")
    if not all(math.isfinite(weight) and weight != 0 for weight in card.weights):
        raise ValueError("weights are numbers, none of them 0")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
