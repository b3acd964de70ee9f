"""``sepcli samplers --prior NAME``: the sampler and the settings that run with priors, of loaded engines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sepcli.cli import option_table
from sepcli.cli.options import KEYS
from sepcli.cli.separators import LUMA
from sepcli.settings import NONE

if TYPE_CHECKING:
    from sepcli.priors.selection import Selection

SEVERAL = "separate --samples 2"
"""The command of several samples, where another preset draws them."""
HIDDEN = ("keep_samples",)
"""Settings of windows that ``--set`` does not change."""


def window_rows() -> list[dict[str, str]]:
    """Return the rows of the settings of windows, with their keys of ``--set``."""
    from sepcli.separation.settings import StreamSettings

    rows = (row for row in option_table.rows(StreamSettings) if row["name"] not in HIDDEN)
    return [{**row, "name": KEYS.get(row["name"], row["name"])} for row in rows]


def describe_priors(
    references: Sequence[str], names: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, str]]]
) -> list[dict[str, Any]]:
    """Return what runs with priors, per command and sampler.

    Args:
        references: names or folders of priors.
        names: of samplers; (): the priors' default.
        rows: sampler → rows of its settings and its posterior's, with their general defaults; see
            ``option_table.rows``.

    Raises:
        PriorError: a prior is missing or damaged.
        UsageError: the priors do not fit each other or a sampler.
    """
    from sepcli.priors.load import load_selection

    described = []
    for command, selection in _selections(references, names):
        record = load_selection(selection).describe()
        general = {row["name"]: row for row in rows.get(record["sampler"], ())}
        windows = {row["name"]: row for row in window_rows()}
        described.append(
            {
                "prior": selection.prior,
                "command": command,
                "engine": record["engine"],
                "name": record["sampler"],
                "settings": list(_used(record["settings"], general)),
                "windows": list(_used(record.get("stream", {}), windows)),
            }
        )
    return described


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """Return the text of what runs with a prior; where a value is not the general default, both."""
    sampler = f"the sampler {row['name']}" if row["name"] else "no sampler"
    head = f"{row['prior']}, {row['command']}: the engine {row['engine']} with {sampler}."
    text = textwrap.wrap(head, option_table.WIDTH, subsequent_indent=option_table.INDENT)
    for title, part in (("", "settings"), ("  and the windows:", "windows")):
        rows = [{**setting, "default": _both(setting)} for setting in row[part]]
        text += [title] if title and rows else []
        text += [f"  {line}" for line in option_table.lines(rows, option_table.WIDTH - 2)]
    return [*text, ""]


def _both(setting: Mapping[str, str]) -> str:
    used, general = setting["default"], setting["general"]
    return used if used == general else f"{used}, in general {general or NONE}"


def _selections(references: Sequence[str], names: Sequence[str]) -> Iterator[tuple[str, Selection]]:
    """Yield command and what it chooses with priors, per sampler."""
    from sepcli.catalog import resolve
    from sepcli.priors.load import describe_images
    from sepcli.priors.select import choose, is_of_one_source, is_single

    card, _ = resolve.find(references[0])
    single = len(references) == 1
    if single and is_of_one_source(card) and not is_single(card):
        references = [references[0]] * 2
    for name in names or (None,):
        selection = choose(references, sampler=name, other=single and is_single(card))
        yield "separate", selection
        if name is None and selection.draws_calibrated:
            yield SEVERAL, choose(references, samples=2)
    if (
        single
        and card.medium == "image"
        and card.engine == "score"
        and describe_images(references[0])[0][0] == 3
    ):
        for name in names or (None,):
            yield "colorize", choose(references, colorize=LUMA, sampler=name)


def _used(values: Mapping[str, Any], general: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, str]]:
    """Yield a row per setting with the value that is used as its default."""
    for name, value in values.items():
        if name in HIDDEN:
            continue
        key, used = KEYS.get(name, name), NONE if value is None else option_table.default_text(value)
        unlisted = {"type": option_table.NAMES.get(type(value), "text"), "default": used, "meaning": ""}
        row = {**unlisted, **general.get(key, {})}
        yield {**row, "name": key, "default": used, "general": row["default"]}
