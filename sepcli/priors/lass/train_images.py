"""What LASS trains for images: the codec on images and means of two, then the prior over its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.image_folder import LabelledImages
from sepcli.datasets.image_splits import has_mirrored, named_classes, open_data, open_like, to_float_images
from sepcli.errors import OutputError, PriorError, SepError, UsageError
from sepcli.priors.lass.load import MEANS, load_codec
from sepcli.priors.lass.options import ImageCodecOptions, ImageTransformerOptions
from sepcli.priors.lass.quantizer import perplexity
from sepcli.priors.lass.source_pairs import ImagePairs, mirror_half
from sepcli.priors.lass.train import new_prior
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum
from sepcli.training.config import TrainConfig
from sepcli.training.run import OnMessage, Recipe, Setup, Stage

CODEC_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"widths": (8, 16), "layers": 1, "vocabulary": 32, "code_dim": 4},
    "small": {"widths": (64, 128)},
    "base": {"widths": (128, 256), "layers": 4},
}
"""Sizes of the codec: ``small`` for minutes on two CPU cores, ``base`` for a GPU, ``tiny`` for tests."""
PRIOR_PRESETS: Mapping[str, Mapping[str, int]] = {
    "tiny": {"dim": 16, "layers": 1, "heads": 2, "head_dim": 8},
    "small": {"dim": 128, "layers": 4, "heads": 4, "head_dim": 32},
    "base": {"dim": 384, "layers": 6, "heads": 6, "head_dim": 64},
}
"""Sizes of the autoregressive prior, likewise; it sees all tokens of an image."""
VALIDATED = 256
"""Pairs of images that a codec is validated on."""


class ImageCodecTask:
    """Train the codec on images and on means of two of them, a third of all.

    Args:
        model: the codec, on its device.
        learn: images to learn from.
        held_out: images for validation.
        batch: images per step, means included, rounded up to a multiple of three.
        flip: whether to learn from the mirror images as well.
    """

    def __init__(
        self, model: Vqvae2d, learn: LabelledImages, held_out: LabelledImages, batch: int, flip: bool
    ) -> None:
        tokens = model.config.tokens
        self.model = model
        self.learn = ImagePairs(learn, -(-batch // 3), tokens, flip)
        self.held_out = ImagePairs(held_out, VALIDATED, tokens)
        self.mixing = WeightedSum(MEANS)

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of random images and their means."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        return self.model.loss(self.draw(rng), generator)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Random images and their means (B, C, H, W), on the model's device."""
        return self._with_means(self.learn(rng)).flatten(0, 1)

    def validate(self) -> dict[str, float]:
        """PSNR (dB, mean over held-out images) of images and of means; perplexity."""
        image_set = self._with_means(self.held_out(np.random.default_rng(1)))
        tokens = self.model.encode(image_set.flatten(0, 1))
        error = (self.model.decode(tokens).view_as(image_set) - image_set).square().flatten(2).mean(-1)
        psnr = -10 * torch.log10(error.clamp_min(1e-9))
        figures = {"psnr": float(psnr[:, :2].mean()), "psnr_mixture": float(psnr[:, 2].mean())}
        return {
            "score": -figures["psnr"],
            **figures,
            "perplexity": perplexity(tokens, self.model.vocabulary),
        }

    def _with_means(self, pairs: Tensor) -> Tensor:
        """(B, 2, C, H, W) to (B, 3, C, H, W), the mean last, on the model's device."""
        x = pairs.to(self.model.quantizer.codebook.device)
        return torch.cat([x, self.mixing(x)[:, None]], dim=1)


