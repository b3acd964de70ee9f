"""``sepcli separate`` for images: one image in, its sources, a contact sheet and run.json out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli import __version__
from sepcli.cli import console
from sepcli.cli.image_jobs import plan_images, run_images, sheet_beside
from sepcli.cli.image_samples import describe, write_sets
from sepcli.cli.resume import refuse_unlike, replace_record
from sepcli.cli.settings import parse_weights
from sepcli.errors import SepError, UsageError
from sepcli.separation.seeds import sample_seeds
from sepcli.separation.weights import mixing_weights

if TYPE_CHECKING:
    from sepcli.catalog.card import Card
    from sepcli.cli.inputs import Job
    from sepcli.protocols import ImageSeparator


@dataclass(frozen=True)
class ImageRequest:
    """What is asked for, in words.

    Attributes:
        inputs: files, folders and globs.
        priors: names or folders; one for all sources, or one per source.
        sources: K; None: as many as there are weights, or several priors, else 2.
        weights: w_k of the file's mixture Σ w_k x_k, as words; None: the mean of the sources, 1/K each.
        out: folder.
        filename: template; None: a folder per image.
        samples: how many draws.
        sampler: name; None: the prior's own.
        settings: of sampler and posterior.
        seed: of the draws.
        device: a word.
        overwrite: replace files that exist.
        resume: skip images that are finished.
        as_json: print one JSON document.
        quiet: no progress and no notes.
    """

    inputs: Sequence[str]
    priors: Sequence[str]
    sources: int | None
    weights: str | None
    out: Path
    filename: str | None
    samples: int
    sampler: str | None
    settings: dict[str, str]
    seed: int
    device: str
    overwrite: bool
    resume: bool
    as_json: bool
    quiet: bool


def separate_images(request: ImageRequest) -> None:
    """Separate images; see ``sepcli.cli.separate``."""
    from sepcli.catalog import resolve as catalog
    from sepcli.catalog.engines import source_names
    from sepcli.cli.device import choose_device
    from sepcli.cli.inputs import to_do
    from sepcli.priors.images.load import load_images

    found = [catalog.find(name) for name in request.priors]
    weights = _weights(request, found[0][0].weights)
    found *= len(weights) // len(request.priors)
    owners = [card for card, _ in found]
    names = source_names(owners)
    usual = "{track}/{stem}.{ext}" if request.samples == 1 else "{track}/{sample}/{stem}.{ext}"
    prior = "+".join(dict.fromkeys(card.name for card in owners))
    jobs = plan_images(request.inputs, request.out, request.filename or usual, names, request.samples, prior)
    todo = to_do(jobs, overwrite=request.overwrite, resume=request.resume)
    place = str(choose_device(request.device))
    separator = load_images(
        request.priors, weights, device=place, sampler=request.sampler, settings=request.settings
    )
    kinds = [(os.path.realpath(folder), w) for (_, folder), w in zip(found, weights, strict=True)]
    made_with = _made_with(owners, separator, weights, place, request)
    todo = refuse_unlike(jobs, todo, made_with, request.overwrite)

    def separate_one(job: Job) -> dict[str, Any]:
        return _separate(job, separator, weights, kinds, request, made_with)

    def told(job: Job) -> str:
        return f"{job.stems[0][0].parent}: {', '.join(names)}, {sheet_beside(job.record).name}"

    run_images(jobs, todo, separate_one, told, request.as_json)


def _weights(request: ImageRequest, of_card: Sequence[float]) -> tuple[float, ...]:
    """The weights of as many sources as were asked for; ``of_card``: those of the first prior's card."""
    given = parse_weights(request.weights, request.sources) if request.weights is not None else None
    sources = request.sources or max(2, len(request.priors), len(of_card))
    weights = mixing_weights(given, of_card, images=True, sources=sources)
    if len(request.priors) not in (1, len(weights)):
        raise UsageError(
            f"{len(request.priors)} --prior for {len(weights)} sources", "give one for all, or one per source"
        )
    return weights


def _made_with(
    owners: Sequence[Card],
    separator: ImageSeparator,
    weights: Sequence[float],
    place: str,
    request: ImageRequest,
) -> dict[str, Any]:
    """What all records of a run say alike; of several priors, names and files per source."""
    files = [{name: entry.sha256 for name, entry in card.files.items()} for card in owners]
    one, first = len(request.priors) == 1, owners[0]
    return {
        "prior": first.name if one else [card.name for card in owners],
        "files": files[0] if one else files,
        **separator.describe(),
        "device": place,
        "seed": request.seed,
        "samples": request.samples,
        "weights": list(weights),
        "evaluations": separator.evaluations,
    }


def _separate(
    job: Job,
    separator: ImageSeparator,
    weights: Sequence[float],
    kinds: Sequence[tuple[str, float]],
    request: ImageRequest,
    made_with: dict[str, Any],
) -> dict[str, Any]:
    import torch

    from sepcli.media.images import as_channels, read_image
    from sepcli.separation.ranking import align, ranked

    started = time.monotonic()
    image = read_image(job.source)
    channels = separator.channels or image.pixels.shape[0]
    mixture = torch.from_numpy(as_channels(image, channels, job.source))
    seeds = torch.tensor(sample_seeds(request.seed, 0, request.samples))
    several = request.samples > 1
    with console.progress(job.track, request.quiet) as on_progress:
        raw = separator(mixture[None], seeds[None], on_progress)[0]
        if not torch.isfinite(raw).all():
            raise SepError(
                f"the sources of {job.source} are not finite", "use more steps, or another sampler or prior"
            )
        drawn = align(raw.clamp(0, 1), kinds)
        sets = ranked(drawn, mixture, weights, separator.log_prior(drawn) if several else None)
    for k, name in enumerate(separator.names):
        if drawn[:, k].std(correction=0) < 1 / 255 <= mixture.std(correction=0):
            console.warn(f"{job.track}: the source {name} is empty")
    write_sets(job, image, mixture.numpy(), sets, separator.names, request.overwrite)
    record = {
        "input": str(job.source),
        "sources": [[str(path) for path in paths] for paths in job.stems[: request.samples]],
        "contact_sheet": str(job.sheet),
        **made_with,
        "size": list(mixture.shape[1:]),
        "residual_rms": sets.residual.tolist(),
        **(describe(job, sets, seeds.tolist()) if several else {}),
        "seconds": time.monotonic() - started,
        "versions": {"sepcli": __version__, "torch": torch.__version__},
    }
    return replace_record(job, record, request.quiet)
