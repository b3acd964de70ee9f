"""Settings: dataclasses whose ranges hold in the constructor, for ``key=value`` pairs and for card entries.

A field states its range in its type, and a name for None where that has a special meaning::

    steps: Annotated[int, Meta(ge=1, le=100_000)] = 50
    eta: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, Meta(extra={"none": "ancestral"})] = 1.0

``parse`` converts what a command line or a card says to the types of the fields; ``check`` is called by
``__post_init__``.
"""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from sepcli.errors import UsageError, nearest

T = TypeVar("T")
NONE = "none"
"""How None is written."""
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Samples = Annotated[int, Meta(ge=1, le=1000)]
Items = Annotated[int, Meta(ge=1, le=10**9)]
"""Number of items of a data set, or of unconditional samples."""
Batch = Annotated[int, Meta(ge=1, le=65_536)]
"""Number of items that are computed together."""
Tokens = Annotated[int, Meta(ge=16, le=65_536)]
"""Tokens or frames per item of training."""
Steps = Annotated[int, Meta(ge=1, le=100_000_000)]
"""Steps of training."""
LONGEST = 366 * 86_400.0
"""Seconds of the longest time budget: a year."""
Workers = Annotated[int, Meta(ge=1, le=1024)]
KINDS: Mapping[Any, str] = {int: "a whole number", float: "a number", bool: "1 or 0", str: "text"}
"""Type of a field → description of its values."""
LIMITS = {"ge": "from", "gt": "above", "le": "up to", "lt": "below", "multiple_of": "in steps of"}
"""Constraint of a range → its preposition."""


def parse(kind: type[T], options: Mapping[str, Any]) -> T:
    """Make a settings dataclass of ``key=value`` pairs; text becomes numbers and truth values (1, 0, true).

    Raises:
        UsageError: an unknown key, or a value of another type or out of range; ``argument`` names the
            setting.
    """
    return kind(**typed(kind, options))


def take(kind: type[T], options: dict[str, Any]) -> T:
    """Make a settings dataclass of the ``options`` that are its fields, and take them out; see ``parse``."""
    keys = [field.name for field in fields(kind) if field.name in options]  # type: ignore[arg-type]
    return parse(kind, {key: options.pop(key) for key in keys})


def typed(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert values to the types of the fields of a settings dataclass, without constructing it.

    Raises:
        UsageError: see ``parse``.
    """
    hints = _hints(kind)
    for key in options:
        if key not in hints:
            raise UsageError(
                f"unknown setting '{key}'",
                nearest(key, hints) if hints else "there is none",
                argument=f"settings.{key}",
            )
    given = {key: None if _is_none(hints[key], value) else value for key, value in options.items()}
    return {key: _convert(kind, key, value, strict=False) for key, value in given.items()}


def check(settings: Any) -> None:
    """Refuse a settings dataclass of which a field is out of range; called by its ``__post_init__``.

    Raises:
        UsageError: a value is of another type or out of range.
    """
    for field in fields(settings):
        if field.init:
            _convert(type(settings), field.name, getattr(settings, field.name), strict=True)


def require(kind: Any, **values: Any) -> None:
    """Refuse arguments that are not of a type with a range, such as ``Seed``; integers of numpy are integers.

    Raises:
        UsageError: one is not; ``argument`` names it.
    """
    for name, value in values.items():
        try:
            msgspec.convert(operator.index(value) if hasattr(value, "__index__") else value, kind)
        except (msgspec.ValidationError, TypeError) as error:
            raise UsageError(f"{name} is {value!r}", f"use {allowed(kind)}", argument=name) from error


def limits(kind: Any) -> dict[str, Any]:
    """Return ``min`` and ``max`` of a type with a range, for an option."""
    for meta in _unwrapped(kind)[1]:
        return {"min": meta.ge, "max": meta.le}
    return {}


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the fields of a settings dataclass and their defaults."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        values[field.name] = None if default is MISSING else default
    return values


def allowed(hint: Any) -> str:
    """Describe the values that a field's type allows, as in ``a whole number from 1 up to 50``."""
    base, metas = _unwrapped(hint)
    parts = get_args(base)
    if get_origin(base) in (Union, types.UnionType):
        none = [none_name(hint) or NONE] if types.NoneType in parts else []
        return ", or ".join([*(allowed(part) for part in parts if part is not types.NoneType), *none])
    if get_origin(base) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if get_origin(base) is tuple:
        return f"{allowed(parts[0])}, repeatable"
    limits = [
        f"{preposition} {number(limit)}"
        for meta in metas
        for key, preposition in LIMITS.items()
        if (limit := getattr(meta, key)) is not None
    ]
    return " ".join([KINDS.get(base, str(base)), *limits])


def none_name(hint: Any) -> str | None:
    """Return how None is written for a type of a field; None: there is no special name."""
    return next((str(meta.extra["none"]) for meta in _unwrapped(hint)[1] if meta.extra), None)


def number(value: float) -> str:
    """Return a limit as text."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def _convert(kind: type[Any], key: str, value: Any, *, strict: bool) -> Any:
    try:
        converted = msgspec.convert(value, _hints(kind)[key], strict=strict)
        if isinstance(converted, float) and not math.isfinite(converted):
            raise msgspec.ValidationError("Expected a finite number")
        return converted
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{key}={value} is not valid",
            f"use {allowed(_hints(kind)[key])}",
            argument=f"settings.{key}",
        ) from error


def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _unwrapped(hint: Any) -> tuple[Any, list[Meta]]:
    """Return a type without its annotations, and these."""
    if get_origin(hint) is not Annotated:
        return hint, []
    base, *metas = get_args(hint)
    return base, [meta for meta in metas if isinstance(meta, Meta)]


def _is_none(hint: Any, value: Any) -> bool:
    """Return whether a text stands for None, which the type of a field allows."""
    parts = get_args(_unwrapped(hint)[0])
    optional = types.NoneType in parts and str not in parts
    return optional and isinstance(value, str) and value.strip().lower() in (NONE, none_name(hint))
