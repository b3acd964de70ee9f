"""Files that are there as a whole or not at all: first a temporary name, then their own."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from sepcli.errors import OutputError

MORE_SPACE = "check the folder and its free space"


def write_whole(path: Path, data: bytes, hint: str = MORE_SPACE) -> None:
    """Write a file, atomically; what was there before stays until the new one is complete.

    Args:
        path: Replaced if it is there; its folder has to be.
        data: All of the file.
        hint: What to do if that fails.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(f".sepcli-{os.getpid()}-{secrets.token_hex(4)}.part")  # nobody else's
    try:
        with part.open("xb") as file:
            file.write(data)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
