"""Make one prior of two engines: a LASS prior's folder and a score prior for each of its sources.

    python two_engines.py PRIOR --score drums bass --like slakh-drums-bass
    python two_engines.py PRIOR --choose lass=validation-lass.json score=validation-score.json

The first names PRIOR/drums and PRIOR/bass in the card of PRIOR, which takes title and settings from another
prior's; words that are no folders there are looked up as ``--prior`` is. The second makes the engine with the
higher mean SDR (row ``sepcli``) the one that separates unless ``--method`` says otherwise.
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
from sepcli.catalog.engines import is_single
from sepcli.catalog.index import score_priors
from sepcli.errors import PriorError, SepError


def join(card: Card, folder: Path, words: Sequence[str], like: str | None = None) -> Card:
    """The card with a score prior per source.

    Args:
        card: of a LASS prior; one that names them already stays as it is.
        folder: of the card.
        words: folders inside its own or names of other priors, in the order of the card's sources.
        like: a prior whose title and settings of LASS it takes.

    Raises:
        PriorError: one is no prior of its source, or there is no prior ``like``.
    """
    if card.priors == tuple(words):
        return card
    named = replace(card, priors=tuple(words))
    found = [resolve.find(word)[0] for word in score_priors(named, folder)]
    if not all(is_single(one) for one in found) or tuple(one.sources[0] for one in found) != card.sources:
        raise PriorError(
            f"{', '.join(words)} are not a score prior each of {', '.join(card.sources)}",
            "train them with `sepcli train-prior --family denoiser`, and name them in this order",
        )
    if like is not None:
        card = with_defaults_of(card, like)
    return replace(card, priors=named.priors)


def choose(card: Card, reports: Mapping[str, Any]) -> Card:
    """The card with the engine as its default whose report has the higher mean SDR."""
    means = {
        engine: report["results"]["sdr"]["sepcli"]["average"]["mean"] for engine, report in reports.items()
    }
    return cards.with_engine(card, max(means, key=means.__getitem__))


def main(argv: Sequence[str] | None = None) -> int:
    """Change the card; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", type=Path, help="folder of a LASS prior")
    parser.add_argument("--score", nargs="+", metavar="WORD", help="score priors, one per source")
    parser.add_argument("--like", metavar="PRIOR", help="take title and settings from this prior")
    parser.add_argument("--choose", nargs="+", metavar="ENGINE=REPORT", help="the better one is the default")
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
