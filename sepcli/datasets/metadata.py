"""YAML that comes with a data set: small, flat and without aliases, by which few bytes become gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sepcli.catalog.bounded import DEEPEST, LARGEST, check_size

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast, where built


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds: numbers, texts, lists and mappings.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, is nested too deeply, or has aliases.
        yaml.YAMLError: it is no YAML.
    """
    with path.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    check_size(len(data))
    depth = 0
    for event in yaml.parse(data, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
            raise ValueError("it has aliases, or is nested too deeply")
    return yaml.load(data, Loader=_LOADER)
