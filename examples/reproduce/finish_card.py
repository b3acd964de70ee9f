"""Complete the card of a trained prior: default settings and measured results.

    python finish_card.py PRIOR --like mnist --command examples/reproduce/mnist.sh \\
        --figures langevin=langevin.json halving=halving.json
    python finish_card.py PRIOR --set engine=score
    python finish_card.py PRIOR --draws calibration.json

``--like`` copies title, settings and stream of another prior of the same engine, ``--set`` writes single
settings. ``--figures`` copies the results of reports of ``sepcli evaluate`` by name; figures of other names
stay in the card. ``--command`` records the command of the figures. ``--draws`` copies the result of ``sepcli
evaluate --calibration --preset draws``, by which several samples use that preset. The script is idempotent.
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
from sepcli.catalog.measured import Draws
from sepcli.errors import InputError, PriorError, SepError, UsageError
from sepcli.metrics import METRICS
from sepcli.separation.presets import DRAWS, PRESETS

PROTOCOL = ("dataset", "mixture", "tracks", "version")
"""Keys of a report's protocol that a card copies."""
SETTINGS = ("method", "sampler", "samples", "device")
"""Keys of the settings of the separation that a card copies."""


def with_defaults_of(card: Card, prior: str) -> Card:
    """Return the card with title, settings and stream of another prior.

    Raises:
        PriorError: The prior does not exist, or has another engine.
    """
    model, _ = resolve.find(prior)
    engines, others = ({(c.medium, engine) for engine in c.engines} for c in (card, model))
    if not engines & others:
        raise PriorError(
            f"{prior} is of {model.engine}, {model.medium}, {card.name} of {card.engine}, {card.medium}",
            "use a prior of the same engine for --like",
        )
    settings = {key: value for key, value in model.settings.items() if key in (*card.engines, "colorize")}
    return replace(card, title=model.title, settings=settings, stream=model.stream)


def with_settings(card: Card, options: Mapping[str, str]) -> Card:
    """Return the card with single settings; values that are numbers are converted.

    Raises:
        UsageError: A setting is not valid.
    """
    if "engine" in options:
        card = cards.with_engine(card, options["engine"])
    settings = {key: _value(text) for key, text in options.items() if key != "engine"}
    merged = {**card.settings, card.engine: {**card.defaults(card.engine), **settings}}
    return replace(card, settings=merged) if settings else card


def with_figures(card: Card, reports: Mapping[str, Any], command: str | None = None) -> Card:
    """Return the card with the results of reports by name, which replace figures of the same names.

    Raises:
        InputError: A file is not a report.
    """
    figures: dict[str, Any] = {**card.figures, **({} if command is None else {"command": command})}
    for name, report in reports.items():
        try:
            cross = report.get("metric") == "cross-likelihood"
            figures[name] = _cross_figures(report) if cross else _figures(report)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"{name} is not a report of sepcli evaluate", "create it with `sepcli evaluate --out`"
            ) from error
    return replace(card, figures=figures)


def with_draws(card: Card, document: Mapping[str, Any]) -> Card:
    """Return the card with the calibration of samples by the preset draws.

    Raises:
        InputError: It is not the document of a calibration of the prior's files with 90 % intervals.
    """
    preset, own = PRESETS[DRAWS], {name: entry.sha256 for name, entry in card.files.items()}
    wanted = preset.networks if card.medium == "image" else preset.settings
    try:
        settings, same_files = document["about"]["settings"], document["about"]["files"] == own
        same = all(settings[key] == value for key, value in wanted.items() if key != "eta")
        complete = round(document["coverage"]["nominal"], 6) == 0.9
    except (KeyError, TypeError):
        same = same_files = complete = False
    if not (same and same_files and complete):
        raise InputError(
            f"this is no calibration of {card.name} with 90 % intervals",
            "create it with `sepcli evaluate --calibration --preset draws --samples 19 --out`",
        )
    draws = Draws(
        mixtures=document["mixtures"],
        samples=document["samples"],
        p_value=_significant(document["p_value"]),
        coverage=_significant(document["coverage"]["measured"]),
    )
    return replace(card, draws=draws)


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return protocol and cost of a report, and its results by metric, row and stem."""
    protocol = report["protocol"]
    settings = protocol.get("settings", {})
    described = {key: protocol[key] for key in PROTOCOL}
    described |= {key: settings[key] for key in SETTINGS if key in settings}
    cost = {key: round(value, 4) for key, value in report.get("cost", {}).items() if value is not None}
    return (
        described
        | ({"cost": cost} if cost else {})
        | {
            metric: {
                row: {stem: _summary(values, METRICS[metric].decimals) for stem, values in stems.items()}
                for row, stems in rows.items()
            }
            for metric, rows in report["results"].items()
        }
    )


def _summary(summary: Mapping[str, Any], digits: int) -> dict[str, Any]:
    return _values(summary, ("mean", "median"), lambda value: round(value, digits))


def _cross_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict, and by source the margin of its prior over the best of the others."""
    return {
        "dataset": Path(report["data"]).name,
        "verdict": report["sentence"],
        "noise": _significant(report["noise"]),
        **{key: report[key] for key in ("n", "unit", "device")},
        "margins": {
            margin["source"]: {
                "against": margin["against"],
                **_values(margin, ("margin",), _significant),
            }
            for margin in report["margins"]
        },
    }


def _values(
    entry: Mapping[str, Any], keys: Sequence[str], rounded: Callable[[float], float]
) -> dict[str, Any]:
    """Return the values of keys and the confidence interval, if the report has them."""
    ends = [rounded(end) for end in entry["ci95"] if end is not None]
    values = {key: rounded(entry[key]) for key in keys if entry[key] is not None}
    return values | ({"ci95": ends} if len(ends) == 2 else {})


def _significant(value: float) -> float:
    """Round to three significant digits, as in the verdict."""
    return float(f"{value:.3g}")


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def by_name(arguments: Iterable[str]) -> dict[str, str]:
    """Parse ``NAME=VALUE`` arguments.

    Raises:
        UsageError: An argument does not have this form.
    """
    named = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if not (name and value):
            raise UsageError(f"{argument} does not have the form NAME=VALUE", "see --help")
        named[name] = value
    return named


def read_reports(arguments: Iterable[str]) -> dict[str, Any]:
    """Read the reports of ``NAME=FILE`` arguments.

    Raises:
        UsageError: An argument does not have this form.
        InputError: A file cannot be read.
    """
    reports = {}
    for name, path in by_name(arguments).items():
        try:
            reports[name] = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot read {path}: {error}", "create it with `sepcli evaluate --out`"
            ) from error
    return reports


def main(argv: Sequence[str] | None = None) -> int:
    """Update the card; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", type=Path, help="folder of a prior")
    parser.add_argument("--like", metavar="PRIOR", help="copy title, settings and stream of this prior")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="single settings")
    parser.add_argument("--figures", nargs="+", default=[], metavar="NAME=REPORT", help="reports of results")
    parser.add_argument("--command", metavar="SCRIPT", help="command of the figures")
    parser.add_argument("--draws", metavar="REPORT", help="calibration of samples by the preset draws")
    options = parser.parse_args(argv)
    try:
        card = cards.read(options.prior)
        if options.like is not None:
            card = with_defaults_of(card, options.like)
        if options.set:
            card = with_settings(card, by_name(options.set))
        card = with_figures(card, read_reports(options.figures), options.command)
        if options.draws is not None:
            card = with_draws(card, read_reports([f"draws={options.draws}"])["draws"])
        cards.write(card, options.prior)
    except SepError as error:
        print(f"error: {error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
