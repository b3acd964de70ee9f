"""Training a denoiser: the mean of its weights, the folder that is left, resuming."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sepcli.catalog import card as cards
from sepcli.catalog.score import load_denoiser
from sepcli.datasets.idx import open_digits
from sepcli.errors import OutputError, UsageError
from sepcli.priors.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.training import prepare
from sepcli.training.denoiser import POWER, Averaged, DenoiserTask, labels_of
from sepcli.training.loop import LoopSettings

DIGITS = Path(__file__).parents[1] / "data" / "digits"
TINY = DenoiserConfig(widths=(8,), blocks=1, embedding=8)


def request(out: Path, **changes: object) -> prepare.Request:
    fields: dict[str, object] = {
        "family": "denoiser",
        "data": DIGITS,
        "out": out,
        "preset": "tiny",
        "sources": ("digit",),
        "weights": (1.0,),
        "batch": 4,
        "tokens": 0,
        "cache": None,
        "loop": LoopSettings(seconds=None, steps=3, validations=2),
        "device": torch.device("cpu"),
    }
    return prepare.Request(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_mean_is_a_weighted_mean_of_all_weights() -> None:
    model = Averaged(DenoiserPrior(TINY))
    weight, mean = model.live.net.enter.weight, model.mean.net.enter.weight
    seen = []
    for value in (1.0, 2.0, 5.0):
        weight.data.fill_(value)
        model.update()
        seen.append(value)
        n = len(seen)
        power = np.arange(1, n + 1) ** (POWER + 1) - np.arange(n) ** (POWER + 1)
        expected = float((power * seen).sum() / n ** (POWER + 1))
        assert mean.unique().tolist() == pytest.approx([expected], rel=1e-5)
    assert not mean.requires_grad


def test_a_task_trains_the_weights_and_validates_the_mean() -> None:
    digits = open_digits(DIGITS, "train")
    task = DenoiserTask(Averaged(DenoiserPrior(TINY)), digits, digits, 4)
    loss, _ = task.loss(np.random.default_rng(0))
    loss.backward()
    assert all(p.grad is not None for p in task.model.live.net.parameters())
    assert all(p.grad is None for p in task.model.mean.parameters())
    before = task.validate()
    assert before == task.validate()
    for p in task.model.live.parameters():
        p.data.zero_()
    assert before == task.validate()


def test_labels() -> None:
    digits = np.array([0, 4, 5, 9], np.uint8)
    for classes, expected in ((("0-4", "5-9"), [0, 0, 1, 1]), (tuple("0123456789"), [0, 4, 5, 9])):
        labels = labels_of(digits, DenoiserPrior(DenoiserConfig(widths=(8,), blocks=1, classes=classes)))
        assert labels is not None
        assert labels.tolist() == expected
    assert labels_of(digits, DenoiserPrior(TINY)) is None


def test_a_run_leaves_a_prior(tmp_path: Path) -> None:
    progress = prepare.run(request(tmp_path / "p", classes=("0-4", "5-9")))
    assert progress.step == 3
    card, folder = cards.find(str(tmp_path / "p"))
    assert (card.family, card.sources, card.sample_rate) == ("score", ("digit",), 0)
    assert sorted(card.files) == ["denoiser/config.json", "denoiser/model.safetensors"]
    cards.verify(card, folder)
    prior = load_denoiser(folder)
    assert prior.config.classes == ("0-4", "5-9")
    assert prior.config.size == (28, 28)
    assert 0.05 < prior.config.data_mean < 0.3
    assert torch.isfinite(prior.score(torch.rand(1, 2, 1, 28, 28), torch.tensor(0.5))).all()
    with pytest.raises(OutputError, match="finished"):
        prepare.run(request(tmp_path / "p"))


def test_unknown_presets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="preset"):
        prepare.run(request(tmp_path / "p", preset="huge"))
