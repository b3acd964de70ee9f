"""A prior in another storage: it separates as before, its card says so, and parts still know each other."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from example_scripts import TOY_FLOWS
from loading import engine_of
from msgspec import structs
from tiny_tokens import make_tokens

from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.cli.app import run
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.convert import convert
from sepcli.priors.images.denoiser import DenoiserConfig, DenoiserPrior
from sepcli.priors.lass.table import LikelihoodTable
from sepcli.training.loop import write_weights

SIZES: dict[str, Any] = {"size": (8, 8), "widths": (16, 16), "blocks": 1, "embedding": 8}


MIXTURE, SEEDS = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([[1], [2]])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior whose layers are wide enough for integers."""
    folder, config = tmp_path_factory.mktemp("priors") / "images", DenoiserConfig(**SIZES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = DenoiserPrior(config)
        for parameter in prior.parameters():  # the last layers begin at zero
            parameter.data += 0.05 * torch.randn_like(parameter)
    (folder / "denoiser").mkdir(parents=True)
    write_weights(prior, folder / "denoiser" / "model.safetensors")
    (folder / "denoiser" / "config.json").write_text(json.dumps(asdict(config)))
    card = cards.Card(name="images", medium="image", engine="score", sources=("digit",))
    card = cards.with_part(card, "denoiser", cards.Part("denoiser"))
    cards.write(cards.with_files(card, folder), folder)
    return folder


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior whose card names the codec of its transformer."""
    folder = make_tokens(tmp_path_factory.mktemp("priors") / "tokens")
    card, digest = cards.read(folder), cards.sha256(folder / "codec" / "model.safetensors")
    for part, family in (("codec", "vqvae"), ("table", "table")):
        card = cards.with_part(
            card, part, cards.Part(family, {"kept": {"nonzeros": 3}} if part == "table" else {})
        )
    card = cards.with_part(card, "transformer", cards.Part("transformer", {"codec": digest, "steps": 7}))
    cards.write(card, folder)
    return folder


def test_parts_of_a_converted_prior_still_know_each_other(tokens: Path, tmp_path: Path) -> None:
    errors = convert(str(tokens), tmp_path / "out", "float16")
    assert errors.keys() == {"codec", "transformer"}
    card, before = cards.read(tmp_path / "out"), cards.read(tokens)
    cards.verify(card, tmp_path / "out")
    digest = cards.sha256(tmp_path / "out" / "codec" / "model.safetensors")
    assert digest != cards.sha256(tokens / "codec" / "model.safetensors")
    assert card.parts["transformer"].training == {"codec": digest, "steps": 7}
    assert card.parts["transformer"].storage["type"] == "float16"
    table = tmp_path / "out" / "table" / "table.safetensors"
    assert LikelihoodTable.load(table).codec == digest
    assert card.parts["table"].training["kept"] == {"nonzeros": 3, "file_bytes": table.stat().st_size}
    assert (card.settings, card.sources) == (before.settings, before.sources)
    estimates = [engine_of(str(folder)).sample(MIXTURE, SEEDS) for folder in (tokens, tmp_path / "out")]
    assert estimates[1].isfinite().all()
    assert estimates[0].shape == estimates[1].shape


def test_estimates_hardly_change(images: Path, tmp_path: Path) -> None:
    convert(str(images), tmp_path / "out", "int8")
    mixture, seeds = (
        torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[1], [2]]),
    )
    options = {"sampler": "projected", "settings": {"steps": "4"}}
    before, after, again = (
        engine_of(str(folder), **options).sample(mixture, seeds)  # type: ignore[arg-type]
        for folder in (images, tmp_path / "out", tmp_path / "out")
    )
    assert torch.equal(after, again)
    assert 0 < float((after - before).abs().max()) < 0.02


def test_priors_inside_a_prior_are_converted_with_it(tmp_path: Path) -> None:
    source = Path(shutil.copytree(resolve.find("toy-waves")[1], tmp_path / "toys"))
    shutil.copytree(TOY_FLOWS / "priors", source / "priors")
    card = structs.replace(cards.read(source), priors=cards.read(TOY_FLOWS).priors)
    inner = index.inner_priors(card)
    named = [{"files": {n: f.sha256 for n, f in cards.read(source / name).files.items()}} for name in inner]
    cards.write(cards.with_part(card, "encoders", cards.Part("variational", {"priors": named})), source)
    assert len(convert(str(source), tmp_path / "out", "float16")) == 5
    converted = cards.read(tmp_path / "out").parts["encoders"].training["priors"]
    assert converted != named
    for name, entry in zip(inner, converted, strict=True):
        part = cards.read(tmp_path / "out" / name)
        cards.verify(part, tmp_path / "out" / name)
        assert entry["files"] == {path: file.sha256 for path, file in part.files.items()}


def test_the_command(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import-prior", str(images), "--storage", "int8", "--out", str(tmp_path / "out")]
    assert run([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["storage"] == "int8"
    assert 0 < document["relative_errors"]["denoiser"] < 0.02
    assert run(words) == 1
    assert "--out" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0
    assert "int8" in capsys.readouterr().out
    for option, value in (("--size", "8"), ("--classes", "2"), ("--heads", "1"), ("--sources", "digit")):
        assert run([*words, option, value]) == 2
        assert option in capsys.readouterr().err
    assert run(["import-prior", "nonsense", "--storage", "int8", "--out", str(tmp_path / "no")]) == 4


@pytest.mark.parametrize("base", ["nonsense", "mnist", "slakh-bass", "songs"])
def test_a_base_that_does_not_fit_leaves_all_as_it_is(images: Path, tmp_path: Path, base: str) -> None:
    with pytest.raises(PriorError, match=base) as error:
        convert(str(images), tmp_path / "new", "int8", base=base)
    assert error.value.argument == "base"
    assert not (tmp_path / "new").exists()
    old = Path(shutil.copytree(images, tmp_path / "old"))
    with pytest.raises(PriorError, match=base):
        convert(str(images), old, "int8", base=base, overwrite=True)
    assert cards.read(old) == cards.read(images)


def test_a_difference_has_the_rank_of_its_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Path(shutil.copytree(resolve.find("songs-bass")[1], tmp_path / "trained"))
    card = cards.read(trained)
    part = card.parts["denoiser"]
    for stated, rank, expected in ((5, None, 5), (5, 7, 7), ("all", None, 48), (10**9, None, 48)):
        told = structs.replace(part, training={**part.training, "rank": stated})
        cards.write(cards.with_part(card, "denoiser", told), trained)
        convert(str(trained), tmp_path / "out", "int8", base="slakh-bass", rank=rank, overwrite=True)
        after = cards.read(tmp_path / "out")
        assert (after.name, after.parts["denoiser"].storage["rank"]) == ("out", expected)
    words = ["import-prior", str(trained), "--storage", "int8", "--base", "slakh-bass", "-o"]
    assert run([*words, str(tmp_path / "few"), "--rank", "1"]) == 0
    assert "--rank" in capsys.readouterr().err  # much is lost
    assert run([*words, str(tmp_path / "many")]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_not_converted(images: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="converted"):
        convert(str(images), images, "int8", overwrite=True)
    assert (images / "card.toml").is_file()
    other = tmp_path / "other"
    shutil.copytree(images, other)
    weights = other / "denoiser" / "model.safetensors"
    weights.rename(other / "denoiser" / "weights.safetensors")
    card = cards.read(other)
    entry = {"denoiser/weights.safetensors": card.files["denoiser/model.safetensors"]}
    cards.write(cards.Card(name="x", medium="image", engine="score", sources=("a",), files=entry), other)
    with pytest.raises(UsageError, match="x"):
        convert(str(other), tmp_path / "out", "int8")
    damaged = Path(shutil.copytree(images, tmp_path / "damaged"))
    (damaged / "denoiser" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(PriorError, match="differs"):
        convert(str(damaged), tmp_path / "out", "int8")
    assert not (tmp_path / "out" / "card.toml").exists()
