"""Weights as integers with a scale per channel: values, files, and files that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sepcli.catalog.card import STORAGES
from sepcli.catalog.storage import SCALE, convert, pack, quantize, read_weights, to_bytes, write_weights
from sepcli.errors import PriorError

Tensors = dict[str, Tensor]


def network() -> Tensors:
    """A matrix that is large enough, a small one, a norm, and a table that is to stay exact."""
    generator = torch.Generator().manual_seed(0)
    names = {"w": (32, 4, 16), "few": (4, 4), "norm": (2048,), "exact": (40, 64)}
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


ROUNDED = ("w", "few", "norm")


def test_integers_and_scales_by_value() -> None:
    weights = torch.tensor([[254.0, -127.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, -1.27, 0.005, 0.0151]])
    integers, scale = quantize(weights)
    assert integers.tolist() == [[127, -64, 0, 0], [0, 0, 0, 0], [0, -127, 0, 2]]  # ties to even
    assert scale.flatten().tolist() == pytest.approx([2.0, 1.0, 0.01])
    assert (integers.dtype, scale.dtype, scale.shape) == (torch.int8, torch.float32, (3, 1))


def test_an_error_is_at_most_half_a_step_of_the_channel() -> None:
    weights = network()["w"] * torch.logspace(-30, 30, 32)[:, None, None]
    integers, scale = quantize(weights)
    errors = (integers.double() * scale.double() - weights.double()).abs() / scale
    assert float(errors.max()) <= 0.5001
    tiny = torch.full((2, 8), 1e-44)  # a subnormal number: no scale of 0
    assert bool((quantize(tiny)[1] > 0).all())


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_stored_is_what_is_read(tmp_path: Path, storage: str) -> None:
    before, path = network(), tmp_path / "w.safetensors"
    write_weights(path, pack(before, ROUNDED, storage))
    after = read_weights(path)
    assert after.keys() == before.keys()
    assert torch.equal(after["exact"], before["exact"])
    halves = torch.float16 if storage == "float16" else torch.bfloat16
    for name in ("few", "norm"):
        assert torch.equal(after[name], before[name].to(halves))
    if storage == "int8":
        integers, scale = quantize(before["w"])
        assert torch.equal(after["w"], integers.float() * scale)
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"storage": "int8/1"}
    else:
        assert torch.equal(after["w"], before["w"].to(halves))


def test_loading_is_deterministic_and_repeated_conversion_changes_nothing(tmp_path: Path) -> None:
    write_weights(tmp_path / "a", pack(network(), ROUNDED, "int8"))
    first, again = read_weights(tmp_path / "a"), read_weights(tmp_path / "a")
    assert all(torch.equal(first[name], again[name]) for name in first)
    write_weights(tmp_path / "b", pack(network(), ROUNDED, "int8"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert convert(tmp_path / "a", tmp_path / "c", "int8") < 1e-6
    assert torch.equal(load_file(tmp_path / "a")["w"], load_file(tmp_path / "c")["w"])


def test_a_file_is_converted_and_its_error_measured(tmp_path: Path) -> None:
    before = pack(network(), ROUNDED, "bfloat16")
    write_weights(tmp_path / "halves", before)
    error = convert(tmp_path / "halves", tmp_path / "integers", "int8")
    after = read_weights(tmp_path / "integers")
    wrong = sum(float((after[n].double() - before[n].double()).square().sum()) for n in ROUNDED)
    assert error == pytest.approx(
        (wrong / sum(float(before[n].double().square().sum()) for n in ROUNDED)) ** 0.5
    )
    assert 0.001 < error < 0.01
    assert torch.equal(after["exact"], before["exact"])
    assert load_file(tmp_path / "integers")["norm"].dtype == torch.bfloat16


def test_of_a_file_in_full_precision_only_tensors_with_channels_are_converted(tmp_path: Path) -> None:
    write_weights(tmp_path / "whole", network())
    convert(tmp_path / "whole", tmp_path / "integers", "int8")
    assert {name: str(t.dtype) for name, t in load_file(tmp_path / "integers").items()} == {
        "w": "torch.int8",
        "w" + SCALE: "torch.float32",
        "exact": "torch.int8",
        "exact" + SCALE: "torch.float32",
        "few": "torch.float32",
        "norm": "torch.float32",
    }


def test_numbers_that_a_storage_cannot_hold_are_kept(tmp_path: Path) -> None:
    wide, broken = network()["w"] * 1e5, network()["w"]
    broken[3, 1, 2] = torch.inf
    assert pack({"w": wide}, ["w"], "float16")["w"].dtype == torch.bfloat16
    assert not pack({"w": broken}, ["w"], "int8")["w"].isfinite().all()


def _without(name: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update(kept=tensors.pop(name).float())


def _scaled(change: Callable[[Tensor], Tensor]) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({"w" + SCALE: change(tensors["w" + SCALE]).contiguous()})


@pytest.mark.parametrize(
    "harm",
    [
        _without("w"),
        _without("w" + SCALE),
        lambda tensors: tensors.update(w=tensors["w"].float()),
        _scaled(lambda scale: scale[1:]),
        _scaled(lambda scale: scale.flatten()),
        _scaled(lambda scale: scale[:1]),
        _scaled(lambda scale: scale * torch.nan),
        _scaled(lambda scale: scale * torch.inf),
        _scaled(lambda scale: -scale),
        _scaled(lambda scale: scale.half()),
    ],
)
def test_integers_and_scales_that_do_not_fit_are_refused(
    tmp_path: Path, harm: Callable[[Tensors], None]
) -> None:
    path, tensors = tmp_path / "w.safetensors", pack(network(), ROUNDED, "int8")
    harm(tensors)
    save_file(tensors, path, {"storage": "int8/1"})
    with pytest.raises(PriorError, match=r"w\.safetensors") as refused:
        read_weights(path)
    assert "again" in refused.value.hint


@pytest.mark.parametrize(
    ("metadata", "hint"),
    [
        (None, "again"),
        ({"storage": "int8"}, "again"),
        ({"storage": "int8/x"}, "again"),
        ({"storage": "int8/2"}, "update"),
        ({"storage": "int4/1"}, "update"),
    ],
)
def test_integers_of_an_unknown_storage_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None, hint: str
) -> None:
    save_file(pack(network(), ROUNDED, "int8"), tmp_path / "w.safetensors", metadata)
    with pytest.raises(PriorError, match=r"w\.safetensors") as refused:
        read_weights(tmp_path / "w.safetensors")
    assert hint in refused.value.hint


def test_a_file_that_cannot_be_converted(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"cut")
    for name in ("bad", "none"):
        with pytest.raises(PriorError, match=name):
            convert(tmp_path / name, tmp_path / "out", "int8")
    assert not (tmp_path / "out").exists()


def test_files_repeat_to_the_byte(tmp_path: Path) -> None:
    tensors, names = network(), "abcdefgh"
    data = to_bytes(tensors, {name: name.upper() for name in names})
    assert all(data == to_bytes(tensors, {n: n.upper() for n in reversed(names)}) for _ in range(5))
    (tmp_path / "w.safetensors").write_bytes(data)
    assert all(torch.equal(t, tensors[n]) for n, t in load_file(tmp_path / "w.safetensors").items())
    with safe_open(tmp_path / "w.safetensors", "pt") as stored:
        assert stored.metadata() == {name: name.upper() for name in names}
