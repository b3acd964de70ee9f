"""What people and strangers may hand to ``sepcli``: odd images, huge numbers, tampered priors."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sepcli.catalog import card as cards
from sepcli.cli import separate_images
from sepcli.cli.app import run
from sepcli.cli.work import Loaded, Outcome
from sepcli.errors import InputError, PriorError
from sepcli.media.images import read_image
from sepcli.priors.images.load import load_image_prior
from sepcli.training.checkpoints import write_tensors


def separate(image: Path, prior: Path, out: Path, *more: str) -> int:
    return run(["separate", str(image), "--prior", str(prior), "-o", str(out), "--set", "steps=2", *more])


def two_lines(text: str) -> bool:
    first, second, *_ = text.splitlines()  # and the counts of a batch
    return first.startswith("error: ") and second.startswith("  → ") and "SEPCLI_DEBUG" not in second


@pytest.fixture
def image(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).integers(60, 190, (8, 8), np.uint8)
    Image.fromarray(data).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


@pytest.mark.parametrize("data", [np.array([[7]], np.uint8), np.full((8, 8), 0.5, np.float32)])
def test_one_pixel_and_floating_point(
    tiny_images: Path, tmp_path: Path, data: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(data).save(tmp_path / "mix.tif")
    assert separate(tmp_path / "mix.tif", tiny_images, tmp_path / "out") == 0
    assert capsys.readouterr().err == ""


def test_a_seed_has_63_bits(tiny_images: Path, image: Path, tmp_path: Path) -> None:
    assert separate(image, tiny_images, tmp_path / "out", "--seed", str(2**63)) == 2
    assert separate(image, tiny_images, tmp_path / "out", "--seed", str(2**63 - 1), "--samples", "2") == 0
    draws = json.loads((tmp_path / "out" / "mix" / "run.json").read_text())["samples"]
    assert len({draw["seed"] for draw in draws}) == 2


def test_consistency_is_for_sound(
    tiny_images: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert separate(image, tiny_images, tmp_path / "out", "--consistency", "none") == 2
    assert "--consistency" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_whatever_pillow_raises_is_a_damaged_image(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8)).save(whole)
    data, rng = whole.read_bytes(), np.random.default_rng(1)
    for _ in range(150):
        harmed = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 6)):
            harmed[position] = rng.integers(256)
        (tmp_path / f"harmed.{suffix}").write_bytes(harmed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(InputError):
                read_image(tmp_path / f"harmed.{suffix}")


def test_a_width_of_zero_is_refused(
    tiny_images: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--sampler", "langevin", "--set", "width=0")
    assert separate(image, tiny_images, tmp_path / "out", *more) == 2
    assert two_lines(capsys.readouterr().err)


@pytest.mark.parametrize("trouble", [RuntimeError("can't allocate memory: 2 TB"), MemoryError()])
def test_too_little_memory_fails_one_image(
    tiny_images: Path,
    image: Path,
    tmp_path: Path,
    trouble: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(image, tmp_path / "small.png")
    whole = separate_images.separate_image

    def fails(loaded: Loaded, job: Any, on_part: Any, **more: Any) -> Outcome:
        if job.track == "mix":
            raise trouble
        return whole(loaded, job, on_part, **more)

    monkeypatch.setattr(separate_images, "separate_image", fails)
    assert separate(image, tiny_images, tmp_path / "out") == 1
    assert two_lines(capsys.readouterr().err)
    assert separate(image, tiny_images, tmp_path / "out", str(tmp_path / "small.png")) == 3
    assert two_lines(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small"]


def test_sources_that_are_not_finite_are_not_written(
    tiny_images: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_images, tmp_path / "broken")
    weights = folder / "denoiser" / "model.safetensors"
    save_file({name: t * torch.nan for name, t in load_file(weights).items()}, weights)
    cards.write(cards.with_files(cards.read(folder), folder), folder)
    assert separate(image, folder, tmp_path / "out") == 1
    assert two_lines(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "fields", [{"blocks": 10**9}, {"widths": [10**7]}, {"widths": []}, {"widths": {}}, {"blocks": None}]
)
def test_a_config_of_another_network_is_refused_at_once(
    tiny_images: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    folder = shutil.copytree(tiny_images, tmp_path / "tampered")
    config = folder / "denoiser" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    with pytest.raises(PriorError, match="denoiser"):
        load_image_prior(folder)


def test_a_config_nested_without_end_is_refused(tiny_images: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_images, tmp_path / "tampered")
    (folder / "denoiser" / "config.json").write_text("[" * 100_000)
    with pytest.raises(PriorError, match="denoiser"):
        load_image_prior(folder)


def test_a_pickle_that_calls_is_refused_in_two_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "evil.pth"
    checkpoint.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")  # protocol 4, over which PyTorch warns
    assert run(["import-prior", str(checkpoint), "--out", str(tmp_path / "out")]) == 1
    assert two_lines(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_others_may_read_weights_as_they_may_read_text(tmp_path: Path) -> None:
    write_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(2)})
    (tmp_path / "plain").write_text("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("model.safetensors", "plain")]
    assert modes[0] == modes[1]
