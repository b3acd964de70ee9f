"""Atomic writing, under temporary names that become final when all files are complete; locks on folders."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from sepcli.errors import OutputError

TEMPORARY = re.compile(r"\.sepcli-([0-9a-f]{6})-(\d+)-([0-9a-f]{6})-[0-9a-f]{8}\.part")
"""Temporary names: machine, process and run, and a number."""
LOCK = re.compile(r"\.sepcli-[0-9a-f]{8}\.lock")
"""Names of locks on the outputs of a run."""
FOREIGN_SECONDS = 86400
"""Age from which temporary files of other machines are leftovers."""
MORE_SPACE = "check the folder and its free space"
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
NO_LOCKS = tuple(getattr(errno, name, errno.ENOSYS) for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP"))
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL_BYTES = 1 << 20
"""Free bytes below which a write that failed without a reason is reported as a full disk."""


def temporary(path: Path) -> Path:
    """Return an unused temporary name in the folder of a file: of this machine, process and run."""
    return path.with_name(f".sepcli-{_machine()}-{os.getpid()}-{_run()}-{secrets.token_hex(4)}.part")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files, folders and locks in a folder that killed runs left: of ended processes.

    Temporary files of other machines, whose processes cannot be seen, are removed when they are a day old.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if (match := TEMPORARY.fullmatch(path.name)) and _is_left(path, *match.groups()):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            elif LOCK.fullmatch(path.name):
                with suppress(OSError), locked(path, OutputError("", "")):
                    pass


def _is_left(path: Path, machine: str, process: str, run: str) -> bool:
    if machine != _machine():
        return time.time() - path.stat().st_mtime > FOREIGN_SECONDS
    if int(process) == os.getpid():
        return run != _run()  # of an earlier process of this number
    return not _runs(int(process))


def _runs(process: int) -> bool:
    """Return whether a process of this machine is running."""
    if os.name != "posix":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


@cache
def _machine() -> str:
    """Return a short hash of the machine's name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


@cache
def _run() -> str:
    """Return a word that tells this process from earlier ones of its number."""
    return secrets.token_hex(3)


def rename_all(files: Iterable[tuple[Path, Path]]) -> None:
    """Rename files from temporary to final paths, all of them or none; files that exist are replaced.

    Raises:
        OSError: a file cannot be renamed; those renamed before are removed, unless they replaced others.
    """
    new: list[Path] = []
    try:
        for part, path in files:
            exists = path.exists()
            part.replace(path)
            new += [] if exists else [path]
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def write_many() -> Iterator[Callable[[Path], Path]]:
    """Write files, all of them or none; existing files stay until all new ones are complete.

    Yields a function: the path of a file → the temporary path to write it to. The files are renamed when the
    block ends, and removed if it raises.

    Raises:
        OSError: a file cannot be renamed.
    """
    parts: dict[Path, Path] = {}

    def part_of(path: Path) -> Path:
        parts[path] = temporary(path)
        return parts[path]

    try:
        yield part_of
        rename_all((part, path) for path, part in parts.items())
    finally:
        remove(parts.values())


def remove(parts: Iterable[Path]) -> None:
    """Remove the temporary files that still exist, as far as possible."""
    for part in parts:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def make_folder(folder: Path, hint: str = MORE_SPACE, argument: str | None = None) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot create the folder {folder}: {error.strerror}", hint, argument=argument
        ) from error


def lock_of(path: Path) -> Path:
    """Return the lock of a file beside it; see ``locked``."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".sepcli-{digest[:8]}.lock")


@contextmanager
def locked(lock: Path, busy: OutputError) -> Iterator[None]:
    """Hold a lock in a folder, which is created; a folder that stays empty is removed.

    On file systems without locks nothing is held.

    Raises:
        OutputError: ``busy``, if another process holds the lock; or the folder cannot be created or written.
    """
    from filelock import FileLock, Timeout

    created = [path for path in (lock.parent, *lock.parent.parents) if not path.exists()]
    held = FileLock(lock)
    try:
        make_folder(lock.parent, "choose another folder", busy.argument)
        held.acquire(timeout=0)
    except Timeout as error:
        raise busy from error
    except NotImplementedError:
        pass
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        if error.errno not in NO_LOCKS:
            raise failed_write(lock.parent, error) from error
    try:
        yield
    finally:
        with suppress(OSError):  # an open file of Windows, which goes with the lock
            lock.unlink()
        held.release()
        with suppress(OSError):
            for path in created:
                path.rmdir()


def failed_write(path: Path, error: Exception) -> OutputError:
    """Return the error of a file that could not be written, for the reason that the system gave, if any.

    Libraries of media files pass no reason on: then it is looked for in the rights and the free space of the
    folder.
    """
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", None)
    has_reason = bool(number and reason)
    if number in REFUSED or not (has_reason or os.access(folder, os.W_OK)):
        why = reason if has_reason else "the folder may not be written"
        return OutputError(f"cannot write {path}: {why}", "choose a folder that you may write to")
    if number in FULL or not (has_reason or shutil.disk_usage(folder).free >= FULL_BYTES):
        hint = "free some space, or choose another folder"
        return OutputError(f"cannot write {path}: no space left on the device", hint)
    return OutputError(f"cannot write {path}: {reason or 'the write failed'}", MORE_SPACE)


def write_whole(path: Path, data: bytes, hint: str = MORE_SPACE) -> None:
    """Write a file, whose folder exists, atomically: an existing file stays until the new one is complete.

    Raises:
        OutputError: the file cannot be written; its advice is ``hint``.
    """
    try:
        with write_many() as part_of, part_of(path).open("xb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint) from error


def write_text(path: Path, text: str, hint: str = MORE_SPACE) -> None:
    """Write a file atomically as UTF-8, with its line ends; what UTF-8 lacks is escaped.

    Raises:
        OutputError: see ``write_whole``.
    """
    write_whole(path, text.encode("utf-8", "backslashreplace"), hint)
