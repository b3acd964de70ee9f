"""Write the JSON Schemas of card, run record and report beside this script, from the types of sepcli.

    python examples/schemas/generate.py            # writes card.json, record.json and report.json
    python examples/schemas/generate.py --check    # exits with 1 if they differ

A card is TOML of the same structure. Reports of cross-likelihood have a form of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sepcli.catalog.card import Card
from sepcli.cli.records import RunRecord
from sepcli.evaluation.report import Document

HERE = Path(__file__).parent
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, str]:
    """Return name → text of every schema."""
    documents = {
        "card": msgspec.json.schema(Card),
        "record": msgspec.json.schema(RunRecord),
        "report": finite_or_null(msgspec.json.schema(Document)),
    }
    return {
        name: json.dumps({"$schema": DRAFT, **schema}, indent=1, ensure_ascii=False) + "\n"
        for name, schema in documents.items()
    }


def finite_or_null(schema: Any) -> Any:
    """Return a schema in which every number may be null, as numbers that are not finite are."""
    if isinstance(schema, Mapping):
        entries = {key: finite_or_null(value) for key, value in schema.items()}
        return {**entries, "type": ["number", "null"]} if schema.get("type") == "number" else entries
    return [finite_or_null(item) for item in schema] if isinstance(schema, list) else schema


def main(arguments: list[str]) -> int:
    """Write or check the schemas; return the exit code."""
    written = {HERE / f"{name}.json": text.encode() for name, text in schemas().items()}
    if arguments == ["--check"]:
        return int(any(not path.is_file() or path.read_bytes() != text for path, text in written.items()))
    for path, text in written.items():
        path.write_bytes(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
