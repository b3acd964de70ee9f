"""BASIS' protocol of colorization: test images in gray, colorized, each compared with its own colors.

The gray is the mean of the channels. Colors are brought to exactly that gray and into [0, 1], as ``sepcli
colorize`` does; the residual is of draws before. PSNR and SSIM are of colors, which a gray image does not
fix: a colorization that is likely may be far from the one that was. What counts is how sets of colorizations
compare with all test images; beside them stand the gray images themselves.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.2 and table 4.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sepcli.errors import UsageError
from sepcli.evaluation.batches import Scores, check_finite, draw_seeds
from sepcli.evaluation.distribution import Images
from sepcli.evaluation.image_pairs import MIXTURE, RESIDUAL
from sepcli.evaluation.image_runs import ImageRun, closeness, evaluate_items
from sepcli.evaluation.likelihoods import OURS, likeliest
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows, encode_image
from sepcli.evaluation.report import Report
from sepcli.evaluation.score import TrackScore
from sepcli.metrics.images import residual_rms
from sepcli.priors.images.train_task import to_float_images
from sepcli.protocols import ProgressCallback
from sepcli.separation.engines import ScoreEngine
from sepcli.signal.chroma import GRAYS, diversity, gray_of, locked

WEIGHTS = GRAYS["mean"]
"""What the gray is of red, green and blue."""
GRAY, STEM, DIVERSITY = "gray", "colors", "diversity"
"""A row, the one column, and what is measured of several draws."""


@dataclass(frozen=True)
class ColorImage:
    """An image to be colorized again.

    Attributes:
        id: its name in reports.
        pixels: (3, H, W), float32 in [0, 1].
    """

    id: str
    pixels: Tensor


def evaluate_colorizations(
    originals: Images, dataset: str, separator: ScoreEngine, run: ImageRun, count: int
) -> Report:
    """Gray, color and score test images.

    Args:
        originals: all test images (N, 3, H, W).
        dataset: what they are, in words.
        separator: of a gray image into its three channels, with ``WEIGHTS``.
        run: how.
        count: how many are colorized, at most all; chosen by lot.

    Returns:
        The report; its ``cost`` holds evaluations per image and, of the images colorized now, seconds per
        image.

    Raises:
        UsageError: the separator is of something else, or a metric not for such images.
        InputError: the images are too small for SSIM.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    if tuple(separator.weights) != WEIGHTS:
        raise UsageError("the gray is the mean of the channels", "use a separator of these weights")
    count = min(count, len(originals))
    rules = run.rules(
        (RESIDUAL, *([DIVERSITY] if run.draws > 1 else [])),
        dataset=f"{dataset}, {count} of {len(originals)} images, colorized",
        stems=(STEM,),
        mixture="the mean of red, green and blue",
        tracks=count,
    )
    work = _Colorization(separator, run)
    return evaluate_items(run, rules, lambda: _chosen(originals, count, run.seed), work, originals, 1)


def _chosen(originals: Images, count: int, seed: int) -> Iterator[ColorImage]:
    for number in np.random.default_rng(seed).permutation(len(originals))[:count]:
        yield ColorImage(f"image-{number:05d}", to_float_images(originals[number][None])[0])


@dataclass
class _Colorization:
    """Colors and scores batches of images, and keeps the time that colorization takes."""

    separator: ScoreEngine
    run: ImageRun
    seconds: float = 0.0
    images: int = 0

    @property
    def rows(self) -> tuple[str, ...]:
        """Ours, the likeliest of several, and gray."""
        several = (f"{OURS}-{self.run.draws}x",) if self.run.draws > 1 else ()
        return (OURS, *several, GRAY)

    def __call__(
        self, items: Sequence[tuple[int, ColorImage]], on_progress: ProgressCallback | None
    ) -> tuple[Scores, dict[str, Tensor]]:
        """Scores by image, and by row the colorizations (B, 1, 3, H, W)."""
        grays = torch.stack([gray_of(image.pixels, WEIGHTS) for _, image in items])  # (B, H, W)
        seeds = torch.stack([draw_seeds(self.run.seed, number, self.run.draws) for number, _ in items])
        started = time.monotonic()
        found = self.separator.sample(grays[:, None], seeds, on_progress)  # (B, S, 3, 1, H, W)
        check_finite(found, [image for _, image in items])
        chosen = [likeliest(self.separator, found)] if self.run.draws > 1 else []
        self.seconds, self.images = self.seconds + time.monotonic() - started, self.images + len(items)
        draws = _exact(found[:, :, :, 0], grays[:, None])
        likely = [_exact(each[:, :, 0], grays) for each in chosen]
        made = [draws[:, 0], *likely, grays[:, None].expand(-1, 3, -1, -1)]
        rows = {row: images[:, None] for row, images in zip(self.rows, made, strict=True)}
        scores = {}
        for place, (_, image) in enumerate(items):
            left = residual_rms(grays[place], gray_of(found[place, 0, :, 0], WEIGHTS))
            scores[image.id] = [
                *self._closeness(image, {row: own[place, 0] for row, own in rows.items()}),
                TrackScore(image.id, OURS, MIXTURE, RESIDUAL, left),
            ]
            if self.run.draws > 1:
                spread = diversity(draws[place])
                scores[image.id].append(TrackScore(image.id, OURS, STEM, DIVERSITY, spread))
        return scores, rows

    def clips(self, number: int, item: ColorImage) -> list[Clip]:
        """The gray, the image's own colors, and every row's."""
        shown = {row: made[0].numpy() for row, made in self([(number, item)], None)[1].items()}
        gray = shown.pop(GRAY)[0]
        return clips_of_rows((STEM,), gray, {REFERENCE: item.pixels[None].numpy(), **shown}, encode_image)

    def cost(self) -> dict[str, float]:
        """Evaluations per image and draw; seconds per image if any was colorized."""
        took = {"seconds_per_image": self.seconds / self.images} if self.images else {}
        return {"evaluations": self.separator.evaluations, **took}

    def _closeness(self, image: ColorImage, rows: dict[str, Tensor]) -> list[TrackScore]:
        truth = image.pixels.numpy()
        return [
            TrackScore(image.id, row, STEM, metric, closeness(metric, truth, colors.numpy()))
            for metric in self.run.of_items
            for row, colors in rows.items()
        ]


def _exact(drawn: Tensor, gray: Tensor) -> Tensor:
    """Colors (..., 3, H, W) in [0, 1] of exactly a gray (..., H, W)."""
    return locked(gray.expand(drawn[..., 0, :, :].shape), drawn - gray[..., None, :, :], WEIGHTS)
