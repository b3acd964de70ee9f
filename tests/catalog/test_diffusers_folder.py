"""Folders and repositories of networks of diffusers as priors, saved by the library's own classes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import Hub, git_hash

from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.catalog.verified import verified
from sepcli.cli.app import run
from sepcli.errors import PriorError
from sepcli.priors.complete import check_complete

pytest.importorskip("diffusers", exc_type=(ImportError, AttributeError))  # or another torch

from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, EDMEulerScheduler, ScoreSdeVeScheduler
from loading import engine_of
from safetensors.torch import load_file, save_file
from tiny_unet import exploding_unet, save_ddpm, tiny_unet

from sepcli.priors.images.diffusers import DiffusionUnetPrior
from sepcli.priors.images.load import load_image_prior, samples_at_once

WORD = "hf:tester/ddpm-tiny"
CONFIG, WEIGHTS = "unet/config.json", "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline in a folder; copy it before changing it."""
    return save_ddpm(tmp_path_factory.mktemp("ddpm") / "ddpm-tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "ddpm-tiny"))


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def two_variants(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "unet" / "diffusion_pytorch_model.bf16.safetensors")
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")


def refusal(folder: Path) -> str:
    with pytest.raises(PriorError) as error:
        load_image_prior(resolve.find(str(folder))[1])
    assert error.value.hint
    return error.value.message


def loaded(folder: Path) -> DiffusionUnetPrior:
    found = load_image_prior(folder)
    assert isinstance(found, DiffusionUnetPrior)
    return found


def test_a_saved_pipeline_is_a_prior(saved: Path) -> None:
    card, folder = resolve.find(str(saved))
    assert (card.name, card.engine, card.sources) == ("ddpm-tiny", "score", ("ddpm-tiny",))
    assert (card.resolution, folder) == ((8, 8), saved)
    assert set(card.files) == {CONFIG, WEIGHTS, "scheduler/scheduler_config.json"}
    cards.verify(card, folder)
    prior = loaded(saved)
    assert prior.config.prediction == "epsilon"
    assert len(prior.config.sigmas) == 1000
    # METHODS: 0.01 to 157 in the units of data in [-1, 1]
    assert prior.config.sigmas[0] == pytest.approx(0.01, rel=1e-3)
    assert prior.config.sigmas[-1] == pytest.approx(157, rel=1e-2)
    for name, tensor in tiny_unet().state_dict().items():
        assert torch.equal(prior.unet.state_dict()[name], tensor)


def test_a_network_alone_has_the_library_s_own_schedule(tmp_path: Path) -> None:
    tiny_unet().save_pretrained(tmp_path / "ddpm")
    assert loaded(tmp_path / "ddpm").config == replace(loaded(save_ddpm(tmp_path / "whole")).config)
    exploding_unet().save_pretrained(tmp_path / "ve")
    ve = loaded(tmp_path / "ve").config
    assert (ve.prediction, ve.sigmas) == ("score", (0.01, 1348.0))
    ScoreSdeVeScheduler(sigma_max=380.0).save_pretrained(
        tmp_path / "ve"
    )  # all at the top, as old repositories
    assert loaded(tmp_path / "ve").config.sigmas == (0.01, 380.0)


def test_the_schedule_is_the_saved_one(tmp_path: Path) -> None:
    scheduler = DDIMScheduler(
        50, 1e-3, 0.05, "scaled_linear", prediction_type="v_prediction", rescale_betas_zero_snr=True
    )
    config = loaded(save_ddpm(tmp_path / "v", scheduler)).config
    assert config.prediction == "v_prediction"
    assert len(config.sigmas) == 49  # the last level has no signal
    kept = scheduler.alphas_cumprod[30].double()
    assert config.sigmas[30] == pytest.approx(float(((1 - kept) / kept).sqrt()), rel=1e-4)


def test_old_names_of_attention_s_weights_are_understood(folder: Path) -> None:
    """As in repositories that were saved before diffusers 0.13."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        tensors[name] = tensor
    assert any(".proj_attn." in name for name in tensors)
    x, sigma = torch.rand(1, 2, 3, 8, 8), torch.tensor(0.5)
    expected = loaded(folder).score(x, sigma)
    save_file(tensors, folder / WEIGHTS)
    torch.testing.assert_close(loaded(folder).score(x, sigma), expected)


def test_images_are_separated_by_it(saved: Path) -> None:
    separator = engine_of([str(saved)], (0.5, 0.5), settings={"steps": "3"})
    assert separator.names == ("ddpm-tiny-1", "ddpm-tiny-2")
    mixture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = separator.sample(mixture, torch.zeros(1, 1, dtype=torch.int64))
    torch.testing.assert_close(drawn[:, 0].mean(1), mixture, rtol=0.0, atol=1e-5)
    prior = loaded(saved)
    assert samples_at_once(prior) == 64
    prior.config = replace(prior.config, size=(256, 256))
    assert samples_at_once(prior) == 2


def score(folder: Path) -> torch.Tensor:
    """The score of the prior of a folder, whose files are verified."""
    card, found = resolve.find(str(folder))
    prior = load_image_prior(verified(card, found))
    x = torch.linspace(0, 1, 192).view(1, 1, 3, 8, 8)
    return prior.score(x, torch.tensor(0.3))


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["20KB", "10GB"])
def test_shards_and_variants_are_read(tmp_path: Path, saved: Path, variant: str | None, size: str) -> None:
    folder = tmp_path / "odd"
    DDPMPipeline(unet=tiny_unet(), scheduler=DDPMScheduler()).save_pretrained(
        folder, variant=variant, max_shard_size=size
    )
    weights = sorted(path.name for path in (folder / "unet").glob("*.safetensors"))
    assert (len(weights) > 1) == (size == "20KB")
    assert all(("fp16" in name) == (variant is not None) for name in weights)
    card = resolve.find(str(folder))[0]
    assert {f"unet/{name}" for name in weights} < card.files.keys()
    torch.testing.assert_close(score(folder), score(saved), rtol=0, atol=0)
    check_complete(card, "score")


def test_weights_without_a_variant_go_first(folder: Path, saved: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    torch.testing.assert_close(score(folder), score(saved), rtol=0, atol=0)


def test_a_shard_of_a_repository_is_fetched(hub: Hub, tmp_path: Path, saved: Path) -> None:
    folder = tmp_path / "odd"
    DDPMPipeline(unet=tiny_unet(), scheduler=DDPMScheduler()).save_pretrained(folder, max_shard_size="20KB")
    hub.publish("tester/ddpm-tiny", folder)
    card, found = resolve.fetch(WORD)
    assert sum(name.endswith(".safetensors") for name in card.files) > 1
    torch.testing.assert_close(score(found), score(saved), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["UNetUnconditionalModel", "UNet2DModelWithEMA", None])
def test_old_names_of_the_class_are_understood(folder: Path, saved: Path, name: str | None) -> None:
    config = json.loads((folder / CONFIG).read_text())
    del config["_class_name"]
    text = json.dumps(config if name is None else {**config, "_class_name": name})
    (folder / CONFIG).write_bytes(b"\xef\xbb\xbf" + text.replace(", ", ",\r\n").encode())
    torch.testing.assert_close(score(folder), score(saved), rtol=0, atol=0)


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "ddpm-tiny" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / WEIGHTS).write_bytes(b"x" * 99), WEIGHTS),
        (lambda f: save_file({"a": torch.zeros(1)}, f / WEIGHTS), WEIGHTS),
        (lambda f: changed(f / CONFIG, block_out_channels=[16, 16]), WEIGHTS),
        (lambda f: changed(f / CONFIG, sample_size=None), "size"),
        (lambda f: changed(f / CONFIG, in_channels=4, out_channels=4), "4"),
        (lambda f: changed(f / CONFIG, class_embed_type="timestep"), "ddpm-tiny"),
        (lambda f: changed(f / CONFIG, _class_name="UNet2DConditionModel"), "UNet2DConditionModel"),
        (lambda f: (f / WEIGHTS).unlink(), WEIGHTS),
        (lambda f: (f / CONFIG).unlink(), CONFIG),
        (lambda f: shutil.rmtree(f / "unet"), CONFIG),
        (lambda f: (f / WEIGHTS).rename(f / f"{WEIGHTS[:-12]}-00002-of-00003.safetensors"), "1 of 3 shards"),
        (lambda f: two_variants(f), "bf16, fp16"),
        (lambda f: (f / CONFIG).write_text("[]"), CONFIG),
        (lambda f: (f / CONFIG).write_bytes(b"\xff"), CONFIG),
        (lambda f: shutil.copytree(f / "unet", f / "vae"), "latent"),
        (lambda f: EDMEulerScheduler().save_pretrained(f / "scheduler"), "EDMEulerScheduler"),
        (lambda f: ScoreSdeVeScheduler().save_pretrained(f / "scheduler"), "ScoreSdeVeScheduler"),
        (lambda f: DDPMScheduler(prediction_type="score").save_pretrained(f / "scheduler"), "DDPMScheduler"),
        (lambda f: DDPMScheduler(prediction_type="flow").save_pretrained(f / "scheduler"), "flow"),
        (lambda f: changed(f / "scheduler/scheduler_config.json", beta_schedule="x"), "DDPMScheduler"),
        (lambda f: changed(f / "scheduler/scheduler_config.json", num_train_timesteps=10**9), "100000"),
        (lambda f: changed(f / "scheduler/scheduler_config.json", beta_end=2.0), "999"),
    ],
)
def test_what_is_damaged_or_of_no_use_is_refused(
    folder: Path, change: Callable[[Path], object], message: str
) -> None:
    change(folder)
    assert message in refusal(folder)


def test_without_the_package_it_says_what_to_install(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(PriorError, match="diffusers") as error:
        load_image_prior(saved)
    assert "sepcli[diffusers]" in str(error.value.hint)


def test_cards_need_neither_the_package_nor_torch(saved: Path) -> None:
    code = (
        "import sys; from sepcli.catalog import resolve; resolve.find(sys.argv[1]); "
        "sys.exit(bool({'torch', 'diffusers'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(saved)]).returncode == 0


def test_a_repository_is_fetched_verified_and_known_offline(hub: Hub, saved: Path) -> None:
    commit = hub.publish("tester/ddpm-tiny", saved)
    card, missing = resolve.preview(WORD)
    assert set(missing) == set(card.files) == {CONFIG, WEIGHTS, "scheduler/scheduler_config.json"}
    card, folder = resolve.fetch(WORD)
    assert (card.name, card.repo, card.revision) == ("ddpm-tiny", "tester/ddpm-tiny", commit)
    assert {name: entry.sha256 for name, entry in card.files.items()} == {
        name: cards.sha256(saved / name) for name in card.files
    }
    assert not any(path.endswith("model_index.json") for path in hub.fetched())
    assert resolve.find(WORD) == resolve.fetch(WORD, offline=True) == (card, folder)
    assert hub.asked == []
    assert loaded(folder).config == loaded(saved).config
    assert resolve.fetch(f"{WORD}@{commit}")[1] == folder
    assert hub.asked == []


def test_what_is_damaged_in_the_cache_is_seen_and_fetched_anew(hub: Hub, saved: Path) -> None:
    hub.publish("tester/ddpm-tiny", saved)
    _, folder = resolve.fetch(WORD)
    for name in (WEIGHTS, CONFIG):
        (folder / name).resolve().write_bytes((saved / name).read_bytes()[:-1] + b"!")
        with pytest.raises(PriorError, match=name):
            cards.verify(*resolve.find(WORD))
        cards.verify(*resolve.fetch(WORD))
        assert (folder / name).read_bytes() == (saved / name).read_bytes()


def test_a_cache_without_links_is_verified(hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows without developer mode, where the cache keeps files under their names."""
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)
    commit = hub.publish("tester/ddpm-tiny", saved)
    card, folder = resolve.fetch(WORD)
    assert not (folder / WEIGHTS).is_symlink()
    assert resolve.find(WORD) == (card, folder)
    (folder / WEIGHTS).write_bytes((saved / WEIGHTS).read_bytes()[:-1] + b"!")
    for word in (WORD, f"{WORD}@{commit}"):
        with pytest.raises(PriorError, match=WEIGHTS):
            cards.verify(*resolve.find(word))
        assert run(["fetch-priors", "--verify", word]) == 4
    assert resolve.fetch(f"{WORD}@{commit}") == (card, folder)
    assert run(["fetch-priors", "--verify", WORD]) == 0
    (folder / "card.toml").unlink()  # as if the library had fetched the network
    assert run(["fetch-priors", "--verify", WORD]) == 4


