"""BASIS' protocol: weighted sums of two test images, separated; each pair is scored in its better order.

Sums of more images are scored likewise, in the best order of all.

PSNR is 10 log10(1/mean squared error) of images clamped to [0, 1]; the estimates of a pair are put in the
order of the greater mean PSNR, for SSIM as well. Baselines are half the mixture and, where there are training
images, dictionaries. Sets of separated images are compared with all test images.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.1 and tables 2 and 3; section 4 for the residual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sepcli.baselines import supervised_nmf
from sepcli.baselines.masks import Array
from sepcli.datasets.image_pairs import ANY, ImagePairs
from sepcli.datasets.pair_folder import Pair
from sepcli.errors import UsageError
from sepcli.evaluation import images
from sepcli.evaluation.baselines import AVERAGE, average
from sepcli.evaluation.dictionaries import NMF, describe_dictionaries, dictionaries_of
from sepcli.evaluation.distribution import Sets
from sepcli.evaluation.images import MIXTURE, NLL, OURS, RESIDUAL
from sepcli.evaluation.previews import REFERENCE, Clip, clips_of_rows
from sepcli.evaluation.samples import describe_mixture
from sepcli.evaluation.score import Pixels, TrackScore, image_values, in_best_order
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.metrics.features import Extractor
from sepcli.metrics.images import psnr, residual_rms
from sepcli.protocols import Engine, ProgressCallback


@dataclass(frozen=True)
class ImageSums:
    """Sums of two images, or more.

    Attributes:
        data: the pairs, or K images at once.
        engine: of as many sources; its weights mix them, 1 and 1 in the paper.
        samples: S per pair; of several, the likeliest under the prior has a row.
        settings: description of the engine, for the protocol.
        networks: of metrics of sets, by name; see ``sepcli.evaluation.distribution.open_networks``.
    """

    data: ImagePairs
    engine: Engine
    samples: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Extractor] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("psnr",)
    scopes: tuple[str, ...] = ("item", "set", "check")
    medium: str = "image"
    separates: bool = True
    one_by_one: bool = False

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol; refuses engines of other sums, and nll without a density."""
        count = len(self.data.names)
        kind = "pairs" if count == 2 else "sums"
        if len(self.engine.weights) != count:
            given = "pairs" if count == 2 else f"sums of {count}"
            raise UsageError(
                f"{given} of images for a separator of {len(self.engine.weights)} sources",
                f"use one of {count}",
            )
        if NLL in plan.metrics and self.engine.density is None:
            raise UsageError(f"{NLL} needs a prior that is a density", "use a normalizing flow")
        originals = self.data.originals
        dictionaries, notes = self.learned(plan.seed)
        settings: dict[str, Any] = {"samples": self.samples, "test_images": len(originals)}
        better = (
            "a pair in the order of the greater" if count == 2 else "an item in the order of the greatest"
        )
        settings["order"] = f"the estimates of {better} mean PSNR"
        if self.data.training is not None:
            settings[NMF] = describe_dictionaries(dictionaries, self.data.shared)
        rows = self._rows(plan)
        return images.image_setup(
            plan,
            self.engine,
            Sets(plan.of("set"), self.networks, originals, rows, images=count),
            (RESIDUAL, *([NLL] if self.engine.density else [])),
            {**self.settings, **settings},
            "pair" if count == 2 else "item",
            notes,
            dataset=f"{self.data.title}, {kind} 0 … {self.data.count - 1}, {self.data.rule}",
            stems=self.data.names,
            mixture=describe_mixture(self.engine.weights, ANY if count == 2 else self.data.names),
            tracks=self.data.count,
        )

    def items(self, plan: Plan) -> Iterator[Pair]:
        """Yield the pairs."""
        return self.data.items(plan.seed)

    def score(self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Separate and score a batch."""
        rows, seconds = self._separate(items, plan, on_progress)
        scores = {
            pair.id: self._values(pair, number, plan, {row: estimates[n] for row, estimates in rows.items()})
            for n, (number, pair) in enumerate(items)
        }
        return Scored(scores, rows, seconds)

    def clips(self, number: int, item: Pair, plan: Plan) -> list[Clip]:
        """Return half the mixture, the pair, and every row's estimates."""
        rows, _ = self._separate([(number, item)], plan, None)
        shown = {row: ordered(item, estimates[0]) for row, estimates in rows.items()}
        half = item.sources.mean(0)
        return clips_of_rows(self.data.names, half, {REFERENCE: item.sources, **shown})

    def learned(self, seed: int) -> tuple[list[Array], tuple[str, ...]]:
        """Return the dictionaries of the two sources, learned once, and notes."""
        if seed not in self._learned:
            self._learned[seed] = dictionaries_of(self.data, seed)
        return self._learned[seed]

    @cached_property
    def _learned(self) -> dict[int, tuple[list[Array], tuple[str, ...]]]:
        return {}

    def _rows(self, plan: Plan) -> tuple[str, ...]:
        """Names of the rows of samples and of the baselines."""
        learned, _ = self.learned(plan.seed)
        return (*images.sample_rows(self.samples), AVERAGE, *((NMF,) if learned else ()))

    def _separate(
        self, items: Members[Pair], plan: Plan, on_progress: ProgressCallback | None
    ) -> tuple[dict[str, Tensor], float]:
        """Estimates (B, K, C, H, W) by row, and the seconds that separating took."""
        alpha = self.engine.weights
        mixtures = torch.stack([weighted(torch.from_numpy(pair.sources), alpha) for _, pair in items])
        _, estimates, seconds = images.sample_images(
            self.engine, items, mixtures, self.samples, plan.seed, on_progress
        )
        estimates.append(torch.stack([torch.from_numpy(average(x.numpy(), alpha)) for x in mixtures]))
        dictionaries, _ = self.learned(plan.seed)
        if dictionaries:
            parts = supervised_nmf.separate(mixtures.flatten(1).double().numpy(), dictionaries)
            parts_of_images = torch.from_numpy(parts).reshape(estimates[0].shape)
            estimates.append(parts_of_images / torch.tensor(alpha)[:, None, None, None])
        return dict(zip(self._rows(plan), estimates, strict=True)), seconds

    def _values(self, pair: Pair, number: int, plan: Plan, rows: Mapping[str, Tensor]) -> list[TrackScore]:
        truth, alpha = torch.from_numpy(pair.sources), self.engine.weights
        left = residual_rms(weighted(truth, alpha), weighted(rows[OURS], alpha))
        noise = np.random.default_rng([plan.seed, number])
        typical = images.typicality(self.engine, rows[OURS], truth, noise)
        return [
            *pair_values(pair, self.data.names, rows, plan.of("item")),
            TrackScore(pair.id, OURS, MIXTURE, RESIDUAL, left),
            *(TrackScore(pair.id, row, MIXTURE, NLL, bits) for row, bits in typical.items()),
        ]


def weighted(sources: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Σ α_k x_k of images (K, C, H, W)."""
    return (torch.tensor(weights)[:, None, None, None] * sources).sum(0)


def ordered(pair: Pair, estimates: Tensor) -> Pixels:
    """Clamp estimates (K, C, H, W) to [0, 1] and put them in the order of the greatest mean PSNR."""
    return in_best_order(pair.sources, estimates.clamp(0.0, 1.0).numpy(), psnr)


def pair_values(
    pair: Pair, names: tuple[str, ...], rows: Mapping[str, Tensor], metrics: tuple[str, ...] = ("psnr",)
) -> list[TrackScore]:
    """Compare every row's estimates (K, C, H, W), in the order of the greatest PSNR, with an item."""
    return [
        score
        for row, estimates in rows.items()
        for score in image_values(pair.id, row, names, metrics, pair.sources, ordered(pair, estimates))
    ]
