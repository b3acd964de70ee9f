"""What two processes that train together exchange; a program for ``torchrun``: OUT gets a file of each."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sepcli.errors import SepError, UsageError
from sepcli.priors.lass.quantizer import VectorQuantizer
from sepcli.training.distributed import ALONE, World, joined
from sepcli.training.loop import train
from sepcli.training.task import LoopSettings

SETTINGS = LoopSettings(seconds=None, steps=12, validations=2, warmup=2, checkpoint_seconds=1e9)
STOPPED = 5
"""The step in which one of the processes receives a signal."""


class Line:
    """Fit y = 2 x with a layer of one unit by 8 items per step."""

    def __init__(self, world: World = ALONE) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(world.rank)  # the first one's weights are those of all
            self.model: nn.Module = nn.Linear(1, 1)

    def sample(self, rng: np.random.Generator) -> tuple[Tensor, str]:
        return torch.from_numpy(rng.standard_normal((8, 1)).astype(np.float32)), "shared"

    def loss(self, x: Tensor, what: str) -> tuple[Tensor, dict[str, float]]:
        assert what == "shared"
        with torch.autocast("cpu", enabled=False):
            return (self.model(x) - 2 * x).square().mean(), {"items": float(len(x)), "first": float(x[0, 0])}

    def validate(self) -> dict[str, float]:
        return {"loss": float((next(self.model.parameters()).detach() - 2).square().sum())}


def codebook(world: World, steps: int = 4) -> Tensor:
    """The codebook that follows random latents, of which each process has its share."""
    quantizer, rng = VectorQuantizer(32, 4).train(), np.random.default_rng(0)
    for step in range(steps):
        latents = torch.from_numpy(rng.standard_normal((6, 5, 4)).astype(np.float32))
        quantizer(*world.share((latents,)), torch.Generator().manual_seed(step), world)
    return quantizer.codebook


def refused(make: Callable[[], object]) -> list[Any]:
    """Class, message and exit code of an error."""
    try:
        make()
    except SepError as error:
        return [type(error).__name__, error.message, error.exit_code]
    return []


def fail(kind: type[Exception], here: bool) -> None:
    if here:
        raise kind("broken", "mend it") if issubclass(kind, SepError) else kind("broken")


def exchanged(world: World) -> dict[str, Any]:
    """Values of every function of ``World``."""
    rank, order = world.rank, Path(sys.argv[1]) / "order"
    x = torch.tensor([[1.0 + rank], [10.0 + rank]])

    def enter() -> float:
        time.sleep(0.2 * (1 - rank))
        order.open("a").write(str(rank))
        return time.monotonic()

    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.full((2, 3), float(rank))
    world.average_gradients([parameter, nn.Parameter(torch.zeros(4))])
    return {
        "world": asdict(world),
        "sum": world.sum(x).tolist(),
        "mean": world.mean(x).tolist(),
        "take": world.take(x, torch.tensor([3, 0, 2, 2])).flatten().tolist(),
        "gather": world.gather(f"from {rank}"),
        "agree": world.agree(5.0 + rank, rank == 1),
        "gradient": parameter.grad.unique().tolist(),
        "from_first": world.from_first(lambda: f"made by {rank}"),
        "in_turn": world.in_turn(enter),
        "order": order.read_text(),
        "usage": refused(lambda: world.together(lambda: fail(UsageError, rank == 1))),
        "first": refused(lambda: world.from_first(lambda: fail(UsageError, rank == 0))),
        "bug": refused(lambda: world.together(lambda: fail(ZeroDivisionError, rank == 1))),
        "odd": refused(lambda: world.share((torch.zeros(3),))),
        "codebook": codebook(world).tolist(),
    }


def stopped(world: World, out: Path) -> bool:
    """Whether a run is stopped by a signal that the last process receives, twice."""
    steps: list[int] = []

    def on_progress(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == STOPPED and world.rank == world.size - 1:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        train(Line(world), out, SETTINGS, torch.device("cpu"), on_progress=on_progress, world=world)
    except KeyboardInterrupt:
        signal.raise_signal(signal.SIGTERM)  # ignored by now
        return len(steps) == STOPPED
    return False


def main(out: Path) -> None:
    with joined() as world:
        result = exchanged(world)
        result["stopped"] = stopped(world, out / "stopped")
        task, device = Line(world), torch.device("cpu")
        progress = train(task, out / "whole", SETTINGS, device, world=world)
        longer = replace(SETTINGS, steps=24)
        result["history"] = progress.history
        result["extended"] = train(task, out / "whole", longer, device, resume=True, world=world).history
        result["weights"] = [p.item() for p in task.model.parameters()]
    (out / f"{world.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
