"""Training and counting for LASS on images of 8 x 8 strokes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from train_request import run

from sepcli.catalog import card as cards
from sepcli.errors import InputError, OutputError, PriorError, UsageError
from sepcli.priors.lass.count import count, merge
from sepcli.priors.lass.load import load_codec, load_transformer
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.priors.lass.table_job import encode, open_job
from sepcli.training.task import LoopSettings

DIGITS = Path(__file__).parents[2] / "data" / "digits"
LOOP = LoopSettings(seconds=None, steps=4, validations=2, warmup=2, learning_rate=2e-3)
CPU = torch.device("cpu")
BATCH = 8 * 4
"""Tokens that are counted at once here."""


@pytest.fixture(scope="module")
def strokes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of images: bars that lie, and bars that stand."""
    root, rng = tmp_path_factory.mktemp("strokes"), np.random.default_rng(0)
    for n in range(24):
        data, (a, b) = np.zeros((8, 8), np.uint8), rng.integers(0, 4, 2)
        data[(slice(a, a + 4), b) if n % 2 else (b, slice(a, a + 4))] = 255
        folder = root / ("lying", "standing")[n % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(data).save(folder / f"{n:02d}.png")
    return root


def request(data: Path, out: Path, family: str = "vqvae", **fields: object) -> dict[str, Any]:
    usual: dict[str, Any] = dict(
        family=family,
        data=data,
        out=out,
        preset="tiny",
        sources=("stroke",),
        batch=6,
        tokens=0,
        cache=None,
        loop=LOOP,
        device=CPU,
        command="sepcli train-prior",
        note="bars",
    )
    return {**usual, **fields}


@pytest.fixture(scope="module")
def trained(strokes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec and a prior with classes; copy it before changing it."""
    out = tmp_path_factory.mktemp("trained") / "bars"
    run(request(strokes, out))
    run(request(strokes, out, "transformer", classes="folders"))
    return out


@pytest.fixture
def prior(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "bars"))


def test_codec_and_prior_are_trained_and_described(trained: Path) -> None:
    codec, digest = load_codec(trained)
    assert (codec.config.size, codec.config.channels, codec.vocabulary) == ((8, 8), 1, 32)
    prior = load_transformer(trained)
    assert prior.config.sources == ("stroke", "lying", "standing")
    assert (prior.config.vocabulary, prior.config.context) == (32, 4)
    card = cards.read(trained)
    cards.verify(card, trained)
    assert (card.engine, card.resolution, card.sample_rate) == ("lass", (8, 8), 0)
    assert (card.sources, card.weights, card.data) == (("stroke",), (), "bars")
    assert card.medium == "image"
    assert set(card.parts["codec"].training["validation"]) == {"psnr", "psnr_mixture", "perplexity"}
    assert card.parts["codec"].training["images"] == 22
    assert set(card.parts["transformer"].training["validation"]) == {"nll", "nll_class"}
    assert card.parts["transformer"].training["codec"] == digest
    assert 0 < card.parts["transformer"].training["validation"]["nll"] < 6


def test_a_prior_starts_from_a_trained_one(strokes: Path, trained: Path, prior: Path, tmp_path: Path) -> None:
    classes, still = "folders", replace(LOOP, learning_rate=1e-12)
    asked = request(strokes, prior, "transformer", classes=classes, loop=still, overwrite=True)
    run(dict(asked, init=str(trained)))
    one, two = (load_transformer(folder).state_dict() for folder in (trained, prior))
    assert all(torch.equal(one[name], two[name]) for name in one)
    (before,) = cards.read(prior).parts["transformer"].history
    assert (before["prior"], before["steps"]) == ("bars", 4)
    with pytest.raises(PriorError, match="bars"):
        run(dict(asked, init=str(trained), classes="none"))
    with pytest.raises(PriorError, match="mnist"):
        run(dict(asked, init="mnist"))
    other = tmp_path / "other"
    run(request(strokes, other, loop=replace(LOOP, seed=1)))
    with pytest.raises(PriorError, match="bars"):
        run(dict(asked, init=str(trained), out=other))


def test_training_is_repeatable(strokes: Path, trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    run(request(strokes, tmp_path / "again"))
    assert torch.equal(before, torch.get_rng_state())
    one, two = ((p / "codec" / "model.safetensors").read_bytes() for p in (trained, tmp_path / "again"))
    assert one == two


def test_an_interrupted_training_goes_on(strokes: Path, trained: Path, tmp_path: Path) -> None:
    often = replace(LOOP, checkpoint_seconds=0.0)

    def stop(done: int, total: int) -> None:
        if done == 750:  # three of four steps
            raise KeyboardInterrupt

    asked = request(strokes, tmp_path / "bars", loop=often)
    with pytest.raises(KeyboardInterrupt):
        run(asked, stop)
    with pytest.raises(OutputError, match="codec") as unfinished:
        run(asked)
    assert unfinished.value.argument == "out"
    run(dict(asked, resume=True))
    one, two = ((p / "codec" / "model.safetensors").read_bytes() for p in (trained, tmp_path / "bars"))
    assert one == two


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"preset": "huge"}, UsageError, "huge"),
        ({"classes": "folders"}, UsageError, "classes"),
        ({"init": "mnist"}, UsageError, "vqvae"),
        ({"noise_std": 1.0}, UsageError, "noise_std"),
        ({"family": "transformer"}, PriorError, "codec"),
        ({"size": 10}, UsageError, "10.*4"),
    ],
)
def test_what_is_refused(
    strokes: Path, tmp_path: Path, fields: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(request(strokes, tmp_path / "out", **fields))
    assert not (tmp_path / "out").exists()


def test_other_priors_are_left_alone(strokes: Path, prior: Path, tiny_images: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_images, tmp_path / "score"))
    with pytest.raises(OutputError, match="score"):
        run(request(strokes, other))
    with pytest.raises(UsageError, match=r"stroke.*digit"):
        run(request(strokes, prior, sources=("digit",), overwrite=True))


def counts(folder: Path) -> LikelihoodTable:
    return LikelihoodTable.load(folder / "table" / "counts.safetensors")


def test_images_are_counted_in_both_orders(prior: Path, strokes: Path) -> None:
    settings = CountSettings(pairs=8, held_out=2, tokens=4 * BATCH)
    summary = count(open_job(prior, strokes, settings, None))
    table = counts(prior)
    assert table.symmetric
    assert table.pairs == summary["tokens"] == 4 * BATCH
    assert table.joint.counts.total == 8 * BATCH
    assert table.codec == load_codec(prior)[1]
    card = cards.read(prior)
    cards.verify(card, prior)
    assert card.parts["table"].training["settings"]["symmetric"] is True
    assert set(summary["coverage_kept"]) == {"codes", "triples", "pairs"}


def test_what_is_counted_are_means(prior: Path, strokes: Path) -> None:
    """The mixture's tokens are those of half the sum, whatever the card's weights are."""
    codec, _ = load_codec(prior)
    x = torch.rand(5, 2, 1, 8, 8)
    first, second, mixed = encode(codec, x, (0.5, 0.5))
    assert torch.equal(mixed.view(5, 4), codec.encode(x.mean(1)))
    assert torch.equal(first.view(5, 4), codec.encode(x[:, 0]))
    assert torch.equal(second.view(5, 4), codec.encode(x[:, 1]))


def test_counting_resumes_and_merges(prior: Path, strokes: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(prior, tmp_path / "other"))

    def counting(folder: Path, tokens: int, **options: object) -> None:
        seed = options.pop("seed", 0)
        settings = CountSettings(pairs=8, held_out=2, tokens=tokens * BATCH, seed=seed)  # type: ignore[arg-type]
        count(open_job(folder, strokes, settings, None), **options)  # type: ignore[arg-type]

    counting(prior, 3)
    counting(other, 1)
    counting(other, 3, resume=True)
    assert torch.equal(counts(prior).joint.counts.keys, counts(other).joint.counts.keys)
    assert torch.equal(counts(prior).joint.counts.values, counts(other).joint.counts.values)
    counting(other, 2, seed=1, overwrite=True)
    merge(open_job(prior, strokes, CountSettings(held_out=2), None), [prior, other])
    assert counts(prior).pairs == 5 * BATCH


def test_images_of_another_size_are_brought_to_the_codecs(prior: Path, tmp_path: Path) -> None:
    (tmp_path / "wide").mkdir()
    for n in range(4):
        Image.fromarray(np.full((10, 14), 60 * n, np.uint8)).save(tmp_path / "wide" / f"{n}.png")
    settings = CountSettings(pairs=8, held_out=2, tokens=BATCH)
    assert count(open_job(prior, tmp_path / "wide", settings, None))["tokens"] == BATCH
    with pytest.raises(InputError, match=r"\(1, 8, 8\)"):
        count(open_job(prior, DIGITS, settings, None), overwrite=True)
