"""The training loop: budgets, checkpoints that change nothing, the best weights and not the last."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from train_request import read_history

from sepcli.atomic import write_text
from sepcli.errors import InputError, OutputError, SepError
from sepcli.training import loop
from sepcli.training.checkpoints import FINISHED, finished, write_tensors
from sepcli.training.loop import train, write_weights
from sepcli.training.task import LoopSettings

CPU = torch.device("cpu")
SETTINGS = LoopSettings(seconds=None, steps=12, validations=4, warmup=2, checkpoint_seconds=1e9)


class Line:
    """Fit y = 2 x with a layer of one unit; ``scores`` are what validation says, one after the other."""

    def __init__(self, width: int = 1, scores: Sequence[float] | None = None) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model: nn.Module = nn.Linear(1, width)
        self.model.register_buffer("seen", torch.zeros(1))
        self.scores = iter(scores) if scores is not None else None
        self.weights: list[Tensor] = []

    def sample(self, rng: np.random.Generator) -> tuple[Tensor]:
        return (torch.from_numpy(rng.standard_normal((8, 1)).astype(np.float32)),)

    def loss(self, x: Tensor) -> tuple[Tensor, dict[str, float]]:
        loss = (self.model(x).float() - 2 * x).square().mean()
        return loss, {"first": float(x[0, 0])}

    def validate(self) -> dict[str, float]:
        weight = next(self.model.parameters()).detach().clone()
        self.weights.append(weight)
        score = float((weight - 2).square().sum()) if self.scores is None else next(self.scores)
        return {"loss": score, "weight": float(weight.flatten()[0])}


def stop_at(step: int):
    """An ``on_progress`` that is interrupted after so many steps."""
    told: list[int] = []

    def on_progress(done: int, total: int) -> None:
        told.append(done)
        if len(told) == step:
            raise KeyboardInterrupt

    return on_progress


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_budget_of_steps(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    logged: list[dict[str, float]] = []
    task = Line()
    progress = train(
        task,
        tmp_path / "new" / "part",
        SETTINGS,
        CPU,
        on_progress=lambda *done: told.append(done),
        log=logged.append,
    )
    assert progress.step == len(told) == 12
    assert told[-1] == (1000, 1000)
    assert [entry["step"] for entry in logged] == [3, 6, 9, 12]
    assert progress.history == logged
    assert set(logged[0]) == {"step", "elapsed", "train_loss", "train_first", "valid_loss", "valid_weight"}
    assert logged[-1]["train_loss"] < logged[0]["train_loss"]
    assert files(tmp_path / "new" / "part") == [FINISHED, "history.jsonl", "model.safetensors"]
    assert read_history(tmp_path / "new" / "part") == logged
    assert task.model.training


def test_a_budget_of_seconds(tmp_path: Path) -> None:
    progress = train(Line(), tmp_path, replace(SETTINGS, steps=None, seconds=0.3), CPU)
    assert progress.step > 1
    assert 0.3 <= progress.elapsed < 5
    assert 1 <= progress.validated <= 5


def test_every_step_has_its_own_random_numbers(tmp_path: Path) -> None:
    runs = [train(Line(), tmp_path / str(n), replace(SETTINGS, seed=n % 2), CPU) for n in range(3)]
    one, two, three = ([entry["train_first"] for entry in run.history] for run in runs)
    assert one == three != two
    assert len(set(one)) == 4


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path, stop: int) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0)
    whole, halves = Line(), Line()
    straight = train(whole, tmp_path / "straight", settings, CPU)
    with pytest.raises(KeyboardInterrupt):
        train(halves, tmp_path / "halves", settings, CPU, on_progress=stop_at(stop + 1))
    assert "checkpoint.safetensors" in files(tmp_path / "halves")
    again = Line()
    resumed = train(again, tmp_path / "halves", settings, CPU, resume=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    assert resumed.step == straight.step
    timeless = [[{**e, "elapsed": 0} for e in run.history] for run in (resumed, straight)]
    assert timeless[0] == timeless[1]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "halves"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert files(tmp_path / "halves") == [FINISHED, "history.jsonl", "model.safetensors"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(name: str, tmp_path: Path) -> None:
    straight = train(whole := Line(), tmp_path / "straight", SETTINGS, CPU)
    number, told = getattr(signal, name), []
    before = signal.signal(number, signal.default_int_handler)

    def press(done: int, total: int) -> None:
        told.append(done)
        if len(told) == 5:
            signal.raise_signal(number)

    try:
        with pytest.raises(KeyboardInterrupt):
            train(Line(), tmp_path / "halves", SETTINGS, CPU, on_progress=press)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert len(told) == 5
    steps: list[int] = []
    again = Line()
    resumed = train(
        again, tmp_path / "halves", SETTINGS, CPU, resume=True, on_progress=lambda done, _: steps.append(done)
    )
    assert (len(steps), resumed.step) == (7, straight.step)
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[key]), key


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    def press(done: int, total: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Line(), tmp_path, SETTINGS, CPU, on_progress=press)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_finished_run_is_extended(tmp_path: Path) -> None:
    first = train(Line(), tmp_path, SETTINGS, CPU)
    told = finished(tmp_path)
    assert told is not None
    assert (told.step, told.history) == (12, first.history)
    steps: list[int] = []
    settings = replace(SETTINGS, steps=24)
    second = train(
        Line(), tmp_path, settings, CPU, resume=True, on_progress=lambda done, _: steps.append(done)
    )
    assert len(steps) == 12
    assert [entry["step"] for entry in second.history] == [3, 6, 9, 12, 18, 24]
    assert second.history[:4] == first.history
    assert second.best < first.best
    assert files(tmp_path) == [FINISHED, "history.jsonl", "model.safetensors"]
    assert train(Line(), tmp_path, settings, CPU, resume=True).history == second.history  # nothing to do
    with pytest.raises(KeyboardInterrupt):
        train(Line(), tmp_path, SETTINGS, CPU, on_progress=stop_at(2))
    assert finished(tmp_path) is None  # a run that was started anew replaces it


def test_resuming_without_a_checkpoint_starts(tmp_path: Path) -> None:
    assert train(Line(), tmp_path, SETTINGS, CPU, resume=True).step == 12


def test_a_fresh_run_forgets_the_checkpoint_of_another(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train(Line(), tmp_path, settings, CPU, on_progress=stop_at(5))
    with pytest.raises(KeyboardInterrupt):
        train(Line(), tmp_path, SETTINGS, CPU, on_progress=stop_at(2))  # too short for a second checkpoint
    steps: list[int] = []
    train(Line(), tmp_path, SETTINGS, CPU, resume=True, on_progress=lambda done, _: steps.append(done))
    assert len(steps) == 12  # from the first, which is kept from the beginning


@pytest.mark.parametrize(
    ("other", "what"),
    [({"seed": 1}, "seed"), ({"learning_rate": 0.5}, "learning rate"), ({"run": {"data": "b"}}, "data")],
)
def test_a_run_with_other_options_is_not_continued(tmp_path: Path, other: dict[str, Any], what: str) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0, run={"data": "a"})
    with pytest.raises(KeyboardInterrupt):
        train(Line(), tmp_path, settings, CPU, on_progress=stop_at(5))
    with pytest.raises(InputError, match=what):
        train(Line(), tmp_path, replace(settings, **other), CPU, resume=True)
    assert train(Line(), tmp_path, replace(settings, steps=14), CPU, resume=True).step == 14


def test_the_best_weights_are_kept_and_not_the_last(tmp_path: Path) -> None:
    task = Line(scores=[3.0, 1.0, 2.0, math.nan])
    progress = train(task, tmp_path, SETTINGS, CPU)
    assert (progress.best, progress.best_step) == (1.0, 6)
    stored = load_file(tmp_path / "model.safetensors")
    assert torch.equal(stored["weight"], task.weights[1].to(torch.bfloat16))
    assert not torch.equal(task.weights[1], task.weights[3])


def test_the_best_is_remembered_over_an_interruption(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0)
    first = Line(scores=[1.0, 2.0])
    with pytest.raises(KeyboardInterrupt):
        train(first, tmp_path, settings, CPU, on_progress=stop_at(8))
    progress = train(Line(scores=[2.5, 3.0]), tmp_path, settings, CPU, resume=True)
    assert (progress.best, progress.best_step) == (1.0, 3)
    assert torch.equal(load_file(tmp_path / "model.safetensors")["weight"], first.weights[0].bfloat16())


def test_a_run_that_never_gave_a_number_has_failed(tmp_path: Path) -> None:
    with pytest.raises(SepError):
        train(Line(scores=[math.nan] * 4), tmp_path, SETTINGS, CPU)
    assert "model.safetensors" not in files(tmp_path)


def test_validations_that_are_late_are_not_caught_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    class Slow(Line):
        def loss(self, x: Tensor) -> tuple[Tensor, dict[str, float]]:
            now[0] += 1.0
            return super().loss(x)

        def validate(self) -> dict[str, float]:
            now[0] += 30.0  # three times what lies between two of them
            return super().validate()

    task = Slow(scores=[1.0] * 20)
    run = train(task, tmp_path, replace(SETTINGS, steps=None, seconds=100.0, validations=10), CPU)
    steps = [int(entry["step"]) for entry in run.history]
    assert min(b - a for a, b in zip([0, *steps], steps, strict=False)) >= 5


def test_weights_are_small_safetensors(tmp_path: Path) -> None:
    model = Line().model
    write_weights(model, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert {name: tensor.dtype for name, tensor in stored.items()} == {
        "weight": torch.bfloat16,
        "bias": torch.bfloat16,
        "seen": torch.float32,
    }
    assert files(tmp_path) == ["w.safetensors"]


def test_kept_weights_are_stored_as_wanted(tmp_path: Path) -> None:
    task = Line()
    task.model.add_module("wide", nn.Linear(32, 64))  # it takes no part
    train(task, tmp_path, replace(SETTINGS, storage="int8"), CPU)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["wide.weight"].dtype == torch.int8
    assert stored["wide.weight:scale"].shape == (64, 1)
    assert {stored[name].dtype for name in ("wide.bias", "weight", "bias")} == {torch.bfloat16}


def _interrupted(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Line(), folder, replace(SETTINGS, checkpoint_seconds=0), CPU, on_progress=stop_at(3))


@pytest.mark.parametrize("harm", ["network", "tensors", "progress", "no progress"])
def test_a_checkpoint_that_does_not_fit(tmp_path: Path, harm: str) -> None:
    _interrupted(tmp_path)
    task = Line(width=2 if harm == "network" else 1)
    if harm == "tensors":
        (tmp_path / "checkpoint.safetensors").write_bytes(b"cut")
    elif harm != "network":
        told = {"progress": {"progress": '{"nonsense": 1}'}, "no progress": None}[harm]
        tensors = load_file(tmp_path / "checkpoint.safetensors")
        write_tensors(tmp_path / "checkpoint.safetensors", tensors, told)
    with pytest.raises(InputError, match="checkpoint") as refused:
        train(task, tmp_path, SETTINGS, CPU, resume=True)
    assert refused.value.argument == "resume"


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken"):
        train(Line(), tmp_path / "taken", SETTINGS, CPU)
    with pytest.raises(OutputError, match="nowhere"):
        write_weights(Line().model, tmp_path / "nowhere" / "w.safetensors")
    with pytest.raises(OutputError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "t.json", "{}")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match=r"(?i)no space"):
        write_text(tmp_path / "t.json", "{}")
    assert files(tmp_path) == ["taken"]
