"""BASIS' protocol of colouring: test pictures in grey, coloured, each compared with its own colours.

The grey is the mean of the channels. Colours are brought to exactly that grey and into [0, 1], as ``sepcli
colorize`` does; the residual is of draws before. PSNR and SSIM are of colours, which a grey picture does not
fix: a colouring that is likely may be far from the one that was. What counts is how sets of colourings
compare with all test pictures; beside them stand the grey pictures themselves.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.2 and table 4.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sepcli.colouring import GREYS, diversity, grey_of, locked
from sepcli.errors import UsageError
from sepcli.evaluation.batches import Scores, check_finite, draw_seeds
from sepcli.evaluation.clips import REFERENCE, Clip, clips_of_rows, encode_picture
from sepcli.evaluation.likelihoods import OURS, likeliest
from sepcli.evaluation.picture_pairs import MIXTURE, RESIDUAL
from sepcli.evaluation.picture_runs import PictureRun, closeness, evaluate_items, residual_rms
from sepcli.evaluation.picture_sets import Images
from sepcli.evaluation.report import Report
from sepcli.evaluation.score import TrackScore
from sepcli.protocols import OnStep
from sepcli.separators import ScoreSeparator
from sepcli.training.denoiser import as_pictures

WEIGHTS = GREYS["mean"]
"""What the grey is of red, green and blue."""
GREY, STEM, DIVERSITY = "grey", "colours", "diversity"
"""A row, the one column, and what is measured of several draws."""


@dataclass(frozen=True)
class ColourPicture:
    """A picture to be coloured again.

    Attributes:
        id: its name in reports.
        pixels: (3, H, W), float32 in [0, 1].
    """

    id: str
    pixels: Tensor


def evaluate_colourings(
    originals: Images, dataset: str, separator: ScoreSeparator, run: PictureRun, count: int
) -> Report:
    """Grey, colour and score test pictures.

    Args:
        originals: all test pictures (N, 3, H, W).
        dataset: what they are, in words.
        separator: of a grey picture into its three channels, with ``WEIGHTS``.
        run: how.
        count: how many are coloured, at most all; chosen by lot.

    Returns:
        The report; its ``cost`` holds evaluations per picture and, of the pictures coloured now, seconds per
        picture.

    Raises:
        UsageError: the separator is of something else, or a metric not for such pictures.
        InputError: the pictures are too small for SSIM.
        OutputError: the journal is of a run with other settings, or cannot be written.
    """
    if tuple(separator.weights) != WEIGHTS:
        raise UsageError("the grey is the mean of the channels", "use a separator of these weights")
    count = min(count, len(originals))
    rules = run.rules(
        (RESIDUAL, *([DIVERSITY] if run.draws > 1 else [])),
        dataset=f"{dataset}, {count} of {len(originals)} pictures, coloured",
        stems=(STEM,),
        mixture="the mean of red, green and blue",
        tracks=count,
    )
    work = _Colouring(separator, run)
    return evaluate_items(run, rules, lambda: _chosen(originals, count, run.seed), work, originals, 1)


def _chosen(originals: Images, count: int, seed: int) -> Iterator[ColourPicture]:
    for number in np.random.default_rng(seed).permutation(len(originals))[:count]:
        yield ColourPicture(f"picture-{number:05d}", as_pictures(originals[number][None])[0])


@dataclass
class _Colouring:
    """Colours and scores batches of pictures, and keeps the time that colouring takes."""

    separator: ScoreSeparator
    run: PictureRun
    seconds: float = 0.0
    pictures: int = 0

    @property
    def rows(self) -> tuple[str, ...]:
        """Ours, the likeliest of several, and grey."""
        several = (f"{OURS}-{self.run.draws}x",) if self.run.draws > 1 else ()
        return (OURS, *several, GREY)

    def __call__(
        self, items: Sequence[tuple[int, ColourPicture]], on_step: OnStep | None
    ) -> tuple[Scores, dict[str, Tensor]]:
        """Scores by picture, and by row the colourings (B, 1, 3, H, W)."""
        greys = torch.stack([grey_of(picture.pixels, WEIGHTS) for _, picture in items])  # (B, H, W)
        seeds = torch.stack([draw_seeds(self.run.seed, number, self.run.draws) for number, _ in items])
        started = time.monotonic()
        found = self.separator(greys[:, None], seeds, on_step)  # (B, S, 3, 1, H, W)
        check_finite(found, [picture for _, picture in items])
        chosen = [likeliest(self.separator, found)] if self.run.draws > 1 else []
        self.seconds, self.pictures = self.seconds + time.monotonic() - started, self.pictures + len(items)
        draws = _exact(found[:, :, :, 0], greys[:, None])
        likely = [_exact(each[:, :, 0], greys) for each in chosen]
        made = [draws[:, 0], *likely, greys[:, None].expand(-1, 3, -1, -1)]
        rows = {row: pictures[:, None] for row, pictures in zip(self.rows, made, strict=True)}
        scores = {}
        for place, (_, picture) in enumerate(items):
            left = residual_rms(greys[place], grey_of(found[place, 0, :, 0], WEIGHTS))
            scores[picture.id] = [
                *self._closeness(picture, {row: own[place, 0] for row, own in rows.items()}),
                TrackScore(picture.id, OURS, MIXTURE, RESIDUAL, left),
            ]
            if self.run.draws > 1:
                spread = diversity(draws[place])
                scores[picture.id].append(TrackScore(picture.id, OURS, STEM, DIVERSITY, spread))
        return scores, rows

    def clips(self, number: int, item: ColourPicture) -> list[Clip]:
        """The grey, the picture's own colours, and every row's."""
        shown = {row: made[0].numpy() for row, made in self([(number, item)], None)[1].items()}
        grey = shown.pop(GREY)[0]
        return clips_of_rows((STEM,), grey, {REFERENCE: item.pixels[None].numpy(), **shown}, encode_picture)

    def cost(self) -> dict[str, float]:
        """Evaluations per picture and draw; seconds per picture if any was coloured."""
        took = {"seconds_per_picture": self.seconds / self.pictures} if self.pictures else {}
        return {"evaluations": self.separator.evaluations, **took}

    def _closeness(self, picture: ColourPicture, rows: dict[str, Tensor]) -> list[TrackScore]:
        truth = picture.pixels.numpy()
        return [
            TrackScore(picture.id, row, STEM, metric, closeness(metric, truth, colours.numpy()))
            for metric in self.run.of_items
            for row, colours in rows.items()
        ]


def _exact(drawn: Tensor, grey: Tensor) -> Tensor:
    """Colours (..., 3, H, W) in [0, 1] of exactly a grey (..., H, W)."""
    return locked(grey.expand(drawn[..., 0, :, :].shape), drawn - grey[..., None, :, :], WEIGHTS)
