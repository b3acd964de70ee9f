"""``sepcli fetch-priors``: priors from the Hugging Face Hub into its cache, verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepcli.cli import completion, console
from sepcli.cli.fetch_list import megabytes, show
from sepcli.cli.jobs import finish
from sepcli.cli.tables import Table, TableStyle, check_style
from sepcli.errors import PriorError, SepError, UsageError

if TYPE_CHECKING:
    from sepcli.catalog.card import Card


@dataclass(frozen=True)
class Cache:
    """Options of all lookups.

    Attributes:
        revision: another than the one of the name or of the catalog.
        cache_dir: another cache than the default one.
        offline: do not use the network.
    """

    revision: str | None
    cache_dir: Path | None
    offline: bool


def fetch_priors(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Names of the catalog, folders, or hf:owner/name[@revision].",
            autocompletion=completion.priors,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Fetch every prior of the catalog with a pinned commit.")
    ] = False,
    as_list: Annotated[
        bool,
        typer.Option("--list", help="List sources, result, engine and size of priors; fetch nothing."),
    ] = False,
    as_text: Annotated[
        bool, typer.Option("--show", help="Print the model cards of priors: data, licences, results, limits.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files that would be fetched.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the hashes of local files; fetch nothing.")
    ] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the cache; set HF_HUB_CACHE to it to separate with its priors."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit of the repository. Default: the pinned commit, else main."),
    ] = None,
    table: Table = TableStyle.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
) -> None:
    """Fetch priors from the Hugging Face Hub and verify their hashes."""
    modes = {_list: as_list, _card_text: as_text, _preview: dry_run, _verify: verify}
    chosen = [work for work, wanted in modes.items() if wanted]
    check_style(table, as_json)
    if table is not TableStyle.TEXT and not as_list:
        raise UsageError("--table is for --list", "leave it out, or give --list")
    if len(chosen) > 1:
        raise UsageError("--list, --show, --dry-run and --verify contradict each other", "give one of them")
    if names and every:
        raise UsageError("--all and names contradict each other", "leave out the names, or --all")
    if revision is not None and len(names or ()) != 1:
        raise UsageError("--revision is for one prior", "name one prior, or write hf:owner/name@revision")
    if not (names or every or as_list or verify):
        raise UsageError("no prior is given", "give names or --all, or list the priors with --list")
    work = chosen[0] if chosen else _fetch
    queue = list(dict.fromkeys(names or _catalog(as_list)))
    records: list[dict[str, Any]] = []
    failed: dict[str, SepError] = {}
    given = len(queue)
    labels = {name: name for name in queue}
    for number, name in enumerate(queue):
        cache = Cache(revision if number < given else None, cache_dir, offline)
        try:
            record = work(name, cache, quiet, bool(names)) | {"name": labels[name]}
        except SepError as error:
            if len(queue) == 1 or isinstance(error, UsageError):
                raise
            failed[labels[name]] = error
            continue
        records.append(record)
        if number < given and work not in (_list, _card_text):
            # the score priors of the given priors follow, and have none
            parts = [part for part in record.get("score_priors", ()) if part not in queue]
            labels |= {part: _inner_name(part, record) for part in parts}
            queue += parts
        if not (as_json or as_list):
            console.emit(_sentence(record))
    if as_list and not as_json:
        show(records, table)
    finish("priors", records, failed, as_json, len(queue))


def _inner_name(part: str, record: Mapping[str, Any]) -> str:
    """Return the name of a score prior of a prior: as in ``toy-waves/priors/1`` if it is in its folder."""
    folder = Path(record.get("folder", part))
    inside = Path(part) != folder and Path(part).is_relative_to(folder)
    return f"{record['name']}/{Path(part).relative_to(folder).as_posix()}" if inside else part


def fetch_if_new(names: Sequence[str], quiet: bool) -> None:
    """Fetch the ``hf:`` names that are not in the cache, and the score priors of their cards; print a note.

    Raises:
        PriorError, OutputError, UsageError: see ``sepcli.catalog.resolve.fetch``.
    """
    from sepcli.catalog.card import HUB

    for name in dict.fromkeys(name for name in names if name.startswith(HUB)):
        from sepcli.catalog import resolve

        try:
            resolve.find(name)
        except PriorError:
            console.note(f"fetching {name}", quiet)
            fetched = _fetch(name, Cache(None, None, False), quiet, True)
            for part in fetched["score_priors"]:
                _fetch(part, Cache(None, None, False), quiet, True)


def _catalog(unpinned: bool) -> tuple[str, ...]:
    """Return every name of the catalog, if ``unpinned`` those of repositories without a pinned commit too."""
    from sepcli.catalog import index

    return tuple(
        dict.fromkeys((*index.names(), *index.remote_names(), *(index.UNPINNED if unpinned else ())))
    )


def _fetch(name: str, cache: Cache, quiet: bool, named: bool) -> dict[str, Any]:
    from sepcli.catalog import resolve

    try:
        with console.progress(name, quiet) as on_progress:
            card, folder = resolve.fetch(
                name,
                revision=cache.revision,
                cache_dir=cache.cache_dir,
                offline=cache.offline,
                on_progress=on_progress,
            )
    except KeyboardInterrupt:
        console.note("complete files are kept; the same command fetches the others", quiet)
        raise
    return {**_record(name, card, folder=folder), "folder": str(folder), "verified": True}


def _verify(name: str, cache: Cache, quiet: bool, named: bool) -> dict[str, Any]:
    from sepcli.catalog import card as cards
    from sepcli.catalog import files
    from sepcli.priors.complete import check_complete, not_covered, own_engines

    record, card, folder = _look(name, cache)
    if card is None or folder is None:
        if named:
            raise PriorError(
                f"prior {name} has not been fetched from the Hub", f"run `sepcli fetch-priors {name}`"
            )
        return {**record, "verified": False}
    if record["repo"] and not files.has_hashes(card, folder):
        raise PriorError(
            f"the cache lacks the hashes of {name}, which another program fetched",
            f"run `sepcli fetch-priors {name}`, which compares it with the Hub",
        )
    whole = files.with_inner(card, folder)
    for engine in own_engines(card):
        check_complete(card, engine)
    cards.verify(whole, folder)
    return {**record, "verified": True, "not_covered": list(not_covered(whole, folder))}


def _preview(name: str, cache: Cache, quiet: bool, named: bool) -> dict[str, Any]:
    from sepcli.catalog import resolve

    card, missing = resolve.preview(
        name, revision=cache.revision, cache_dir=cache.cache_dir, offline=cache.offline
    )
    wanted = {name: card.files[name].size for name in missing}
    record = _record(name, card, here=not missing)
    return {**record, "to_fetch": wanted, "bytes_to_fetch": sum(wanted.values())}


def _card_text(name: str, cache: Cache, quiet: bool, named: bool) -> dict[str, Any]:
    """Return the record of a prior with its model card: that of its folder, else a generated one."""
    from sepcli.catalog.model_card import README, model_card

    record, card, folder = _look(name, cache)
    if card is None:
        raise PriorError(
            f"prior {name} has not been fetched from the Hub", f"run `sepcli fetch-priors {name}`"
        )
    written = None if folder is None else folder / README
    if written is not None and written.is_file():
        return {**record, "model_card": written.read_text(encoding="utf-8", errors="replace")}
    return {**record, "model_card": model_card(card, name)}


def _list(name: str, cache: Cache, quiet: bool, named: bool) -> dict[str, Any]:
    return _look(name, cache)[0]


def _look(name: str, cache: Cache) -> tuple[dict[str, Any], Card | None, Path | None]:
    """Return a prior's record, card and folder without the network; None for what has not been fetched."""
    from sepcli.catalog import index, resolve

    remote = index.remote(name, cache.revision)
    try:
        card, folder = resolve.find(name, revision=cache.revision, cache_dir=cache.cache_dir)
    except PriorError:
        if remote is None:
            raise
        return {**_record(name, remote.card, here=False), "repo": remote.repo}, remote.card, None
    return {**_record(name, card, folder=folder), "folder": str(folder)}, card, folder


