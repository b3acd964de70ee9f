"""Tables of options, generated from their dataclass: type, range, default and meaning."""

from __future__ import annotations

import re
import textwrap
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import cleandoc
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from sepcli.settings import defaults, none_name, number

NAMES = {int: "integer", float: "number", bool: "0 or 1", str: "text"}
"""Type → its name in a table."""
WIDTH, INDENT = 80, "    "
"""Width and indentation of the lines of a table, in characters."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
"""Constraint of a range → its sign."""


def rows(kind: type[Any]) -> list[dict[str, str]]:
    """Return one row per field of an options dataclass: name, type, default and meaning, as text."""
    hints, meanings, values = get_type_hints(kind, include_extras=True), _meanings(kind), defaults(kind)
    return [
        {
            "name": field.name,
            "type": _type(hints[field.name]),
            "default": default_text(values[field.name]),
            "meaning": meanings.get(field.name, ""),
        }
        for field in fields(kind)
    ]


def text(kind: type[Any]) -> str:
    """Return the rows of an options dataclass as text; see ``lines``."""
    return "\n".join(lines(rows(kind)))


def lines(settings: Sequence[Mapping[str, str]], width: int = WIDTH) -> list[str]:
    """Return rows as lines of limited width: name, type and default, and the meaning indented below."""
    written: list[str] = []
    for row in settings:
        default = f", default {row['default']}" if row["default"] else ""
        head = f"{row['name']}  ({row['type']}{default})"
        written += textwrap.wrap(head, width, subsequent_indent=INDENT * 2)
        written += textwrap.wrap(row["meaning"], width, initial_indent=INDENT, subsequent_indent=INDENT)
    return written


def _type(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        base, *metas = get_args(hint)
        bounds = [
            f"{sign} {number(value)}"
            for meta in metas
            if isinstance(meta, Meta)
            for key, sign in BOUNDS.items()
            if (value := getattr(meta, key)) is not None
        ]
        none = none_name(hint)
        parts = (_type(base), ", ".join(bounds), f"| {none}" if none else "")
        return " ".join(part for part in parts if part)
    if get_origin(hint) is Literal:
        return " | ".join(str(value) for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_type(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        return f"{_type(get_args(hint)[0])}, repeatable"
    return NAMES.get(hint, str(hint))


def default_text(value: Any) -> str:
    """Return a value as ``--set`` takes it; "" of None and ()."""
    if value is None or value == ():
        return ""
    return str(int(value)) if isinstance(value, bool) else f"{value}"


def _meanings(kind: type[Any]) -> dict[str, str]:
    """Read ``Attributes`` of the docstrings of a dataclass and of those that it extends."""
    meanings: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        _, _, attributes = cleandoc(owner.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \w+: )", attributes.partition("\n\n")[0]):
            name, colon, meaning = entry.strip().partition(": ")
            if colon and name.isidentifier():
                meaning = " ".join(meaning.replace("``", "").split())
                symbol = not re.match(r"a |[a-z]{2}", meaning)
                meanings[name] = meaning if symbol else meaning[:1].upper() + meaning[1:]
    return meanings
