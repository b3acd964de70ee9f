"""``sepcli separate`` for images: one image in, its sources and a contact sheet out."""

from __future__ import annotations

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
from sepcli.cli.resolve import load, made_with
from sepcli.errors import SepError
from sepcli.separation.seeds import sample_seeds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from sepcli.media.images import RasterImage
    from sepcli.priors.select import Selection
    from sepcli.separation.ranking import RankedSamples
    from sepcli.separation.separator import Separator


@dataclass(frozen=True, eq=False)
class ImageSeparation:
    """Separates images; fulfils ``sepcli.cli.jobs.Work``.

    Attributes:
        chosen: the priors and how they separate.
        layout: how files are named.
        device: the argument.
        seed: of the run.
        overwrite: replace files that exist.
        quiet: no progress.
    """

    chosen: Selection
    layout: Layout
    device: str
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
        return {**made_with(self._separator), "seed": self.seed}

    def run(self, job: Job, title: str) -> Outcome:
        """Separate an image and write its sources and the contact sheet."""
        import torch

        from sepcli.media.images import as_channels, read_image

        started = time.monotonic()
        separator = self._separator.engine
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

        separator, groups = self._separator.engine, self.chosen.groups()
        with console.progress(title, self.quiet) as on_progress:
            raw = separator.sample(mixture[None], seeds[None], on_progress)[0]
            if not torch.isfinite(raw).all():
                raise SepError(
                    f"the sources of {job.source} are not finite",
                    "use more steps, or another sampler or prior",
                )
            drawn = align(raw.clamp(0, 1), groups or separator.names)
            return ranked(
                drawn, mixture, separator.weights, separator.log_prior(drawn) if len(seeds) > 1 else None
            )

    @cached_property
    def _separator(self) -> Separator:
        return load(self.chosen, self.device)


def image_layout(out: Path, filename: str | None, stems: Sequence[str], samples: int, prior: str) -> Layout:
    """Return how the sources of images are named.

    Raises:
        UsageError: ``--filename`` cannot name them all.
    """
    template = filename or ("{track}/{stem}.{ext}" if samples == 1 else "{track}/{sample}/{stem}.{ext}")
    check_template(template, samples, len(stems))
    return Layout(out, template, tuple(stems), samples, prior, images=True)


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
