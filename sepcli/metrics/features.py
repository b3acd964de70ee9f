"""Small classifiers, whose features stand in for those of the Inception network.

Metrics in their features are ``fd-mnist``, ``fd-cifar`` (Fréchet distance) and ``cs-mnist``, ``cs-cifar``
(the formula of Inception score), never FID or Inception score, since numbers of different networks are not
comparable. The networks are residual ones on images of which 2 x 2 pixels are folded into channels; features
are the means over positions before the last layer.

``NAME.safetensors`` has the weights in float16; ``NAME.json`` beside it the config, their sha256, the data
they were trained on and the accuracy on test images. ``examples/reproduce/classifiers.py`` makes both.

Source: He et al. 2016 (residual networks).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn

from sepcli.atomic import write_whole
from sepcli.errors import PriorError

FOLDER = Path(__file__).parent / "networks"
"""The weights that come with the package."""
FOLD = 2
"""Pixels a side that become channels: a network at full resolution takes four times as long."""


@dataclass(frozen=True)
class ClassifierConfig:
    """The architecture of a classifier.

    Attributes:
        channels: C of the images.
        size: H and W.
        widths: channels of the residual blocks, each but the first at half the resolution of the one before;
            the last is the number of features.
        classes: their number.
        mean: of the values of the training images, in [0, 1].
        deviation: standard deviation of these values.
    """

    channels: int
    size: tuple[int, int]
    widths: tuple[int, ...]
    classes: int = 10
    mean: float = 0.5
    deviation: float = 0.25


SIZES: Mapping[str, ClassifierConfig] = {
    "fd-mnist": ClassifierConfig(1, (28, 28), (16, 32, 64), mean=0.1307, deviation=0.3081),
    "fd-cifar": ClassifierConfig(3, (32, 32), (32, 64, 112), mean=0.4734, deviation=0.2516),
}
"""The networks by name; 0.08 and 0.27 million parameters."""
DATA: Mapping[str, str] = {"fd-mnist": "mnist", "fd-cifar": "cifar10"}
"""Training data of each."""


class Block(nn.Module):
    """x → relu(shortcut(x) + bn(conv(relu(bn(conv(x))))))."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outer)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outer)
        self.shortcut = (
            nn.Identity()
            if (inner, stride) == (outer, 1)
            else nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) to (B, outer, H/stride, W/stride), rounded up."""
        h = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.shortcut(x) + self.second_norm(self.second(h)))


class Classifier(nn.Module):
    """Images (B, C, H, W) in [0, 1] → features (B, F) and logits (B, classes)."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.widths[0], *config.widths)
        self.stem = nn.Conv2d(config.channels * FOLD**2, widths[0], 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(
            *(Block(widths[n], widths[n + 1], 1 if n == 0 else 2) for n in range(len(config.widths)))
        )
        self.head = nn.Linear(widths[-1], config.classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features, which are not negative, and logits."""
        h = F.pixel_unshuffle((x - self.config.mean) / self.config.deviation, FOLD)
        h = self.blocks(F.relu(self.stem_norm(self.stem(h))))
        features = h.mean(dim=(2, 3))
        return features, self.head(features)


@dataclass(frozen=True)
class Extractor:
    """A network whose features of images are compared.

    Attributes:
        name: a key of ``SIZES``, or ``inception``.
        extract: images (N, C, H, W) uint8 → features (N, F) and probabilities of classes (N, Y).
        about: a description of the network, for the protocol.
        shape: C, H, W of its images; None: any.
    """

    name: str
    extract: Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
    about: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, int, int] | None = None


def open_classifier(name: str, device: torch.device, folder: Path | None = None) -> Extractor:
    """Open a classifier, a key of ``SIZES``, of the package or of a folder; see ``load_classifier``."""
    network, about = load_classifier(folder or FOLDER, name)
    network.to(device)

    def extract(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            features, logits = network(torch.from_numpy(np.array(images)).to(device).float() / 255.0)
            return features.cpu().numpy(), logits.softmax(1).cpu().numpy()

    return Extractor(name, extract, about, (network.config.channels, *network.config.size))


def load_classifier(folder: Path, name: str) -> tuple[Classifier, dict[str, Any]]:
    """Load a network and its description: sha256, data, accuracy.

    Raises:
        PriorError: its files are missing or damaged.
    """
    weights = folder / f"{name}.safetensors"
    if not weights.is_file():
        raise PriorError(
            f"the classifier of {name} is not there: {weights}",
            f"train it: python examples/reproduce/classifiers.py {DATA[name]} DIR",
        )
    try:
        about = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8-sig"))
        data = weights.read_bytes()
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise ValueError("another sha256")
        config: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in about.pop("config").items()
        }
        network = Classifier(ClassifierConfig(**config))
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load(data).items()})
    except (OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise PriorError(
            f"{weights} does not fit the file beside it", "install sepcli again, or train it again"
        ) from error
    return network.eval().requires_grad_(False), about


def save_classifier(network: Classifier, folder: Path, name: str, about: Mapping[str, Any]) -> None:
    """Write weights and their description, each atomically.

    Raises:
        OutputError: the folder cannot be written.
    """
    data = save(rounded(network))
    description = {"config": asdict(network.config), "sha256": hashlib.sha256(data).hexdigest(), **about}
    write_whole(folder / f"{name}.safetensors", data)
    write_whole(folder / f"{name}.json", (json.dumps(description, indent=2) + "\n").encode())


def rounded(network: Classifier) -> dict[str, Tensor]:
    """The weights as they are stored: in float16."""
    return {
        key: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for key, value in network.state_dict().items()
    }
