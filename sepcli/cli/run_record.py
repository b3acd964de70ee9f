"""How a mixture of a batch ends, with a run.json or an error, and the batch: one report, one exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from sepcli.atomic import write_whole
from sepcli.cli import console
from sepcli.errors import SepError


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a run.json, atomically.

    Raises:
        OutputError: the place cannot be written.
    """
    data = f"{console.to_json(record)}\n".encode()
    write_whole(path, data, "free some space or choose another --out folder")


@contextmanager
def enough_memory(source: Path, hint: str) -> Iterator[None]:
    """Say of which file there was too much; PyTorch says no more than a bare RuntimeError.

    Raises:
        SepError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise SepError(f"there is not enough memory for {source}", hint) from error


def finish(
    kind: str,
    records: Sequence[Mapping[str, Any]],
    failed: Mapping[Path, SepError] | Mapping[str, SepError],
    as_json: bool,
    asked: int,
) -> None:
    """Print what was done (as JSON, under the key ``kind``) and what failed.

    Raises:
        typer.Exit: 3 if some of the ``asked`` inputs failed; if all did, their errors' own code.
    """
    if as_json:
        errors = [{"input": str(path), "error": e.message, "hint": e.hint} for path, e in failed.items()]
        console.emit_json({kind: list(records), "failed": errors})
    for path, error in failed.items():
        named = str(path) in error.message
        console.error(error.message if named else f"{path}: {error.message}", error.hint)
    if failed:
        raise typer.Exit(max(e.exit_code for e in failed.values()) if len(failed) == asked else 3)
