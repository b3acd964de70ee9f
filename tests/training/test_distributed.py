"""Several processes train as one: the same steps, one writer, one message, one checkpoint."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_trainings import Exact, requests, train_all
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file
from torchrun import TRAIN, running, torchrun, workers
from train_request import read_history
from world_program import SETTINGS, STOPPED, Line, codebook

from sepcli.catalog import card as cards
from sepcli.cli.app import run
from sepcli.errors import UsageError
from sepcli.priors import FAMILIES
from sepcli.training.checkpoints import CHECKPOINT, FINISHED
from sepcli.training.distributed import ALONE, World, joined, started
from sepcli.training.loop import train
from sepcli.training.stopping import LOCK

DIGITS = Path(__file__).parents[1] / "data" / "digits"
TESTS = Path(__file__).parents[1]
CPU = torch.device("cpu")
KEYS = ("step", "train_loss", "valid_loss")


def words(out: Path, *more: object) -> list[str]:
    """Arguments of a tiny training."""
    usual = ("--family", "denoiser", "--data", DIGITS, "--preset", "tiny", "--batch", 8, "--device", "cpu")
    return [str(word) for word in (*usual, "--out", out, *more)]


def state(path: Path) -> torch.Tensor:
    """Parameters and buffers of a checkpoint, or of weights."""
    tensors = load_file(path)
    kept = [name for name in sorted(tensors) if not name.startswith("optimizer.")]
    return torch.cat([tensors[name].flatten().double() for name in kept])


def distance(one: Path, two: Path) -> float:
    """Relative distance of two states."""
    return float((state(one) - state(two)).norm() / state(two).norm())


def timeless(history: list[Mapping[str, float]]) -> list[Mapping[str, float]]:
    return [{k: v for k, v in entry.items() if k not in ("elapsed", "world_size")} for entry in history]


def test_a_process_alone_has_nobody_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(3.0)
    assert ALONE.sum(x) is ALONE.mean(x) is x
    assert ALONE.take(x, torch.tensor([2, 0])).tolist() == [2.0, 0.0]
    assert (ALONE.agree(1.5, True), ALONE.gather(3), ALONE.in_turn(lambda: 4)) == ((1.5, True), [3], 4)
    assert ALONE.share((x, "a")) == (x, "a")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert started() == ALONE  # a name alone does not make a process of many
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    assert started() == World(8, 5, 1)
    monkeypatch.setenv("LOCAL_RANK", "first")
    assert started() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as world:
        assert world == ALONE


def test_a_share_is_a_part_of_the_rows() -> None:
    batch = (torch.arange(12).view(6, 2), np.arange(6), torch.tensor(7), None, 0.5)
    parts = [World(3, rank).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat([part[0] for part in parts]), batch[0])
    assert np.concatenate([part[1] for part in parts]).tolist() == [0, 1, 2, 3, 4, 5]
    assert all(part[2:] == batch[2:] for part in parts)
    with pytest.raises(UsageError, match="6") as refused:
        World(4).share(batch)
    assert refused.value.argument == "batch"


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    done = torchrun(TESTS / "world_program.py", tmp_path)
    assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    check_exchange(results)
    check_steps(*results, tmp_path)
    check_resumed(tmp_path)


def check_exchange(results: list[dict[str, Any]]) -> None:
    """Check what two processes exchanged, and their errors."""
    assert [one["world"] for one in results] == [{"size": 2, "rank": r, "local_rank": r} for r in range(2)]
    for one in results:
        assert (one["sum"], one["mean"]) == ([[3.0], [21.0]], [[1.5], [10.5]])
        assert one["take"] == [11.0, 1.0, 2.0, 2.0]
        assert one["gather"] == ["from 0", "from 1"]
        assert (one["agree"], one["gradient"], one["from_first"]) == ([5.0, True], [0.5], "made by 0")
        assert (one["order"], one["stopped"]) == ("01", True)
        assert "ZeroDivisionError: broken" in one["bug"][1]
        np.testing.assert_allclose(one["codebook"], codebook(ALONE), atol=1e-6)
    assert [one["usage"] for one in results] == [["SepError", "broken", 2], ["ReportedError", "broken", 2]]
    assert [one["first"] for one in results] == [["UsageError", "broken", 2], ["ReportedError", "broken", 2]]
    assert [one["odd"][0] for one in results] == ["UsageError", "ReportedError"]


def check_steps(first: dict[str, Any], second: dict[str, Any], folder: Path) -> None:
    """Check the steps of two processes by those of one."""
    assert first["extended"] == second["extended"]
    assert first["weights"] == second["weights"]
    assert first["history"] == read_history(folder / "whole")[:2]
    assert {entry["world_size"] for entry in first["extended"]} == {2.0}
    task = Line()
    train(task, folder / "one", SETTINGS, CPU)
    extended = train(task, folder / "one", replace(SETTINGS, steps=24), CPU, resume=True).history
    assert first["weights"] == pytest.approx([p.item() for p in task.model.parameters()], rel=1e-5)
    for ours, theirs in zip(first["extended"], extended, strict=True):
        assert [ours[key] for key in KEYS] == pytest.approx([theirs[key] for key in KEYS], abs=2e-4)
        assert (ours["train_items"], theirs["train_items"]) == (4.0, 8.0)


def check_resumed(folder: Path) -> None:
    """Check that one process continues what two began as if it had taken all steps."""
    assert [path.name for path in (folder / "stopped").iterdir()] == [CHECKPOINT]
    steps: list[int] = []
    task, whole = Line(), Line()
    resumed = train(
        task, folder / "stopped", SETTINGS, CPU, resume=True, on_progress=lambda n, _: steps.append(n)
    )
    straight = train(whole, folder / "straight", SETTINGS, CPU)
    assert len(steps) == SETTINGS.steps - STOPPED
    for ours, theirs in zip(task.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    for ours, theirs in zip(resumed.history, straight.history, strict=True):
        assert [ours[key] for key in KEYS] == pytest.approx([theirs[key] for key in KEYS], abs=2e-4)


def test_the_command_in_two_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, steps = tmp_path / "two", ("--steps", 10)
    done = torchrun(*TRAIN, *words(out, *steps, "--json"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)  # one document
    assert [entry["step"] for entry in document["history"]] == list(range(1, 11))
    assert sum(line.startswith("step ") for line in done.stderr.splitlines()) == 10
    assert run(["train-prior", *words(tmp_path / "one", *steps, "--json", "--quiet")]) == 0
    alone = json.loads(capsys.readouterr().out)
    for ours, theirs in zip(timeless(document["history"]), timeless(alone["history"]), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-2)
    assert distance(out / "denoiser" / FINISHED, tmp_path / "one" / "denoiser" / FINISHED) < 1e-2
    card = cards.read(out)
    cards.verify(card, out)
    assert card.parts["denoiser"].training["world_size"] == 2
    assert sorted(path.name for path in out.iterdir()) == ["card.toml", "denoiser"]


@pytest.mark.slow
def test_every_family_is_trained_as_by_one_process(
    tiny_slakh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, rng = tmp_path / "images", np.random.default_rng(0)
    for name in ("warm", "cold"):
        (images / "train" / name).mkdir(parents=True)
        for n in range(6):
            picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            picture.save(images / "train" / name / f"{n:04d}.png")
    trained = [*requests(tiny_slakh, images, tmp_path)]
    families = {request["family"] for _, request in trained}
    assert families == {family.name for family in FAMILIES.values() if family.training}
    done = torchrun(TESTS / "family_trainings.py", tiny_slakh, images, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(torch, "autocast", Exact)
    train_all(tiny_slakh, images, tmp_path / "one")
    parts = sorted(
        path.parent.relative_to(tmp_path / "one") for path in (tmp_path / "one").glob("*/*/*.json")
    )
    assert set(parts) == {Path(folder) for folder, _ in trained}
    for part in {*parts}:
        ours, theirs = (tmp_path / name / part for name in ("two", "one"))
        name = FINISHED if (theirs / FINISHED).exists() else "model.safetensors"
        assert distance(ours / name, theirs / name) < 1e-5, part
        histories = [read_history(folder) for folder in (ours, theirs)]
        for one, other in zip(*map(timeless, histories), strict=True):
            assert one == pytest.approx(other, rel=2e-2), part


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others(tmp_path: Path, rank: int) -> None:
    folder = tmp_path / "p" / "denoiser"
    long = words(tmp_path / "p", "--steps", 10**6)
    with running(*TRAIN, *long, ready=folder / CHECKPOINT) as process:
        time.sleep(2)
        victim, survivor = workers(process)[:: 1 - 2 * rank]
        victim.send_signal(signal.SIGKILL)
        _, text = process.communicate(timeout=60)
        assert process.returncode != 0
        assert not survivor.is_running()
    assert sum(line.startswith("error: ") for line in text.splitlines()) == 1
    assert sum(line.startswith("  → ") for line in text.splitlines()) == 1
    assert (folder / CHECKPOINT).exists()


@pytest.mark.slow
def test_an_error_of_all_is_reported_once(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    busy.mkdir()
    with FileLock(busy / LOCK):
        done = torchrun(*TRAIN, *words(busy, "--steps", 2))
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert ["busy" in line for line in lines if line.startswith("error: ")] == [True]
    done = torchrun(*TRAIN, *words(tmp_path / "odd", "--steps", 2, "--batch", 7))
    lines = done.stderr.splitlines()
    assert ["--batch" in line for line in lines if line.startswith("error: ")] == [True]
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "odd").exists()
    done = torchrun(*TRAIN, *words(tmp_path / "wide", "--steps", 2, "--init", "mnist"))  # which is not tiny
    lines = done.stderr.splitlines()
    assert ["--init" in line for line in lines if line.startswith("error: ")] == [True]
    assert not (tmp_path / "wide" / "denoiser").exists()
