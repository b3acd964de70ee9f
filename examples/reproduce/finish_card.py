"""Finish the card of a trained prior: the settings that it separates with, and what was measured.

    python finish_card.py PRIOR --like mnist --command examples/reproduce/mnist.sh \\
        --figures langevin=langevin.json halving=halving.json
    python finish_card.py PRIOR --set engine=score

``--like`` takes title, settings and stream of another prior of its family, ``--set`` writes single settings.
``--figures`` copies the results of reports of ``sepcli evaluate``, by names; figures of other names stay in
the card, so what was measured later comes on top. ``--command`` is what made the figures. The same words
again change nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.catalog.card import Card
from sepcli.errors import InputError, PriorError, SepError, UsageError
from sepcli.evaluation.report import decimals

TOLD = ("dataset", "mixture", "tracks", "version")
"""What a card copies of a report's protocol."""
WAYS = ("method", "sampler", "samples", "device")
"""What it copies of how the prior separated."""


def with_defaults_of(card: Card, prior: str) -> Card:
    """The card with title, settings and stream of another prior.

    Raises:
        PriorError: there is no such prior, or it is of another family.
    """
    model, _ = resolve.find(prior)
    own, other = ({(c.medium, engine) for engine in c.engines} for c in (card, model))
    if not own & other:
        raise PriorError(
            f"{prior} is of {model.engine}, {model.medium}, {card.name} of {card.engine}, {card.medium}",
            "give --like a prior of the same engine",
        )
    settings = {key: value for key, value in model.settings.items() if key in (*card.engines, "colorize")}
    return replace(card, title=model.title, settings=settings, stream=model.stream)


def with_settings(card: Card, words: Mapping[str, str]) -> Card:
    """The card with single settings, numbers where the words are such.

    Raises:
        UsageError: the card could not be read with them.
    """
    if "engine" in words:
        card = cards.with_engine(card, words["engine"])
    own = {key: _value(word) for key, word in words.items() if key != "engine"}
    settings = {**card.settings, card.engine: {**card.defaults(card.engine), **own}}
    return replace(card, settings=settings) if own else card


def with_figures(card: Card, reports: Mapping[str, Any], command: str | None = None) -> Card:
    """The card with the results of reports by name, in place of its own of these names.

    Raises:
        InputError: one is no report.
    """
    figures: dict[str, Any] = {**card.figures, **({} if command is None else {"command": command})}
    for name, report in reports.items():
        try:
            crossed = report.get("metric") == "cross-likelihood"
            figures[name] = _cross_figures(report) if crossed else _figures(report)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"{name} is no report of sepcli evaluate", "make it with `sepcli evaluate --out`"
            ) from error
    return replace(card, figures=figures)


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What told the results and what they cost; then by metric, row and stem."""
    protocol = report["protocol"]
    ways = protocol.get("settings", {})
    told = {key: protocol[key] for key in TOLD} | {key: ways[key] for key in WAYS if key in ways}
    cost = {key: round(value, 4) for key, value in report.get("cost", {}).items() if value is not None}
    return (
        told
        | ({"cost": cost} if cost else {})
        | {
            metric: {
                row: {stem: _summary(found, decimals(metric)) for stem, found in stems.items()}
                for row, stems in rows.items()
            }
            for metric, rows in report["results"].items()
        }
    )


def _summary(summary: Mapping[str, Any], places: int) -> dict[str, Any]:
    return _known(summary, ("mean", "median"), lambda value: round(value, places))


def _cross_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Verdict, and by source its own prior's margin over the best of the others."""
    return {
        "dataset": Path(report["data"]).name,
        "verdict": report["sentence"],
        "noise": _significant(report["noise"]),
        **{key: report[key] for key in ("n", "unit", "device")},
        "margins": {
            margin["source"]: {
                "against": margin["against"],
                **_known(margin, ("margin",), _significant),
            }
            for margin in report["margins"]
        },
    }


def _known(
    entry: Mapping[str, Any], keys: Sequence[str], rounded: Callable[[float], float]
) -> dict[str, Any]:
    """The values of the keys, and the interval, each if the report has a number."""
    ends = [rounded(end) for end in entry["ci95"] if end is not None]
    values = {key: rounded(entry[key]) for key in keys if entry[key] is not None}
    return values | ({"ci95": ends} if len(ends) == 2 else {})


def _significant(value: float) -> float:
    """Three digits, as in the verdict: margins may be of any size."""
    return float(f"{value:.3g}")


def _value(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def by_name(words: Iterable[str]) -> dict[str, str]:
    """``NAME=VALUE`` words to a dict.

    Raises:
        UsageError: a word is not of that form.
    """
    named = {}
    for word in words:
        name, _, value = word.partition("=")
        if not (name and value):
            raise UsageError(f"{word} is not of the form NAME=VALUE", "see --help")
        named[name] = value
    return named


def read_reports(words: Iterable[str]) -> dict[str, Any]:
    """The reports of ``NAME=FILE`` words, by name.

    Raises:
        UsageError: a word is not of that form.
        InputError: a file cannot be read.
    """
    found = {}
    for name, path in by_name(words).items():
        try:
            found[name] = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot read {path}: {error}", "make it with `sepcli evaluate --out`"
            ) from error
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Change the card; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", type=Path, help="folder of a prior")
    parser.add_argument("--like", metavar="PRIOR", help="take title, settings and stream of this prior")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, over those")
    parser.add_argument("--figures", nargs="+", default=[], metavar="NAME=REPORT", help="what was measured")
    parser.add_argument("--command", metavar="SCRIPT", help="what made the figures")
    options = parser.parse_args(argv)
    try:
        card = cards.read(options.prior)
        if options.like is not None:
            card = with_defaults_of(card, options.like)
        if options.set:
            card = with_settings(card, by_name(options.set))
        card = with_figures(card, read_reports(options.figures), options.command)
        cards.write(card, options.prior)
    except SepError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
