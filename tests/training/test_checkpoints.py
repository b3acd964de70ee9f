"""Checkpoints that were changed: validated before anything is replaced. See ``tests/test_trust.py``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.training.checkpoints import write_tensors
from sepcli.training.loop import train
from sepcli.training.task import LoopSettings

CPU = torch.device("cpu")
SETTINGS = LoopSettings(seconds=None, steps=12, validations=4, warmup=2, checkpoint_seconds=0)
CHECKPOINT = "checkpoint.safetensors"


class Line:
    """Fit y = 2 x with a layer of one unit."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model: nn.Module = nn.Linear(1, 1)

    def sample(self, rng: np.random.Generator) -> tuple[Tensor]:
        return (torch.from_numpy(rng.standard_normal((8, 1)).astype(np.float32)),)

    def loss(self, x: Tensor) -> tuple[Tensor, dict[str, float]]:
        return (self.model(x).float() - 2 * x).square().mean(), {}

    def validate(self) -> dict[str, float]:
        return {"loss": float((next(self.model.parameters()).detach() - 2).square().sum())}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unfinished run: 5 steps, one validation."""
    done: list[int] = []

    def stop(*_: int) -> None:
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Line(), tmp_path, SETTINGS, CPU, on_progress=stop)
    return tmp_path


def change(folder: Path, fields: dict[str, Any], renames: dict[str, str] | None = None) -> None:
    """Change the progress and the names of tensors of a checkpoint; fields of None are left out."""
    with safe_open(folder / CHECKPOINT, "pt") as file:
        progress = {**json.loads(file.metadata()["progress"]), **fields}
    kept = {key: value for key, value in progress.items() if value is not None}
    tensors = {(renames or {}).get(name, name): t for name, t in load_file(folder / CHECKPOINT).items()}
    write_tensors(folder / CHECKPOINT, tensors, {"progress": json.dumps(kept)})


def refused(folder: Path, settings: LoopSettings = SETTINGS) -> InputError:
    """Resume; the error, which leaves checkpoint and weights as they were."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError) as error:
        train(Line(), folder, settings, CPU, resume=True)
    assert error.value.argument == "resume"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return error.value


@pytest.mark.parametrize(
    "fields",
    [
        {"elapsed": float("nan")},
        {"elapsed": float("inf")},
        {"elapsed": -1.0},
        {"elapsed": "1"},
        {"step": -1},
        {"step": 10**30},
        {"step": 1.5},
        {"validated": None},
        {"best": float("nan")},
        {"best_step": 100},
        {"more": 1},
        {"history": [[1]]},
        {"history": [{"loss": 1.0}]},
    ],
)
def test_numbers_of_a_checkpoint_are_validated(folder: Path, fields: dict[str, Any]) -> None:
    change(folder, fields)
    refused(folder)
    refused(folder, replace(SETTINGS, seconds=60.0, steps=None))


def test_a_checkpoint_past_its_budget_is_kept(folder: Path) -> None:
    change(folder, {"step": 50, "best_step": 0, "best": float("inf")})
    assert "larger budget" in refused(folder).hint


def test_a_checkpoint_whose_best_weights_are_gone_is_kept(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model.weight", "model.unknown"),
        ("optimizer.0.exp_avg", "optimizer.zero.exp_avg"),
        ("optimizer.0.exp_avg", "optimizer.0.other"),
        ("optimizer.0.exp_avg", "optimizer.0"),
        ("optimizer.0.exp_avg", "optimizer.7.exp_avg"),
    ],
)
def test_names_of_a_checkpoint_are_validated(folder: Path, name: str, other: str) -> None:
    change(folder, {}, {name: other})
    refused(folder)


def _wider(tensors: dict[str, Tensor]) -> None:
    tensors["optimizer.0.exp_avg"] = torch.zeros(3, 3)


def _of_another_type(tensors: dict[str, Tensor]) -> None:
    tensors["model.weight"] = tensors["model.weight"].double()


@pytest.mark.parametrize("harm", [_wider, _of_another_type])
def test_shapes_and_types_of_a_checkpoint_are_validated(
    folder: Path, harm: Callable[[dict[str, Tensor]], None]
) -> None:
    with safe_open(folder / CHECKPOINT, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(folder / CHECKPOINT)
    harm(tensors)
    write_tensors(folder / CHECKPOINT, tensors, metadata)
    refused(folder)


def identified(folder: Path, run: dict[str, Any]) -> LoopSettings:
    """Settings of a run of some identity, and that of the checkpoint."""
    change(folder, {"identity": {**run, "seed": SETTINGS.seed, "learning rate": SETTINGS.learning_rate}})
    return replace(SETTINGS, run=run)


@pytest.mark.parametrize("off", [False, 0, 0.0, None, []], ids=str)
def test_an_option_newer_than_the_run_may_be_off(folder: Path, off: object) -> None:
    settings = identified(folder, {"init": "p"})
    assert "songs" in refused(folder, replace(settings, run={"init": "p", "songs": True})).message
    train(Line(), folder, replace(settings, run={"init": "p", "songs": off}), CPU, resume=True)


def test_an_option_that_was_on_is_not_off(folder: Path) -> None:
    settings = identified(folder, {"rank": 4})
    assert "another rank" in refused(folder, replace(settings, run={"rank": 0})).message


def test_a_folder_may_be_written_in_other_ways(folder: Path) -> None:
    settings = identified(folder, {"init": "first", "interference": ["a", "../b"]})
    same = {"init": "./first/", "interference": ["a/", "../c/../b"]}
    assert "another init" in refused(folder, replace(settings, run={**same, "init": "../first"})).message
    train(Line(), folder, replace(settings, run=same), CPU, resume=True)


def test_the_setting_that_changes_the_network_is_named(folder: Path) -> None:
    settings = identified(folder, {"rank": 4})
    change(folder, {}, {"model.weight": "model.left"})
    assert "another rank" in refused(folder, replace(settings, run={"rank": 8})).message


def test_an_unchanged_checkpoint_is_resumed(folder: Path) -> None:
    change(folder, {})
    assert train(Line(), folder, SETTINGS, CPU, resume=True).step == 12
