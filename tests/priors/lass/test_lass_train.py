"""Training the parts of a LASS prior on a data set of a few seconds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from train_request import read_history, run

from sepcli.catalog import card as cards
from sepcli.errors import InputError, OutputError, PriorError, UsageError
from sepcli.priors.lass.context import ContextConfig
from sepcli.priors.lass.latent import LatentConfig
from sepcli.priors.lass.load import load_codec, load_context, load_latent, load_transformer
from sepcli.training.task import LoopSettings

LOOP = LoopSettings(seconds=None, steps=6, validations=1, warmup=2, learning_rate=2e-3)


def request(data: Path, out: Path, family: str = "vqvae", **fields: object) -> dict[str, Any]:
    usual: dict[str, Any] = dict(
        family=family,
        data=data,
        out=out,
        preset="tiny",
        sources=("drums", "bass"),
        batch=3,
        tokens=32,
        cache=data / "cache",
        loop=LOOP,
        device=torch.device("cpu"),
        command="sepcli train-prior",
        note="sines and bursts",
    )
    return {**usual, **fields}


@pytest.fixture(scope="module")
def trained(tiny_slakh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec and a prior, trained for a few steps; copy it before changing it."""
    out = tmp_path_factory.mktemp("trained") / "sines"
    run(request(tiny_slakh, out))
    run(request(tiny_slakh, out, "transformer"))
    return out


def test_a_codec_and_a_prior_are_trained_and_described(trained: Path) -> None:
    for part in ("codec", "transformer"):
        names = sorted(path.name for path in (trained / part).iterdir())
        assert names == ["config.json", "finished.safetensors", "history.jsonl", "model.safetensors"]
        with safe_open(trained / part / "model.safetensors", "pt") as weights:
            assert len(list(weights.keys())) > 5
        assert read_history(trained / part)[-1]["step"] == 6
    codec, digest = load_codec(trained)
    prior = load_transformer(trained)
    assert (codec.vocabulary, codec.config.dim) == (256, 64)
    assert (prior.config.vocabulary, prior.config.sources) == (256, ("drums", "bass"))
    card = cards.read(trained)
    cards.verify(card, trained)
    assert (card.name, card.engine, card.data) == ("sines", "lass", "sines and bursts")
    assert (card.sources, card.weights, card.sample_rate) == (("drums", "bass"), (0.5, 0.5), 22050)
    assert set(card.files) == {
        f"{part}/{name}" for part in ("codec", "transformer") for name in ("config.json", "model.safetensors")
    }
    assert card.parts["codec"].training["steps"] == 6
    assert card.parts["transformer"].training["codec"] == digest
    assert set(card.parts["codec"].training["validation"]) == {
        "sdr_drums",
        "sdr_bass",
        "sdr_mixture",
        "perplexity",
    }
    assert set(card.parts["transformer"].training["validation"]) == {"nll", "nll_drums", "nll_bass"}
    assert 0 < card.parts["transformer"].training["validation"]["nll"] < 8


def test_a_context_likelihood_is_trained_and_counts_what_it_saw(
    tiny_slakh: Path, trained: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "sines"))
    run(request(tiny_slakh, out, "context"))
    card = cards.read(out)
    cards.verify(card, out)
    assert card.parts["context"].training["codec"] == load_codec(out)[1]
    assert set(card.parts["context"].training["validation"]) == {"nll", "nll_drums", "nll_bass"}
    assert card.defaults("lass") == {"context": 1.0, "shortlist": 32, "lam": 0.25}
    context = load_context(out, card, *load_codec(out))
    assert context.config == ContextConfig(256, ("drums", "bass"), 64, 32, (1, 2))
    steps, tokens = 6, 3 * 32
    assert context.counts.sum(-1).tolist() == [256.0 + steps * tokens] * 2
    assert not torch.equal(context.counts[0], context.counts[1])


def test_a_latent_likelihood_is_trained_for_its_codec(
    tiny_slakh: Path, trained: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "sines"))
    run(request(tiny_slakh, out, "latent"))
    card, (codec, digest) = cards.read(out), load_codec(out)
    assert card.parts["latent"].training["codec"] == digest
    assert set(card.parts["latent"].training["validation"]) == {"nll"}
    assert card.defaults("lass") == {"latent": 0.5, "lam": 0.25}
    latent = load_latent(out, card, codec)
    assert latent.config == LatentConfig(codec.vocabulary, codec.config.code_dim, 32)
    codec.quantizer.codebook += 0.1
    with pytest.raises(PriorError, match="sines"):
        load_latent(out, card, codec)


