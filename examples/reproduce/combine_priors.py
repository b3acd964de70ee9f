"""Combine score priors of single sources into one prior by name, which has no weights of its own.

    python combine_priors.py OUT PRIOR PRIOR... --title TEXT [--limit TEXT]...

OUT is the folder of the new card, whose name is that of the folder. PRIORs are bundled names, or folders
inside OUT. Sources, weights, rate, stream, licence, data sets and limits are those of the priors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.errors import PriorError, SepError
from sepcli.priors.select import is_single, source_names


def combine(folder: Path, names: Sequence[str], title: str, limits: Sequence[str] = ()) -> Card:
    """Return the card of a prior that names one score prior per source.

    Raises:
        PriorError: a prior does not exist, or is not a score prior of one audio source.
    """
    paths = [folder / name if (folder / name).is_dir() else name for name in names]
    priors = [resolve.find(str(path))[0] for path in paths]
    for prior in priors:
        if not is_single(prior):
            raise PriorError(f"{prior.name} is not a score prior of one audio source", "choose another")
    first = priors[0]
    return Card(
        name=folder.resolve().name,
        medium="audio",
        engine="score",
        sources=source_names(priors),
        weights=tuple(weight for prior in priors for weight in prior.weights or (1.0,)),
        sample_rate=first.sample_rate,
        title=title,
        licence=first.licence,
        data=first.data,
        datasets=tuple(dict.fromkeys(entry for prior in priors for entry in prior.datasets)),
        limits=(*limits, *dict.fromkeys(text for prior in priors for text in prior.limits)),
        priors=tuple(names),
        stream=first.stream,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the card; return the exit code."""
    parser = argparse.ArgumentParser(description="Combine score priors of single sources into one prior.")
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument("priors", nargs="+", metavar="PRIOR")
    parser.add_argument("--title", required=True)
    parser.add_argument("--limit", action="append", default=[], help="sentence on what it does not do")
    options = parser.parse_args(argv)
    try:
        card = combine(options.folder, options.priors, options.title, options.limit)
        options.folder.mkdir(parents=True, exist_ok=True)
        cards.write(card, options.folder)
    except SepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
