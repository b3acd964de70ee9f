"""Card → separator: what is built, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from loading import engine_of
from msgspec import structs
from safetensors.torch import load_file, save

from sepcli.catalog import card as cards
from sepcli.errors import PriorError, SepError, UsageError
from sepcli.priors.lass.context import ContextConfig, ContextLikelihood
from sepcli.priors.lass.engine import LassEngine
from sepcli.priors.lass.load import load_codec, load_transformer
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.vqvae1d import Vqvae1d
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.training.loop import write_weights


@pytest.fixture
def prior(tiny_prior: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(tiny_prior, tmp_path / "prior"))


def change(folder: Path, **fields: object) -> None:
    """Change the card, and sign for the files as they are now."""
    card = structs.replace(cards.read(folder), **fields)  # type: ignore[arg-type]
    cards.write(cards.with_files(card, folder), folder)


def build(folder: Path, sampler: str | None = None, **settings: str) -> LassEngine:
    made = engine_of(str(folder), sampler=sampler, settings=settings)
    assert isinstance(made, LassEngine)
    return made


def test_the_separator_is_what_the_card_says(prior: Path) -> None:
    made = build(prior)
    assert (made.names, made.weights, made.sample_rate) == (("drums", "bass"), (0.5, 0.5), 4000)
    assert made.sampler == Ancestral()
    assert made.settings.lam == 1.0
    found = made.sample(torch.zeros(2, 1, 500), torch.tensor([[1, 2], [3, 4]]))
    assert found.shape == (2, 2, 2, 1, 500)
    assert bool(torch.isfinite(found).all())


def add_context(
    folder: Path, vocabulary: int = 32, sources: tuple[str, ...] = ("drums", "bass"), codec: str | None = None
) -> None:
    """An untrained context likelihood, said to be of a codec's digest."""
    config = ContextConfig(vocabulary, sources, 16, 8, (1, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = ContextLikelihood(config)
    network.head.weight.data *= 20.0
    (folder / "context").mkdir()
    write_weights(network, folder / "context" / "model.safetensors")
    (folder / "context" / "config.json").write_text(json.dumps(asdict(config)))
    entry = {"codec": codec or load_codec(folder)[1]}
    change(folder, parts={"context": cards.Part("context", entry)}, settings={"lass": {"context": 1.0}})


def test_a_context_likelihood_changes_what_is_drawn(prior: Path) -> None:
    add_context(prior)
    mixture = 0.1 * torch.randn(1, 1, 640, generator=torch.Generator().manual_seed(0))
    seeds = torch.tensor([[1, 2]])
    with_it, without = build(prior), build(prior, context="0")
    assert (with_it.settings.context, without.settings.context) == (1.0, 0.0)
    assert not torch.equal(with_it.sample(mixture, seeds), without.sample(mixture, seeds))
    assert torch.equal(with_it.sample(mixture, seeds), build(prior).sample(mixture, seeds))
    shutil.rmtree(prior / "context")
    change(prior, parts={}, settings={})
    assert torch.equal(without.sample(mixture, seeds), build(prior).sample(mixture, seeds))


def test_the_encoder_runs_once_for_tokens_and_context(prior: Path) -> None:
    add_context(prior)
    engine, runs = build(prior), []
    assert isinstance(engine.codec, Vqvae1d)
    engine.codec.encoder.register_forward_hook(lambda *_: runs.append(1))
    mixture = 0.1 * torch.randn(1, 1, 640, generator=torch.Generator().manual_seed(0))
    engine.sample(mixture, torch.tensor([[1]]))
    assert len(runs) == 1
    with torch.no_grad():
        features = engine.codec.features(mixture)
        latents = engine.codec.project(features)
    assert torch.equal(latents, engine.codec.latents(mixture))
    assert torch.equal(engine.codec.nearest(latents), engine.codec.encode(mixture))


@pytest.mark.parametrize(
    "fields",
    [
        {"vocabulary": 31},
        {"sources": ("a", "b", "c")},
        {"sources": ("bass", "drums")},
        {"codec": "of another"},
    ],
)
def test_a_context_likelihood_of_something_else_is_refused(prior: Path, fields: dict[str, Any]) -> None:
    add_context(prior, **fields)
    with pytest.raises(PriorError, match="tiny"):
        build(prior)
    assert build(prior, context="0").settings.context == 0.0


@pytest.mark.parametrize("count", [0.0, -1.0, float("nan"), float("inf")])
def test_tampered_counts_are_refused(prior: Path, count: float) -> None:
    add_context(prior)
    path = prior / "context" / "model.safetensors"
    tensors = load_file(path)
    tensors["counts"][1, 3] = count
    path.write_bytes(save(tensors))
    change(prior)
    with pytest.raises(PriorError, match=r"context/model\.safetensors"):
        build(prior)
    assert build(prior, context="0").context is None


@pytest.mark.parametrize(
    "fields",
    [
        {"dilations": [1, 0]},
        {"dilations": [1, 1.5]},
        {"dilations": [True, True]},
        {"dilations": [1, 10**7]},
        {"dilations": [1] * 5000},
        {"dilations": 2},
        {"sources": "ab"},
        {"vocabulary": 10**12},
    ],
)
def test_tampered_sizes_of_a_context_likelihood_are_refused(prior: Path, fields: dict[str, Any]) -> None:
    add_context(prior)
    path = prior / "context" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    change(prior)
    with pytest.raises(PriorError, match="context/"):
        build(prior)


@pytest.mark.parametrize("hop", [0, -1, 10**6])
def test_a_codec_whose_hop_does_not_fit_is_refused(prior: Path, hop: int) -> None:
    path = prior / "codec" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hop": hop}))
    change(prior)
    with pytest.raises(PriorError, match="codec/"):
        build(prior)


def test_an_unfinished_context_likelihood_is_no_matter_where_it_is_not_asked_for(prior: Path) -> None:
    add_context(prior)
    (prior / "context" / "config.json").unlink()
    change(prior)
    with pytest.raises(PriorError, match="context"):
        build(prior)
    assert build(prior, context="0").context is None


def test_no_context_without_its_likelihood(prior: Path) -> None:
    with pytest.raises(PriorError, match="tiny"):
        build(prior, context="0.5")


@pytest.mark.parametrize(
    ("sampler", "settings", "expected"),
    [
        ("greedy", {}, Greedy()),
        ("ancestral", {}, Ancestral()),
        ("top-k", {}, Ancestral(top_k=32)),
        ("top-k", {"top_k": "5"}, Ancestral(top_k=5)),
        ("beam", {}, Beam()),
        ("beam", {"width": "3"}, Beam(width=3)),
    ],
)
def test_samplers_by_name(prior: Path, sampler: str, settings: Mapping[str, str], expected: object) -> None:
    made = build(prior, sampler, lam="2", **settings)
    assert made.sampler == expected
    assert made.settings.lam == 2.0


def test_a_card_may_hold_the_settings_of_several_samplers(prior: Path) -> None:
    change(prior, settings={"lass": {"sampler": "beam", "width": 4, "top_k": 7, "lam": 2, "shortlist": 3}})
    assert build(prior).sampler == Beam(width=4)
    assert build(prior, width="2").sampler == Beam(width=2)
    assert build(prior, "top-k").sampler == Ancestral(top_k=7)
    assert build(prior, "greedy").sampler == Greedy()
    assert build(prior, "greedy").settings.lam == 2.0
    assert build(prior).settings.shortlist == 3


@pytest.mark.parametrize(
    ("sampler", "settings", "message"),
    [
        ("magic", {}, "magic"),
        (None, {"nonsense": "1"}, "nonsense"),
        (None, {"sampler": "beam"}, "sampler"),
        ("ancestral", {"top_k": "5"}, "top_k"),
        ("greedy", {"width": "5"}, "width"),
        (None, {"lam": "much"}, "lam.*much"),
        (None, {"lam": "nan"}, "lam.*nan"),
        (None, {"lam": "-inf"}, "lam.*-inf"),
        (None, {"max_candidates": "2.5"}, r"max_candidates.*2\.5"),
        (None, {"max_candidates": "0"}, "max_candidates"),
        (None, {"temperature": "0"}, "temperature"),
        ("beam", {"width": "0"}, "width"),
        ("top-k", {"top_k": "0"}, "top_k"),
    ],
)
def test_wrong_settings_are_usage_errors(
    prior: Path, sampler: str | None, settings: Mapping[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        engine_of(str(prior), sampler=sampler, settings=settings)


def _without(part: str):
    def harm(folder: Path) -> None:
        shutil.rmtree(folder / part)
        change(folder)

    return harm


def _table_of_another_codec(folder: Path) -> None:
    counter = TripleCounter(32)
    counter.add(*torch.zeros(3, 1, dtype=torch.int64))
    LikelihoodTable.of(counter, "another").save(folder / "table" / "table.safetensors")
    change(folder)


def _prior_of_another_codec(folder: Path) -> None:
    change(folder, parts={"transformer": cards.Part("transformer", {"codec": "another"})})


def _sources_swapped(folder: Path) -> None:
    change(folder, sources=("bass", "drums"))


def _third_source(folder: Path) -> None:
    change(folder, sources=("a", "b", "c"), weights=(1, 1, 1))


def _unknown_family(folder: Path) -> None:
    path = folder / "card.toml"
    path.write_text(path.read_text().replace('engine = "lass"', 'engine = "oracle"'))


def _unlisted_weights(folder: Path) -> None:
    card = cards.read(folder)
    rest = {name: entry for name, entry in card.files.items() if name != "transformer/model.safetensors"}
    cards.write(structs.replace(card, files=rest), folder)


def _config(text: str):
    def harm(folder: Path) -> None:
        (folder / "transformer" / "config.json").write_text(text)
        change(folder)

    return harm


def _other_size(folder: Path) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dim": 32}))
    change(folder)


def _no_tensors(folder: Path) -> None:
    (folder / "codec" / "model.safetensors").write_bytes(b"pickle")
    change(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_without("codec"), r"codec/config\.json"),
        (_without("transformer"), r"transformer/config\.json"),
        (_without("table"), r"table/table\.safetensors"),
        (_unlisted_weights, r"transformer/model\.safetensors"),
        (_table_of_another_codec, "tiny"),
        (_prior_of_another_codec, "tiny"),
        (_sources_swapped, "tiny"),
        (_third_source, "tiny"),
        (_unknown_family, "oracle"),
        (_config("[]"), "transformer/"),
        (_config('{"nonsense": 1}'), "transformer/"),
        (_config("{"), "prior"),
        (_other_size, "transformer/"),
        (_no_tensors, "codec"),
    ],
)
def test_incomplete_and_mixed_up_priors_are_refused(prior: Path, harm, message: str) -> None:
    harm(prior)
    with pytest.raises(PriorError, match=message) as refused:
        build(prior)
    assert refused.value.hint


def test_damage_is_noticed_before_anything_is_loaded(prior: Path) -> None:
    path = prior / "table" / "table.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(PriorError, match=r"table/table\.safetensors"):
        build(prior)


def test_parts_are_loaded_for_use(prior: Path) -> None:
    codec, digest = load_codec(prior)
    assert not codec.training
    assert digest == cards.read(prior).files["codec/model.safetensors"].sha256
    assert {p.dtype for p in codec.parameters()} == {torch.float32}
    transformer = load_transformer(prior)
    assert not transformer.training
    assert transformer.config.sources == ("drums", "bass")
    for load in (load_codec, load_transformer):
        with pytest.raises(SepError, match="nowhere") as missing:
            load(prior / "nowhere")
        assert missing.value.exit_code == 4
