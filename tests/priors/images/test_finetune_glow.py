"""Training a flow of images, and making it a ladder of noise-conditioned copies."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading import engine_of
from PIL import Image
from safetensors.torch import load_file
from train_request import read_history, run

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.datasets.image_splits import open_data, to_float_images
from sepcli.errors import InputError, OutputError, PriorError, UsageError
from sepcli.priors.images.flow import FlowPrior, negative_log_likelihood
from sepcli.priors.images.load import load_image_prior
from sepcli.training.task import LoopSettings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of 8 x 8 images of two classes."""
    rng = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(6):
            pixels = rng.integers(0, 60, (8, 8), np.uint8) + (180 if name == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "data" / name / f"{n}.png")
    return tmp_path / "data"


def request(data: Path, out: Path, **changes: object) -> dict[str, Any]:
    fields: dict[str, object] = {
        "family": "glow",
        "data": data,
        "out": out,
        "preset": "tiny",
        "sources": ("shade",),
        "batch": 4,
        "tokens": 0,
        "cache": data.parent / "cache",
        "loop": LoopSettings(seconds=None, steps=3, validations=2),
        "device": torch.device("cpu"),
    }
    return {**fields, **changes}


def test_a_run_leaves_a_prior_with_a_density(data: Path, tmp_path: Path) -> None:
    progress = run(request(data, tmp_path / "p", classes="folders"))
    assert progress.step == 3
    card, folder = resolve.find(str(tmp_path / "p"))
    assert (card.engine, card.settings) == ("score", {"score": {"sampler": "langevin"}})
    assert sorted(card.files) == ["glow/config.json", "glow/model.safetensors"]
    cards.verify(card, folder)
    tensors = load_file(folder / "glow" / "model.safetensors")
    kinds = {name.split(".")[-1]: tensor.dtype for name, tensor in tensors.items() if ".net." not in name}
    assert (kinds["log_scale"], kinds["lower"], kinds["permutation"]) == (torch.float32,) * 3
    assert tensors["flows.0.layers.scales.0.transforms.3.net.enter.weight"].dtype == torch.bfloat16
    with Image.open(folder / "samples.png") as sheet:
        assert (sheet.width // 112, sheet.height // 112) == (8, 4)  # that many, magnified to 112 x 112
        assert len(np.unique(np.asarray(sheet))) > 50
    entry = card.parts["glow"].training
    assert entry["classes"] == ["dark", "light"]
    assert 0.0 < entry["bits_per_dim"] < 12.0
    prior = load_image_prior(folder)
    assert isinstance(prior, FlowPrior)
    assert (prior.config.size, prior.config.scales, prior.config.sigmas) == ((8, 8), 1, ())
    separator = engine_of(
        [str(tmp_path / "p")], (1.0, 1.0), labels=(0, 1), settings={"levels": "2", "steps": "2"}
    )
    drawn = separator.sample(torch.rand(2, 1, 8, 8), torch.zeros(2, 1, dtype=torch.int64))[:, 0]
    assert torch.isfinite(drawn).all()
    known = prior.log_prob(drawn[:, :1], 0.01, 0) + prior.log_prob(drawn[:, 1:], 0.01, 1)
    found = separator.log_prior(drawn)
    assert found is not None
    torch.testing.assert_close(found, known.detach())


def test_stopped_and_resumed_is_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path / "whole", loop=LoopSettings(None, steps=4, checkpoint_seconds=0.0))
    run(asked)
    stopped, seen = dict(asked, out=tmp_path / "stopped"), []

    def stop(done: int, steps: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stopped, stop)
    run(dict(stopped, resume=True))
    one, two = (load_file(out / "glow" / "model.safetensors") for out in (asked["out"], stopped["out"]))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_a_flow_begins_at_the_data(data: Path, tmp_path: Path) -> None:
    still = LoopSettings(None, steps=1, learning_rate=1e-12)
    run(request(data, tmp_path / "p", loop=still))
    tensors = load_file(tmp_path / "p" / "glow" / "model.safetensors")
    norms = [t for name, t in tensors.items() if name.endswith("0.transforms.1.bias")]
    assert len(norms) == 1
    assert float(norms[0].abs().max()) > 0.01


