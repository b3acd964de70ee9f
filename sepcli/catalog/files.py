"""Priors on the Hub: their cards, and folders of verified files in the Hub's cache.

Only ``fetch`` and ``preview`` use the network. Files are kept if they have the sizes and hashes of the card.
The card of a network of diffusers is built with the hashes of the Hub's listing, see
``sepcli.catalog.diffusers_layout``.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from sepcli.catalog import card as cards
from sepcli.catalog import diffusers_layout as diffusers
from sepcli.catalog import hub
from sepcli.catalog.card import CARD, Card, File
from sepcli.catalog.index import Remote, inner_priors
from sepcli.errors import PriorError
from sepcli.protocols import ProgressCallback

COMMIT = re.compile(r"[0-9a-f]{40}")


def cached(remote: Remote, cache_dir: Path | None = None) -> tuple[Card, Path]:
    """Return card and folder of a prior in the cache; its files are not verified.

    Raises:
        PriorError: it has not been fetched, or not completely.
    """
    prior = _in_cache(remote, cache_dir)
    if prior is None:
        first = "unset HF_HUB_OFFLINE, then " if hub.is_offline() else ""
        raise PriorError(
            f"prior {remote.reference} has not been fetched from the Hub",
            f"{first}run `sepcli fetch-priors {remote.reference}`",
        )
    return prior


def fetch(
    remote: Remote,
    *,
    cache_dir: Path | None = None,
    offline: bool = False,
    on_progress: ProgressCallback = lambda done, total: None,
) -> tuple[Card, Path]:
    """Return card and folder of a prior, its files fetched where needed, and verified.

    What is pinned to a commit and complete is not requested again. Damaged files are fetched anew.

    Args:
        remote: the prior on the Hub.
        cache_dir: another cache than the client's.
        offline: use what is in the cache.
        on_progress: called with (bytes done, bytes in all).

    Raises:
        PriorError: missing, refused, unreachable, or different from its card.
        OutputError: the cache cannot be written.
    """
    if offline or hub.is_offline():
        card, folder = cached(remote, cache_dir)
        cards.verify(with_inner(card, folder), folder)
        return card, folder
    hub.remove_leftovers(remote.repo, cache_dir)
    with suppress(PriorError):  # a damaged card in the cache is fetched again
        prior = _in_cache(remote, cache_dir) if COMMIT.fullmatch(remote.revision) else None
        if prior is not None:
            whole = with_inner(*prior)
            if all(_is_intact(prior[1] / name, entry) for name, entry in whole.files.items()):
                return prior
    listing = hub.listing(remote.repo, remote.revision)
    card = remote.card or _fetch_card(remote, listing, cache_dir)
    whole = _fetch_inner(card, remote, listing, cache_dir)
    wrong = _unlike(whole, listing)
    if wrong is not None:
        raise _refused(wrong, whole, remote, listing, cache_dir)
    folder = _fetch_files(whole, remote, listing, cache_dir, on_progress)
    if CARD not in listing.files and not has_hashes(card, folder):  # no links, no hashes
        cards.write(card, folder)
    return replace(card, repo=remote.repo, revision=listing.commit), folder


def has_hashes(card: Card, folder: Path) -> bool:
    """Whether the hashes of a fetched prior are those of a card or of the links in the cache.

    Otherwise another program fetched a network of diffusers into a cache without links.
    """
    return (folder / CARD).is_file() or all(hub.recorded(folder / name) for name in card.files)


def preview(
    remote: Remote, *, cache_dir: Path | None = None, offline: bool = False
) -> tuple[Card, tuple[str, ...]]:
    """Return what ``fetch`` would do: the card, and the names of the files that are not in the cache.

    The Hub is queried only for a card that the catalog does not hold; nothing is stored.

    Raises:
        PriorError: see ``fetch``.
    """
    prior = _in_cache(remote, cache_dir)
    if prior is not None and (remote.card or COMMIT.fullmatch(remote.revision)):
        return prior[0], ()
    if remote.card is not None:
        card, commit = remote.card, remote.revision
    elif offline or hub.is_offline():
        return cached(remote, cache_dir)[0], ()
    else:
        listing = hub.listing(remote.repo, remote.revision)
        with tempfile.TemporaryDirectory() as folder:
            card, commit = _fetch_card(remote, listing, Path(folder)), listing.commit
            card = _fetch_inner(card, remote, listing, Path(folder))
    return card, tuple(n for n in card.files if hub.lookup(remote.repo, n, commit, cache_dir) is None)


def _in_cache(remote: Remote, cache_dir: Path | None) -> tuple[Card, Path] | None:
    """Return card and folder of a prior if every file is in the cache, without verifying them."""
    firsts = (CARD, *diffusers.CONFIGS) if remote.card is None else tuple(remote.card.files)[:1]
    paths = {first: hub.lookup(remote.repo, first, remote.revision, cache_dir) for first in firsts}
    folder = next((hub.snapshot(path, first) for first, path in paths.items() if path is not None), None)
    if folder is None:
        return None
    card = remote.card
    if card is None and (folder / CARD).is_file():
        card = cards.read(folder)
    elif card is None:
        card = diffusers.read_card(folder, remote.name, scheduled=True)
    if card is None:
        return None
    names = [*card.files, *(f"{subfolder}/{CARD}" for subfolder in inner_priors(card))]
    if not all((folder / name).is_file() for name in names):
        return None
    if not all((folder / name).is_file() for name in with_inner(card, folder).files):
        return None
    return replace(card, repo=remote.repo, revision=folder.name), folder


def _fetch_card(remote: Remote, listing: hub.Listing, cache_dir: Path | None) -> Card:
    """Fetch the card of a repository, or build that of a network of diffusers."""
    if CARD not in listing.files:
        built = diffusers.fetch_card(remote.repo, remote.revision, remote.name, listing, cache_dir)
        if built is not None:
            return built
        suffixes = {PurePosixPath(name).suffix.lower() for name in listing.files}
        if suffixes & diffusers.PICKLES and ".safetensors" not in suffixes:
            import_it = f"download it yourself, then run {diffusers.IMPORT}"
            pickled = diffusers.find_pickled(listing.files)
            raise PriorError(
                f"{remote.repo} has pickled weights only, which can run code when they are read",
                import_it if pickled else "ask its owner for safetensors, or choose another repository",
            )
        raise PriorError(
            f"{remote.repo} is not a prior of sepcli: it has no {CARD}",
            "a repository has to hold the files that `sepcli train-prior` writes",
        )
    path = hub.download_small(remote.repo, CARD, remote.revision, listing, cache_dir)
    try:
        card = cards.read(path.parent)
        if not (card.files or card.priors):
            raise PriorError(f"the {CARD} of {remote.repo} lists no files", "choose another repository")
    except PriorError:
        hub.discard(path)
        raise
    return card


def _fetch_inner(card: Card, remote: Remote, listing: hub.Listing, cache_dir: Path | None) -> Card:
    """Return the card with the files of the score priors in subfolders of its folder; fetch their cards."""
    for subfolder in inner_priors(card):
        name = f"{subfolder}/{CARD}"
        if name not in listing.files:
            raise _refused(f"it lacks the file {name}", card, remote, listing, cache_dir)
        path = hub.download_small(remote.repo, name, remote.revision, listing, cache_dir)
        folder = hub.snapshot(path, name)
    return with_inner(card, folder) if inner_priors(card) else card


def with_inner(card: Card, folder: Path) -> Card:
    """Return the card with the files of the score priors in subfolders of its folder.

    Raises:
        PriorError: the card of one of them is missing or cannot be read.
    """
    entries = dict(card.files)
    for subfolder in inner_priors(card):
        inner = cards.read(folder / subfolder)
        entries |= {f"{subfolder}/{name}": entry for name, entry in inner.files.items()}
    return replace(card, files=entries)


def _fetch_files(
    card: Card, remote: Remote, listing: hub.Listing, cache_dir: Path | None, on_progress: ProgressCallback
) -> Path:
    """Fetch the files of a card that are not intact in the cache; return their folder."""
    stored = hub.lookup(remote.repo, CARD, listing.commit, cache_dir)
    folder = Path() if stored is None else hub.snapshot(stored, CARD)
    done, total = 0, sum(entry.size for entry in card.files.values())
    for name, entry in card.files.items():
        path = hub.lookup(remote.repo, name, listing.commit, cache_dir)
        if path is not None and not _is_intact(path, entry):
            hub.discard(path)
            path = None
        if path is None:
            start = done

            def on_bytes(size: int, start: int = start, most: int = entry.size) -> None:
                on_progress(start + min(size, most), total)

            path = hub.download(remote.repo, name, listing.commit, cache_dir, on_bytes)
            if not _is_intact(path, entry):
                raise _refused(f"{name} differs from the card (sha256)", card, remote, listing, cache_dir)
        done += entry.size
        on_progress(done, total)
        folder = hub.snapshot(path, name)
    return folder


def _unlike(card: Card, listing: hub.Listing) -> str | None:
    """Return how a repository differs from a card, as far as its listing shows; None if it does not."""
    for name, entry in card.files.items():
        there = listing.files.get(name)
        if PurePosixPath(name).suffix.lower() in diffusers.PICKLES:
            return f"{name} is a pickle, which can run code when it is read"
        if there is None:
            return f"it lacks the file {name} of its card"
        if there.size not in (None, entry.size) or there.sha256 not in (None, entry.sha256):
            return f"{name} differs from the card (size or sha256)"
    return None


def _refused(
    reason: str, card: Card, remote: Remote, listing: hub.Listing, cache_dir: Path | None
) -> PriorError:
    """Discard what was fetched of a repository that differs from its card; return the error."""
    for name in (CARD, *(f"{subfolder}/{CARD}" for subfolder in inner_priors(card)), *card.files):
        path = hub.lookup(remote.repo, name, listing.commit, cache_dir)
        if path is not None:
            hub.discard(path)
    return PriorError(
        f"{remote.repo} is not what its card states: {reason}",
        "nothing was kept; report it to the owner, or choose another repository",
    )


def _is_intact(path: Path, entry: File) -> bool:
    try:
        return cards.is_intact(path, entry)
    except OSError:
        return False
