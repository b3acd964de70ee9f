"""The name of a prior → its card and folder: bundled, a folder, or from the Hub.

A name is one of the catalog, a path to a folder with a card or a network of diffusers, or
``hf:owner/name[@revision]``.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from sepcli.catalog import card as cards
from sepcli.catalog import diffusers_layout, files, index
from sepcli.catalog.card import CARD, Card
from sepcli.errors import PriorError
from sepcli.protocols import ProgressCallback


def find(prior: str, *, revision: str | None = None, cache_dir: Path | None = None) -> tuple[Card, Path]:
    """Return card and folder of a prior, without the network; its files are not verified.

    Args:
        prior: its name; what is on the Hub has to be in the cache, see ``fetch``.
        revision: a revision other than that of the name or of the catalog.
        cache_dir: another cache of the Hub than the client's.

    Raises:
        PriorError: no such prior, it has not been fetched, or its card cannot be read.
        UsageError: an ``hf:`` name of another form, or a revision for what has none.
    """
    remote = None if _is_local(prior) and revision is None else index.remote(prior, revision)
    return files.cached(remote, cache_dir) if remote is not None else _find_local(prior)


def fetch(
    prior: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    offline: bool = False,
    on_progress: ProgressCallback = lambda done, total: None,
) -> tuple[Card, Path]:
    """Return card and folder of a prior, its files fetched where needed, and verified.

    The arguments are those of ``find`` and ``files.fetch``.

    Raises:
        PriorError, OutputError: see ``files.fetch``.
        UsageError: see ``find``.
    """
    remote = index.remote(prior, revision)
    if remote is not None:
        return files.fetch(remote, cache_dir=cache_dir, offline=offline, on_progress=on_progress)
    card, folder = find(prior)
    cards.verify(files.with_inner(card, folder), folder)
    return card, folder


def preview(
    prior: str, *, revision: str | None = None, cache_dir: Path | None = None, offline: bool = False
) -> tuple[Card, tuple[str, ...]]:
    """Return what ``fetch`` would do: the card, and the names of the files that are not in the cache.

    Raises:
        PriorError, UsageError: see ``fetch``.
    """
    remote = index.remote(prior, revision)
    if remote is None:
        return find(prior)[0], ()
    return files.preview(remote, cache_dir=cache_dir, offline=offline)


def _is_local(prior: str) -> bool:
    """Whether there is a folder of that name; one with a card goes before names of the Hub."""
    return bool(prior) and prior not in index.names() and os.path.isdir(prior)


def _find_local(prior: str) -> tuple[Card, Path]:
    if prior in index.names():
        return cards.read(index.BUNDLED / prior), index.BUNDLED / prior
    folder = Path(prior)
    if prior and os.path.isfile(folder / CARD):
        return cards.read(folder), folder
    if prior and os.path.isdir(folder):
        card = diffusers_layout.read_card(folder, folder.resolve().name)
        if card is not None:
            return card, folder
        if reason := diffusers_layout.refusal(folder):
            raise reason
        raise PriorError(
            f"the folder {prior} holds no {CARD}", "train a prior into it with `sepcli train-prior`"
        )
    if re.search(r"\.py(:|$)", prior):
        raise PriorError(
            f"'{prior}' is not the name or the folder of a prior",
            "`sepcli separate` and colorize take FILE.py:OBJECT; in Python, pass it to sepcli.Separator",
        )
    far = (*index.remote_names(), *index.UNPINNED)
    near = difflib.get_close_matches(prior, (*index.names(), *far), n=1, cutoff=0.5)
    available = f"the bundled priors are: {', '.join(index.names()) or 'none'}"
    available += f"; to fetch: {', '.join(far)}" if far else ""
    raise PriorError(f"no prior named '{prior}'", f"did you mean {near[0]}?" if near else available)
