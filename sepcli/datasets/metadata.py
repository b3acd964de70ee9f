"""YAML that comes with a data set: small and flat, also with its aliases, which make gigabytes of few bytes.

Writers use an alias for a value that occurs twice; only aliases inside aliases multiply.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sepcli.catalog.bounded import DEEPEST, LARGEST, check_size

MOST = 100_000
"""Values of a text with every alias in full; metadata of a track have hundreds."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast, where built


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds: numbers, texts, lists and mappings.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, also with its aliases in full, or nested too deeply.
        yaml.YAMLError: it is no YAML.
    """
    with path.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    check_size(len(data))
    _check_growth(data)
    return yaml.load(data, Loader=_LOADER)


def _check_growth(data: bytes) -> None:
    """Refuse a text of more than ``MOST`` values with its aliases in full, or of deep or endless ones."""
    sizes: dict[str, int] = {}
    counts, anchors = [0], [""]  # of the collections that are open, from the outermost
    for event in yaml.parse(data, Loader=_LOADER):
        size = 1
        if isinstance(event, yaml.CollectionStartEvent):
            counts.append(0)
            anchors.append(event.anchor or "")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            size += counts.pop()
            sizes[anchors.pop()] = size
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor or "", MOST + 1)  # of an open one: it holds itself
        elif isinstance(event, yaml.ScalarEvent):
            sizes[event.anchor or ""] = size
        counts[-1] += size
        if len(counts) > DEEPEST or sum(counts) > MOST:
            raise ValueError("its aliases are too many, or it is nested too deeply")
