"""Cards of images → separators, and what these draw."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from loading import engine_of

from sepcli.catalog import card as cards
from sepcli.errors import PriorError, UsageError
from sepcli.priors.images.load import load_image_prior
from sepcli.samplers.langevin import Langevin
from sepcli.samplers.projected import Projected

SEEDS = torch.tensor([[1, 2], [3, 4], [5, 6]])
FEW = {"steps": "3"}


def mixtures() -> torch.Tensor:
    return 2 * torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("sampler", "weights"),
    [("projected", (1.0, 1.0)), ("multi-source", (0.5, 1.0, 2.0)), ("langevin", (0.5, 0.5, 0.5, 0.5))],
)
def test_sources_are_drawn(tiny_images: Path, sampler: str, weights: tuple[float, ...]) -> None:
    separator = engine_of([str(tiny_images)], weights, sampler=sampler, settings=FEW)
    seen: list[tuple[int, int]] = []
    drawn = separator.sample(mixtures(), SEEDS, lambda *step: seen.append(step))
    assert drawn.shape == (3, 2, len(weights), 1, 12, 12)
    assert separator.names == tuple(f"digit-{k + 1}" for k in range(len(weights)))
    assert (separator.weights, separator.sample_rate) == (weights, 0)
    assert seen[-1] == (separator.evaluations, separator.evaluations)
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    if sampler != "langevin":
        total = torch.einsum("bsk...,k->bs...", drawn, torch.tensor(weights))
        assert torch.allclose(total, mixtures()[:, None].expand_as(total), atol=1e-5)


def test_a_draw_depends_on_its_own_seed_only(tiny_images: Path) -> None:
    separator = engine_of([str(tiny_images)], (1.0, 1.0), settings=FEW)
    together = separator.sample(mixtures(), SEEDS)
    assert torch.equal(together, separator.sample(mixtures(), SEEDS))
    assert torch.allclose(separator.sample(mixtures()[1:2], SEEDS[1:2, 1:])[0, 0], together[1, 1], atol=1e-4)


def test_many_draws_are_computed_in_parts(tiny_images: Path) -> None:
    separator = engine_of([str(tiny_images)], (1.0, 1.0), settings=FEW)
    seeds, seen = torch.arange(70).view(1, 70), []
    drawn = separator.sample(mixtures()[:1], seeds, lambda *step: seen.append(step))
    assert drawn.shape == (1, 70, 2, 1, 12, 12)
    assert seen == [(n + 1, 6) for n in range(6)]
    assert torch.allclose(drawn[:, -1:], separator.sample(mixtures()[:1], seeds[:, -1:]), atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_networks_draw_the_same(tiny_images: Path) -> None:
    prior, seeds = [str(tiny_images)], SEEDS[:, :1]
    plain = engine_of(prior, (1.0, 1.0), settings=FEW).sample(mixtures(), seeds)
    compiled = engine_of(prior, (1.0, 1.0), settings={**FEW, "compile": "1"}).sample(mixtures(), seeds)
    assert torch.allclose(compiled, plain, atol=0.02)  # products are rounded to bfloat16 elsewhere


def test_what_cannot_be_compiled_is_said(tiny_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match="no compiler") as refused:
        engine_of([str(tiny_images)], (1.0, 1.0), settings={"compile": "1"})
    assert "and much more" not in str(refused.value)
    with pytest.raises(UsageError, match="compile"):
        engine_of([str(tiny_images)], (1.0, 1.0), settings={"compile": "yes"})


def test_images_stay_in_their_range_unless_told_otherwise(tiny_images: Path) -> None:
    for bounded in ("0", "1"):
        settings = {**FEW, "bounded": bounded}
        drawn = engine_of([str(tiny_images)], (1.0, 1.0), settings=settings).sample(mixtures(), SEEDS)
        within = float(drawn.min()) >= -1e-6 and float(drawn.max()) <= 1 + 1e-6
        assert within == (bounded == "1")


def test_one_prior_per_source_and_classes(tiny_images: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_images, tmp_path / "other")
    two = engine_of([str(tiny_images), str(other)], (1.0, 0.5), labels=(0, None), settings=FEW)
    one = engine_of([str(tiny_images)], (1.0, 0.5), labels=(0, None), settings=FEW)
    free = engine_of([str(tiny_images)], (1.0, 0.5), settings=FEW)
    drawn = one.sample(mixtures(), SEEDS)
    assert torch.allclose(two.sample(mixtures(), SEEDS), drawn, atol=1e-4)
    assert not torch.allclose(free.sample(mixtures(), SEEDS), drawn, atol=1e-3)


def test_settings_reach_sampler_and_posterior(tiny_images: Path) -> None:
    name = [str(tiny_images)]
    released = engine_of(name, (1, 1), sampler="langevin", settings={"preset": "released-mnist"})
    assert released.sampler == Langevin(ratio=0.3)
    assert released.evaluations == 1000
    fine = engine_of(name, (1, 1), sampler="langevin", settings={"preset": "fine", "levels": "100"})
    assert fine.sampler == Langevin(ratio=0.3, levels=100, steps=10, polish=20)
    assert fine.evaluations == 1020
    ancestral = engine_of(name, (1, 1), settings={"eta": "ancestral", "weigh": "1", "steps": "2"})
    assert ancestral.sampler == Projected(steps=2, eta=None)
    plain = engine_of(name, (1, 1), settings={"eta": "ancestral", "weigh": "0", "steps": "2"})
    assert not torch.allclose(ancestral.sample(mixtures(), SEEDS), plain.sample(mixtures(), SEEDS), atol=1e-3)
    assert engine_of(str(tiny_images), settings=FEW).sample(mixtures(), SEEDS).shape[2] == 2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sampler": "beam"}, "beam"),
        ({"settings": {"lam": "2"}}, "lam"),
        ({"settings": {"weigh": "maybe"}}, "weigh.*maybe"),
        ({"sampler": "langevin", "settings": {"preset": "best"}}, "best"),
        ({"sampler": "langevin", "settings": {"width": "-1"}}, "width"),
        ({"weights": (1.0,)}, "1"),
        ({"weights": (0.0, 0.0)}, "weights"),
        ({"weights": (1.0, 1.0), "labels": (0,)}, "1"),
        ({"labels": (0, 7)}, "7"),
        (
            {"weights": (1.0,) * 8, "sampler": "langevin", "settings": {"preset": "released-mnist"}},
            r"5\.1",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(tiny_images: Path, changes: dict[str, object], match: str) -> None:
    given: dict[str, object] = {"weights": (1.0, 1.0), **changes}
    with pytest.raises(UsageError, match=match):
        engine_of([str(tiny_images)], **given).sample(mixtures(), SEEDS)  # type: ignore[arg-type]


def test_damaged_and_foreign_priors_are_refused(tiny_images: Path, tiny_prior: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny"):
        engine_of([str(tiny_prior)], (1.0, 1.0))
    broken = shutil.copytree(tiny_images, tmp_path / "broken")
    (broken / "denoiser" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(PriorError, match=r"denoiser/model\.safetensors"):
        engine_of([str(broken)], (1.0, 1.0))
    cards.write(cards.with_files(cards.read(broken), broken), broken)
    with pytest.raises(PriorError, match="denoiser"):
        engine_of([str(broken)], (1.0, 1.0))
    assert load_image_prior(tiny_images).config.classes == ("0-4", "5-9")
