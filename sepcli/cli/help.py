"""Help texts in plain columns of 80 characters: options by panel, and examples at the end.

Boxes of rich would take longer to load than all else that ``--help`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

TYPES: Mapping[str, str] = {
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<path>": "PATH",
    "<list[Path]>": "PATH",
    "<int>": "INTEGER",
    "<int range>": "INTEGER",
    "<float>": "NUMBER",
    "<float range>": "NUMBER",
}
"""How versions of typer write the types of values → how help texts write them."""
CHOICES = re.compile(r"(?:<list)?[<\[{]((?:[\w-]+\|)+[\w-]+)[>\]}]+")
"""The values that an option may have."""
RANGE = re.compile(r"([-\d.e]+)<=x<=([-\d.e]+)")
"""How typer writes a range."""
LONGEST = 200
"""Characters of the sentence on a command, in the help of ``sepcli``."""
WIDEST = 24
"""Columns of choices beyond which they are listed in the text instead."""


class Command(TyperCommand):
    """A command whose epilog is its examples, one command line a row."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, by panel in the order of appearance."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is None:
                continue
            default = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or default, []).append(_plain(*row))
        if "Options" in panels:
            panels["Options"] = panels.pop("Options")  # --help comes last
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """``sepcli`` itself: its commands by panel, each with its whole sentence, and examples."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panels.setdefault(command.rich_help_panel, []).append((name, command.get_short_help_str(LONGEST)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        _write_examples(self.epilog, formatter)


def _write_examples(text: str | None, formatter: Any) -> None:
    if text:
        with formatter.section("Examples"):
            for line in text.strip().splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")


def _plain(head: str, text: str) -> tuple[str, str]:
    """Return a row with short types and plain ranges; long lists of choices go into the text."""
    for written, shown in TYPES.items():
        head = head.replace(f"... {written}", "...").replace(written, shown)
    text = RANGE.sub(lambda match: f"{_limit(match[1])} to {_limit(match[2])}", text)
    choices = CHOICES.search(head)
    if choices and len(choices[0]) > WIDEST:
        head, text = head.replace(choices[0], "NAME"), f"{text}  [{', '.join(choices[1].split('|'))}]"
    return head, text


def _limit(text: str) -> str:
    return "2^63-1" if text == str(2**63 - 1) else f"{int(text):,}" if text.isdecimal() else text
