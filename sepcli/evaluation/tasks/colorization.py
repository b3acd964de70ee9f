"""BASIS' protocol of colorization: test images in gray, colorized, each compared with its true colors.

The gray is the mean of the channels. Colors are brought to exactly that gray and into [0, 1], as ``sepcli
colorize`` does; the residual is of samples before that. PSNR and SSIM are of colors, which a gray image does
not determine: a likely colorization may be far from the original. What counts is how sets of colorizations
compare with all test images; beside them stand the gray images themselves.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.2 and table 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sepcli.datasets.image_pairs import ColorImages
from sepcli.datasets.pair_folder import Pair
from sepcli.errors import UsageError
from sepcli.evaluation import images
from sepcli.evaluation.distribution import Sets
from sepcli.evaluation.images import MIXTURE, OURS, RESIDUAL
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows
from sepcli.evaluation.score import TrackScore, image_values
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.metrics.features import Extractor
from sepcli.metrics.images import residual_rms
from sepcli.protocols import Engine, ProgressCallback
from sepcli.signal.chroma import GRAYS, diversity, gray_of, locked

WEIGHTS = GRAYS["mean"]
"""Weights of red, green and blue in the gray."""
GRAY, STEM, DIVERSITY = "gray", "colors", "diversity"
"""A row, the only column, and a metric of several samples."""


@dataclass(frozen=True)
class Colorization:
    """Color images that are turned gray and colorized again.

    The engine separates a gray image into its three channels, with ``WEIGHTS``; see ``ImageSums`` for others.
    """

    data: ColorImages
    engine: Engine
    samples: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Extractor] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("psnr",)
    scopes: tuple[str, ...] = ("item", "set")
    medium: str = "image"
    separates: bool = True
    one_by_one: bool = False

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol; refuses engines of other grays."""
        if tuple(self.engine.weights) != WEIGHTS:
            raise UsageError("the gray is the mean of the channels", "use a separator of these weights")
        originals, count = self.data.images.images, self.data.count
        return images.image_setup(
            plan,
            self.engine,
            Sets(plan.of("set"), self.networks, originals, self._rows),
            (RESIDUAL, *([DIVERSITY] if self.samples > 1 else [])),
            {**self.settings, "samples": self.samples},
            "image",
            dataset=f"{self.data.images.title}, {count} of {len(originals)} images, colorized",
            stems=(STEM,),
            mixture="the mean of red, green and blue",
            tracks=count,
        )

    def items(self, plan: Plan) -> Iterator[Pair]:
        """Yield the images."""
        return self.data.items(plan.seed)

    def score(self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Colorize and score a batch."""
        samples, rows, seconds = self._colorize(items, plan, on_progress)
        scores: dict[str, list[TrackScore]] = {}
        for n, (_, image) in enumerate(items):
            gray = _gray(image)
            scores[image.id] = [
                score
                for metric in plan.of("item")
                for row, colors in rows.items()
                for score in image_values(image.id, row, (STEM,), (metric,), image.sources, colors[n].numpy())
            ]
            left = residual_rms(gray, gray_of(samples[n, 0, :, 0], WEIGHTS))
            scores[image.id].append(TrackScore(image.id, OURS, MIXTURE, RESIDUAL, left))
            if self.samples > 1:
                spread = diversity(_exact(samples[n, :, :, 0], gray[None]))
                scores[image.id].append(TrackScore(image.id, OURS, STEM, DIVERSITY, spread))
        return Scored(scores, rows, seconds)

    def clips(self, number: int, item: Pair, plan: Plan) -> list[Clip]:
        """Return the gray, the image's true colors, and every row's."""
        _, rows, _ = self._colorize([(number, item)], plan, None)
        shown = {row: estimates[0].numpy() for row, estimates in rows.items()}
        gray = shown.pop(GRAY)[0]
        return clips_of_rows((STEM,), gray, {REFERENCE: item.sources, **shown})

    @property
    def _rows(self) -> tuple[str, ...]:
        return (*images.sample_rows(self.samples), GRAY)

    def _colorize(
        self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None
    ) -> tuple[Tensor, dict[str, Tensor], float]:
        """Samples (B, S, 3, 1, H, W), colorizations (B, 1, 3, H, W) by row, and the seconds it took."""
        grays = torch.stack([_gray(image) for _, image in items])
        samples, chosen, seconds = images.sample_images(
            self.engine, items, grays[:, None], self.samples, plan.seed, on_progress
        )
        estimates = [_exact(each[:, :, 0], grays) for each in chosen]
        estimates.append(grays[:, None].expand(-1, 3, -1, -1))
        rows = {row: colors[:, None] for row, colors in zip(self._rows, estimates, strict=True)}
        return samples, rows, seconds


def _gray(image: Pair) -> Tensor:
    return gray_of(torch.from_numpy(image.sources[0]), WEIGHTS)


def _exact(sampled: Tensor, gray: Tensor) -> Tensor:
    """Colors (..., 3, H, W) in [0, 1] of exactly a gray (..., H, W)."""
    return locked(gray.expand(sampled[..., 0, :, :].shape), sampled - gray[..., None, :, :], WEIGHTS)
