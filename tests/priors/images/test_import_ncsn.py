"""Importing the released score networks: the same score, and files that must be refused."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from released_ncsn import State, released_score, released_shapes, released_state, save_released
from safetensors.torch import load_file

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.errors import InputError, OutputError, PriorError
from sepcli.priors.images.import_ncsn import import_ncsn
from sepcli.priors.images.load import load_image_prior
from sepcli.priors.images.ncsn import NcsnConfig


class Payload:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    ("channels", "width", "levels", "legacy"), [(1, 4, 10, False), (3, 6, 5, True)], ids=["gray", "color"]
)
def test_the_imported_score_is_the_released_one(
    tmp_path: Path, channels: int, width: int, levels: int, legacy: bool
) -> None:
    state = released_state(1, channels, width, levels)
    checkpoint = save_released(tmp_path / "checkpoint.pth", state, legacy)
    config = import_ncsn(checkpoint, tmp_path / "prior", source="digit")
    side = 28 if channels == 1 else 32
    assert config == NcsnConfig(channels, (side, side), width, levels)
    card, folder = resolve.find(str(tmp_path / "prior"))
    cards.verify(card, folder)
    assert (card.engine, card.sources, card.settings) == (
        "score",
        ("digit",),
        {"score": {"sampler": "langevin"}},
    )
    assert card.parts["ncsn"].training["sha256"] == cards.sha256(checkpoint)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "card.toml",
        "ncsn/config.json",
        "ncsn/model.safetensors",
    ]
    prior = load_image_prior(folder)
    x = torch.rand(levels, 1, channels, 12, 8, generator=torch.Generator().manual_seed(0))
    expected = released_score(state, x[:, 0], torch.arange(levels))
    for level, sigma in enumerate(prior.sigmas):
        found = prior.score(x[level : level + 1], sigma)[0]
        assert torch.allclose(
            found, expected[level : level + 1], rtol=1e-3, atol=1e-3 * float(expected.std())
        )
    assert float(expected.std()) > 0.1


def test_the_state_alone_will_do(tmp_path: Path) -> None:
    state = released_state()
    state["end_conv.weight"] = torch.rand(3, 3, 4, 1).permute(3, 2, 0, 1)  # not contiguous
    state["begin_conv.bias"] = state["res1.0.conv1.bias"]  # the same memory
    torch.save(state, tmp_path / "plain.pth")
    config = import_ncsn(tmp_path / "plain.pth", tmp_path / "prior", source="cat", size=20)
    assert config.size == (20, 20)
    stored = load_file(tmp_path / "prior" / "ncsn" / "model.safetensors")
    assert len(stored) == len(released_shapes()) == 173
    assert torch.equal(stored["net.down.1.0.skip.weight"], state["res2.0.shortcut.conv.weight"])
    assert torch.equal(stored["net.leave.weight"], state["end_conv.weight"])


def test_code_is_not_run(tmp_path: Path) -> None:
    torch.save([released_state(), Payload(tmp_path / "ran")], tmp_path / "evil.pth")
    with pytest.raises(InputError, match="mkdir") as caught:
        import_ncsn(tmp_path / "evil.pth", tmp_path / "prior", source="digit")
    assert "weights_only" not in caught.value.message + caught.value.hint
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "prior").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "ran").exists()  # so the refusal above was worth something


def without(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("refine2.msf")}


def reshaped(state: State) -> State:
    return {**state, "res1.0.conv1.weight": torch.zeros(4, 4, 5, 5)}


def infinite(state: State) -> State:
    return {**state, "end_conv.bias": torch.tensor([float("inf")])}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without, r"net\.up\.1\.fuse\.norms\.0\.embed\.weight"),
        (reshaped, r"net\.down\.0\.0\.conv1\.weight"),
        (infinite, r"net\.leave\.bias"),
        (lambda state: {**state, "end_conv.bias": torch.zeros(1).long()}, r"net\.leave\.bias"),
        (
            lambda state: {**state, "res5.0.conv1.bias": torch.zeros(4)},
            r"net\.res5\.0\.conv1\.bias",
        ),
        (
            lambda state: {**state, "begin_conv.weight": torch.zeros(4)},
            "begin_conv",
        ),
        (
            lambda state: {**state, "begin_conv.weight": torch.zeros(1).expand(10**6, 1, 3, 3)},
            "more numbers than it holds",
        ),
        (lambda state: {}, "begin_conv"),
        (lambda state: {"epoch": 3}, r"other\.pth"),
        (lambda state: 3, r"other\.pth"),
        (lambda state: [], r"other\.pth"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, change: Callable[[State], object], match: str) -> None:
    torch.save(change(released_state()), tmp_path / "other.pth")
    with pytest.raises(InputError, match=match):
        import_ncsn(tmp_path / "other.pth", tmp_path / "prior", source="digit")
    assert not (tmp_path / "prior").exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_number_that_is_repeated_takes_no_memory(tmp_path: Path, legacy: bool) -> None:
    state = released_state()
    name = "res1.0.conv1.weight"
    state[name] = torch.zeros(1).expand(10**5, 10**5)
    save_released(tmp_path / "c.pth", state, legacy)
    with pytest.raises(InputError, match=r"c\.pth .*more numbers"):
        import_ncsn(tmp_path / "c.pth", tmp_path / "prior", source="digit")


@pytest.mark.parametrize("legacy", [False, True])
def test_bytes_that_are_made_by_their_number_are_refused(tmp_path: Path, legacy: bool) -> None:
    saved = [released_state(), bytearray(5)]
    torch.save(saved, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match="bytearray"):
        import_ncsn(tmp_path / "c.pth", tmp_path / "prior", source="digit")


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    whole = save_released(tmp_path / "whole.pth", released_state())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "c.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(InputError, match="compressed"):
        import_ncsn(tmp_path / "c.pth", tmp_path / "prior", source="digit")


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files_are_refused(tmp_path: Path, legacy: bool) -> None:
    whole = save_released(tmp_path / "whole.pth", released_state(), legacy).read_bytes()
    pieces = [b"", b"x", b"\x80\x02]", whole[:100], whole[: len(whole) // 2], whole[:-30], whole[200:]]
    for piece in pieces:
        (tmp_path / "bad.pth").write_bytes(piece)
        with pytest.raises(InputError, match=r"bad\.pth"):
            import_ncsn(tmp_path / "bad.pth", tmp_path / "prior", source="digit")
    with pytest.raises(InputError, match=tmp_path.name):
        import_ncsn(tmp_path, tmp_path / "prior", source="digit")
    assert not (tmp_path / "prior").exists()


def test_what_is_there_is_kept(tmp_path: Path, tiny_images: Path) -> None:
    first, second = (save_released(tmp_path / f"{n}.pth", released_state(n)) for n in (1, 2))
    out = tmp_path / "prior"
    import_ncsn(first, out, source="digit")
    before = (out / "card.toml").read_bytes()
    with pytest.raises(OutputError, match="ncsn"):
        import_ncsn(second, out, source="digit")
    assert (out / "card.toml").read_bytes() == before
    (out / "ncsn" / "checkpoint.safetensors").write_bytes(b"")
    import_ncsn(second, out, source="digit", overwrite=True)
    assert cards.read(out).parts["ncsn"].training["checkpoint"] == "2.pth"
    assert not (out / "ncsn" / "checkpoint.safetensors").exists()
    cards.verify(cards.read(out), out)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="denoiser"):
            import_ncsn(first, tiny_images, source="digit", overwrite=overwrite)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError, match="file/prior"):
        import_ncsn(first, tmp_path / "file" / "prior", source="digit")


def test_a_damaged_prior_says_which_part(tmp_path: Path) -> None:
    import_ncsn(save_released(tmp_path / "c.pth", released_state()), tmp_path / "prior", source="digit")
    (tmp_path / "prior" / "ncsn" / "config.json").write_text('{"width": 5}')
    with pytest.raises(PriorError, match="ncsn"):
        load_image_prior(tmp_path / "prior")
    (tmp_path / "prior" / "ncsn" / "config.json").unlink()
    with pytest.raises(PriorError, match="ncsn"):
        load_image_prior(tmp_path / "prior")
