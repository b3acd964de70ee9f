"""``examples/reproduce/classifiers.py``: from images to weights that sepcli takes."""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from sepcli.datasets.cifar import RECORD
from sepcli.metrics.features import load_classifier

PROGRAM = Path(__file__).parents[2] / "examples" / "reproduce" / "classifiers.py"


def cifar(path: Path) -> Path:
    """Images whose class is their brightness: dark ships, bright frogs."""
    path.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (*((f"data_batch_{n}", 4) for n in range(1, 6)), ("test_batch", 8)):
        records = rng.integers(0, 60, (count, RECORD), np.uint8)
        records[:, 0] = [6, 8] * (count // 2)
        records[::2, 1:] += 180
        records.tofile(path / f"{name}.bin")
    return path


def test_a_classifier_learns_and_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = runpy.run_path(str(PROGRAM))
    words = ["cifar10", str(cifar(tmp_path / "data")), "--out", str(tmp_path / "out"), "--time-budget", "2s"]
    assert program["main"]([*words, "--batch", "10", "--learning-rate", "0.02", "--device", "cpu"]) == 0
    assert str(tmp_path / "out") in capsys.readouterr().out
    about = json.loads((tmp_path / "out" / "fd-cifar.json").read_text())
    network, known = load_classifier(tmp_path / "out", "fd-cifar")
    assert about["sha256"] == known["sha256"]
    assert known["data"] == "cifar10, 20 training images"
    assert known["images_seen"] >= 10
    assert 0.0 <= known["test_accuracy"] <= 1.0
    assert network.config.mean == pytest.approx(30 / 255 + 90 / 255, abs=0.01)


def test_images_are_moved_and_turned() -> None:
    program = runpy.run_path(str(PROGRAM))
    image = np.zeros((64, 1, 9, 9), np.uint8)
    image[:, :, 4, 4] = 255
    moved = program["flipped_and_shifted"](image, np.random.default_rng(0))
    places = np.argwhere(moved.max(1) == 255)
    assert {tuple(place) for place in places[:, 1:]} != {(4, 4)}
    ramp = np.broadcast_to(np.arange(9, dtype=np.uint8) * 9, (64, 1, 9, 9)).copy()
    turned = program["flipped_and_shifted"](ramp, np.random.default_rng(1))
    rising = np.diff(turned[:, 0, 0, :].astype(int))[:, 3:5].sum(1) > 0
    assert 10 < rising.sum() < 54


def test_rates_rise_and_fall_and_times_are_read() -> None:
    program = runpy.run_path(str(PROGRAM))
    rates = [program["one_cycle"](part) for part in np.linspace(0, 1, 41)]
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert np.argmax(rates) == 10
    assert program["seconds"]("8m") == 480
    for wrong in ("8", "m", "-1s", "infs"):
        with pytest.raises(argparse.ArgumentTypeError):
            program["seconds"](wrong)
