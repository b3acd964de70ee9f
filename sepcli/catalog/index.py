"""The names of the catalog: bundled priors, and priors whose files are fetched from the Hub."""

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
UNPINNED_SOURCES: Mapping[str, str] = {
    "bedroom-256": "bedrooms",
    "cat-256": "cats",
    "celebahq-256": "portraits",
    "church-256": "churches",
    "cifar10-ddpm": "photographs",
    "mnist-ddpm": "digits",
}
"""Short name → what its images show."""

REFERENCE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.+-]+(?:/[\w.+-]+)*))?", re.ASCII)


@dataclass(frozen=True)
class Remote:
    """A prior on the Hub: its name as given, owner/name, branch or tag or commit, and the catalog's card.

    Without a card of the catalog, that of the repository counts.
    """

    reference: str
    repo: str
    revision: str
    card: Card | None

    @property
    def name(self) -> str:
        """The name of a prior without a card: the short name, or that of the repository."""
        return self.repo.split("/")[1] if self.reference.startswith(HUB) else self.reference


def remote(reference: str, revision: str | None = None) -> Remote | None:
    """Return where on the Hub a prior is; None for one that is bundled, or in a folder.

    Args:
        reference: name, folder or ``hf:owner/name[@revision]``.
        revision: a revision other than that of the name or of the catalog.

    Raises:
        UsageError: an ``hf:`` name of another form, or a revision for what has none.
        PriorError: the catalog's card cannot be read.
    """
    card = None
    if reference.startswith(HUB):
        match = REFERENCE.fullmatch(reference)
        if match is None:
            raise UsageError(
                f"'{reference}' is not the name of a repository", "write hf:owner/name[@revision]"
            )
        repo, default = match["repo"], match["revision"] or "main"
    elif reference in remote_names() and reference not in names():
        card = read(REMOTE, f"{reference}.toml")
        repo, default = card.repo, card.revision
        if not (repo and default and card.files):
            raise PriorError(f"the card of {reference} names no repository, revision or files", "correct it")
    elif reference in UNPINNED and reference not in names():
        repo, default = UNPINNED[reference], "main"
    elif revision is None:
        return None
    else:
        raise UsageError(
            f"{reference} is not on the Hub and has no revisions", "leave it out", argument="revision"
        )
    chosen = revision or default
    if ".." in chosen.split("/") or not REFERENCE.fullmatch(f"{HUB}{repo}@{chosen}"):
        raise UsageError(
            f"'{chosen}' is not a revision of {repo}", "give a branch, tag or commit", argument="revision"
        )
    return Remote(reference, repo, chosen, card)


def names() -> tuple[str, ...]:
    """Names of the bundled priors, sorted."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}")))


def remote_names() -> tuple[str, ...]:
    """Names of the pinned priors on the Hub, sorted."""
    return tuple(sorted(path.stem for path in REMOTE.glob("*.toml")))


def inner_priors(card: Card) -> tuple[str, ...]:
    """Return the distinct score priors of a card that are subfolders of its folder, as named by the card."""
    listed = {*names(), *remote_names()}
    return tuple(
        dict.fromkeys(name for name in card.priors if name not in listed and not name.startswith(HUB))
    )


def score_priors(card: Card, folder: Path | None) -> tuple[str, ...]:
    """Return the score priors that a card names, to be looked up with ``resolve.find``.

    Those inside the card's folder are left out if it is unknown.
    """
    inner = inner_priors(card)
    listed = [name for name in card.priors if folder is not None or name not in inner]
    return tuple(str(folder / name) if folder and name in inner else name for name in listed)
