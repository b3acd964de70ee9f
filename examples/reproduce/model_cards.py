"""Write README.md and LICENSE of every bundled prior, and of the flows of toy waves, from its card.

    python examples/reproduce/model_cards.py            # writes the files
    python examples/reproduce/model_cards.py --check    # exits with 1 if they differ

Run it after a card has changed. The text of a licence is that of the repository, for MIT, or in
``licences``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sepcli.atomic import write_text
from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.catalog.card import Card
from sepcli.catalog.model_card import README, model_card

ROOT = Path(__file__).parents[2]
BESIDE = ("examples/reproduce/toy-flows", "examples/reproduce/mnist-glow")
"""Priors of the results that are not in the package."""
LICENCE = "LICENSE"
TEXTS = {"MIT": ROOT / LICENCE, "CC-BY-SA-3.0": Path(__file__).parent / "licences" / "CC-BY-SA-3.0.txt"}
"""SPDX identifier → the text of the licence."""


def licence(card: Card) -> str:
    """Return the licence of a bundled prior's folder, with the licences of its training data."""
    text = TEXTS[card.licence].read_text(encoding="utf-8")
    about = f"This licence covers the files of this folder, the weights of the prior {card.name} among them."
    if not card.datasets:
        return f"{text}\n{about}\nThe training data are computed by sepcli from a seed.\n"
    data = "\n".join(f"- {entry.name}: {entry.licence}" for entry in card.datasets)
    trained = "The weights were trained on the data below, or on renderings of them. These data have licences"
    return f"{text}\n{about}\n{trained}\nof their own, and are not part of this folder:\n\n{data}\n"


def files() -> Iterator[tuple[Path, str]]:
    """Yield path and text of the files of all priors."""
    bundled = {name: index.BUNDLED / name for name in index.names()}
    folders = bundled | {name: ROOT / name for name in BESIDE}
    for name, folder in folders.items():
        card = cards.read(folder)
        yield folder / README, model_card(card, name)
        yield folder / LICENCE, licence(card)


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` compare them; return the exit code."""
    differing = [
        (path, text)
        for path, text in files()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if arguments == ["--check"]:
        for path, _ in differing:
            print(f"{path.relative_to(ROOT)} differs from its card: run {Path(__file__).name}")
        return int(bool(differing))
    for path, text in differing:
        write_text(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
