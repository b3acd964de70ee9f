"""Importing diffusion models that were saved as pickles: the same score, and files that must be refused."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.errors import InputError, OutputError, PriorError, SepError

pytest.importorskip("diffusers", exc_type=(ImportError, AttributeError))  # or another torch

from diffusers import DDPMScheduler, ScoreSdeVeScheduler
from safetensors.torch import load_file
from tiny_unet import exploding_unet, tiny_unet

from sepcli.priors.images.import_diffusers import import_diffusers
from sepcli.priors.images.load import load_image_prior

PICKLE = "diffusion_pytorch_model.bin"
SCHEDULE = "scheduler/scheduler_config.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
State = dict[str, torch.Tensor]


class Payload:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def save_exploding(folder: Path, safe: bool) -> Path:
    """All at the top, as the released networks are, which have blocks that skip."""
    skipping = {
        "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        "block_out_channels": (32, 32),
        "norm_num_groups": None,
    }
    exploding_unet(**skipping).save_pretrained(folder, safe_serialization=safe)
    ScoreSdeVeScheduler(sigma_max=380.0).save_pretrained(folder)
    return folder


def save_ddpm(folder: Path, safe: bool) -> Path:
    tiny_unet().save_pretrained(folder / "unet", safe_serialization=safe)
    DDPMScheduler(prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    return folder


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network in a pickle; copy it before changing it."""
    return save_ddpm(tmp_path_factory.mktemp("pickled") / "tiny", safe=False)


@pytest.fixture
def folder(pickled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pickled, tmp_path / "tiny"))


def state_of(folder: Path) -> State:
    return dict(torch.load(folder / "unet" / PICKLE, weights_only=True))


def resave(folder: Path, state: object, **options: Any) -> None:
    torch.save(state, folder / "unet" / PICKLE, **options)


def score_of(folder: Path) -> torch.Tensor:
    x = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return load_image_prior(folder).score(x, torch.tensor(0.3))


def refusal(folder: Path, out: Path, kind: type[SepError] = InputError, **more: Any) -> str:
    """Why it is refused; nothing may be left of it."""
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        import_diffusers(folder, out, **more)
    assert sorted(out.parent.rglob("*")) == before
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("save", [save_ddpm, save_exploding])
def test_the_imported_score_is_that_of_safetensors(
    tmp_path: Path, save: Callable[[Path, bool], Path]
) -> None:
    source, out = save(tmp_path / "pickled", False), tmp_path / "a" / "prior"
    assert list(source.rglob("*.bin"))
    assert not list(source.rglob("*.safetensors"))
    config = import_diffusers(source, out, source="church")
    safe = save(tmp_path / "safe", True)
    assert torch.equal(score_of(out), score_of(safe))
    assert float(score_of(out).std()) > 0.01
    assert config == load_image_prior(safe).config
    card, folder = resolve.find(str(out))
    cards.verify(card, folder)
    assert (card.name, card.sources, card.engine, card.resolution) == ("prior", ("church",), "score", (8, 8))
    made = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert made == {"card.toml", *card.files}
    assert set(card.files) == {"unet/config.json", WEIGHTS, SCHEDULE}
    pickle = next(source.rglob("*.bin"))
    assert card.parts["unet"].training == {"checkpoint": PICKLE, "sha256": cards.sha256(pickle)}
    assert [p.name for p in out.parent.iterdir()] == ["prior"]


