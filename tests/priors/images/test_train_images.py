"""Training a denoiser or a score network: the mean of its weights, the folder that is left, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading import engine_of
from PIL import Image
from safetensors.torch import load_file
from train_request import run

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.datasets.idx import open_digits
from sepcli.datasets.image_pairs import LabelledImages
from sepcli.datasets.image_splits import named_classes, open_data, to_float_images
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.images.load import load_image_prior
from sepcli.priors.images.ncsn import NcsnConfig
from sepcli.priors.images.train_task import ImageData, ImageTask
from sepcli.training.ema import POWER, averaged
from sepcli.training.task import LoopSettings

DIGITS = Path(__file__).parents[2] / "data" / "digits"
TINY = DenoiserConfig(widths=(8,), blocks=1, embedding=8)


def request(out: Path, **changes: object) -> dict[str, Any]:
    fields: dict[str, object] = {
        "family": "denoiser",
        "data": DIGITS,
        "out": out,
        "preset": "tiny",
        "sources": ("digit",),
        "batch": 4,
        "tokens": 0,
        "cache": None,
        "loop": LoopSettings(seconds=None, steps=3, validations=2),
        "device": torch.device("cpu"),
    }
    return {**fields, **changes}


def test_the_mean_is_a_weighted_mean_of_all_weights() -> None:
    network = DenoiserPrior(TINY)
    model = averaged(network)
    weight, mean = network.net.enter.weight, model.module.net.enter.weight
    seen = []
    for value in (1.0, 2.0, 5.0):
        weight.data.fill_(value)
        model.update_parameters(network)
        seen.append(value)
        n = len(seen)
        power = np.arange(1, n + 1) ** (POWER + 1) - np.arange(n) ** (POWER + 1)
        expected = float((power * seen).sum() / n ** (POWER + 1))
        assert mean.unique().tolist() == pytest.approx([expected], rel=1e-5)
    assert not mean.requires_grad


def test_a_task_trains_the_weights_and_validates_the_mean() -> None:
    digits, held_out = open_data(DIGITS)
    network = DenoiserPrior(TINY)
    task = ImageTask(network, averaged(network).module, ImageData(digits, held_out), 4)
    loss, _ = task.loss(*task.sample(np.random.default_rng(0)))
    loss.backward()
    assert all(p.grad is not None for p in network.net.parameters())
    assert all(p.grad is None for p in task.evaluated.parameters())
    before = task.validate()
    assert before == task.validate()
    for p in network.parameters():
        p.data.zero_()
    assert before == task.validate()


def test_labels_of_digits() -> None:
    raw = open_digits(DIGITS, "train").labels
    for classes, expected in (("halves", raw // 5), ("digits", raw)):
        learn, held_out = open_data(DIGITS, named_classes(DIGITS, classes))
        assert [*learn.labels, *held_out.labels] == expected.tolist()
        assert learn.labels.dtype == np.int64


def test_a_run_leaves_a_prior(tmp_path: Path) -> None:
    progress = run(request(tmp_path / "p", classes="halves"))
    assert progress.step == 3
    card, folder = resolve.find(str(tmp_path / "p"))
    assert (card.engine, card.medium, card.sources) == ("score", "image", ("digit",))
    assert sorted(card.files) == ["denoiser/config.json", "denoiser/model.safetensors"]
    cards.verify(card, folder)
    prior = load_image_prior(folder)
    assert prior.config.classes == ("0-4", "5-9")
    assert prior.config.size == (28, 28)
    assert 0.05 < prior.config.data_mean < 0.3
    assert torch.isfinite(prior.score(torch.rand(1, 2, 1, 28, 28), torch.tensor(0.5))).all()
    with pytest.raises(OutputError, match="denoiser"):
        run(request(tmp_path / "p"))


def test_a_score_network_trains_alike(tmp_path: Path) -> None:
    run(request(tmp_path / "p", family="ncsn", classes="halves", class_dropout=0.2))
    card, folder = resolve.find(str(tmp_path / "p"))
    assert sorted(card.files) == ["ncsn/config.json", "ncsn/model.safetensors"]
    assert card.settings == {"score": {"sampler": "langevin"}}
    assert card.parts["ncsn"].training["classes"] == ["0-4", "5-9"]
    cards.verify(card, folder)
    prior = load_image_prior(folder)
    assert prior.config == NcsnConfig(width=8, classes=("0-4", "5-9"), class_dropout=0.2)
    x, sigma = torch.rand(1, 1, 1, 28, 28), torch.tensor(0.5)
    assert torch.isfinite(prior.score(x, sigma, 1)).all()


def test_a_prior_holds_one_network(tmp_path: Path) -> None:
    run(request(tmp_path / "p"))
    before = (tmp_path / "p" / "card.toml").read_bytes()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="denoiser"):
            run(request(tmp_path / "p", family="ncsn", overwrite=overwrite))
    assert (tmp_path / "p" / "card.toml").read_bytes() == before
    assert not (tmp_path / "p" / "ncsn").exists()


def test_unknown_presets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="huge"):
        run(request(tmp_path / "p", preset="huge"))


def test_training_can_start_from_a_trained_prior(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(request(first))
    still = request(second, init=str(first))
    run(dict(still, loop=replace(still["loop"], steps=1, learning_rate=1e-12)))
    one, two = (load_file(folder / "denoiser" / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    (before,) = cards.read(second).parts["denoiser"].history
    assert before["prior"] == "first"
    assert before["steps"] > 0
    with pytest.raises(PriorError, match="first"):
        run(request(tmp_path / "third", init=str(first), classes="halves"))
    with pytest.raises(PriorError, match="nowhere"):
        run(request(tmp_path / "fourth", init="nowhere"))


def test_mirror_images_are_half_of_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.arange(8, dtype=np.uint8) * np.ones((1, 1, 8, 1), np.uint8)
    image_set = LabelledImages(ramp, np.zeros(1, np.int64))
    seen: list[torch.Tensor] = []

    def loss(self: DenoiserPrior, images: torch.Tensor, *_: object) -> tuple[torch.Tensor, dict[str, float]]:
        seen.append(images)
        return images.sum(), {}

    monkeypatch.setattr(DenoiserPrior, "batch_loss", loss)
    plain, mirrored = to_float_images(ramp)[0], to_float_images(ramp)[0].flip(-1)
    for flip, expected in ((True, 0.5), (False, 0.0)):
        network = DenoiserPrior(TINY)
        task = ImageTask(network, network, ImageData(image_set, image_set, flip), 400)
        task.loss(*task.sample(np.random.default_rng(0)))
        share = np.mean([torch.equal(image, mirrored) for image in seen[-1]])
        assert share == pytest.approx(expected, abs=0.1)
        assert share + np.mean([torch.equal(image, plain) for image in seen[-1]]) == 1
        task.validate()
        assert torch.equal(seen[-1][0], plain)


def folder_of_colors(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("red", "blue"):
        (root / name).mkdir(parents=True)
        for n in range(6):
            data = rng.integers(0, 60, (8, 8, 3)) + 180 * np.array([name == "red", 0, name == "blue"])
            Image.fromarray(data.astype(np.uint8)).save(root / name / f"{n}.png")
    return root


@pytest.mark.parametrize("family", ["denoiser", "ncsn"])
def test_a_folder_of_color_images_becomes_a_prior(tmp_path: Path, family: str) -> None:
    data = folder_of_colors(tmp_path / "data")
    said: list[str] = []
    asked = request(tmp_path / "p", family=family, data=data, cache=tmp_path / "cache", classes="folders")
    run(asked, on_message=said.append)
    assert "12" in said[0].split()
    card, folder = resolve.find(str(tmp_path / "p"))
    entry = card.parts[family].training
    assert (entry["images"], entry["classes"], entry["flip"]) == (11, ["blue", "red"], True)
    config = load_image_prior(folder).config
    assert (config.channels, config.size, config.classes) == (3, (8, 8), ("blue", "red"))
    if isinstance(config, DenoiserConfig):
        assert (config.p_mean, config.p_std) == (-0.8, 1.7)
        assert 0.2 < config.data_mean < 0.45
    separator = engine_of([str(tmp_path / "p")], (1.0, 1.0), sampler="projected", settings={"steps": "3"})
    drawn = separator.sample(torch.rand(1, 3, 9, 10), torch.zeros(1, 1, dtype=torch.int64))
    assert drawn.shape == (1, 1, 2, 3, 9, 10)
    assert torch.isfinite(drawn).all()


def test_the_noise_of_training_can_be_said(tmp_path: Path) -> None:
    data = folder_of_colors(tmp_path / "data")
    fields = {"data": data, "channels": 1, "noise_mean": 0.0}
    run(request(tmp_path / "p", **fields))
    config = load_image_prior(tmp_path / "p").config
    assert isinstance(config, DenoiserConfig)
    assert (config.channels, config.p_mean, config.p_std) == (1, 0.0, 1.4)
    assert cards.read(tmp_path / "p").parts["denoiser"].training["flip"] is False
    for noise in ({"noise_std": 0.0}, {"noise_mean": float("nan")}, {"noise_std": float("inf")}):
        with pytest.raises(UsageError, match=f"{next(iter(noise))}={next(iter(noise.values()))}"):
            run(request(tmp_path / "q", data=data, **noise))
    with pytest.raises(UsageError, match="noise_mean"):
        run(request(tmp_path / "q", family="ncsn", **fields))
    assert not (tmp_path / "q").exists()
