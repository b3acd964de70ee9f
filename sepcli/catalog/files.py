"""Priors on the Hub: their cards, and folders of verified files in the Hub's cache.

Only ``fetch`` and ``preview`` use the network. Files are kept if they have the sizes and hashes of the card.
A network of diffusers has no card; one is made with the hashes of the Hub's listing, see
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


def cached(place: Remote, cache_dir: Path | None = None) -> tuple[Card, Path]:
    """Return card and folder of a prior in the cache; its files are not verified.

    Raises:
        PriorError: it has not been fetched, or not completely.
    """
    found = _in_cache(place, cache_dir)
    if found is None:
        raise PriorError(
            f"prior {place.word} has not been fetched from the Hub", f"run `sepcli fetch-priors {place.word}`"
        )
    return found


def fetch(
    place: Remote,
    *,
    cache_dir: Path | None = None,
    offline: bool = False,
    on_progress: ProgressCallback = lambda done, total: None,
) -> tuple[Card, Path]:
    """Return card and folder of a prior, its files fetched where needed, and verified.

    What is pinned to a commit and complete is not requested again. Damaged files are fetched anew.

    Args:
        place: where it is.
        cache_dir: another cache than the client's.
        offline: use what is in the cache.
        on_progress: called with (bytes done, bytes in all).

    Raises:
        PriorError: missing, refused, unreachable, or different from its card.
        OutputError: the cache cannot be written.
    """
    if offline or hub.is_offline():
        card, folder = cached(place, cache_dir)
        cards.verify(with_inner(card, folder), folder)
        return card, folder
    with suppress(PriorError):  # a damaged card in the cache is fetched again
        found = _in_cache(place, cache_dir) if COMMIT.fullmatch(place.revision) else None
        if found is not None:
            whole = with_inner(*found)
            if all(_is_intact(found[1] / name, entry) for name, entry in whole.files.items()):
                return found
    listing = hub.listing(place.repo, place.revision)
    card = place.card or _own_card(place, listing, cache_dir)
    whole = _fetch_inner(card, place, listing, cache_dir)
    wrong = _unlike(whole, listing)
    if wrong is not None:
        raise _refused(wrong, whole, place, listing, cache_dir)
    folder = _fetch_files(whole, place, listing, cache_dir, on_progress)
    return replace(card, repo=place.repo, revision=listing.commit), folder


def preview(
    place: Remote, *, cache_dir: Path | None = None, offline: bool = False
) -> tuple[Card, tuple[str, ...]]:
    """Return what ``fetch`` would do: the card, and the names of the files that are not in the cache.

    The Hub is asked only for a card that the catalog does not hold; nothing is stored.

    Raises:
        PriorError: see ``fetch``.
    """
    found = _in_cache(place, cache_dir)
    if found is not None and (place.card or COMMIT.fullmatch(place.revision)):
        return found[0], ()
    if place.card is not None:
        card, commit = place.card, place.revision
    elif offline or hub.is_offline():
        return cached(place, cache_dir)[0], ()
    else:
        listing = hub.listing(place.repo, place.revision)
        with tempfile.TemporaryDirectory() as folder:
            card, commit = _own_card(place, listing, Path(folder)), listing.commit
            card = _fetch_inner(card, place, listing, Path(folder))
    return card, tuple(n for n in card.files if hub.lookup(place.repo, n, commit, cache_dir) is None)


def _in_cache(place: Remote, cache_dir: Path | None) -> tuple[Card, Path] | None:
    """Return card and folder of a prior if every file is in the cache, without verifying them."""
    firsts = (CARD, *diffusers.CONFIGS) if place.card is None else tuple(place.card.files)[:1]
    paths = {first: hub.lookup(place.repo, first, place.revision, cache_dir) for first in firsts}
    folder = next((hub.snapshot(path, first) for first, path in paths.items() if path is not None), None)
    if folder is None:
        return None
    card = place.card
    if card is None and (folder / CARD).is_file():
        card = cards.read(folder)
    elif card is None:
        card = diffusers.read_card(folder, place.name, scheduled=True)
    if card is None:
        return None
    names = [*card.files, *(f"{word}/{CARD}" for word in inner_priors(card))]
    if not all((folder / name).is_file() for name in names):
        return None
    if not all((folder / name).is_file() for name in with_inner(card, folder).files):
        return None
    return replace(card, repo=place.repo, revision=folder.name), folder


def _own_card(place: Remote, listing: hub.Listing, cache_dir: Path | None) -> Card:
    """Fetch the card of a repository, or make that of a network of diffusers."""
    if CARD not in listing.files:
        made = diffusers.fetch_card(place.repo, place.revision, place.name, listing, cache_dir)
        if made is not None:
            return made
        suffixes = {PurePosixPath(name).suffix.lower() for name in listing.files}
        if suffixes & diffusers.PICKLES and ".safetensors" not in suffixes:
            import_it = f"download it yourself, then run {diffusers.IMPORT}"
            known = diffusers.find_pickled(listing.files)
            raise PriorError(
                f"{place.repo} has pickled weights only, which can run code when they are read",
                import_it if known else "ask its owner for safetensors, or choose another repository",
            )
        raise PriorError(
            f"{place.repo} is not a prior of sepcli: it has no {CARD}",
            "a repository has to hold the files that `sepcli train-prior` writes",
        )
    path = hub.download_small(place.repo, CARD, place.revision, listing, cache_dir)
    try:
        card = cards.read(path.parent)
        if not card.files:
            raise PriorError(f"the {CARD} of {place.repo} lists no files", "choose another repository")
    except PriorError:
        hub.discard(path)
        raise
    return card


def _fetch_inner(card: Card, place: Remote, listing: hub.Listing, cache_dir: Path | None) -> Card:
    """Return the card with the files of the score priors in folders inside its own; fetch their cards."""
    for word in inner_priors(card):
        name = f"{word}/{CARD}"
        if name not in listing.files:
            raise _refused(f"it lacks the file {name}", card, place, listing, cache_dir)
        path = hub.download_small(place.repo, name, place.revision, listing, cache_dir)
        folder = hub.snapshot(path, name)
    return with_inner(card, folder) if inner_priors(card) else card


def with_inner(card: Card, folder: Path) -> Card:
    """Return the card with the files of the score priors in folders inside its own.

    Raises:
        PriorError: the card of one of them is missing or cannot be read.
    """
    found = dict(card.files)
    for word in inner_priors(card):
        inner = cards.read(folder / word)
        found |= {f"{word}/{name}": entry for name, entry in inner.files.items()}
    return replace(card, files=found)


def _fetch_files(
    card: Card, place: Remote, listing: hub.Listing, cache_dir: Path | None, on_progress: ProgressCallback
) -> Path:
    """Fetch the files of a card that are not intact in the cache; return their folder."""
    done, total, folder = 0, sum(entry.size for entry in card.files.values()), Path()
    for name, entry in card.files.items():
        path = hub.lookup(place.repo, name, listing.commit, cache_dir)
        if path is not None and not _is_intact(path, entry):
            hub.discard(path)
            path = None
        if path is None:
            start = done

            def on_bytes(size: int, start: int = start, most: int = entry.size) -> None:
                on_progress(start + min(size, most), total)

            path = hub.download(place.repo, name, listing.commit, cache_dir, on_bytes)
            if not _is_intact(path, entry):
                raise _refused(f"{name} differs from the card (sha256)", card, place, listing, cache_dir)
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
    reason: str, card: Card, place: Remote, listing: hub.Listing, cache_dir: Path | None
) -> PriorError:
    """Discard what was fetched of a repository that differs from its card; return the error."""
    for name in (CARD, *(f"{word}/{CARD}" for word in inner_priors(card)), *card.files):
        path = hub.lookup(place.repo, name, listing.commit, cache_dir)
        if path is not None:
            hub.discard(path)
    return PriorError(
        f"{place.repo} is not what its card states: {reason}",
        "nothing was kept; report it to the owner, or choose another repository",
    )


def _is_intact(path: Path, entry: File) -> bool:
    try:
        return cards.is_intact(path, entry)
    except OSError:
        return False