def _record(name: str, card: Card | None, here: bool = True, folder: Path | None = None) -> dict[str, Any]:
    """Return the record of a prior; ``where`` is bundled, folder, cached or to fetch."""
    from sepcli.catalog import index

    if index.remote(name) is not None:
        where = "cached" if here else "to fetch"
    else:
        where = "bundled" if name in index.names() else "folder"
    record: dict[str, Any] = {"name": name, "where": where}
    if name in index.UNPINNED:
        record |= {"engines": ["score"], "sources": [index.UNPINNED_SOURCES.get(name, name)]}
    if card is not None:
        record |= {
            "title": card.title,
            "engines": list(card.engines),
            "sources": list(card.sources),
            "result": str(card.figures.get("headline", "")),
            "licence": card.licence,
            "sample_rate": card.sample_rate,
            "resolution": list(card.resolution),
            "repo": card.repo,
            "revision": card.revision,
            "files": len(card.files),
            "bytes": _size(card, folder),
            "score_priors": list(index.score_priors(card, folder)),
        }
    return record


def _size(card: Card, folder: Path | None) -> int:
    """Return the bytes of a prior's files and of those of the bundled score priors that it names."""
    from sepcli.catalog import files, index, resolve

    named = [resolve.find(name)[0] for name in dict.fromkeys(card.priors) if name in index.names()]
    whole = card if folder is None else files.with_inner(card, folder)
    return sum(entry.size for each in (whole, *named) for entry in each.files.values())


def _sentence(record: dict[str, Any]) -> str:
    if "model_card" in record:
        return str(record["model_card"]).rstrip()
    size = megabytes(record.get("bytes", 0))
    if "bytes_to_fetch" in record:
        wanted = len(record["to_fetch"])
        what = f"{wanted} files, {megabytes(record['bytes_to_fetch'])}, would be fetched"
        return f"{record['name']}: {what if wanted else 'nothing to fetch'}"
    if not record["verified"]:
        return f"{record['name']}: not fetched, {size}"
    line = f"{record['name']}: {record['where']}, verified, {size}, {record['folder']}"
    others = record.get("not_covered", ())
    return line + (f"\n  not covered by the card, and not loaded: {', '.join(others)}" if others else "")
