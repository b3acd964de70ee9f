"""The folder in which numba keeps compiled functions, where it finds none by itself.

librosa compiles functions when it is imported. numba keeps them beside the files of librosa, else in the
cache folder of the user, and fails if it may write to neither, as in a read-only container without a home.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
CACHES = (("XDG_CACHE_HOME", ""), ("LOCALAPPDATA", ""), ("HOME", ".cache"), ("HOME", "Library/Caches"))
"""Variables of the environment that name the caches of a user or a home, and the caches' paths in there."""


def ensure_numba_cache() -> None:
    """Let numba use a temporary folder, which is removed at exit, if it can write nowhere else.

    The folder is new and private: numba reads pickles from there, which others must not be able to plant.
    """
    if os.environ.get(VARIABLE) or any(map(_is_writable, _candidates())):
        return
    with suppress(OSError):
        folder = tempfile.mkdtemp(prefix="sepcli-numba-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[VARIABLE] = folder


def _candidates() -> list[Path]:
    """Return the folders that numba tries: of librosa, and of the user."""
    librosa = importlib.util.find_spec("librosa")  # without importing it
    homes = [Path(os.environ[name], inside) for name, inside in CACHES if os.environ.get(name)]
    locations = (librosa and librosa.submodule_search_locations) or ()
    beside = [Path(path, "core", "__pycache__") for path in locations]
    return [*beside, *homes]


def _is_writable(folder: Path) -> bool:
    """Whether a folder may be written, or created."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
