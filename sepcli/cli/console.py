"""Talking to a person or a pipe: data on stdout, everything else on stderr.

``NO_COLOR`` and pipes get plain text; a progress bar is shown only when stderr is a terminal.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TextIO

from sepcli.protocols import ProgressCallback

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys, but tabs and line ends: ESC and its kin, and what turns the reading direction."""
_LISTENER: ContextVar[ProgressCallback | None] = ContextVar("listener", default=None)
"""Gets all progress of its context, if there is one."""
_STYLES = {"error": "\x1b[1;31m", "warning": "\x1b[33m"}


def note(message: str, quiet: bool = False) -> None:
    """Print one message to stderr, unless ``quiet``."""
    if not quiet:
        _print(_harmless(message), sys.stderr)


def warn(message: str, quiet: bool = False) -> None:
    """Print ``warning: message`` to stderr, unless ``quiet``."""
    if not quiet:
        _print(f"{_label('warning')} {_one_line(message)}", sys.stderr)


def error(message: str, hint: str) -> None:
    """Print the two lines of an error to stderr: what is wrong, what to do."""
    _print(f"{_label('error')} {_one_line(message)}\n  → {_one_line(hint)}", sys.stderr)


def emit(text: str) -> None:
    """Print a line of data to stdout."""
    _print(_harmless(text), sys.stdout)


def emit_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document to stdout; NaN and infinities become null."""
    emit(to_json(document))


def to_json(document: Mapping[str, Any]) -> str:
    """Indented JSON in which NaN and infinite numbers are null, and all text is valid UTF-8."""
    text = json.dumps(finite_or_null(document), indent=2, ensure_ascii=False, allow_nan=False)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate: its JSON escape
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def load(module: str, quiet: bool = False) -> Any:
    """Import a module that takes seconds, such as torch, and return it; a bar on a terminal says so."""
    if module in sys.modules:
        return sys.modules[module]
    with progress("loading", quiet):
        return import_module(module)


def pass_on(messages: str) -> None:
    """Print what a worker printed to its stderr."""
    if messages:
        _print(messages.removesuffix("\n"), sys.stderr)


@dataclass(frozen=True)
class Bar:
    """A progress bar, which is called with (steps done, steps in all).

    Attributes:
        update: shows progress.
        paused: context in which the bar is hidden, so that data can be printed.
    """

    update: ProgressCallback = lambda done, total: None
    paused: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, done: int, total: int) -> None:
        """Show progress."""
        self.update(done, total)


@contextmanager
def progress_to(callback: ProgressCallback) -> Iterator[None]:
    """Send all progress within the block to a callback, not to the terminal."""
    token = _LISTENER.set(callback)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def progress(title: str, quiet: bool = False) -> Iterator[Bar]:
    """Show a progress bar with the time left, on stderr, if that is a terminal; yield it."""
    if (listener := _LISTENER.get()) is not None:
        yield Bar(listener)
        return
    if quiet or not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    named = TextColumn("{task.description}", markup=False)  # a track may be called [/]
    columns = (named, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(_one_line(title), total=None)

        @contextmanager
        def paused() -> Iterator[None]:
            bar.stop()
            try:
                yield
            finally:
                bar.start()

        yield Bar(lambda done, total: bar.update(task, completed=done, total=total), paused)


def finite_or_null(value: Any) -> Any:
    """A copy of a JSON-like ``value`` in which NaN and infinite numbers are None."""
    if isinstance(value, Mapping):
        return {str(key): finite_or_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _print(text: str, stream: TextIO) -> None:
    """Print a line; what the stream's encoding lacks is escaped, for file names may hold anything."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _label(kind: str) -> str:
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return f"{kind}:"
    return f"{_STYLES[kind]}{kind}:\x1b[0m"


def _one_line(text: str) -> str:
    return _harmless(" ".join(text.split()))


def _harmless(text: str) -> str:
    """Text that cannot steer a terminal, which names of files might: control characters as escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
