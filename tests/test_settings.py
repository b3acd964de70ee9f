"""Settings: values as users write them, and the values that a message allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from sepcli.errors import UsageError
from sepcli.settings import check, parse

Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Settings:
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 50
    ratio: Annotated[float, Meta(gt=0, lt=0.5)] = 0.1
    eta: Annotated[Share | None, Meta(extra={"none": "ancestral"})] = 1.0
    level: Annotated[float, Meta(ge=0.0001, le=1)] | None = 0.1
    width: Annotated[int, Meta(ge=16, le=64, multiple_of=16)] = 16
    side: bool = True
    how: Literal["wiener", "none"] = "wiener"
    name: str | None = None

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("steps", "7", 7),
        ("eta", "0.5", 0.5),
        ("eta", "ancestral", None),
        ("eta", "Ancestral", None),
        ("eta", "None", None),
        ("eta", None, None),
        ("level", "none", None),
        ("side", "0", False),
        ("side", "true", True),
        ("how", "none", "none"),
        ("name", "None", "None"),
    ],
)
def test_values_are_read_as_they_are_written(key: str, text: Any, value: Any) -> None:
    assert getattr(parse(Settings, {key: text}), key) == value


@pytest.mark.parametrize(
    ("key", "texts", "allowed"),
    [
        ("steps", ("None", "1.5", "many", "0", "", 100_001, None), "a whole number from 1 up to 100,000"),
        ("ratio", ("nan", "inf", "0", "0.5", "1,5"), "a number above 0 below 0.5"),
        ("eta", ("2", "yes"), "a number from 0 up to 1, or ancestral"),
        ("level", ("0", "ancestral"), "a number from 0.0001 up to 1, or none"),
        ("width", ("20", "80", "none"), "a whole number from 16 up to 64 in steps of 16"),
        ("side", ("None", "2", "yes"), "1 or 0"),
        ("how", ("None", "project"), "one of wiener, none"),
    ],
)
def test_a_wrong_value_names_the_allowed_ones(key: str, texts: tuple[Any, ...], allowed: str) -> None:
    for text in texts:
        with pytest.raises(UsageError) as error:
            parse(Settings, {key: text})
        assert error.value.message.startswith(f"{key}={text} ")
        assert error.value.hint == f"use {allowed}"
        assert error.value.argument == f"settings.{key}"
