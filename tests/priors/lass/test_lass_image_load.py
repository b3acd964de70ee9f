"""Cards of LASS for images → separators: settings, classes, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from loading import engine_of
from msgspec import structs
from tiny_tokens import make_tokens

from sepcli.catalog import card as cards
from sepcli.errors import PriorError, UsageError
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.load import describe_images
from sepcli.samplers.ancestral import Ancestral
from sepcli.samplers.beam import Beam
from sepcli.separation.engines import ScoreEngine

TWO = (1.0, 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokens(tmp_path_factory.mktemp("priors") / "tokens", classes=("0-4", "5-9"))


@pytest.fixture
def prior(made: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(made, tmp_path / "tokens"))


def load(folder: Path, weights: tuple[float, ...] = TWO, **options: object) -> LassEngine:
    found = engine_of([str(folder)], weights, **options)  # type: ignore[arg-type]
    assert isinstance(found, LassEngine)
    return found


def test_the_separator_is_what_the_card_says(made: Path) -> None:
    found = load(made)
    assert (found.names, found.weights) == (("digit-1", "digit-2"), TWO)
    assert (found.channels, found.sample_rate, found.density) == (1, 0, None)
    assert found.sampler == Ancestral()
    own = found.settings
    assert (own.candidates, own.refine, own.refine_rate, own.exact) == (3, 2, 0.1, True)
    assert not any(p.requires_grad for p in found.codec.parameters())
    again = engine_of(str(made))  # two sources, as of any prior of images
    mixture, seeds = torch.rand(2, 1, 8, 8), torch.tensor([[1], [2]])
    assert again.weights == (0.5, 0.5)
    assert torch.equal(again.sample(mixture / 2, seeds), found.sample(mixture, seeds))


def test_settings_override_the_card(made: Path) -> None:
    given = {"candidates": "7", "refine": "0", "refine_rate": "0.5", "exact": "0", "lam": "2", "width": "4"}
    found = load(made, sampler="beam", settings=given)
    assert found.sampler == Beam(4)
    own = found.settings
    assert (own.candidates, own.refine, own.refine_rate, own.exact) == (7, 0, 0.5, False)
    assert own.lam == 2.0
    assert load(made, sampler="top-k", settings={"top_k": "5"}).sampler == Ancestral(5)


def test_classes_choose_the_sources_of_the_network(made: Path) -> None:
    assert describe_images(str(made)) == ((1, 8, 8), ("0-4", "5-9"))
    assert load(made).prior.sources == (0, 0)
    assert load(made, labels=(0, 1)).prior.sources == (1, 2)
    assert load(made, labels=(None, 1)).prior.sources == (0, 2)
    for labels, unknown in (((0, 2), "2"), ((-1, 0), "-1")):
        with pytest.raises(UsageError, match=unknown):
            load(made, labels=labels)


def test_score_priors_are_loaded_as_ever(made: Path, tiny_images: Path, tiny_prior: Path) -> None:
    assert isinstance(engine_of([str(tiny_images)], (0.5, 0.5)), ScoreEngine)
    assert describe_images(str(tiny_images)) == ((1, 12, 12), ("0-4", "5-9"))
    with pytest.raises(UsageError, match="tokens"):
        engine_of([str(tiny_images), str(made)], TWO)
    with pytest.raises(UsageError, match="tiny"):
        engine_of([str(tiny_prior)], TWO)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (0.7, 0.3)}, r"0\.7"),
        ({"weights": (1.0, 1.0, 0.5)}, r"0\.5"),
        ({"sampler": "projected"}, "projected"),
        ({"settings": {"steps": "3"}}, "steps"),
        ({"settings": {"candidates": "0"}}, "candidates"),
        ({"settings": {"refine": "-1"}}, "-1"),
        ({"settings": {"refine_rate": "0"}}, "rate"),
        ({"settings": {"latent": "1"}}, "latent"),
        ({"settings": {"context": "1"}}, "context"),
        ({"settings": {"width": "3"}}, "width"),
    ],
)
def test_wrong_words_are_usage_errors(made: Path, options: Mapping[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(made, **options)  # type: ignore[arg-type]


def change(folder: Path, **fields: object) -> None:
    """Change the card, and sign for the files as they are now."""
    card = structs.replace(cards.read(folder), **fields)  # type: ignore[arg-type]
    cards.write(cards.with_files(card, folder), folder)


def _without_table(folder: Path) -> None:
    shutil.rmtree(folder / "table")
    change(folder)


def _table_of_another_codec(folder: Path) -> None:
    counter = TripleCounter(12)
    counter.add(*torch.zeros(3, 1, dtype=torch.int64))
    LikelihoodTable.of(counter, "another").save(folder / "table" / "table.safetensors")
    change(folder)


def _prior_of_another_codec(folder: Path) -> None:
    change(folder, parts={"transformer": cards.Part("transformer", {"codec": "another"})})


def _other_size(folder: Path) -> None:
    change(folder, resolution=(12, 12))


def _broken_size(folder: Path) -> None:
    path = folder / "codec" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "size": [8, 9]}))
    change(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_without_table, "table/table"),
        (_table_of_another_codec, "tokens"),
        (_prior_of_another_codec, "tokens"),
        (_other_size, "tokens"),
        (_broken_size, "codec/"),
    ],
)
def test_incomplete_and_mixed_up_priors_are_refused(prior: Path, harm, message: str) -> None:
    harm(prior)
    with pytest.raises(PriorError, match=message):
        load(prior)
