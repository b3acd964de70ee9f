"""Our own classifiers: shapes, files, and what is said when they are not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sepcli.errors import PriorError
from sepcli.metrics.features import (
    SIZES,
    Classifier,
    ClassifierConfig,
    load_classifier,
    open_classifier,
    save_classifier,
)

TINY = ClassifierConfig(3, (8, 8), (4, 6), classes=5)


@pytest.mark.parametrize(("name", "most"), [("fd-mnist", 100_000), ("fd-cifar", 300_000)])
def test_networks_are_small(name: str, most: int) -> None:
    network = Classifier(SIZES[name]).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) < most
    config = network.config
    found, logits = network(torch.rand(2, config.channels, *config.size))
    assert found.shape == (2, config.widths[-1])
    assert config.widths[-1] <= 128
    assert found.min() >= 0
    assert logits.shape == (2, 10)


def test_files_hold_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Classifier(TINY)
    network(torch.rand(16, 3, 8, 8))  # running means of their own
    save_classifier(network, tmp_path, "fd-cifar", {"test_accuracy": 0.5})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fd-cifar.json", "fd-cifar.safetensors"]
    again, about = load_classifier(tmp_path, "fd-cifar")
    assert about["test_accuracy"] == 0.5
    x = torch.rand(3, 3, 8, 8)
    for one, other in zip(network.eval()(x), again(x), strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)
    extractor = open_classifier("fd-cifar", torch.device("cpu"), tmp_path)
    assert extractor.shape == (3, 8, 8)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)
    found, probabilities = extractor.extract(images)
    np.testing.assert_allclose(found, again(torch.from_numpy(images) / 255)[0], atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), np.ones(4), atol=1e-6)


def test_missing_and_damaged_weights_are_said(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"fd-cifar\.safetensors") as caught:
        load_classifier(tmp_path, "fd-cifar")
    assert "classifiers.py cifar DIR" not in caught.value.hint
    assert "classifiers.py cifar10 DIR" in caught.value.hint
    save_classifier(Classifier(TINY), tmp_path, "fd-cifar", {})
    known = json.loads((tmp_path / "fd-cifar.json").read_text())
    known["config"]["widths"] = [4, 7]
    (tmp_path / "fd-cifar.json").write_text(json.dumps(known))
    with pytest.raises(PriorError, match=r"fd-cifar\.safetensors"):
        load_classifier(tmp_path, "fd-cifar")
    save_classifier(Classifier(TINY), tmp_path, "fd-cifar", {})
    (tmp_path / "fd-cifar.safetensors").write_bytes(b"x")
    with pytest.raises(PriorError, match=r"fd-cifar\.safetensors"):
        load_classifier(tmp_path, "fd-cifar")
