"""fid and is against torch-fidelity's own functions, with a tiny random network in Inception's place."""

from __future__ import annotations

import pickle
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sepcli.errors import InputError, UsageError
from sepcli.evaluation.distribution import Sets
from sepcli.evaluation.inception import FEATURES, LOGITS, open_inception
from sepcli.metrics.distribution import frechet_distance, inception_scores, moments

CPU = torch.device("cpu")
needs_library = pytest.mark.skipif(find_spec("torch_fidelity") is None, reason="no torch-fidelity")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch-fidelity with a tiny network; without torchvision, which it imports for other networks only."""
    if find_spec("torchvision") is None:
        for name in ("", ".datasets", ".transforms", ".transforms.functional"):
            module = ModuleType(f"torchvision{name}")
            for data in ("CIFAR10", "STL10", "CIFAR100"):
                setattr(module, data, type(data, (), {}))
            monkeypatch.setitem(sys.modules, module.__name__, module)
        torchvision = sys.modules["torchvision"]
        torchvision.transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]
    import torch_fidelity
    from torch_fidelity import feature_extractor_inceptionv3 as place
    from torch_fidelity import registry
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Tiny(FeatureExtractorBase):  # type: ignore[misc]
        """Twelve features and five classes of mean colors and their squares."""

        def __init__(
            self, name: str, features_list: list[str], feature_extractor_weights_path: str, **_: Any
        ):
            super().__init__(name, features_list)
            self.body, self.head = nn.Linear(6, 12), nn.Linear(12, 5)
            self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))
            self.eval().requires_grad_(False)

        @staticmethod
        def get_provided_features_list() -> tuple[str, str]:
            return FEATURES, LOGITS

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return {"isc": LOGITS, "fid": FEATURES}[metric]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            assert x.dtype == torch.uint8
            assert x.shape[1] == 3
            means = (x.float() / 255).mean((2, 3))
            found = {FEATURES: torch.relu(self.body(torch.cat([means, means**2], 1)))}
            found[LOGITS] = 4 * self.head(found[FEATURES])
            return tuple(found[name] for name in self.features_list)

    monkeypatch.setattr(place, "FeatureExtractorInceptionV3", Tiny)
    monkeypatch.setitem(registry.FEATURE_EXTRACTORS_REGISTRY, "tiny", Tiny)
    return torch_fidelity


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    rng = torch.Generator().manual_seed(0)
    shapes = {"body.weight": (12, 6), "body.bias": (12,), "head.weight": (5, 12), "head.bias": (5,)}
    state = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "tiny.pth")
    save_file(state, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.pth"


def image_set(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tints = rng.integers(0, 256, (count, 3, 1, 1))
    return (0.7 * tints + 0.3 * rng.integers(0, 256, (count, 3, 8, 8))).astype(np.uint8)


class Listed(torch.utils.data.Dataset[Tensor]):
    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Tensor:
        return self.images[number]


@needs_library
def test_numbers_are_the_library_s(library: Any, weights: Path) -> None:
    network = open_inception(weights, CPU)
    ours, theirs = image_set(1, 60), image_set(2, 44)
    found = library.calculate_metrics(
        input1=Listed(ours),
        input2=Listed(theirs),
        fid=True,
        isc=True,
        isc_splits=7,
        samples_shuffle=False,
        feature_extractor="tiny",
        feature_extractor_weights_path=str(weights),
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    (features, classes), (others, _) = network.extract(ours), network.extract(theirs)
    distance = frechet_distance(moments(features), moments(others))
    assert distance == pytest.approx(found["frechet_inception_distance"], rel=1e-4)
    scores = inception_scores(classes, 7)
    assert scores.mean() == pytest.approx(found["inception_score_mean"], rel=1e-5)
    assert scores.std() == pytest.approx(found["inception_score_std"], rel=1e-3)
    assert 1.01 < scores.mean() < 5
    again = Sets(("fid",), {"inception": network}, theirs).score({"sepcli": ours}, None)[0]
    assert again[0].value == pytest.approx(distance, rel=1e-6)


@needs_library
def test_weights_are_tensors_from_either_file_and_gray_is_seen(library: Any, weights: Path) -> None:
    one = open_inception(weights, CPU)
    other = open_inception(weights.with_suffix(".safetensors"), CPU)
    gray = image_set(0, 3)[:, :1]
    np.testing.assert_array_equal(one.extract(gray)[0], other.extract(np.repeat(gray, 3, axis=1))[0])
    assert one.about["sha256"] != other.about["sha256"]
    assert one.about["library"] == f"torch-fidelity {library.__version__}"


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


@needs_library
def test_files_that_are_no_weights_are_refused(
    library: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.pth"
    with pytest.raises(InputError, match=r"bad\.pth"):
        open_inception(bad, CPU)
    for data in (pickle.dumps({"body.weight": Bomb()}), b"junk", b""):
        for place in (bad, bad.with_suffix(".safetensors")):
            place.write_bytes(data)
            with pytest.raises(InputError, match=re.escape(place.name)):
                open_inception(place, CPU)
    torch.save({"body.weight": Bomb()}, bad)
    with pytest.raises(InputError, match=r"bad\.pth"):
        open_inception(bad, CPU)
    assert not (tmp_path / "exploded").exists()
    torch.save({"body.weight": 3}, bad)
    with pytest.raises(InputError, match=r"bad\.pth"):
        open_inception(bad, CPU)
    torch.save({"body.weight": torch.zeros(2, 2)}, bad)
    with pytest.raises(InputError, match=r"bad\.pth"):
        open_inception(bad, CPU)


def test_what_is_missing_is_said(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\bfid\b") as caught:
        open_inception(None, CPU)
    assert "weights-inception" in caught.value.hint
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match="torch-fidelity") as caught:
        open_inception(weights, CPU)
    assert "sepcli[fidelity]" in caught.value.hint
