"""``sepcli page``: pages to listen to or look at what was separated or colorized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepcli.cli import console
from sepcli.cli.options import Json, Overwrite, Quiet, files, takes
from sepcli.errors import InputError, SepError

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORD = "run.json"
"""End of the names of records."""


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Arguments and options of ``sepcli page``."""

    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of separate or colorize, with all in them, or run.json files."),
    ]
    out: Annotated[
        Path | None,
        files("Write the page here, of a single track. Default: page.html beside run.json.", "-o", "--out"),
    ] = None
    overwrite: Overwrite = False
    as_json: Json = False
    quiet: Quiet = False


@takes(PageOptions)
def page(options: PageOptions) -> None:
    """Make a page of HTML per track, with players or images, of what was separated or colorized.

    A page needs no network and no other file: its clips are MP3, its images PNG and WebP, 24 MB at most.
    """
    from sepcli.cli.jobs import finish
    from sepcli.cli.outputs import page_beside
    from sepcli.cli.record_pages import write_page

    records = _records(options.folders)
    if options.out is not None and len(records) > 1:
        raise InputError(f"one --out for {len(records)} tracks", "leave it out, or give one folder")
    pages: list[dict[str, str]] = []
    failed: dict[Path, SepError] = {}
    with console.progress("making pages", options.quiet) as bar:
        for number, record in enumerate(records):
            bar(number, len(records))
            try:
                path = options.out or page_beside(record)
                write_page(record, path, options.overwrite)
            except SepError as error:
                if len(records) == 1 and not options.as_json:
                    raise
                failed[record] = error
                continue
            pages.append({"record": str(record), "page": str(path)})
            if not (options.as_json or options.quiet):
                with bar.paused():
                    console.emit(str(path))
    finish("pages", pages, failed, options.as_json, len(records))


def _records(folders: Sequence[Path]) -> list[Path]:
    """Return the records in folders.

    Raises:
        InputError: a folder is missing, or holds none.
    """
    records: dict[Path, None] = {}
    for folder in folders:
        if folder.is_file():
            records[folder] = None
            continue
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}", "give one that separate or colorize has written")
        inside = sorted(path for path in folder.rglob(f"*{RECORD}") if path.is_file())
        if not inside:
            raise InputError(
                f"{folder} holds no {RECORD}", "give a folder that separate or colorize has written"
            )
        records |= dict.fromkeys(inside)
    return list(records)
