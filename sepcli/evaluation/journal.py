"""Finished items on disk, so that a killed evaluation continues where it stopped.

A journal is JSON Lines: first the protocol's fingerprint, then one line per batch of items. A line that was
cut off is ignored: its batch is evaluated again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sepcli.atomic import remove_leftovers, write_whole
from sepcli.errors import OutputError
from sepcli.evaluation.score import TrackScore

Finished = Mapping[str, Sequence[TrackScore]]
"""Scores by item."""


def read_journal(path: Path, fingerprint: str) -> dict[str, list[TrackScore]] | None:
    """Return the finished tracks of a journal, if it exists, in the order written.

    None if it belongs to another protocol.
    """
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    if len(lines) <= 2:  # at most a header: nothing was finished
        return {}
    if _parse(lines[0]) != {"protocol": fingerprint}:
        return None
    finished: dict[str, list[TrackScore]] = {}
    for line in lines[1:-1]:  # the last piece is empty, or a line that was cut off
        entry = _parse(line)
        with suppress(AttributeError, TypeError):  # not one of our lines: likewise
            finished |= {track: [TrackScore(**score) for score in scores] for track, scores in entry.items()}
    return finished


def resume_journal(
    journal: Path | None, fingerprint: str, replace: bool, images: bool
) -> dict[str, list[TrackScore]]:
    """Return the finished items, and leave a journal that can be appended to.

    Args:
        journal: its file; None: nothing is finished or kept.
        fingerprint: of the protocol.
        replace: start over when the journal belongs to another protocol.
        images: whether the images of finished items exist, if they are needed; else all starts over.

    Raises:
        OutputError: it belongs to another protocol, or cannot be written.
    """
    if journal is None:
        return {}
    remove_leftovers(journal.parent)
    try:
        finished = read_journal(journal, fingerprint)
    except OSError as error:
        raise OutputError(f"cannot read {journal}: {error.strerror}", "choose another file") from error
    if finished is None and not replace:
        raise OutputError(
            f"{journal} belongs to an unfinished evaluation with different settings",
            "repeat that evaluation to finish it, overwrite it, or choose another file",
        )
    finished = finished if finished and images else {}
    start_journal(journal, fingerprint, finished)
    return {name: scores for name, scores in finished.items() if scores}


def start_journal(path: Path, fingerprint: str, finished: Finished) -> None:
    """Write a journal that holds ``finished``, instead of an existing one."""
    lines = [json.dumps({"protocol": fingerprint}), *([_line(finished)] if finished else [])]
    write_whole(path, "".join(f"{line}\n" for line in lines).encode(), "choose another file")


def append_journal(path: Path, finished: Finished) -> None:
    """Append one batch, in one write."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{_line(finished)}\n")


def _line(finished: Finished) -> str:
    return json.dumps({track: [asdict(score) for score in scores] for track, scores in finished.items()})


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