def test_training_is_repeatable_and_leaves_global_randomness_alone(
    tiny_slakh: Path, trained: Path, tmp_path: Path
) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    run(request(tiny_slakh, tmp_path / "again"))
    assert torch.equal(before, torch.get_rng_state())
    one, two = ((p / "codec" / "model.safetensors").read_bytes() for p in (trained, tmp_path / "again"))
    assert one == two


def test_what_is_there_is_not_replaced_unasked(tiny_slakh: Path, trained: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "sines"))
    before = (out / "codec" / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="codec"):
        run(request(tiny_slakh, out))
    card, told = (out / "card.toml").read_bytes(), []
    assert run(request(tiny_slakh, out, resume=True), on_message=told.append).step == LOOP.steps
    assert (out / "card.toml").read_bytes() == card
    assert len(told) == 1
    with pytest.raises(InputError, match="seed"):
        run(request(tiny_slakh, out, resume=True, loop=replace(LOOP, seed=9)))
    (out / "codec" / "finished.safetensors").unlink()
    with pytest.raises(OutputError, match=r"finished\.safetensors"):
        run(request(tiny_slakh, out, resume=True))
    (out / "codec" / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(OutputError, match="codec") as unfinished:
        run(request(tiny_slakh, out))
    assert unfinished.value.argument == "out"
    assert (out / "codec" / "model.safetensors").read_bytes() == before
    one_step = replace(LOOP, steps=1)
    run(request(tiny_slakh, out, overwrite=True, loop=one_step))
    assert (out / "codec" / "model.safetensors").read_bytes() != before
    assert not (out / "codec" / "checkpoint.safetensors").exists()
    card = cards.read(out)
    cards.verify(card, out)
    assert set(card.parts) == {"codec", "transformer"}
    assert card.parts["transformer"].training["codec"] != load_codec(out)[1]  # so the prior will be refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "gan"}, "gan"),
        ({"preset": "huge"}, "huge"),
        ({"tokens": 16}, "16"),
        ({"family": "latent", "sources": ("a", "b", "c")}, "3"),
        ({"family": "context", "sources": ("drums",)}, "1"),
    ],
)
def test_impossible_requests(
    tiny_slakh: Path, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(request(tiny_slakh, tmp_path / "p", **fields))
    assert not (tmp_path / "p").exists()


def test_a_new_prior_begins_in_the_order_of_the_codes(
    tiny_slakh: Path, trained: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "anew"))
    asked = request(tiny_slakh, out, "transformer", overwrite=True)
    run(dict(asked, loop=replace(LOOP, learning_rate=1e-12)))
    codes = load_codec(out)[0].quantizer.codebook
    embeddings = load_transformer(out).embed.weight[:-1].detach().float()
    near, far = (
        torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1) for x in (codes, embeddings)
    )
    assert float(torch.corrcoef(torch.stack([near.flatten(), far.flatten()]))[0, 1]) > 0.9


def test_a_prior_starts_from_a_trained_one(tiny_slakh: Path, trained: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "more"))
    asked = request(tiny_slakh, out, "transformer", init=str(trained), overwrite=True)
    run(dict(asked, loop=replace(LOOP, learning_rate=1e-12)))
    one, two = (load_transformer(folder).state_dict() for folder in (trained, out))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert cards.read(out).parts["transformer"].history[0]["prior"] == "sines"


def test_a_part_of_other_sources_is_refused(tiny_slakh: Path, trained: Path) -> None:
    swapped = request(tiny_slakh, trained, "transformer", sources=("bass", "drums"), overwrite=True)
    with pytest.raises(UsageError, match=r"drums, bass.*bass, drums"):
        run(swapped)


def test_data_that_is_not_there(tiny_slakh: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        run(request(tmp_path / "nowhere", tmp_path / "p"))
    with pytest.raises(InputError, match="kazoo"):
        run(request(tiny_slakh, tmp_path / "p", sources=("drums", "kazoo"), cache=None))
    with pytest.raises(PriorError, match="codec"):
        run(request(tiny_slakh, tmp_path / "p", "transformer"))
