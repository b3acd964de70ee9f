"""What ``sepcli ui`` does with an uploaded file: the command of the same name, its page, and one archive."""

from __future__ import annotations

import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from sepcli.cli import console
from sepcli.errors import InputError
from sepcli.protocols import ProgressCallback

KEPT, HOURS = 8, 6
"""Results that are kept, and for how long."""
PAGE, ARCHIVE = "page.html", "results.zip"
"""Files of a result that can be fetched."""
KEY = re.compile(r"[0-9a-f]{32}")


@dataclass
class Results:
    """Results in a folder, each under a name that cannot be guessed; old ones are removed.

    Attributes:
        root: the folder.
    """

    root: Path
    _lock: Lock = field(default_factory=Lock)

    def find(self, key: str, name: str) -> Path | None:
        """Return a file of a result; None if there is none of that name."""
        if not KEY.fullmatch(key) or name not in (PAGE, ARCHIVE):
            return None
        path = self.root / key / name
        return path if path.is_file() else None

    def new(self) -> Path:
        """Return a new folder, after the removal of old results."""
        with self._lock:
            self.root.mkdir(parents=True, exist_ok=True)
            there = sorted(self.root.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for number, path in enumerate(there, start=1):
                if number >= KEPT or time.time() - path.stat().st_mtime > HOURS * 3600:
                    shutil.rmtree(path, ignore_errors=True)
            folder = self.root / secrets.token_hex(16)
            folder.mkdir()
            return folder


def work(
    results: Results, command: str, source: Path, values: Mapping[str, Any], on_progress: ProgressCallback
) -> str:
    """Run a command on a file with ``--html``, and return the key of the result.

    Args:
        results: where the result is kept.
        command: separate or colorize.
        source: the file; it is not removed.
        values: options of the command, by the names of their fields.
        on_progress: called with (steps done, steps in all).

    Raises:
        SepError: the command failed.
    """
    from sepcli.cli.colorize import ColorizeOptions, colorize
    from sepcli.cli.separate import SeparateOptions, separate

    kind, run = {"separate": (SeparateOptions, separate), "colorize": (ColorizeOptions, colorize)}[command]
    folder = results.new()
    out = folder / "out"
    try:
        options = kind(inputs=[str(source)], out=out, html=True, quiet=True, **values)
        with console.progress_to(on_progress):
            run(**{name: getattr(options, name) for name in options.__dataclass_fields__})
        pages = [*out.rglob(f"*{PAGE}")]
        if len(pages) != 1:
            raise InputError(f"{source.name} cannot be read", "give one audio file or image")
        pages[0].replace(folder / PAGE)
        with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(path for path in out.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(out))
            archive.write(folder / PAGE, PAGE)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(out)
    return folder.name
