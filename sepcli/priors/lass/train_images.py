"""What LASS trains for images: the codec on images and means of two, then the prior over its tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from sepcli.catalog import card as cards
from sepcli.datasets.image_folder import LabelledImages
from sepcli.datasets.image_splits import open_data, open_like
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.images.train import mirrored
from sepcli.priors.images.train_task import to_float_images
from sepcli.priors.lass.load import MEANS, load_codec
from sepcli.priors.lass.quantizer import perplexity
from sepcli.priors.lass.source_pairs import ImagePairs, mirror_half
from sepcli.priors.lass.train import new_prior
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqvae2d import Vqvae2d, Vqvae2dConfig
from sepcli.protocols import ProgressCallback
from sepcli.signal.mixing import WeightedSum
from sepcli.training.config import Request, history_of, training_entry
from sepcli.training.loop import Progress, Task, train, write_text

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
PARTS = {"vqvae": "codec", "transformer": "transformer"}
"""Family → its part of the prior's folder."""
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
        unlabelled: share of images whose class is withheld.
        flip: whether to learn from the mirror images as well.
    """

    def __init__(
        self,
        model: TransformerPrior,
        codec: Vqvae2d,
        learn: LabelledImages,
        held_out: LabelledImages,
        batch: int,
        unlabelled: float,
        flip: bool,
    ) -> None:
        self.model, self.codec, self.learn, self.held_out = model, codec.eval(), learn, held_out
        self.batch, self.flip = batch, flip
        self.unlabelled = unlabelled if len(model.config.sources) > 1 else 1.0

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of random images."""
        chosen = rng.integers(0, len(self.learn.images), self.batch)
        images = to_float_images(self.learn.images[chosen])
        if self.flip:
            images = mirror_half(images, rng)
        told = rng.random(self.batch) >= self.unlabelled
        return self.model.loss(*self._encode(images, np.where(told, 1 + self.learn.labels[chosen], 0)))

    def validate(self) -> dict[str, float]:
        """Negative log-likelihood in nats per token of held-out images, without and with their classes."""
        images = to_float_images(self.held_out.images)
        sources = [np.zeros(len(images), np.int64)]
        if self.unlabelled < 1.0:
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


def run(
    request: Request,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Progress:
    """Train the codec, or the prior over its tokens, into ``folder``, a part of the prior's.

    Args:
        request: what to train.
        folder: where.
        on_progress: told about progress, first of reading the images.
        log: told the figures of every validation.
        tell: told in words what is worth knowing of the data.

    Raises:
        UsageError: unknown preset, or options or images that are not for this.
        OutputError: the folder or the cache cannot be written, or it is a prior of another family.
        PriorError: a transformer is asked for before its codec.
        InputError: the data cannot be read, or the checkpoint is of another network.
    """
    _check(request)
    with torch.random.fork_rng(devices=[]):  # networks draw their first weights from torch's own stream
        torch.manual_seed(request.loop.seed)
        make = _codec_task if request.family == "vqvae" else _prior_task
        made = make(request, on_progress, tell)
    made.task.model.train()
    progress = train(made.task, folder, request.loop, request.device, request.resume, on_progress, log)
    write_text(folder / "config.json", json.dumps(asdict(made.config), indent=1))
    entry = {**training_entry(request, progress), **made.told}
    _update_card(request, made.size, entry)
    return progress


def _check(request: Request) -> None:
    presets = CODEC_PRESETS if request.family == "vqvae" else PRIOR_PRESETS
    if request.preset not in presets:
        raise UsageError(f"unknown preset '{request.preset}'", f"one of: {', '.join(presets)}")
    if request.classes and request.family == "vqvae":
        raise UsageError("a codec knows no classes", "give --classes to the transformer")
    if (request.noise_mean, request.noise_std) != (None, None):
        raise UsageError("--noise-mean and --noise-std are for score priors", "leave them out")
    if not (request.out / "card.toml").exists():
        return
    card = cards.read(request.out)
    if "lass" not in card.engines or card.medium != "image":
        raise OutputError(f"{request.out} is a prior of another kind", "choose another --out folder")
    if card.sources != request.sources:
        raise UsageError(
            f"{request.out} is a prior of {card.sources[0]}, not of {', '.join(request.sources)}",
            f"use --sources {card.sources[0]}, or another --out folder",
        )


class _Made(NamedTuple):
    """What is trained."""

    task: Task
    config: Vqvae2dConfig | TransformerConfig
    size: tuple[int, int]
    """Height and width of the images."""
    told: dict[str, Any]
    """What a card says of the data."""


def _codec_task(
    request: Request, on_progress: ProgressCallback | None, tell: Callable[[str], None] | None
) -> _Made:
    learn, held_out = open_data(request, on_progress, tell)
    channels, height, width = learn.images.shape[1:]
    try:
        config = Vqvae2dConfig(channels, (height, width), **CODEC_PRESETS[request.preset])
    except ValueError as error:
        raise UsageError(f"{error}", "use --size with a multiple of the patch") from error
    flip = mirrored(request, learn)
    codec = Vqvae2d(config).to(request.device)
    task = ImageCodecTask(codec, learn, held_out, request.batch, flip)
    codec.initialise(task.draw(np.random.default_rng(request.loop.seed)))
    return _Made(task, config, (height, width), {"images": len(learn.images), "flip": flip})


def _prior_task(
    request: Request, on_progress: ProgressCallback | None, tell: Callable[[str], None] | None
) -> _Made:
    codec, digest = load_codec(request.out)
    if not isinstance(codec, Vqvae2d):
        raise PriorError(f"{request.out} is a prior of audio", "choose another folder, or give audio")
    height, width = codec.config.size
    shape = (codec.config.channels, height, width)
    learn, held_out = open_like(request.data, shape, request.classes, request.cache, on_progress)
    sources = (*request.sources, *request.classes)
    sizes = PRIOR_PRESETS[request.preset]
    config = TransformerConfig(codec.vocabulary, sources, context=codec.config.tokens, **sizes)
    model = new_prior(config, codec.quantizer.codebook, digest, request.init).to(request.device)
    flip = mirrored(request, learn)
    codec = codec.to(request.device)
    task = ImagePriorTask(model, codec, learn, held_out, request.batch, request.unlabelled, flip)
    told = {"images": len(learn.images), "classes": list(request.classes), "flip": flip, "codec": digest}
    return _Made(task, config, (height, width), told)


def _update_card(request: Request, size: tuple[int, int], entry: Mapping[str, Any]) -> None:
    out = request.out
    card = cards.Card(
        name=out.resolve().name, medium="image", engine="lass", sources=request.sources, resolution=size
    )
    if (out / "card.toml").exists():
        card = cards.read(out)
    part = cards.Part(request.family, dict(entry), history_of(request, PARTS[request.family]))
    card = replace(card, data=request.data_note or card.data, resolution=size)
    card = cards.with_part(card, PARTS[request.family], part)
    cards.write(cards.with_files(card, out), out)
