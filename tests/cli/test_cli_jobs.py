"""``--jobs``, ``--executor`` and ``--device``: the same results from several workers, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.cli.app import run
from sepcli.cli.workers import open_executor
from sepcli.errors import UsageError

RATE = 4000
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sepcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*words: object) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def two_lines(text: str) -> tuple[str, str]:
    first, second = text.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  → ")
    return first, second


def noise(path: Path, seed: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * RATE))
    soundfile.write(path, samples, RATE, subtype="PCM_16")


def write_pairs(folder: Path, count: int = 3) -> Path:
    for seed in range(2 * count):
        noise(folder / ("drums", "bass")[seed % 2] / f"{seed // 2}.flac", seed)
    return folder


def report(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    document.pop("cost", None)
    return document


@pytest.mark.slow
def test_an_evaluation_with_workers_is_that_of_one_process(
    sepcli: Call, tiny_prior: Path, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "items")
    words = ["evaluate", "--dataset", "pairs", "--data", data, "--prior", tiny_prior, "--batch", "1"]
    alone = sepcli(*words, "--json")
    several = sepcli(*words, "--json", "-j", "2")
    assert (alone[0], several[0], several[2]) == (0, 0, "")
    assert report(several[1]) == report(alone[1])


@pytest.mark.slow
def test_so_is_one_of_finished_estimates_and_of_images(
    sepcli: Call, tiny_images: Path, tmp_path: Path
) -> None:
    for track in ("a", "b"):
        for seed, stem in enumerate(("bass", "drums")):
            noise(tmp_path / "estimates" / track / f"{stem}.wav", seed)
            noise(tmp_path / "references" / track / f"{stem}.wav", seed + 2)
    (tmp_path / "estimates" / "a" / "bass.wav").write_bytes(b"RIFF")
    (tmp_path / "images").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 12), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02d}.png")
    images = ["--dataset", "images", "--data", "images", "--pairs", "3", "--batch", "2", "--set", "steps=2"]
    for code, words in ((3, ["estimates", "references"]), (0, [*images, "--prior", tiny_images])):
        alone = sepcli("evaluate", *words, "--json")
        several = sepcli("evaluate", *words, "--json", "--executor", "processes", "--jobs", "2")
        assert (alone[0], several[0]) == (code, code)
        assert report(several[1]) == report(alone[1])


@needs_ray
@pytest.mark.slow
def test_an_evaluation_on_a_ray_cluster_is_that_of_one_process(
    sepcli: Call, tiny_prior: Path, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "items")
    words = ["evaluate", "--dataset", "pairs", "--data", data, "--prior", tiny_prior, "--batch", "1"]
    alone = sepcli(*words, "--json")
    several = sepcli(*words, "--json", "--executor", "ray", "-j", "2")
    assert (alone[0], several[0], several[2]) == (0, 0, "")
    assert report(several[1]) == report(alone[1])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--executor", "dask"], 2, "dask"),
        (["--executor", "processes:10.0.0.1:6379"], 2, "processes"),
        (["--executor", "serial", "-j", "2"], 2, "--executor"),
        (["-j", "0"], 2, "--jobs"),
        (["-j", "2", "--device", "cuda:0"], 2, "--jobs"),
        (["--device", "cuda:1,1"], 2, "--device"),
        (["--device", "cpu,cuda:0"], 2, "--device"),
        pytest.param(["--executor", "ray:nowhere"], 2, "nowhere", marks=needs_ray),
        pytest.param(["--executor", "ray:127.0.0.1:1"], 1, "127.0.0.1:1", marks=needs_ray),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_workers_that_cannot_be(
    words: list[str], code: int, message: str, sepcli: Call, tiny_prior: Path
) -> None:
    found, out, err = sepcli("evaluate", "--prior", tiny_prior, *words)
    assert (found, out) == (code, "")
    assert message in two_lines(err)[0]


def test_devices_are_named_in_short_or_in_full() -> None:
    for text in ("cuda:0,2", "cuda:0, cuda:2"):
        assert open_executor(text, None, None).devices == ("cuda:0", "cuda:2")
    assert open_executor("cpu", None, None).devices == ("cpu",)
    assert open_executor("cpu", 3, None).devices == ("cpu",) * 3
    with pytest.raises(UsageError):
        open_executor("cuda:0,1", 3, None)
