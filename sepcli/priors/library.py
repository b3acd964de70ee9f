"""Optional libraries whose networks are priors: whether they work here, and their logs and warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sepcli.errors import PriorError

STAND_IN = "_backends"
"""Attribute of the classes that libraries have instead of those for which torch is missing, or too old."""


def load_class(library: str, name: str, extra: str, what: object, oldest: tuple[int, ...] = ()) -> Any:
    """Return a class of a library.

    Args:
        library: the package.
        name: of the class.
        extra: the one of sepcli that installs the package.
        what: needs the class.
        oldest: the first version of the package that has it; one without metadata is taken to be newer.

    Raises:
        PriorError: the package is not installed, too old, or does not work with this torch.
    """
    install = f"pip install 'sepcli[{extra}]'"
    reason: Exception | None = None
    try:
        with quiet(library):
            cls = getattr(import_module(library), name)
    except ModuleNotFoundError as error:
        raise PriorError(f"{what} needs the package {library}", install) from error
    except Exception as error:  # whatever a package raises where torch lacks what it expects
        reason = error
    release = _release(library)
    if release and tuple(int(part) for part in release.split(".")[:2] if part.isdigit()) < oldest:
        wanted = ".".join(map(str, oldest))
        raise PriorError(f"{what} needs {library} {wanted} or newer, not {release}", install) from reason
    if reason is not None or hasattr(cls, STAND_IN):
        installed = f"{library} {release}".rstrip()
        raise PriorError(
            f"{what} needs {library}, but {installed} does not work with torch {version('torch')}",
            f"install a newer torch or an older {library}",
        ) from reason
    return cls


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Silence the log of a library, and warnings."""
    logger = logging.getLogger(library)
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def _release(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
