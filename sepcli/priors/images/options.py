"""Options for training priors of images; this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sepcli.settings import check

Classes = Literal["none", "halves", "digits", "folders"]
"""``halves`` (0-4, 5-9) and ``digits`` are MNIST's, ``folders`` the folders inside a folder of images."""
Side = Annotated[int, Meta(ge=8, le=1024)]
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=1e6)]


@dataclass(frozen=True)
class ImageOptions:
    """Options of every prior of images.

    Attributes:
        classes: classes that the prior is conditioned on: of MNIST halves or digits, of a folder its folders.
        class_dropout: share of training images whose class is withheld.
        size: side, in pixels, to which the images of a folder are resized; default: their common size, or 64.
        channels: 1: gray, 3: color; default: color if an image of the folder has any.
        flip: whether to train on mirror images as well; default: if there are colors.
    """

    classes: Classes = "none"
    class_dropout: Share = 0.5
    size: Side | None = None
    channels: Literal[1, 3] | None = None
    flip: bool | None = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DenoiserOptions(ImageOptions):
    """Options of a denoiser of images.

    Attributes:
        noise_mean: mean of ln σ in training; default: -1.2 for gray, -0.8 for color, as colorization starts
            at σ = 20, ln σ = 3.
        noise_std: standard deviation of ln σ in training; default: 1.4 for gray, 1.7 for color.
        from_mixtures: prior of the other source in the images, which are mixtures (x + y)/2; the prior of x
            is trained on samples of x given these, from the prior that training starts from, at first a
            Gaussian. Default: the images are clean.
        posterior_steps: noise levels of the sampler of from_mixtures.
    """

    noise_mean: Annotated[float, Meta(ge=-20, le=20)] | None = None
    noise_std: Annotated[float, Meta(gt=0, le=20)] | None = None
    from_mixtures: str = ""
    posterior_steps: Annotated[int, Meta(ge=1, le=100_000)] = 48


@dataclass(frozen=True)
class TarFlowOptions(ImageOptions):
    """Options of an autoregressive transformer flow of images.

    Attributes:
        patch: side of a patch, in pixels, of which the images' sides are multiples; default: 4.
        width: of the transformers, a multiple of 16; default: the preset's.
        denoising: weight of the error of denoising in the loss; 0: likelihood alone.
    """

    patch: Annotated[int, Meta(ge=1, le=64)] | None = None
    width: Annotated[int, Meta(ge=16, le=4096, multiple_of=16)] | None = None
    denoising: Weight = 1.0


@dataclass(frozen=True)
class GlowOptions(ImageOptions):
    """Options of a flow of images.

    Attributes:
        clean: whether to train on images without noise only, to continue with ``finetune_noise``; default:
            on images under noise of any level.
        finetune_noise: whether the finished flow becomes one copy per noise level, each fine-tuned from the
            one before.
        levels: number of noise levels of ``finetune_noise``.
        denoising: weight of the error of denoising in the loss; 0: likelihood alone.
    """

    clean: bool = False
    finetune_noise: bool = False
    levels: Annotated[int, Meta(ge=2, le=100)] = 10
    denoising: Weight = 1.0
