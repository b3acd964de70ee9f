"""Combine a LASS prior and one score prior per source into a prior with two engines.

    python two_engines.py PRIOR --score drums bass --like slakh-drums-bass
    python two_engines.py PRIOR --choose lass=validation-lass.json score=validation-score.json

The first command adds PRIOR/drums and PRIOR/bass to the card of PRIOR, and copies title and settings of
another prior; names that are not folders there are resolved as for ``--prior``. The second makes the engine
with the higher mean SDR (row ``sepcli``) the default engine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finish_card import read_reports, with_defaults_of
from msgspec.structs import replace

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.catalog.index import score_priors
from sepcli.errors import PriorError, SepError
from sepcli.priors.select import is_single


def join(card: Card, folder: Path, names: Sequence[str], like: str | None = None) -> Card:
    """Return the card with one score prior per source.

    Args:
        card: card of a LASS prior; it is returned unchanged if it has these priors already.
        folder: folder of the card.
        names: folders inside ``folder`` or names of other priors, in the order of the card's sources.
        like: prior whose title and settings of LASS are copied.

    Raises:
        PriorError: A prior does not model its source, or the prior ``like`` does not exist.
    """
    if card.priors == tuple(names):
        return card
    named = replace(card, priors=tuple(names))
    priors = [resolve.find(name)[0] for name in score_priors(named, folder)]
    if (
        not all(is_single(prior) for prior in priors)
        or tuple(prior.sources[0] for prior in priors) != card.sources
    ):
        raise PriorError(
            f"{', '.join(names)} are not score priors of {', '.join(card.sources)}",
            "train them with `sepcli train-prior --family denoiser`, and name them in this order",
        )
    if like is not None:
        card = with_defaults_of(card, like)
    return replace(card, priors=named.priors)


def choose(card: Card, reports: Mapping[str, Any]) -> Card:
    """Return the card whose default engine is the one with the higher mean SDR in its report."""
    means = {
        engine: report["results"]["sdr"]["sepcli"]["average"]["mean"] for engine, report in reports.items()
    }
    return cards.with_engine(card, max(means, key=means.__getitem__))


def main(argv: Sequence[str] | None = None) -> int:
    """Update the card; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", type=Path, help="folder of a LASS prior")
    parser.add_argument("--score", nargs="+", metavar="PRIOR", help="score priors, one per source")
    parser.add_argument("--like", metavar="PRIOR", help="copy title and settings of this prior")
    parser.add_argument(
        "--choose", nargs="+", metavar="ENGINE=REPORT", help="make the better one the default"
    )
    options = parser.parse_args(argv)
    try:
        card = cards.read(options.prior)
        if options.score:
            card = join(card, options.prior, options.score, options.like)
        if options.choose:
            card = choose(card, read_reports(options.choose))
        cards.write(card, options.prior)
    except SepError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
