"""``--jobs``, ``--executor`` and ``--device``: the same results from several workers, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from two_lines import two_lines

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


def test_finished_estimates_are_scored_without_torch(sepcli: Call, tmp_path: Path) -> None:
    for seed in range(4):
        for folder in ("references", "estimates"):
            noise(tmp_path / folder / f"{seed // 2}" / f"{('drums', 'bass')[seed % 2]}.wav", seed)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "torch.py").write_text("raise AssertionError('torch is imported')")
    words = ["evaluate", "estimates", "references", "--metric", "sdr,si-sdr", "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "sepcli", *words, "--jobs", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "none"), *sys.path])},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, alone, _ = sepcli(*words)
    assert (code, report(alone)) == (0, report(done.stdout))


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


DEADLY = """
import os, signal
from pathlib import Path


class Deadly:
    def score(self, x, sigma):
        for order in sorted(Path(__file__).parent.glob("kill*")):
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return -x / (0.1 + sigma**2)


own = Deadly()
"""
"""A prior that kills its process once for every file ``kill…`` beside it."""
IMAGES = ("--sampler", "projected", "--set", "steps=3", "--set", "sigma_max=1")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Three images, and the words that separate them with a prior that can kill its process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "deadly.py").write_text(DEADLY)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(60, 190, (8, 9, 1 if number else 3), np.uint8)
        Image.fromarray(pixels.squeeze()).save(f"{number}.png")
    return ("0.png", "1.png", "2.png", "--prior", "prior/deadly.py:own", *IMAGES)


def loads(text: str) -> Any:
    """A document without times."""
    return json.loads(text, object_hook=lambda entries: {k: v for k, v in entries.items() if k != "elapsed"})


def outputs(folder: str) -> dict[str, Any]:
    """All files of a folder, also hidden ones, records without times."""
    return {
        path.relative_to(folder).as_posix(): loads(path.read_text())
        if path.name == "run.json"
        else path.read_bytes()
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file())
    }


def results(text: str) -> dict[str, Any]:
    """A document without times and the folder of outputs."""
    document: dict[str, Any] = loads(text)
    for entry in document["results"]:
        del entry["record"]
    return document


def test_workers_write_the_bytes_of_one_process_also_when_one_is_killed(
    sepcli: Call, images: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    words = ("separate", *images, "text.png", "--json")
    alone = sepcli(*words, "-o", "alone")
    (tmp_path / "prior" / "kill").touch()
    several = sepcli(*words, "-o", "several", "-j", "2")
    assert not (tmp_path / "prior" / "kill").exists()
    assert (alone[0], several[0]) == (3, 3)
    assert results(several[1]) == results(alone[1])
    assert several[2] == alone[2]
    assert outputs("several") == outputs("alone")
    assert {record["threads"] for name, record in outputs("several").items() if "run" in name} == {1}


@pytest.mark.slow
def test_an_item_that_loses_two_workers_fails_and_resume_completes(
    sepcli: Call, images: tuple[object, ...], tmp_path: Path
) -> None:
    for number in range(2):
        (tmp_path / "prior" / f"kill{number}").touch()
    words = ("separate", *images, "--executor", "processes")
    code, out, err = sepcli(*words)
    error, _, counts = err.splitlines()
    assert (code, len(out.splitlines())) == (3, 2)
    assert "0.png" in error
    assert counts == "2 done, 1 failed"
    assert {path.name for path in Path("separated").iterdir()} == {"1", "2"}
    assert sepcli(*words, "--resume", "-q") == (0, "", "")
    assert sepcli("separate", *images, "-o", "alone", "-q") == (0, "", "")
    assert outputs("separated") == outputs("alone")


@pytest.mark.slow
def test_colorizations_by_workers_with_messages_and_replay(
    sepcli: Call, images: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("colorize", *images, "--samples", "2")
    alone, several = sepcli(*words, "-o", "out"), None
    Path("out").rename("alone")
    several = sepcli(*words, "-o", "out", "-j", "2")
    assert several == alone
    assert "0" in several[2].splitlines()[0]
    assert outputs("out") == outputs("alone")
    again = ("colorize", "--replay", "out/1/run.json", "--prior", "prior/deadly.py:own", "-o", "again")
    assert sepcli(*again, "-q") == (0, "", "")
    code, _, err = sepcli(*again, "-j", "2")
    assert code == 2
    assert "--jobs" in two_lines(err)[0]


@pytest.mark.slow
def test_recordings_by_workers_and_what_they_will_take(
    sepcli: Call, tiny_prior: Path, tmp_path: Path
) -> None:
    for seed in range(2):
        noise(tmp_path / "in" / f"{seed}.wav", seed)
    words = ("separate", "in", "--prior", tiny_prior)
    assert sepcli(*words, "-o", "alone", "-q") == (0, "", "")
    code, out, err = sepcli(*words, "-o", "out", "-j", "2", "--dry-run", "--json")
    assert (code, err) == (0, "")
    for entry in json.loads(out)["dry_run"]:
        assert entry["device"] == "cpu"
        assert entry["estimated_seconds"] is not None
    assert not Path("out").exists()
    assert sepcli(*words, "-o", "out", "-j", "2", "-q") == (0, "", "")
    assert outputs("out") == outputs("alone")
    code, out, err = sepcli(*words, "-o", "out", "-j", "2", "--resume", "--set", "lam=2")
    assert (code, out) == (1, "")


@needs_ray
@pytest.mark.slow
def test_a_ray_cluster_writes_the_bytes_of_one_process_also_when_a_worker_is_killed(
    sepcli: Call, images: tuple[object, ...], tmp_path: Path
) -> None:
    words = ("separate", *images)
    alone = sepcli(*words, "-o", "out")
    Path("out").rename("alone")
    (tmp_path / "prior" / "kill").touch()
    assert sepcli(*words, "-o", "out", "--executor", "ray", "-j", "2") == alone
    assert not (tmp_path / "prior" / "kill").exists()
    assert outputs("out") == outputs("alone")


@pytest.mark.parametrize("command", ["separate", "colorize", "evaluate"])
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--executor", "dask"], 2, "dask"),
        (["--executor", "processes:10.0.0.1:6379"], 2, "processes"),
        (["--executor", "serial", "-j", "2"], 2, "--executor"),
        (["-j", "0"], 2, "-j 0"),
        (["-j", "2", "--device", "cuda:0"], 2, "--jobs"),
        (["--device", "cuda:1,1"], 2, "--device"),
        (["--device", "cpu,cuda:0"], 2, "--device"),
        pytest.param(["--executor", "ray:nowhere"], 2, "nowhere", marks=needs_ray),
        pytest.param(["--executor", "ray:127.0.0.1:1"], 1, "127.0.0.1:1", marks=needs_ray),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_workers_that_cannot_be(
    words: list[str], code: int, message: str, command: str, sepcli: Call, images: tuple[object, ...]
) -> None:
    found, out, err = sepcli(command, *(() if command == "evaluate" else images), *words)
    assert (found, out) == (code, "")
    assert message in two_lines(err)[0]


def test_devices_are_named_in_short_or_in_full() -> None:
    for text in ("cuda:0,2", "cuda:0, cuda:2"):
        assert open_executor(text, None, None).devices == ("cuda:0", "cuda:2")
    assert open_executor("cpu", None, None).devices == ("cpu",)
    assert open_executor("cpu", 3, None).devices == ("cpu",) * 3
    with pytest.raises(UsageError):
        open_executor("cuda:0,1", 3, None)
