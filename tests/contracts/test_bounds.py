"""Numbers have ranges: options of all commands, settings of all tables, arguments of the Python API."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from msgspec import Meta
from typer.main import get_command

import sepcli
from sepcli.cli import app
from sepcli.cli.samplers import POSTERIORS
from sepcli.cli.settings import parse_duration
from sepcli.errors import UsageError
from sepcli.priors import FAMILIES, resolve
from sepcli.priors.lass.settings import CountSettings, LassSettings
from sepcli.samplers import SAMPLERS
from sepcli.separation.executor import Wanted
from sepcli.separation.settings import StreamSettings
from sepcli.settings import Seed, limits, require
from sepcli.training.config import TrainConfig
from sepcli.training.task import LoopSettings

MOST = 10**19
"""More than any number may be."""
COMMANDS = get_command(app.app).commands  # type: ignore[attr-defined]
SETTINGS = {
    *(entry.load() for entry in SAMPLERS.values()),
    *(resolve(reference) for _, reference in POSTERIORS.values()),
    *(resolve(row.options) for family in FAMILIES.values() for row in family.training.values()),
    *(StreamSettings, LassSettings, CountSettings, LoopSettings),
}


def numbers(hint: Any, metas: tuple[Any, ...] = ()) -> Iterator[tuple[type, tuple[Any, ...]]]:
    """The numeric types in a type of a field, with their constraints."""
    if get_origin(hint) is Annotated:
        base, *more = get_args(hint)
        yield from numbers(base, (*metas, *more))
    elif get_origin(hint) in (Union, types.UnionType, tuple):
        for part in get_args(hint):
            yield from numbers(part, metas)
    elif hint in (int, float):
        yield hint, tuple(meta for meta in metas if isinstance(meta, Meta))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_number_of_a_command_has_both_bounds(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    context = COMMANDS[command].make_context(command, [], resilient_parsing=True)
    for option in COMMANDS[command].params:
        head = option.get_help_record(context)[0] if option.param_type_name == "option" else ""
        if "<int" in head.lower() or "<float" in head.lower():
            for value in (-MOST, MOST):
                assert app.run([command, f"{option.opts[-1]}={value}"]) == 2
                first, second = capsys.readouterr().err.splitlines()
                assert f"{option.opts[-1]} {value}" in first
                assert "number from" in second
                assert "up to" in second


def test_options_with_numbers_are_found() -> None:
    context = COMMANDS["train-prior"].make_context("train-prior", [], resilient_parsing=True)
    heads = [option.get_help_record(context) for option in COMMANDS["train-prior"].params]
    assert sum("<int" in head[0] for head in heads if head) >= 4


@pytest.mark.parametrize("kind", sorted(SETTINGS, key=str), ids=lambda kind: kind.__name__)
def test_every_number_of_a_setting_has_both_bounds(kind: Any) -> None:
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        for _, metas in numbers(hints[field.name]) if field.init else ():
            low = any(meta.ge is not None or meta.gt is not None for meta in metas)
            high = any(meta.le is not None or meta.lt is not None for meta in metas)
            assert (low, high) == (True, True), field.name


def score(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return -x / (0.25 + sigma**2)


PRIOR = sepcli.from_score(score, 0.01, 3.0)
SEPARATOR = sepcli.Separator(PRIOR, sampler="projected", settings={"steps": 2})
IMAGE = np.full((4, 4), 0.5)
TENSOR = torch.full((1, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda value: SEPARATOR.separate(IMAGE, samples=value), "samples"),
        (lambda value: SEPARATOR.separate(IMAGE, seed=value), "seed"),
        (lambda value: SEPARATOR.separate_batch([TENSOR], seeds=[0], samples=value), "samples"),
        (lambda value: SEPARATOR.separate_batch([TENSOR], seeds=[value]), "seeds"),
        (lambda value: sepcli.sample(PRIOR, n=value, shape=(1, 4, 4)), "n"),
        (lambda value: sepcli.sample(PRIOR, shape=(1, 4, 4), seed=value), "seed"),
        (lambda value: sepcli.evaluate(SEPARATOR, None, seed=value), "seed"),
        (lambda value: sepcli.evaluate(SEPARATOR, None, samples=value), "samples"),
        (lambda value: sepcli.evaluate(SEPARATOR, None, batch=value), "batch"),
        (lambda value: TrainConfig("glow", Path(), Path(), batch=value), "batch"),
        (lambda value: TrainConfig("glow", Path(), Path(), tokens=value), "tokens"),
        (lambda value: LoopSettings(steps=value), "settings.steps"),
        (lambda value: LoopSettings(seconds=value), "settings.seconds"),
        (lambda value: Wanted(workers=value), "workers"),
        (lambda value: sepcli.Separator(PRIOR, settings={"steps": value}), "settings.steps"),
    ],
)
@pytest.mark.parametrize("value", [-1, MOST])
def test_arguments_are_held_to_the_same_ranges(call: Callable[[Any], Any], argument: str, value: int) -> None:
    with pytest.raises(UsageError) as error:
        call(value)
    assert error.value.argument == argument


@pytest.mark.parametrize("value", [1.5, "3", None, float("nan")])
def test_only_integers_are_integers(value: Any) -> None:
    with pytest.raises(UsageError) as error:
        require(Seed, seed=value)
    assert error.value.argument == "seed"
    assert error.value.hint.startswith("use a whole number")


def test_integers_of_numpy_are_integers() -> None:
    require(Seed, seed=np.int64(3))
    assert limits(Seed) == {"min": 0, "max": 2**63 - 1}
    assert len(SEPARATOR.separate(IMAGE, samples=np.int64(2), seed=np.int64(3)).samples) == 2


def test_a_time_budget_is_at_most_a_year() -> None:
    assert parse_duration("8784h") == 366 * 86_400
    with pytest.raises(UsageError):
        parse_duration("8785h")
