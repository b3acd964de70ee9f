"""``sepcli samplers``: the samplers and their settings for ``--set``, from their tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from sepcli.cli import completion, console, option_table, tables
from sepcli.cli.option_table import INDENT, WIDTH, lines
from sepcli.cli.prior_settings import describe_priors, lines_of, window_rows
from sepcli.cli.tables import Table, TableStyle, check_style
from sepcli.errors import UsageError, nearest
from sepcli.samplers import SAMPLERS, SamplerEntry
from sepcli.separation.presets import PRESETS

COLUMNS = ("sampler", "setting", "type", "default", "meaning")
"""Head of the table of settings."""
SCORE = "score priors of audio and images"
POSTERIORS: Mapping[str, tuple[str, str]] = {
    "dirac": (SCORE, "sepcli.separation.likelihood:DiracSettings"),
    "gaussian": (SCORE, "sepcli.separation.likelihood:GaussianSettings"),
    "token": ("LASS of audio and images", "sepcli.priors.lass.settings:LassSettings"),
}
"""Posterior that a sampler follows → its priors and media, ``module:attribute`` of its settings."""


def list_samplers(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Samplers. Default: all of them.", autocompletion=completion.samplers
        ),
    ] = None,
    priors: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            help="Show the sampler and the settings that run with this prior; repeatable.",
            autocompletion=completion.priors,
        ),
    ] = None,
    table: Table = TableStyle.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List samplers and their settings: type, range, default and meaning.

    Priors override defaults, see --prior. Settings are changed with --set KEY=VALUE of separate, colorize and
    evaluate.
    """
    check_style(table, as_json)
    rows = [describe(_entry(name)) for name in names or SAMPLERS]
    if priors:
        _list_of_priors(priors, names or (), rows, table, as_json)
        return
    if as_json:
        presets = [{"name": row.name, "summary": row.summary} for row in PRESETS.values()]
        console.emit_json({"samplers": rows, "windows": window_rows(), "presets": presets})
        return
    if table is not TableStyle.TEXT:
        windows = {"name": "windows", "settings": window_rows(), "posterior_settings": ()}
        cells = _table_rows([*rows, windows] if not names else rows)
        tables.show(COLUMNS, list(cells), style=table, left=len(COLUMNS))
        return
    shown: set[str] = set()
    for row in rows:
        console.emit("\n".join(_lines(row, row["posterior"] in shown)))
        shown.add(row["posterior"])
    if not names:
        title = "windows: settings of recordings, with every sampler. For audio."
        console.emit("\n".join([title, *(f"  {line}" for line in lines(window_rows(), WIDTH - 2)), ""]))
    if not names:
        console.emit("presets: what score priors sample from, by --preset.")
        console.emit("\n".join([*_presets(), ""]))
    console.emit("A prior may have other defaults: sepcli samplers --prior NAME")


def describe(entry: SamplerEntry) -> dict[str, Any]:
    """Return the tables' entries of a sampler: its settings, and those of the posterior that it follows."""
    from sepcli.priors import resolve
    from sepcli.separation.engines import LANGEVIN_PRESETS

    priors, posterior_settings = POSTERIORS[entry.posterior]
    settings = option_table.rows(entry.load())
    if entry.name == "langevin":
        meaning = "Values of several settings: the paper's, those of its released runs, or small noise steps."
        choices = " | ".join(LANGEVIN_PRESETS)
        settings.append({"name": "preset", "type": choices, "default": "", "meaning": meaning})
    return {
        "name": entry.name,
        "priors": priors,
        "summary": entry.summary,
        "posterior": entry.posterior,
        "settings": settings,
        "posterior_settings": option_table.rows(resolve(posterior_settings)),
    }


def _list_of_priors(
    priors: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    table: TableStyle,
    as_json: bool,
) -> None:
    """Print what runs with priors."""
    console.load("torch")
    general = {row["name"]: [*row["settings"], *row["posterior_settings"]] for row in rows}
    used = describe_priors(priors, names, general)
    if as_json:
        console.emit_json({"samplers": used})
    elif table is TableStyle.TEXT:
        for row in used:
            console.emit("\n".join(lines_of(row)))
    else:
        cells = [
            [str(row["name"]), *(setting[key] for key in ("name", "type", "default", "meaning"))]
            for row in used
            for setting in (*row["settings"], *row["windows"])
        ]
        tables.show(COLUMNS, cells, style=table, left=len(COLUMNS))


def _table_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield a row per setting of every sampler and of its posterior."""
    for row in rows:
        for setting in (*row["settings"], *row["posterior_settings"]):
            yield [row["name"], *(setting[key] for key in ("name", "type", "default", "meaning"))]


def _presets() -> Iterator[str]:
    """Yield the lines of the presets."""
    for row in PRESETS.values():
        each = [
            ", ".join(f"{key}={value}" for key, value in one.items()) for one in (row.settings, row.networks)
        ]
        run = f"; {row.sampler} with {each[0]}; networks of images: {each[1]}" if row.sampler else ""
        text = f"{row.name}: {row.summary}{run}"
        yield from textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent=f"  {INDENT}")


def _entry(name: str) -> SamplerEntry:
    if name not in SAMPLERS:
        raise UsageError(f"unknown sampler '{name}'", nearest(name, SAMPLERS))
    return SAMPLERS[name]


def _lines(row: Mapping[str, Any], shown: bool) -> list[str]:
    """Return the text of a sampler; the settings of a posterior are printed with its first sampler."""
    head = f"{row['name']}: {row['summary']}. For {row['priors']}."
    text = textwrap.wrap(head, WIDTH, subsequent_indent=INDENT)
    text += [f"  {line}" for line in lines(row["settings"], WIDTH - 2)]
    title = f"  and those of its posterior ({row['posterior']})"
    if shown:
        return [*text, f"{title}, see above", ""]
    return [*text, f"{title}:", *(f"  {line}" for line in lines(row["posterior_settings"], WIDTH - 2)), ""]