def test_a_clean_flow_becomes_a_copy_per_level(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p"
    asked = request(data, out, clean=True, note="shades")
    run(asked)
    clean = load_image_prior(out)
    assert isinstance(clean, FlowPrior)
    assert clean.config.sigmas == (0.0,)
    before = (out / "card.toml").read_bytes()
    tuned = dict(
        asked,
        clean=False,
        finetune_noise=True,
        levels=3,
        sources=("x",),
        loop=replace(asked["loop"], steps=6),
    )
    done: list[tuple[int, int]] = []
    logged: list[dict[str, float]] = []

    def stop(step: int, steps: int) -> None:
        done.append((step, steps))
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tuned, stop)
    assert (out / "card.toml").read_bytes() == before
    cards.verify(cards.read(out), out)
    with pytest.raises(OutputError, match="glow") as unfinished:
        run(tuned)
    assert unfinished.value.argument == "out"
    progress = run(dict(tuned, resume=True), lambda step, steps: done.append((step, steps)), logged.append)
    assert progress.step == 6
    assert done[-1] == (3000, 3000)
    assert {round(entry["sigma"], 3) for entry in logged} == {0.1, 1.0}  # that of 0.01 was done before
    history = read_history(out / "glow")
    assert sorted({round(entry["sigma"], 3) for entry in history}) == [0.01, 0.1, 1.0]
    assert not (out / "glow" / "levels").exists()
    card = cards.read(out)
    cards.verify(card, out)
    assert (card.sources, card.data) == (("shade",), "shades")
    assert card.parts["glow"].history[0]["steps"] == 3
    made = load_image_prior(out)
    assert isinstance(made, FlowPrior)
    assert made.config.sigmas == pytest.approx((0.0, 0.01, 0.1, 1.0))
    x = torch.rand(1, 2, 1, 8, 8)
    torch.testing.assert_close(made.log_prob(x), clean.log_prob(x))
    # every copy was trained from the one before it: in a few steps they cannot move apart
    weights = [flow.layers.scales[0].transforms[1].bias for flow in made.flows]
    assert all(0 < float((a - b).abs().max()) < 0.1 for a, b in itertools.pairwise(weights))
    with pytest.raises(PriorError, match="glow"):
        run(tuned)


def test_every_copy_learns_its_own_noise(data: Path, tmp_path: Path) -> None:
    """More noise takes more bits, no fewer than the noise alone has, and not as many as before tuning."""
    out, loop = tmp_path / "p", LoopSettings(seconds=None, steps=40, learning_rate=0.01, warmup=5)
    asked = request(data, out, clean=True, loop=loop)
    run(asked)
    clean = load_image_prior(out)
    run(dict(asked, clean=False, finetune_noise=True, levels=3, loop=replace(loop, steps=120)))
    made, images = load_image_prior(out), to_float_images(open_data(data)[0].images)
    assert isinstance(clean, FlowPrior)
    assert isinstance(made, FlowPrior)
    bits, before = (
        [float(negative_log_likelihood(flow, images, sigma=sigma).mean()) for sigma in made.config.sigmas]
        for flow in (made, clean)
    )
    assert bits[0] == before[0]
    assert bits[1] < bits[2] < bits[3]
    for sigma, own, other in list(zip(made.config.sigmas, bits, before, strict=True))[1:]:
        assert math.log2(255 * sigma * math.sqrt(2 * math.pi * math.e)) < own < other


def test_a_flow_of_all_noise_becomes_a_copy_per_level(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path / "p", classes="folders")
    run(asked)
    run(dict(asked, finetune_noise=True, levels=2, classes="none", loop=replace(asked["loop"], steps=2)))
    made = load_image_prior(tmp_path / "p")
    assert made.config.classes == ("dark", "light")
    assert torch.isfinite(made.score(torch.rand(1, 2, 1, 8, 8), torch.tensor(0.3), 1)).all()


def test_what_is_refused(data: Path, tmp_path: Path) -> None:
    asked = request(data, tmp_path / "p")
    tuned = dict(asked, finetune_noise=True)
    with pytest.raises(PriorError, match="glow"):
        run(tuned)
    refused = (({"family": "ncsn"}, "finetune_noise"), ({"init": "mnist"}, "glow"), ({"clean": True}, "glow"))
    for other, subject in refused:
        with pytest.raises(UsageError, match=subject):
            run({**tuned, **other})
    with pytest.raises(UsageError, match="clean"):
        run(dict(asked, family="denoiser", clean=True))
    for fields in (asked, tuned):
        with pytest.raises(UsageError, match="noise_mean"):
            run(dict(fields, noise_mean=0.0))
    with pytest.raises(InputError, match="9 x 9"):
        run(dict(asked, size=9))
    assert not (tmp_path / "p").exists()
    run(dict(asked, loop=replace(asked["loop"], steps=1)))
    with pytest.raises(InputError, match="1 x 8 x 8"):
        run(dict(tuned, size=16))


@pytest.mark.parametrize(
    "claim", [{"steps": 10**12}, {"scales": 10**12}, {"sigmas": [0.0] * 10**5}, {"width": 9}]
)
def test_a_config_of_another_flow_is_refused_at_once(
    tiny_flow: Path, tmp_path: Path, claim: dict[str, object]
) -> None:
    folder = Path(shutil.copytree(tiny_flow, tmp_path / "p"))
    config = folder / "glow" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | claim))
    with pytest.raises(PriorError, match="glow"):
        load_image_prior(folder)
