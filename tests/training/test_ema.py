"""The running mean of weights: its law, and that checkpoints carry it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sepcli.training.ema import POWER, averaged
from sepcli.training.loop import train
from sepcli.training.task import LoopSettings


def test_the_mean_weighs_late_weights_most() -> None:
    network = nn.Linear(1, 1)
    mean, seen = averaged(network), []
    for value in (1.0, 2.0, 5.0, 3.0):
        network.weight.data.fill_(value)
        mean.update_parameters(network)
        seen.append(value)
        n = len(seen)
        weights = [k ** (POWER + 1) - (k - 1) ** (POWER + 1) for k in range(1, n + 1)]
        expected = sum(w * v for w, v in zip(weights, seen, strict=True)) / n ** (POWER + 1)
        assert float(mean.module.weight) == pytest.approx(expected, rel=1e-5)
    assert not any(p.requires_grad for p in mean.parameters())


class Growing:
    """A weight that grows by the learning rate at every step."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.model.weight.data.zero_()

    def sample(self, rng: object) -> tuple[()]:
        return ()

    def loss(self) -> tuple[Tensor, dict[str, float]]:
        return -self.model.weight.sum(), {}

    def validate(self) -> dict[str, float]:
        return {"loss": 0.0}


def test_a_resumed_run_continues_its_mean(tmp_path: Path) -> None:
    settings = LoopSettings(seconds=None, steps=6, warmup=1, checkpoint_seconds=0.0, validations=1)
    device, kept = torch.device("cpu"), []
    for name, stop in (("whole", None), ("stopped", 3)):
        seen: list[int] = []

        def on_progress(done: int, total: int, seen: list[int] = seen, stop: int | None = stop) -> None:
            seen.append(done)
            if len(seen) == stop:
                raise KeyboardInterrupt

        for _ in range(1 if stop is None else 2):
            task = Growing()
            try:
                train(
                    task, tmp_path / name, settings, device, True, on_progress, average=averaged(task.model)
                )
            except KeyboardInterrupt:
                continue
        kept.append(load_file(tmp_path / name / "model.safetensors")["weight"])
    assert float(kept[0]) > 0
    assert torch.equal(kept[0], kept[1])
