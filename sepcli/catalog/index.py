"""The names that the catalog knows: bundled priors, and priors whose files are fetched from the Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sepcli.catalog.card import CARD, HUB, Card, read
from sepcli.errors import PriorError, UsageError

BUNDLED = Path(__file__).parent / "bundled"
"""The folder of the priors that are part of the package."""
REMOTE = Path(__file__).parent / "remote"
"""The folder of the cards, NAME.toml, of priors whose files are fetched from the Hugging Face Hub."""
UNPINNED: Mapping[str, str] = {
    "bedroom-256": "google/ddpm-bedroom-256",
    "cat-256": "google/ddpm-cat-256",
    "celebahq-256": "google/ddpm-celebahq-256",
    "church-256": "google/ddpm-church-256",
    "cifar10-ddpm": "google/ddpm-cifar10-32",
    "mnist-ddpm": "1aurent/ddpm-mnist",
}
"""Short names of repositories of diffusion models, without a pinned commit: their files are verified against
the Hub's listing when they are fetched."""

WORD = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.+-]+(?:/[\w.+-]+)*))?", re.ASCII)


@dataclass(frozen=True)
class Remote:
    """A prior on the Hub.

    Attributes:
        word: the name that was given.
        repo: owner/name.
        revision: branch, tag or commit.
        card: of the catalog; None: the repository's own.
    """

    word: str
    repo: str
    revision: str
    card: Card | None

    @property
    def name(self) -> str:
        """The name of a prior without a card: the short name, or that of the repository."""
        return self.repo.split("/")[1] if self.word.startswith(HUB) else self.word


def remote(word: str, revision: str | None = None) -> Remote | None:
    """Return where on the Hub a prior is; None for one that is bundled, or in a folder.

    Args:
        word: name, folder or ``hf:owner/name[@revision]``.
        revision: another than the one of the name or of the catalog.

    Raises:
        UsageError: an ``hf:`` name of another form, or a revision for what has none.
        PriorError: the catalog's card cannot be read.
    """
    card = None
    if word.startswith(HUB):
        match = WORD.fullmatch(word)
        if match is None:
            raise UsageError(f"'{word}' is not the name of a repository", "write hf:owner/name[@revision]")
        repo, own = match["repo"], match["revision"] or "main"
    elif word in remote_names() and word not in names():
        card = read(REMOTE, f"{word}.toml")
        repo, own = card.repo, card.revision
        if not (repo and own and card.files):
            raise PriorError(f"the card of {word} names no repository, revision or files", "correct it")
    elif word in UNPINNED and word not in names():
        repo, own = UNPINNED[word], "main"
    elif revision is None:
        return None
    else:
        raise UsageError(
            f"{word} is not on the Hub and has no revisions", "leave it out", argument="revision"
        )
    chosen = revision or own
    if ".." in chosen.split("/") or not WORD.fullmatch(f"{HUB}{repo}@{chosen}"):
        raise UsageError(
            f"'{chosen}' is not a revision of {repo}", "give a branch, tag or commit", argument="revision"
        )
    return Remote(word, repo, chosen, card)


def names() -> tuple[str, ...]:
    """Names of the bundled priors, sorted."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}")))


def remote_names() -> tuple[str, ...]:
    """Names of the pinned priors on the Hub, sorted."""
    return tuple(sorted(path.stem for path in REMOTE.glob("*.toml")))


def inner_priors(card: Card) -> tuple[str, ...]:
    """The score priors of a card that are folders inside its own, as the card names them, each once."""
    known = {*names(), *remote_names()}
    return tuple(dict.fromkeys(w for w in card.priors if w not in known and not w.startswith(HUB)))


def score_priors(card: Card, folder: Path | None) -> tuple[str, ...]:
    """The score priors that a card names, to be looked up with ``resolve.find``; () if none.

    Args:
        card: of a prior of all sources together.
        folder: of the card; None: it is unknown, and priors inside it are left out.
    """
    inner, found = inner_priors(card), []
    for word in card.priors:
        if word not in inner:
            found.append(word)
        elif folder is not None:
            found.append(str(folder / word))
    return tuple(found)
