"""Settings: dataclasses whose ranges hold in the constructor, for ``key=value`` pairs and for card entries.

A field states its range in its type::

    steps: Annotated[int, Meta(ge=1, le=100_000)] = 50

``parse`` converts what a command line or a card says to the types of the fields; ``check`` is called by
``__post_init__``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

import msgspec

from sepcli.errors import UsageError

T = TypeVar("T")


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
                f"settings: {', '.join(hints) or 'none'}",
                argument=f"settings.{key}",
            )
    return {key: _convert(kind, key, value, strict=False) for key, value in options.items()}


def check(settings: Any) -> None:
    """Refuse a settings dataclass of which a field is out of range; called by its ``__post_init__``.

    Raises:
        UsageError: a value is of another type or out of range.
    """
    for field in fields(settings):
        if field.init:
            _convert(type(settings), field.name, getattr(settings, field.name), strict=True)


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the fields of a settings dataclass and their defaults."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        values[field.name] = None if default is MISSING else default
    return values


def _convert(kind: type[Any], key: str, value: Any, *, strict: bool) -> Any:
    try:
        converted = msgspec.convert(value, _hints(kind)[key], strict=strict)
        if isinstance(converted, float) and not math.isfinite(converted):
            raise msgspec.ValidationError("Expected a finite number")
        return converted
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at")[0]
        raise UsageError(
            f"{key}={value} is not valid: {reason[:1].lower()}{reason[1:]}",
            f"see the range of {key}",
            argument=f"settings.{key}",
        ) from error


def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}
