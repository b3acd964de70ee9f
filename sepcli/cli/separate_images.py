"""``sepcli separate`` for images: one image in, its sources and a contact sheet out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.image_samples import beside_labels, describe_samples, sample_labels, std_scale
from sepcli.cli.jobs import Outcome
from sepcli.cli.outputs import Job, Layout, check_template, plan
from sepcli.cli.settings import parse_weights
from sepcli.errors import SepError, UsageError
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.weights import mixing_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sepcli.catalog.card import Card
    from sepcli.media.images import RasterImage
    from sepcli.protocols import Engine
    from sepcli.separation.ranking import RankedSamples


@dataclass(frozen=True, eq=False)
class ImageSeparation:
    """Separates images; fulfils ``sepcli.cli.jobs.Work``.

    Attributes:
        priors: names or folders; one for all sources, or one per source.
        cards: per source its card and folder.
        weights: w_k of the mixture Σ w_k x_k.
        layout: how files are named.
        device: the argument.
        sampler: name; None: the prior's own.
        settings: of sampler and posterior.
        seed: of the run.
        overwrite: replace files that exist.
        quiet: no progress.
    """

    priors: Sequence[str]
    cards: Sequence[tuple[Card, Path]]
    weights: tuple[float, ...]
    layout: Layout
    device: str
    sampler: str | None
    settings: Mapping[str, str]
    seed: int
    overwrite: bool
    quiet: bool

    smaller = "make the image smaller"
    libraries = ("torch", "numpy", "pillow")

    def plan(self, source: Path) -> Job:
        """Name the outputs of an image."""
        return plan(source, self.layout, "png")

    def prepare(self) -> Mapping[str, Any]:
        """Load the separator; return what ran, of several priors with names and files per source."""
        separator, device = self._loaded
        owners = [card for card, _ in self.cards]
        files = [{name: entry.sha256 for name, entry in card.files.items()} for card in owners]
        one = len(self.priors) == 1
        return {
            "prior": owners[0].name if one else [card.name for card in owners],
            "files": files[0] if one else files,
            **separator.describe(),
            "device": device,
            "weights": list(self.weights),
            "seed": self.seed,
        }

    def run(self, job: Job, title: str) -> Outcome:
        """Separate an image and write its sources and the contact sheet."""
        import torch

        from sepcli.media.images import as_channels, read_image

        started = time.monotonic()
        separator, _ = self._loaded
        image = read_image(job.source)
        channels = separator.channels or image.pixels.shape[0]
        mixture = torch.from_numpy(as_channels(image, channels, job.source))
        seeds = sample_seeds(self.seed, 0, self.layout.samples)
        ranked = self._sample(job, mixture, torch.tensor(seeds), title)
        for k, name in enumerate(separator.names):
            if ranked.samples[:, k].std(correction=0) < 1 / 255 <= mixture.std(correction=0):
                console.warn(f"{job.track}: the source {name} is empty")
        write_sources(job, image, mixture.numpy(), ranked, separator.names, self.overwrite)
        report = {
            "size": list(mixture.shape[1:]),
            **({"std_scale": std_scale(ranked.std)} if len(seeds) > 1 else {}),
            "evaluations": separator.evaluations,
            "elapsed": time.monotonic() - started,
        }
        sheet = job.sheet.name if job.sheet else ""
        line = f"{job.stems[0][0].parent}: {', '.join(separator.names)}, {sheet}"
        return Outcome({**describe_samples(ranked, seeds), "report": report}, (line,))

    def _sample(self, job: Job, mixture: Tensor, seeds: Tensor, title: str) -> RankedSamples:
        import torch

        from sepcli.separation.ranking import align, ranked

        separator, _ = self._loaded
        groups = [(os.path.realpath(f), w) for (_, f), w in zip(self.cards, self.weights, strict=True)]
        with console.progress(title, self.quiet) as on_progress:
            raw = separator.sample(mixture[None], seeds[None], on_progress)[0]
            if not torch.isfinite(raw).all():
                raise SepError(
                    f"the sources of {job.source} are not finite",
                    "use more steps, or another sampler or prior",
                )
            drawn = align(raw.clamp(0, 1), groups)
            return ranked(
                drawn, mixture, self.weights, separator.log_prior(drawn) if len(seeds) > 1 else None
            )

    @cached_property
    def _loaded(self) -> tuple[Engine, str]:
        from sepcli.cli.device import choose_device
        from sepcli.priors.images.load import load_images

        device = str(choose_device(self.device))
        return (
            load_images(
                self.priors, self.weights, device=device, sampler=self.sampler, settings=self.settings
            ),
            device,
        )


def image_weights(
    given: str | None, sources: int | None, priors: int, of_card: Sequence[float]
) -> tuple[float, ...]:
    """Return the weights of as many sources as are asked for.

    Args:
        given: ``--weights``.
        sources: ``--sources``.
        priors: number of ``--prior``.
        of_card: weights of the first prior's card.

    Raises:
        UsageError: these do not fit together.
    """
    own = parse_weights(given, sources) if given is not None else None
    count = sources or max(2, priors, len(of_card))
    weights = mixing_weights(own, of_card, images=True, sources=count)
    if priors not in (1, len(weights)):
        raise UsageError(
            f"{priors} --prior for {len(weights)} sources", "give one for all, or one per source"
        )
    return weights


def image_layout(
    out: Path, filename: str | None, stems: Sequence[str], samples: int, priors: Sequence[str]
) -> Layout:
    """Return how the sources of images are named.

    Raises:
        UsageError: ``--filename`` cannot name them all.
    """
    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}/{stem}.{ext}")
    check_template(template, samples, len(stems))
    return Layout(out, template, tuple(stems), samples, "+".join(dict.fromkeys(priors)), images=True)


def write_sources(
    job: Job,
    image: RasterImage,
    mixture: NDArray[np.float32],
    ranked: RankedSamples,
    names: Sequence[str],
    overwrite: bool,
) -> None:
    """Write all images of a job, with the mixture's transparency and bits, and the contact sheet.

    Args:
        job: its outputs.
        image: the mixture's file.
        mixture: (C, H, W), as it was separated.
        ranked: samples, the best first.
        names: of the K sources.
        overwrite: replace files that exist.

    Raises:
        OutputError: a file exists, or cannot be written.
    """
    from sepcli.media.contact_sheet import contact_sheet
    from sepcli.media.images import RasterImage, write_images

    planes = [sample.numpy() for sample in ranked.samples]
    rows: list[list[NDArray[np.float32] | None]] = [[mixture, *plane] for plane in planes]
    labels = sample_labels(ranked)
    if job.beside:
        scale = std_scale(ranked.std)
        beside = [ranked.mean.numpy(), (scale * ranked.std).numpy()]
        planes += beside
        rows += [[None, *plane] for plane in beside]
        labels += beside_labels(scale)
    images = {
        path: RasterImage(pixels, image.alpha, image.bits)
        for paths, sources in zip((*job.stems, *job.beside), planes, strict=True)
        for path, pixels in zip(paths, sources, strict=True)
    }
    if job.sheet is not None:
        images[job.sheet] = RasterImage(contact_sheet(rows, ["mixture", *names], labels))
    write_images(images.items(), overwrite=overwrite)
