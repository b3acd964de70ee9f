"""What stops a run of training, and what keeps a second one from its folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sepcli.atomic import locked, remove_leftovers
from sepcli.errors import OutputError

LOCK = ".lock"
"""The file that a run locks in its folder."""
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def deferred(patient: bool = False) -> Iterator[Callable[[], bool]]:
    """Yield a function: whether Ctrl-C was pressed; a second one raises ``KeyboardInterrupt`` at once.

    All signals that would raise it are deferred, in the main thread. With ``patient`` further ones are
    ignored, and all after a ``KeyboardInterrupt``: schedulers and ``torchrun`` send several to one process.
    """
    received: list[int] = []
    replaced: list[signal.Signals] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received and not patient:
            signal.default_int_handler(number, frame)
        received.append(number)

    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.default_int_handler:
                signal.signal(number, handle)
                replaced.append(number)
    after: Callable[[int, FrameType | None], Any] | signal.Handlers = signal.default_int_handler
    try:
        yield lambda: bool(received)
    except KeyboardInterrupt:
        after = signal.SIG_IGN if patient else after
        raise
    finally:
        for number in replaced:
            signal.signal(number, after)


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Lock a folder, which is created, against other runs; a folder that stays empty is removed.

    What killed runs left in it and in the folders of parts and previews is removed.

    Raises:
        OutputError: another run is there, or the folder cannot be written.
    """
    busy = OutputError(
        f"another run is training in {folder}", "wait until it ends, or choose another folder", argument="out"
    )
    with locked(folder / LOCK, busy):
        for path in (folder, *folder.glob("*/"), *folder.glob("*/*/")):
            remove_leftovers(path)
        yield