def test_weights_other_than_the_listing_s_are_not_kept(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.publish("tester/ddpm-tiny", saved)
    data = (saved / WEIGHTS).read_bytes()
    hub.instead[cards.sha256(saved / WEIGHTS)] = bytes(len(data))
    with pytest.raises(PriorError, match=WEIGHTS):
        resolve.fetch(WORD)
    assert not [p for p in (tmp_path / "hf").rglob("*") if p.is_file() and "blobs" in p.parts]


def test_configs_other_than_the_listing_s_are_not_kept(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish("tester/ddpm-tiny", saved)
    monkeypatch.setattr("hub_server.git_hash", lambda data: git_hash(data + b"!"))
    with pytest.raises(PriorError, match=CONFIG):
        resolve.fetch(WORD)
    assert not [p for p in (tmp_path / "hf").rglob("*") if p.is_file() and "blobs" in p.parts]


def test_a_repository_of_pickles_only_is_refused(hub: Hub, folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    hub.publish("tester/ddpm-tiny", folder)
    with pytest.raises(PriorError, match="tester/ddpm-tiny"):
        resolve.fetch(WORD)


def test_a_short_name_is_the_newest_of_its_repository(
    hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "UNPINNED", {"tiny-church": "tester/ddpm-tiny"})
    with pytest.raises(PriorError, match="tiny-church"):
        resolve.find("tiny-church")
    with pytest.raises(PriorError) as error:
        resolve.find("tiny-churhc")
    assert "tiny-church" in str(error.value.hint)
    commit = hub.publish("tester/ddpm-tiny", saved)
    resolve.fetch("tiny-church")
    card, _ = resolve.find("tiny-church")
    assert (card.name, card.sources, card.revision) == ("tiny-church", ("tiny-church",), commit)


def test_a_repository_has_to_say_its_schedule(hub: Hub, folder: Path, saved: Path) -> None:
    shutil.rmtree(folder / "scheduler")
    hub.publish("tester/ddpm-tiny", folder)
    with pytest.raises(PriorError, match=r"scheduler_config\.json"):
        resolve.fetch(WORD)
    hub.publish("tester/ddpm-tiny", saved)
    _, fetched = resolve.fetch(WORD)
    (fetched / "scheduler" / "scheduler_config.json").unlink()  # as if the library had fetched the network
    with pytest.raises(PriorError, match="tester/ddpm-tiny"):
        resolve.find(WORD)
    assert "scheduler/scheduler_config.json" in resolve.fetch(WORD)[0].files
