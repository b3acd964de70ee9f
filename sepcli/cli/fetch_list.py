"""``sepcli fetch-priors --list``: what every prior separates, how well, with which engine, and its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sepcli.cli import tables
from sepcli.cli.resolve import COLORIZE_PRIOR, DEFAULT_PRIOR, SONG_PRIOR
from sepcli.cli.tables import TableStyle

DEFAULTS: Mapping[str, str] = {
    SONG_PRIOR: "separate",
    DEFAULT_PRIOR: "evaluate",
    COLORIZE_PRIOR: "colorize",
}
"""Prior → what it is the default for."""
COLUMNS = ("prior", "separates", "result", "engine", "size", "where")
"""Head of the list; of several engines the default is first."""
CAPTION = (
    f"* default: {SONG_PRIOR} of separate for audio, {DEFAULT_PRIOR} of evaluate, {COLORIZE_PRIOR} of"
    " colorize. Results are on test data, see --show NAME."
)


def show(records: Sequence[Mapping[str, Any]], style: TableStyle) -> None:
    """Print the list of priors; what is unknown before a prior is fetched is a question mark.

    Defaults have a star in text, and a column otherwise.
    """
    rows = [
        [
            record["name"],
            ", ".join(record.get("sources", ())) or "?",
            record.get("result", "") or "?",
            ", ".join(record.get("engines", ())) or "?",
            megabytes(record["bytes"]) if "bytes" in record else "?",
            record["where"],
        ]
        for record in records
    ]
    if style is TableStyle.TEXT:
        starred = [[f"{name}*" if name in DEFAULTS else name, *cells] for name, *cells in rows]
        tables.show(COLUMNS, starred, CAPTION, style, left=4)
        return
    tables.show(
        (*COLUMNS, "default"), [[*row, DEFAULTS.get(row[0], "")] for row in rows], style=style, left=4
    )


def megabytes(size: int) -> str:
    """Return a size in bytes as text."""
    return f"{size / 1e6:.1f} MB"
