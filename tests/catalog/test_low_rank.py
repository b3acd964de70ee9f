"""Weights as a difference of low rank from those of a bundled prior: values, files, wrong bases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.catalog.low_rank import BASE, HASH, LEFT, RIGHT, Difference, complete, factors
from sepcli.catalog.storage import convert, read_weights
from sepcli.catalog.verified import verified
from sepcli.cli.app import run
from sepcli.errors import PriorError
from sepcli.priors.images.load import load_image_prior

BUNDLED = Difference("mnist-lass/codec", 4)
Tensors = dict[str, Tensor]


def changed(base: Tensors, rank: int, scale: float = 0.1) -> Tensors:
    """The tensors with a random difference of a rank, relative to their size; vectors all changed."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    out = {}
    for name, tensor in base.items():
        flat = tensor.float().flatten(1) if tensor.dim() > 1 else tensor.float()[:, None]
        size = scale * float(flat.std(correction=0)) or scale
        change = normal(len(flat), rank) @ normal(rank, flat.shape[1]) * size / rank**0.5
        out[name] = tensor.float() + change.view(tensor.shape)
    return out


@pytest.fixture(scope="module")
def base() -> Tensors:
    return read_weights(BUNDLED.file())


def test_a_difference_of_the_rank_is_kept_exactly() -> None:
    before = {
        "w": torch.randn(40, 8, 5),
        "small": torch.randn(2, 3),
        "b": torch.randn(40),
        "same": torch.ones(9),
    }
    after = {**changed({k: before[k] for k in ("w", "small", "b")}, 2), "same": before["same"]}
    stored = factors(before, after, 2)
    assert set(stored) == {"w" + LEFT, "w" + RIGHT, "small", "b"}  # 2 (2 + 3) numbers are more than 6
    assert (stored["w" + LEFT].shape, stored["w" + RIGHT].shape) == ((40, 2), (2, 40))
    product = stored["w" + LEFT] @ stored["w" + RIGHT]
    torch.testing.assert_close(before["w"] + product.view(40, 8, 5), after["w"], atol=1e-5, rtol=0)


def test_the_best_difference_of_a_rank_is_that_of_the_singular_values() -> None:
    before = {"w": torch.zeros(30, 30)}
    after = {"w": torch.diag(torch.arange(30.0))}
    stored = factors(before, after, 3)
    left = after["w"] - stored["w" + LEFT] @ stored["w" + RIGHT]
    assert float(left.square().sum()) == pytest.approx(sum(n**2 for n in range(27)), rel=1e-5)


def test_a_file_holds_the_difference_only(base: Tensors, tmp_path: Path) -> None:
    trained, whole, low = changed(base, 4), tmp_path / "whole.safetensors", tmp_path / "low.safetensors"
    save_file(trained, whole)
    error = convert(whole, low, "int8", BUNDLED)
    assert 0 < error < 0.01
    assert low.stat().st_size < 0.3 * whole.stat().st_size
    after = read_weights(low)
    assert after.keys() == trained.keys()
    for name, tensor in trained.items():
        assert after[name].shape == tensor.shape
        assert float((after[name].float() - tensor).norm()) <= 0.02 * float(tensor.norm()) + 1e-6
    again = tmp_path / "again.safetensors"
    convert(low, again, "float16")  # whole again
    assert BASE not in metadata_of(again)
    assert read_weights(again).keys() == trained.keys()


def metadata_of(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(header.get("__metadata__", {}))


@pytest.mark.parametrize(
    "change",
    [
        {HASH: "0" * 64},
        {BASE: "mnist-lass/transformer"},
        {BASE: "mnist-lass/nothing"},
        {BASE: "nothing/codec"},
        {BASE: "../mnist-lass/codec"},
        {BASE: ""},
    ],
)
def test_other_bases_are_refused(base: Tensors, tmp_path: Path, change: dict[str, str]) -> None:
    whole, low = tmp_path / "whole.safetensors", tmp_path / "low.safetensors"
    save_file(changed(base, 4), whole)
    convert(whole, low, "bfloat16", BUNDLED)
    save_file(load(low.read_bytes()), low, {**metadata_of(low), **change})
    with pytest.raises(PriorError):
        read_weights(low)


def test_factors_that_do_not_fit_are_refused(base: Tensors) -> None:
    name = max(base, key=lambda key: base[key].numel())
    rows, columns = base[name].flatten(1).shape
    good = {name + LEFT: torch.ones(rows, 2), name + RIGHT: torch.ones(2, columns)}
    metadata, path = BUNDLED.metadata(), BUNDLED.file()
    merged = complete(good, metadata, path, read_weights)
    torch.testing.assert_close(merged[name].float(), base[name].float() + 2.0)
    for bad in (
        {name + LEFT: torch.ones(rows, 2)},
        {**good, name + RIGHT: torch.ones(3, columns)},
        {**good, name + LEFT: torch.ones(rows + 1, 2)},
        {"unknown": torch.ones(3)},
    ):
        with pytest.raises(PriorError, match="damaged"):
            complete(bad, metadata, path, read_weights)


def test_a_base_may_be_a_difference_itself(tmp_path: Path) -> None:
    of_difference = Difference("songs-other/denoiser", 2)
    before = read_weights(of_difference.file())
    trained, whole, low = changed(before, 2), tmp_path / "whole.safetensors", tmp_path / "low.safetensors"
    save_file(trained, whole)
    assert 0 < convert(whole, low, "int8", of_difference) < 0.01
    after = read_weights(low)
    for name, tensor in trained.items():
        assert float((after[name].float() - tensor).norm()) <= 0.02 * float(tensor.norm()) + 1e-6


def test_a_prior_that_is_its_base_needs_no_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "same"
    assert (
        run(["import-prior", "mnist", "--storage", "int8", "--base", "mnist", "--rank", "8", "-o", str(out)])
        == 0
    )
    assert "int8" in capsys.readouterr().out
    card = cards.read(out)
    assert card.parts["denoiser"].storage["base"] == "mnist"
    assert (out / "denoiser" / "model.safetensors").stat().st_size < 1000
    ours, theirs = (load_image_prior(verified(*resolve.find(name))) for name in (str(out), "mnist"))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert "mnist" in index.names()


def test_options_that_need_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "p")]
    for words in (
        ["mnist", "--storage", "int8", "--rank", "8"],
        ["mnist", "--base", "mnist"],
        ["mnist", "--storage", "int8", "--base", "cifar10"],
    ):
        assert run(["import-prior", *words, *out]) != 0
        assert len(capsys.readouterr().err.strip().splitlines()) == 2
