"""JSON Schemas of the files that the catalog reads, generated from their types."""

from __future__ import annotations

from typing import Any

import msgspec

from sepcli.catalog.card import Card


def card_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``card.toml``."""
    return msgspec.json.schema(Card)
