"""How families are trained: options without torch, every reference resolves, text becomes values."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from sepcli.errors import UsageError
from sepcli.priors import FAMILIES, Family, Training, resolve
from sepcli.priors.train import parse_options, training_of

TRAINED = [(family, row) for family in FAMILIES.values() for row in family.training.values()]
PROBE = """
import sys
sys.modules["torch"] = None
from sepcli.cli import option_table
from sepcli.priors import FAMILIES, resolve
for family in FAMILIES.values():
    for training in family.training.values():
        option_table.text(resolve(training.options))
"""


def test_the_table_and_all_options_need_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("family", "training"), TRAINED, ids=lambda row: getattr(row, "name", ""))
def test_every_row_resolves(family: Family, training: Training) -> None:
    kind = resolve(training.options)
    assert is_dataclass(kind)
    assert callable(resolve(training.task))
    assert parse_options(training, {}) == kind()
    assert family.medium == "both" or set(family.training) == {family.medium}
    with pytest.raises(UsageError, match="kazoo") as refused:
        parse_options(training, {"kazoo": "1"})
    assert refused.value.argument == "settings.kazoo"
    assert "kazoo" not in {field.name for field in fields(kind)}


def test_text_becomes_values_within_their_range() -> None:
    sound, image = FAMILIES["denoiser"].training["audio"], FAMILIES["denoiser"].training["image"]
    options = parse_options(sound, {"interference": ["a,b", "c"], "compile": "1"})
    assert (options.interference, options.compile, options.low_bands) == (("a", "b", "c"), True, False)
    options = parse_options(image, {"flip": "0", "size": "32", "class_dropout": "0.25"})
    assert (options.flip, options.size, options.class_dropout) == (False, 32, 0.25)
    for key, value in (("size", "7"), ("class_dropout", "1.5"), ("channels", "2"), ("flip", "maybe")):
        with pytest.raises(UsageError, match=f"{key}={value}") as refused:
            parse_options(image, {key: value})
        assert refused.value.argument == f"settings.{key}"


def test_an_unknown_family_is_refused(tmp_path) -> None:
    for name in ("gan", "diffusers"):
        with pytest.raises(UsageError, match=name) as refused:
            training_of(name, tmp_path)
        assert refused.value.argument == "family"
