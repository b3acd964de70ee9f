"""``-`` for an input is stdin, and for ``--out`` it is stdout, which takes one stem."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sepcli.cli.settings import Format
from sepcli.errors import InputError, UsageError

if TYPE_CHECKING:
    from sepcli.cli.separate import SeparateOptions

PIPE = "-"
WAV = Format("wav")


@contextmanager
def pipes(options: SeparateOptions) -> Iterator[SeparateOptions]:
    """Yield options without pipes: stdin is stored in a temporary file, and so is the stem for stdout.

    That is copied to stdout when the block has ended without an error.

    Raises:
        UsageError: other options do not fit a pipe, or it is a terminal.
        InputError: stdin is empty.
    """
    with ExitStack() as stack:
        to_stdout = str(options.out) == PIPE
        if to_stdout:
            _check_output(options)
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sepcli-")))
            options = replace(options, out=out, container=WAV, quiet=True)
        if PIPE in (options.inputs or ()):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sepcli-")))
            stored = str(_stored(folder / "stdin"))
            options = replace(
                options, inputs=[stored if one == PIPE else one for one in options.inputs or ()]
            )
        yield options
        if to_stdout:
            (stem,) = options.out.rglob("*.wav")
            with stem.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _check_output(options: SeparateOptions) -> None:
    """Refuse options that do not make one WAV file of one recording.

    Raises:
        UsageError: they do not.
    """
    single = len(options.only or ()) == 1 and "," not in (options.only or ("",))[0]
    wrong = {
        "it takes one stem": None if single else "add --only with one stem, for example --only drums",
        "it takes one input": None if len(options.inputs or ()) == 1 else "give one file, or another --out",
        "it takes one sample": None if options.samples == 1 else "leave out --samples",
        "it takes WAV": None if options.container in (None, WAV) else "leave out --format",
        "files have no names there": "leave out --filename" if options.filename else None,
        "that takes the stem": "leave out --json" if options.as_json else None,
        "nothing is kept there": "leave out --resume and --dry-run"
        if options.resume or options.dry_run
        else None,
        "stdout is a terminal": "redirect it, for example: > drums.wav" if sys.stdout.isatty() else None,
    }
    for reason, hint in wrong.items():
        if hint is not None:
            raise UsageError(f"--out - writes to stdout: {reason}", hint)


def _stored(path: Path) -> Path:
    """Store stdin in a file.

    Raises:
        UsageError: it is a terminal.
        InputError: it is empty.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("the input - is stdin, which is a terminal", "pipe a file into it, or name a file")
    with path.open("xb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if not path.stat().st_size:
        raise InputError("stdin is empty", "check the program before the pipe")
    return path
