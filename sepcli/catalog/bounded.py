"""Text files of strangers, parsed only if they are small and flat: cards and configs."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

LARGEST = 1_000_000
"""Bytes of a card or config; those of trained priors have up to 100,000."""
DEEPEST = 32
"""Tables and lists inside each other."""


class Files(Protocol):
    """A folder or file of a prior: ``Path``, or ``Verified``."""

    @property
    def name(self) -> str:
        """The last component of its path."""

    def __truediv__(self, name: str, /) -> Self:
        """Return a file or folder in this one."""

    def is_dir(self) -> bool:
        """Whether it is a folder that holds files."""

    def is_file(self) -> bool:
        """Whether it is a file."""

    def read_bytes(self) -> bytes:
        """Return the contents of the file."""


def parse_toml(data: bytes) -> dict[str, Any]:
    """Return the entries of the text of a TOML file.

    Raises:
        ValueError: it is no TOML, too large, or nested too deeply.
    """
    check_size(len(data))
    try:
        entries = tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return _flat(entries)


def read_json(file: Files) -> Mapping[str, Any]:
    """Return the fields of a JSON object, such as a config.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON object, too large, or nested too deeply.
    """
    return parse_json(file.read_bytes())


def parse_json(data: bytes) -> Mapping[str, Any]:
    """Return the fields of the text of a JSON object; see ``read_json``."""
    check_size(len(data))
    try:
        fields = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError("it holds no fields")
    return _flat(fields)


def is_as_named(path: Path, data: bytes) -> bool:
    """Whether contents have the hash that names them in the Hub's cache; true of every other file.

    The cache links large files to their sha256, and small ones to the SHA-1 that git computes.
    """
    name = path.readlink().name if path.is_symlink() else ""
    if re.fullmatch("[0-9a-f]{40}", name):
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == name
    return not re.fullmatch("[0-9a-f]{64}", name) or hashlib.sha256(data).hexdigest() == name


def check_size(size: int) -> None:
    """Refuse a text of more than ``LARGEST`` bytes: ValueError."""
    if size > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")


def _flat(entries: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [entries]
    for _ in range(DEEPEST):
        level = [value for entry in level for value in _inside(entry)]
        if not level:
            return entries
    raise ValueError("it is nested too deeply")


def _inside(entry: Any) -> list[Any]:
    values = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return [value for value in values if isinstance(value, dict | list)]
