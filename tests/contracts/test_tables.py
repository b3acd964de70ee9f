"""Laws of the tables: rows load without torch, name things that exist, and are documented."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from sepcli.baselines import BASELINES
from sepcli.datasets import DATASETS
from sepcli.media import MEDIA
from sepcli.metrics import METRICS
from sepcli.priors import FAMILIES, resolve
from sepcli.samplers import SAMPLERS, name_of
from sepcli.separation.executor import EXECUTORS
from sepcli.settings import defaults

TABLES: Mapping[str, Mapping[str, Any]] = {
    "sepcli.baselines": BASELINES,
    "sepcli.datasets": DATASETS,
    "sepcli.media": MEDIA,
    "sepcli.metrics": METRICS,
    "sepcli.priors": FAMILIES,
    "sepcli.samplers": SAMPLERS,
    "sepcli.separation.executor": EXECUTORS,
}
ROWS = [(module, name, row) for module, table in TABLES.items() for name, row in table.items()]


def references(value: Any) -> list[str]:
    """The ``module:attribute`` texts of a row, of the mappings and the rows inside it, too."""
    if isinstance(value, str):
        return [value] if value.startswith("sepcli.") and ":" in value else []
    if isinstance(value, Mapping):
        return [found for inner in value.values() for found in references(inner)]
    if is_dataclass(value):
        return [found for field in fields(value) for found in references(getattr(value, field.name))]
    return []


@pytest.mark.parametrize("module", TABLES)
def test_a_table_needs_neither_torch_nor_numpy(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = sys.modules['numpy'] = None; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("module", "name", "row"), ROWS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_row_names_things_that_exist(module: str, name: str, row: Any) -> None:
    assert row.name == name
    for reference in references(row):
        assert inspect.getdoc(resolve(reference)), f"{reference} has no docstring"


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_a_frozen_dataclass_with_documented_settings(name: str) -> None:
    kind = SAMPLERS[name].load()
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    text = inspect.getdoc(kind) or ""
    for setting, value in defaults(kind).items():
        assert f"{setting}:" in text, f"{name}: {setting} is not documented"
        assert value is None or isinstance(value, bool | int | float | str)
    made = kind()
    assert SAMPLERS[name_of(made)].cls == SAMPLERS[name].cls


TRAININGS = [(name, medium) for name, row in FAMILIES.items() for medium in row.training]


@pytest.mark.parametrize(("name", "medium"), TRAININGS)
def test_the_options_of_a_family_are_documented(name: str, medium: Any) -> None:
    kind = resolve(FAMILIES[name].training[medium].options)
    assert is_dataclass(kind)
    text = "\n".join(inspect.getdoc(base) or "" for base in kind.__mro__)
    for option in defaults(kind):
        assert f"{option}:" in text, f"{name}: {option} is not documented"


def test_suffixes_are_listed_once() -> None:
    listed = [suffix for row in MEDIA.values() for suffix in row.suffixes]
    assert len(listed) == len(set(listed))
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in listed)
