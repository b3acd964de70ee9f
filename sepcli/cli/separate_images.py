"""``sepcli separate`` for images: one image in, its sources and a contact sheet out."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sepcli.cli import console
from sepcli.cli.options import BatchOptions
from sepcli.cli.outputs import Job
from sepcli.cli.resolve import Choice
from sepcli.cli.samples import Quality, beside_labels, std_scale, warn_of_misfit
from sepcli.cli.work import Loaded, Outcome, Work, fixed
from sepcli.separation.executor import OnPart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sepcli.media.images import RasterImage
    from sepcli.separation.result import Result


def image_work(choice: Choice, template: str, options: BatchOptions, extension: str, quality: int) -> Work:
    """Return what separates images into files with an extension, of a quality from 1 to 100."""
    return Work(
        choice,
        template,
        options,
        "separate",
        partial(separate_image, quality=quality),
        partial(fixed, extension),
        kept={"container": extension, "quality": quality},
    )


def separate_image(loaded: Loaded, job: Job, on_part: OnPart, quality: int) -> Outcome:
    """Separate an image and write its sources and the contact sheet."""
    import torch

    from sepcli.media.image_writer import write_images
    from sepcli.media.images import as_channels, read_image

    started = time.monotonic()
    separator, options = loaded.separator, loaded.work.options
    image = read_image(job.source)
    for note in image.notes:
        console.note(f"{job.track}: {note}", options.quiet)
    channels = separator.engine.channels or image.pixels.shape[0]
    mixture = torch.from_numpy(as_channels(image, channels, job.source))
    result = separator.separate(
        mixture, samples=options.samples, seed=options.seed, channel_axis=0, on_progress=on_part
    )
    for k, name in enumerate(separator.names):
        if result.samples[:, k].std(correction=0) < 1 / 255 <= mixture.std(correction=0):
            console.warn(f"{job.track}: the source {name} is empty", options.quiet)
    ranks = Quality(result.seeds, result.residual, result.agreement, result.log_prior)
    images = _images(job, image, mixture.numpy(), result, ranks)
    write_images(images.items(), overwrite=options.overwrite, quality=quality)
    report = {
        "size": list(mixture.shape[1:]),
        **({"std_scale": std_scale(result.std)} if options.samples > 1 else {}),
        "evaluations": separator.engine.evaluations,
        "elapsed": time.monotonic() - started,
    }
    outputs = [*separator.names, *([job.sheet.name] if job.sheet else [])]
    if job.beside:
        outputs[:1] = [f"{len(job.stems)} samples of {outputs[0]}"]
        outputs[-1:-1] = ["mean", "standard deviation"]
    line = f"{job.record.parent}: {', '.join(outputs)}"
    warn_of_misfit(job.track, result.fit, options.quiet)
    return Outcome({**ranks.describe(), "fit": result.fit, "report": report}, (line, *ranks.summary()))


def _images(
    job: Job, image: RasterImage, mixture: NDArray[np.float32], result: Result, ranks: Quality
) -> dict[Path, RasterImage]:
    """Return all images of a job, with transparency and bits of the mixture's file, and the contact sheet.

    Args:
        job: its outputs.
        image: the mixture's file.
        mixture: (C, H, W), as it was separated.
        result: samples (S, K, C, H, W), the best first.
        ranks: what the contact sheet says of them.
    """
    from sepcli.media.contact_sheet import contact_sheet
    from sepcli.media.images import RasterImage

    planes = [sample.numpy() for sample in result.samples]
    rows: list[list[NDArray[np.float32] | None]] = [[mixture, *plane] for plane in planes]
    labels = ranks.labels()
    if job.beside:
        scale = std_scale(result.std)
        beside = [result.mean.numpy(), (scale * result.std).numpy()]
        planes += beside
        rows += [[None, *plane] for plane in beside]
        labels += beside_labels(scale)
    images = {
        path: image.with_pixels(pixels)
        for paths, sources in zip((*job.stems, *job.beside), planes, strict=True)
        for path, pixels in zip(paths, sources, strict=True)
    }
    if job.sheet is not None:
        images[job.sheet] = RasterImage(contact_sheet(rows, ["mixture", *result.names], labels))
    return images