def test_a_network_of_the_past_is_understood(folder: Path, tmp_path: Path) -> None:
    """Legacy pickles, old names of attention, a prefix, and frequencies under two names."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, tensor in state_of(folder).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        state[f"module.{name}"] = tensor
    assert any("proj_attn" in name for name in state)
    resave(folder, state, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(folder / "unet" / PICKLE)
    import_diffusers(folder, tmp_path / "prior")
    assert torch.equal(score_of(tmp_path / "prior"), score_of(save_ddpm(tmp_path / "safe", True)))

    flat = save_exploding(tmp_path / "flat", False)
    expected = score_of(save_exploding(tmp_path / "flat-safe", True))
    state = dict(torch.load(flat / PICKLE, weights_only=True))
    for names in (("time_proj.W", "time_proj.weight"), ("time_proj.W",)):
        own = dict(state)
        own |= dict.fromkeys(names, own.pop("time_proj.weight"))
        torch.save(own, flat / PICKLE)
        import_diffusers(flat, tmp_path / "ve", overwrite=True)
        assert torch.equal(score_of(tmp_path / "ve"), expected)
    torch.save({**state, "time_proj.W": state["time_proj.weight"] + 1}, flat / PICKLE)
    assert "time_proj.W" in refusal(flat, tmp_path / "other")


def test_types_are_kept(folder: Path, tmp_path: Path) -> None:
    resave(folder, {name: tensor.half() for name, tensor in state_of(folder).items()})
    import_diffusers(folder, tmp_path / "prior")
    stored = load_file(tmp_path / "prior" / WEIGHTS)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert score_of(tmp_path / "prior").isfinite().all()


def test_a_snapshot_of_the_hub_s_cache_is_read_through_its_links(folder: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0" / "unet"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for name in ("config.json", PICKLE):
        shutil.move(folder / "unet" / name, blobs / name[:3])
        (snapshot / name).symlink_to(f"../../../blobs/{name[:3]}")
    told: list[str] = []
    import_diffusers(snapshot.parent, tmp_path / "prior", on_message=told.append)
    assert len(told) == 1
    assert "scheduler" in told[0]  # the snapshot has no scheduler
    assert not any(p.is_symlink() for p in (tmp_path / "prior").rglob("*"))
    assert set(cards.read(tmp_path / "prior").files) == {"unet/config.json", WEIGHTS}


def test_which_pickle_is_meant(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unet = folder / "unet"
    shutil.copy(unet / PICKLE, unet / "ema.pt")
    import_diffusers(folder, tmp_path / "a")  # the usual name wins
    assert cards.read(tmp_path / "a").parts["unet"].training["checkpoint"] == PICKLE
    (unet / PICKLE).rename(unet / "other.bin")
    assert "ema.pt, other.bin" in refusal(folder, tmp_path / "b")
    for number, path in enumerate((unet / "ema.pt", folder / "unet" / "other.bin")):
        import_diffusers(path, tmp_path / f"c{number}")
        card = cards.read(tmp_path / f"c{number}")
        assert card.parts["unet"].training["checkpoint"] == path.name
        assert SCHEDULE in card.files  # that beside the folder unet
    (unet / "ema.pt").unlink()
    monkeypatch.chdir(unet)
    for number, path in enumerate((unet, Path("."), Path("other.bin"))):
        import_diffusers(path, tmp_path / f"d{number}")
        assert SCHEDULE in cards.read(tmp_path / f"d{number}").files


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_not_run(folder: Path, tmp_path: Path, legacy: bool) -> None:
    state = {**state_of(folder), "evil": Payload(tmp_path / "ran")}
    resave(folder, state, _use_new_zipfile_serialization=not legacy)
    assert "mkdir" in refusal(folder, tmp_path / "prior")
    assert not (tmp_path / "ran").exists()
    torch.load(folder / "unet" / PICKLE, weights_only=False)
    assert (tmp_path / "ran").exists()  # so the refusal above was worth something


NAME = "conv_in.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if "conv_in" not in n}, NAME),
        (lambda s: {**s, "extra.weight": torch.zeros(1)}, "extra.weight"),
        (lambda s: {**s, NAME: s[NAME][:, :2]}, NAME),
        (lambda s: {**s, NAME: s[NAME] / 0}, NAME),
        (lambda s: {**s, NAME: s[NAME].long()}, NAME),
        (lambda s: {**s, NAME: s[NAME].to_sparse()}, NAME),
        (lambda s: {**s, NAME: torch.empty_like(s[NAME], device="meta")}, NAME),
        (lambda s: {**s, "a": torch.zeros(1).expand(10**9)}, PICKLE),
        (lambda s: {"state_dict": s}, PICKLE),
        (lambda s: {}, "142"),
        (lambda s: 3, PICKLE),
    ],
)
def test_other_tensors_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[State], object], message: str
) -> None:
    resave(folder, change(state_of(folder)))
    assert message in refusal(folder, tmp_path / "prior")


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files_are_refused(folder: Path, tmp_path: Path, legacy: bool) -> None:
    resave(folder, state_of(folder), _use_new_zipfile_serialization=not legacy)
    pickle = folder / "unet" / PICKLE
    whole = pickle.read_bytes()
    for piece in (b"", b"x", whole[:100], whole[: len(whole) // 2], whole[:-30], whole[200:]):
        pickle.write_bytes(piece)
        assert PICKLE in refusal(folder, tmp_path / "prior")


def test_a_damaged_number_is_seen(folder: Path, tmp_path: Path) -> None:
    pickle = folder / "unet" / PICKLE
    whole = pickle.read_bytes()
    place = whole.index(state_of(folder)["conv_in.weight"].numpy().tobytes())
    pickle.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert torch.load(pickle, weights_only=True)["conv_in.weight"].isfinite().all()
    assert PICKLE in refusal(folder, tmp_path / "prior")


def test_a_compressed_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    """It may grow to any size; ``torch.save`` writes none."""
    pickle, packed = folder / "unet" / PICKLE, tmp_path / "packed"
    with zipfile.ZipFile(pickle) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    packed.replace(pickle)
    assert "compressed" in refusal(folder, tmp_path / "prior")


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda f: changed(f / "unet/config.json", block_out_channels=[16, 16]), InputError, PICKLE),
        (lambda f: changed(f / "unet/config.json", block_out_channels=[10**7, 10**7]), InputError, PICKLE),
        (lambda f: changed(f / "unet/config.json", layers_per_block=10**9), PriorError, "layers_per_block"),
        (lambda f: changed(f / "unet/config.json", down_block_types=["X"]), PriorError, "config.json"),
        (lambda f: changed(f / "unet/config.json", _class_name="UNet1DModel"), PriorError, "UNet2DModel"),
        (lambda f: changed(f / "unet/config.json", in_channels=4, out_channels=4), PriorError, "4"),
        (lambda f: (f / "unet/config.json").write_text("[" * 10**6), PriorError, "config.json"),
        (lambda f: (f / "unet/config.json").unlink(), InputError, "config.json"),
        (lambda f: shutil.copytree(f / "unet", f / "vae"), PriorError, "latent"),
        (lambda f: changed(f / "unet/config.json", quantization_config={}), PriorError, "quantized"),
        (lambda f: changed(f / SCHEDULE, beta_schedule="x"), PriorError, "DDPMScheduler"),
        (lambda f: changed(f / SCHEDULE, num_train_timesteps=0), PriorError, "DDPMScheduler"),
        (lambda f: ScoreSdeVeScheduler().save_pretrained(f / "scheduler"), PriorError, "ScoreSdeVeScheduler"),
        (lambda f: tiny_unet().save_pretrained(f / "unet"), InputError, "tiny"),
        (lambda f: shutil.rmtree(f), InputError, "tiny"),
    ],
)
def test_other_folders_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[Path], object], kind: type[SepError], message: str
) -> None:
    change(folder)
    assert message in refusal(folder, tmp_path / "prior", kind)


def test_without_the_package_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "diffusers" in refusal(folder, tmp_path / "prior", PriorError)


def test_what_is_there_is_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "prior"
    out.mkdir()
    import_diffusers(folder, out)  # an empty folder is a place
    before = (out / WEIGHTS).read_bytes()
    assert str(out) in refusal(folder, out, OutputError)
    resave(folder, {name: tensor * 2 for name, tensor in state_of(folder).items()})
    shutil.rmtree(folder / "scheduler")
    resave_bad = shutil.copytree(folder, tmp_path / "bad")
    resave(resave_bad, {})
    refusal(resave_bad, out, InputError, overwrite=True)
    assert (out / WEIGHTS).read_bytes() == before
    import_diffusers(folder, out, overwrite=True)
    assert (out / WEIGHTS).read_bytes() != before
    assert not (out / "scheduler").exists()  # nothing of the other prior is left
    cards.verify(cards.read(out), out)
    (out / "diary.txt").write_text("x")
    assert "diary.txt" in refusal(folder, out, OutputError, overwrite=True)
    (out / "diary.txt").unlink()
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(out / "unet")
    (out / "unet").symlink_to(tmp_path / "elsewhere")
    assert "unet" in refusal(folder, out, OutputError, overwrite=True)
    for place in (folder, folder / "..", tmp_path):
        assert str(tmp_path) in refusal(folder, place, OutputError, overwrite=True)


def test_a_place_that_cannot_be_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    with monkeypatch.context() as here:
        here.chdir(tmp_path / "here")
        assert "here" in refusal(folder, tmp_path / "here", OutputError)
    (tmp_path / "file").write_bytes(b"x")
    assert "file" in refusal(folder, tmp_path / "file", OutputError)
    assert "file/prior" in refusal(folder, tmp_path / "file" / "prior", OutputError)
    import_diffusers(folder, tmp_path / "prior")
    before = (tmp_path / "prior" / "card.toml").read_bytes()

    def rename(self: Path, target: Path, own: Callable[[Path, Path], Path] = Path.rename) -> Path:
        if self.suffix == ".part":
            raise OSError(28, "No space left on device")
        return own(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert "no space left" in refusal(folder, tmp_path / "prior", OutputError, overwrite=True).lower()
    assert (tmp_path / "prior" / "card.toml").read_bytes() == before
