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

from sepcli.atomic import write_whole
from sepcli.errors import PriorError

BUNDLED = Path(__file__).parent / "bundled"
"""The folder of the priors that are part of the package."""
REMOTE = Path(__file__).parent / "remote"
"""The folder of the cards, NAME.toml, of priors whose files are fetched from the Hugging Face Hub."""
HUB = "hf:"
"""What the words for repositories of the Hub begin with: hf:owner/name[@revision]."""
UNPINNED: Mapping[str, str] = {
    "bedroom-256": "google/ddpm-bedroom-256",
    "cat-256": "google/ddpm-cat-256",
    "celebahq-256": "google/ddpm-celebahq-256",
    "church-256": "google/ddpm-church-256",
    "cifar10-ddpm": "google/ddpm-cifar10-32",
    "mnist-ddpm": "1aurent/ddpm-mnist",
}
"""Short names of repositories of other people's diffusion models, at no commit that was checked: it is the
Hub's listing at the time of fetching that their files are verified against."""
LASS = "lass"
"""The family of the priors of tokens, of all sources together."""
IMAGES = "score"
"""The family of the priors of images."""
SOUND = "spectral"
"""The family of the priors of one kind of sound; a mixture takes several."""
VARIATIONAL = "variational"
"""The family of the encoders of mixtures, of all sources together."""


@dataclass(frozen=True)
class Card:
    """A prior's card.

    Attributes:
        name: catalog name, or the folder's name.
        family: which builder of ``catalog.build`` makes it a separator.
        sources: names of the K sources.
        weights: α_k of the mixing m = Σ α_k x_k that it was made for.
        sample_rate: Hz; 0 for images.
        title: one line for people.
        licence: of the weights.
        data: what it was trained on, in a sentence.
        resolution: (height, width) of the images that it was trained on; () for sound.
        repo: owner/name of its repository of the Hub; "" for a prior that is not from there.
        revision: the commit of the repository.
        settings: the separator's defaults.
        stream: defaults of windows, draws and masks, likewise.
        score: of the families lass and variational, ``priors``: words for score priors of its sources, one
            each; see ``sepcli.catalog.engines``.
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
    resolution: tuple[int, ...] = ()
    repo: str = ""
    revision: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    stream: Mapping[str, Any] = field(default_factory=dict)
    score: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_images(self) -> bool:
        """Whether it is of images, not of sound."""
        return self.family == IMAGES or bool(self.resolution)


def names() -> tuple[str, ...]:
    """Names of the bundled priors, sorted."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob("*/card.toml")))


def remote_names() -> tuple[str, ...]:
    """Names of the priors that the catalog knows on the Hub, sorted."""
    return tuple(sorted(path.stem for path in REMOTE.glob("*.toml")))


def find(prior: str) -> tuple[Card, Path]:
    """The card and folder of a prior, without the network.

    Args:
        prior: a name of the catalog, a path to a folder with a card or a network of diffusers, or
            ``hf:owner/name[@revision]``; what is from the Hub has to be in its cache, see
            ``sepcli.catalog.files``.

    Raises:
        PriorError: no such prior, it has not been fetched, or its card cannot be read.
        UsageError: a ``hf:`` word of another form.
    """
    if prior in names():
        return read(BUNDLED / prior), BUNDLED / prior
    folder, far = Path(prior), (*remote_names(), *UNPINNED)
    if prior and os.path.isfile(folder / "card.toml"):
        return read(folder), folder
    if prior and os.path.isdir(folder):
        from sepcli.catalog import diffusers_layout as diffusers  # it makes cards of this module's

        made = diffusers.read_card(folder, folder.resolve().name)
        if made is not None:
            return made, folder
        raise PriorError(
            f"the folder {prior} holds no card.toml", "train a prior into it with `sepcli train-prior`"
        )
    if prior.startswith(HUB) or prior in far:
        from sepcli.catalog import files  # it looks words up here first

        return files.cached(prior)
    near = difflib.get_close_matches(prior, (*names(), *far), n=1, cutoff=0.5)
    known = f"the bundled priors are: {', '.join(names()) or 'none'}"
    known += f"; to fetch: {', '.join(far)}" if far else ""
    raise PriorError(f"no prior named '{prior}'", f"did you mean {near[0]}?" if near else known)


