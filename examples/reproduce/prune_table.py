"""Prune the likelihood table of a prior of LASS to fewer triples, and measure what is lost on test pairs.

    python prune_table.py PRIOR PAIRS --entries 1100000 [--write]

PAIRS is a folder ``drums/NNN.flac``, ``bass/NNN.flac``. The best triples of every mixture code are kept, then
the highest counts. Prints coverage and negative log-likelihood of the mixtures' tokens before and after;
``--write`` replaces the table and completes the card.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from sepcli import datasets
from sepcli.catalog import card as cards
from sepcli.catalog.card import Card
from sepcli.priors.lass.load import TABLE, load_codec, load_table, mixture_weights
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.table_job import Triples, encode


def tokens(prior: Path, card: Card, pairs: Path, count: int) -> Triples:
    """Return the tokens of sources and mixtures of test pairs."""
    codec, weights = load_codec(prior, card)[0], mixture_weights(card)
    rows = [
        encode(codec, torch.from_numpy(item.sources)[None, :, None], weights)
        for item in datasets.pairs(pairs).pairs(count).items(tuple(card.sources), 0)
    ]
    first, second, mixed = (torch.cat(part) for part in zip(*rows, strict=True))
    return first, second, mixed


def measured(table: LikelihoodTable, triples: Triples) -> dict[str, Any]:
    """Return the size of a table, its coverage of tokens, and their mean log-likelihood."""
    coverage = {name: round(value, 4) for name, value in table.coverage(*triples)._asdict().items()}
    nats = -float(table.log_likelihood(*triples).mean())
    return {"nonzeros": table.nonzeros, **coverage, "nats": round(nats, 4)}


def completed(card: Card, report: dict[str, Any], folder: Path) -> Card:
    """Return the card with the new table and how it was pruned."""
    part = card.parts["table"]
    training = {**part.training, "pruned": {"command": "examples/reproduce/prune_table.py", **report}}
    return cards.with_files(cards.with_part(card, "table", replace(part, training=training)), folder)


def main() -> None:
    """Prune, measure, print and perhaps write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("prior", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--entries", type=int, required=True)
    parser.add_argument("--count", type=int, default=100, help="number of test pairs")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    card = cards.read(chosen.prior)
    codec, digest = load_codec(chosen.prior, card)
    before = load_table(chosen.prior, card, codec, digest)
    after = before.prune(chosen.entries)
    triples = tokens(chosen.prior, card, chosen.pairs, chosen.count)
    report = {
        "pairs": chosen.count,
        "before": measured(before, triples),
        "after": measured(after, triples),
    }
    print(json.dumps(report, indent=1))
    if chosen.write:
        after.save(chosen.prior / TABLE, compress=True)
        cards.write(completed(card, report, chosen.prior), chosen.prior)


if __name__ == "__main__":
    main()