class ImagePriorTask:
    """Train the autoregressive prior on the tokens of images.

    Args:
        model: the prior, on its device; its first source is an image of any class, then come the classes.
        codec: the trained codec, on the same device.
        learn: images to learn from.
        held_out: images for validation.
        batch: images per step.
        class_dropout: share of images whose class is withheld.
        flip: whether to learn from the mirror images as well.
    """

    def __init__(
        self,
        model: TransformerPrior,
        codec: Vqvae2d,
        learn: LabelledImages,
        held_out: LabelledImages,
        batch: int,
        class_dropout: float,
        flip: bool,
    ) -> None:
        self.model, self.codec, self.learn, self.held_out = model, codec.eval(), learn, held_out
        self.batch, self.flip = batch, flip
        self.class_dropout = class_dropout if len(model.config.sources) > 1 else 1.0

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of random images."""
        chosen = rng.integers(0, len(self.learn.images), self.batch)
        images = to_float_images(self.learn.images[chosen])
        if self.flip:
            images = mirror_half(images, rng)
        told = rng.random(self.batch) >= self.class_dropout
        return self.model.loss(*self._encode(images, np.where(told, 1 + self.learn.labels[chosen], 0)))

    def validate(self) -> dict[str, float]:
        """Negative log-likelihood in nats per token of held-out images, without and with their classes."""
        images = to_float_images(self.held_out.images)
        sources = [np.zeros(len(images), np.int64)]
        if self.class_dropout < 1.0:
            sources.append(1 + self.held_out.labels)
        scores: dict[str, float] = {}
        for source in sources:
            parts = range(0, len(images), self.batch)
            total = 0.0
            for start in parts:
                part = slice(start, start + self.batch)
                loss, _ = self.model.loss(*self._encode(images[part], source[part]))
                total += float(loss) * len(images[part]) / len(images)
            scores["nll_told" if scores else "nll"] = total
        return {"score": float(np.mean(list(scores.values()))), **scores}

    @torch.no_grad()
    def _encode(self, images: Tensor, source: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
        device = self.codec.quantizer.codebook.device
        return self.codec.encode(images.to(device)), torch.from_numpy(source).to(device)


def codec(options: ImageCodecOptions, config: TrainConfig) -> Recipe:
    """Decide how a codec of images is trained.

    Raises:
        UsageError: several sources, or other ones than the prior's.
        OutputError: the folder is of another prior.
    """
    return _recipe("codec", config, asdict(options), partial(_open_codec, options))


def transformer(options: ImageTransformerOptions, config: TrainConfig) -> Recipe:
    """Decide how a transformer over the tokens of images is trained.

    Raises:
        UsageError: several sources, other ones than the prior's, or classes that are not of these data.
        OutputError: the folder is of another prior.
    """
    classes = named_classes(config.data, options.classes)
    identity = {**asdict(options), "classes": classes}
    return _recipe("transformer", config, identity, partial(_open_transformer, options, classes))


def _recipe(
    part: str, config: TrainConfig, options: Mapping[str, Any], opened: Callable[..., Setup]
) -> Recipe:
    if len(config.sources) > 1:
        raise UsageError(
            f"a {config.family} of images is of one source, not of {','.join(config.sources)}",
            "name one source",
            argument="sources",
        )
    default = "digit" if kind_of(config.data) is Kind.DIGITS else config.data.resolve().name or "image"
    config = replace(config, sources=config.sources or (default,))
    if (config.out / "card.toml").exists():
        card = cards.read(config.out)
        if "lass" not in card.engines or card.medium != "image":
            raise OutputError(
                f"{config.out} is a prior of another kind", "choose another folder", argument="out"
            )
        if card.sources != config.sources:
            raise UsageError(
                f"{config.out} is a prior of {card.sources[0]}, not of {', '.join(config.sources)}",
                f"name the source {card.sources[0]}, or choose another folder",
                argument="sources",
            )
    return Recipe(part, config.sources, options, partial(opened, config), alone=False)


def _open_codec(
    options: ImageCodecOptions,
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    train, held_out = open_data(
        config.data,
        size=options.size,
        channels=options.channels,
        cache=config.cache,
        on_progress=on_progress,
        on_message=on_message,
    )
    channels, height, width = train.images.shape[1:]
    try:
        shape = Vqvae2dConfig(channels, (height, width), **CODEC_PRESETS[config.preset])
    except ValueError as error:
        if isinstance(error, SepError):
            raise
        raise UsageError(f"{error}", "choose a multiple of the patch", argument="settings.size") from error
    flip = has_mirrored(train, options.flip)

    def task(model: Vqvae2d, _: Vqvae2d) -> ImageCodecTask:
        made = ImageCodecTask(model, train, held_out, config.batch, flip)
        model.initialise(made.draw(np.random.default_rng(config.loop.seed)))
        return made

    return Setup(
        shape,
        Stage(lambda: Vqvae2d(shape), task, average=False),
        _card(config, (height, width)),
        finish=lambda: {"images": len(train.images), "flip": flip},
    )


def _open_transformer(
    options: ImageTransformerOptions,
    classes: tuple[str, ...],
    config: TrainConfig,
    on_progress: ProgressCallback | None,
    on_message: OnMessage | None,
) -> Setup:
    trained, digest = load_codec(config.out)
    if not isinstance(trained, Vqvae2d):
        raise PriorError(f"{config.out} is a prior of audio", "choose another folder, or give audio")
    size = trained.config.size
    shape = (trained.config.channels, size[0], size[1])
    train, held_out = open_like(config.data, shape, classes, config.cache, on_progress)
    made = TransformerConfig(
        trained.vocabulary,
        (*config.sources, *classes),
        context=trained.config.tokens,
        **PRIOR_PRESETS[config.preset],
    )
    flip = has_mirrored(train, options.flip)
    codebook, trained = trained.quantizer.codebook, trained.to(config.device)

    def task(model: TransformerPrior, _: TransformerPrior) -> ImagePriorTask:
        return ImagePriorTask(model, trained, train, held_out, config.batch, options.class_dropout, flip)

    facts = {"images": len(train.images), "classes": list(classes), "flip": flip, "codec": digest}
    return Setup(
        made,
        Stage(lambda: new_prior(made, codebook, digest, config.init), task, average=False),
        _card(config, size),
        identity={"codec": digest},
        finish=lambda: facts,
    )


def _card(config: TrainConfig, size: tuple[int, ...]) -> cards.Card:
    """Return the prior's card, or a new one."""
    card = cards.Card(name=config.out.resolve().name, medium="image", engine="lass", sources=config.sources)
    if (config.out / "card.toml").exists():
        card = cards.read(config.out)
    return structs.replace(card, resolution=size)
