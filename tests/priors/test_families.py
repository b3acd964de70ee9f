"""The table of model families: its rows resolve, bundled cards use them, and choosing needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sepcli.catalog import index, resolve
from sepcli.priors import FAMILIES, Family
from sepcli.priors import resolve as load
from sepcli.priors.select import is_single

ROWS = pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES.keys())


@ROWS
def test_every_reference_of_a_row_resolves(row: Family) -> None:
    references = [*row.load.values(), *row.separator.values(), row.colorizer, row.shape]
    assert all(callable(load(reference)) for reference in references if reference)
    assert bool(row.engine) == bool(row.separator)
    assert all(row.medium in ("both", medium) for medium in row.separator)


def test_parts_of_bundled_cards_are_of_known_families() -> None:
    cards = [resolve.find(name)[0] for name in index.names()]
    for card in cards:
        for folder, part in card.parts.items():
            assert part.family == "table" or FAMILIES[part.family].part == folder


@pytest.mark.parametrize("name", index.names())
def test_priors_are_chosen_without_torch(name: str) -> None:
    alone = is_single(resolve.find(name)[0])  # which needs another source beside it
    code = (
        "import sys; sys.modules['torch'] = None; from sepcli.priors.select import choose;"
        f"print(choose('{name}', other={alone}).engine)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.stdout.strip() in ("score", "lass", "variational"), made.stderr
