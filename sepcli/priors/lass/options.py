"""Options and presets for training the parts of LASS; this module imports no torch.

Sizes are ``tiny`` for tests, ``small`` for two CPU cores, ``base`` for a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from sepcli.settings import check

Preset = Mapping[str, Any]
Medium = Literal["audio", "image"]

CODECS: Mapping[Medium, Mapping[str, Preset]] = {
    "audio": {
        "tiny": {"dim": 64, "encoder_dilations": (1, 1), "decoder_dilations": (1, 1), "vocabulary": 256},
        "small": {"dim": 256},
        "base": {
            "dim": 384,
            "encoder_dilations": (1, 1, 1, 1, 2, 2, 4, 4),
            "decoder_dilations": (4, 4, 2, 2, 1, 1, 1, 1),
        },
    },
    "image": {
        "tiny": {"widths": (8, 16), "layers": 1, "vocabulary": 32, "code_dim": 4},
        "small": {"widths": (64, 128)},
        "base": {"widths": (128, 256), "layers": 4},
    },
}
"""Codecs, by medium."""
TRANSFORMERS: Mapping[Medium, Mapping[str, Preset]] = {
    "audio": {
        "tiny": {"dim": 64, "layers": 1, "heads": 2, "head_dim": 32, "context": 64},
        "small": {"dim": 256, "layers": 4, "heads": 4, "context": 256},
        "base": {"dim": 384, "layers": 6, "heads": 6, "context": 512},
    },
    "image": {
        "tiny": {"dim": 16, "layers": 1, "heads": 2, "head_dim": 8},
        "small": {"dim": 128, "layers": 4, "heads": 4, "head_dim": 32},
        "base": {"dim": 384, "layers": 6, "heads": 6, "head_dim": 64},
    },
}
"""Transformers, by medium; those of images see all tokens of an image."""
LATENTS: Mapping[str, Preset] = {"tiny": {"hidden": 32}, "small": {"hidden": 128}, "base": {"hidden": 256}}
"""Latent likelihoods."""
CONTEXTS: Mapping[str, Preset] = {
    "tiny": {"dim": 32, "dilations": (1, 2)},
    "small": {},
    "base": {"dim": 512, "dilations": (1, 2, 4, 8, 16, 32, 64) * 2},
}
"""Context likelihoods."""


@dataclass(frozen=True)
class AudioOptions:
    """Options of the parts of LASS for audio; there are none."""


@dataclass(frozen=True)
class ImageCodecOptions:
    """Options of a codec of images.

    Attributes:
        size: side, in pixels, to which the images of a folder are resized; default: their common size, or 64.
        channels: 1: gray, 3: color; default: color if an image of the folder has any.
        flip: whether to train on mirror images as well; default: if there are colors.

    Raises:
        UsageError: a value is out of range.
    """

    size: Annotated[int, Meta(ge=8, le=1024)] | None = None
    channels: Literal[1, 3] | None = None
    flip: bool | None = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ImageTransformerOptions:
    """Options of a transformer over the tokens of images.

    Attributes:
        classes: classes that the transformer is conditioned on: of MNIST halves or digits, of a folder its
            folders.
        class_dropout: share of training images whose class is withheld.
        flip: whether to train on mirror images as well; default: if there are colors.

    Raises:
        UsageError: a value is out of range.
    """

    classes: Literal["none", "halves", "digits", "folders"] = "none"
    class_dropout: Annotated[float, Meta(ge=0, le=1)] = 0.5
    flip: bool | None = None

    def __post_init__(self) -> None:
        check(self)