def read(folder: Path, name: str = "card.toml") -> Card:
    """The card of a folder.

    Raises:
        PriorError: it cannot be read, lacks something, or lists a path that leaves the folder.
    """
    path = folder / name
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        card = Card(**fields)
        card = replace(
            card,
            sources=tuple(map(str, card.sources)),
            weights=tuple(map(float, card.weights)),
            resolution=tuple(card.resolution),
        )
        _check_kinds(card)
        words = [word for word in card.score.get("priors", ()) if not word.startswith(HUB)]
        paths = [PurePosixPath(name) for name in (*card.files, *words)]
    except (OSError, ValueError, TypeError) as error:
        raise PriorError(f"cannot read the card {path}: {error}", "restore the prior's folder") from error
    if not len(set(card.sources)) == len(card.sources) == len(card.weights) > 0:
        raise PriorError(
            f"the card {path} needs sources of different names, and one weight each",
            "restore the prior's folder",
        )
    if any(_leaves(path) for path in paths):
        raise PriorError(f"the card {path} lists a file outside its folder", "do not use this prior")
    return card


def write(card: Card, folder: Path) -> None:
    """Write ``card.toml``, atomically.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_whole(folder / "card.toml", tomli_w.dumps(_plain(asdict(card))).encode())


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
            same = is_intact(path, entry)
        except OSError as error:
            raise PriorError(
                f"prior {card.name}: cannot read {name}: {error.strerror}", "check its permissions"
            ) from error
        if not same:
            raise PriorError(
                f"prior {card.name}: {name} differs from its card (sha256)",
                "the file was changed or damaged: "
                + ("run `sepcli fetch-priors` again" if card.repo else "restore it"),
            )


def is_intact(path: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a file has the size and sha256 of its entry in a card.

    Raises:
        OSError: it cannot be read.
    """
    return bool(path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"])


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
    words = (card.name, card.family, card.title, card.licence, card.data, card.repo, card.revision)
    shown = (*words, *card.sources, *card.files)
    tables = (card.settings, card.stream, card.score, card.files, card.training, card.figures)
    if not all(isinstance(word, str) for word in words):
        raise TypeError("name, family, title, licence, data, repo and revision are strings")
    if not all(character.isprintable() or character in "\n\t" for word in shown for character in word):
        raise ValueError("names and descriptions are of printable characters")
    if not all(isinstance(table, Mapping) for table in tables):
        raise TypeError("settings, stream, score, files, training and figures are tables")
    if not all(isinstance(entry, Mapping) for entry in card.training.values()):
        raise TypeError("the table training has a table per part")
    if not all(
        isinstance(entry, Mapping)
        and isinstance(entry.get("sha256"), str)
        and isinstance(entry.get("size"), int)
        for entry in card.files.values()
    ):
        raise TypeError("every file needs its sha256 and size")
    _check_engines(card)
    if len(card.resolution) not in (0, 2) or not all(isinstance(n, int) and n > 0 for n in card.resolution):
        raise ValueError("resolution is a height and a width in pixels")
    if not isinstance(card.sample_rate, int) or card.sample_rate < (not card.of_images):
        raise ValueError("sample_rate is a positive whole number")
    if not all(math.isfinite(weight) and weight != 0 for weight in card.weights):
        raise ValueError("weights are numbers, none of them 0")


def _check_engines(card: Card) -> None:
    words, own = card.score.get("priors", []), card.family
    method = card.settings.get("method", own)
    if not isinstance(words, list) or not all(isinstance(word, str) and word.isprintable() for word in words):
        raise TypeError("the priors of the table score are words")
    several = own in (LASS, VARIATIONAL)
    if card.score and (not several or card.score.keys() != {"priors"}):
        raise ValueError("only a card of lass or variational has a table score, and that only priors")
    if len(words) != len(card.sources) * bool(card.score):
        raise ValueError("the table score has one prior per source")
    if several and method not in (own, "score")[: 1 + bool(words)]:
        raise ValueError(f"the setting method is {own}, or score if there are score priors")


def _leaves(path: PurePosixPath) -> bool:
    """Whether a path of a card may lead out of its folder."""
    return path.is_absolute() or not path.parts or ".." in path.parts or bool(set("\\:") & set(str(path)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
