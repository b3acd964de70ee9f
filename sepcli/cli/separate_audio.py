"""``sepcli separate`` for recordings: windows through an engine, stems like the mixture's file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.cost import estimate
from sepcli.cli.outputs import Job
from sepcli.cli.part import Part
from sepcli.cli.resolve import Choice
from sepcli.cli.samples import Quality, warn_of_misfit
from sepcli.cli.work import Loaded, Outcome, Work
from sepcli.separation.executor import OnPart

if TYPE_CHECKING:
    from sepcli.cli.separate import SeparateOptions
    from sepcli.media.audio import AudioInfo
    from sepcli.media.stem_format import Encoding, StemFormat
    from sepcli.separation.stem_report import StreamReport


def audio_work(
    choice: Choice, template: str, options: SeparateOptions, encoding: Encoding, part: Part
) -> Work:
    """Return what separates a part of recordings into stems that are stored as chosen."""
    kept = {
        "other": options.other,
        "container": encoding.container,
        "bitrate": encoding.bitrate,
        "bit_depth": encoding.depth,
        **part.describe(),
    }

    return Work(
        choice,
        template,
        options,
        "separate",
        partial(separate_recording, encoding=encoding, part=part),
        partial(_extension, encoding),
        kept=kept,
        smaller="reduce it: --set batch=1, fewer samples",
        libraries=("soundfile", "soxr", "av"),
        estimate=partial(estimate, part=part),
    )


def _extension(encoding: Encoding, source: Path) -> str:
    from sepcli.media.audio import AudioReader
    from sepcli.media.stem_format import stem_format

    with AudioReader(source) as reader:
        return stem_format(reader.info, encoding).extension


def separate_recording(loaded: Loaded, job: Job, on_part: OnPart, encoding: Encoding, part: Part) -> Outcome:
    """Separate a part of a recording and write its stems."""
    from sepcli.media.stems import reorder

    work, options = loaded.work, loaded.work.options
    with ExitStack() as stack:
        reader = part.open(job.source, stack)
        files, writers = part.writers(job, reader, encoding, options.overwrite, stack)
        _note(job, reader.info, files[0].format, part.written, options.quiet)
        report = loaded.separator.separate_blocks(
            reader, writers, samples=options.samples, seed=options.seed, on_progress=on_part
        )
        if report.samples is not None and len(writers) > 1:
            reorder(files, report.samples.order)
    fit = loaded.separator.fit_of(report)
    warn_of_misfit(job.track, fit, options.quiet)
    if not options.quiet:
        _warn(job, report, part.written)
    measured = {key: value for key, value in asdict(report).items() if key != "samples"}
    stem, names = job.stems[0][0], ", ".join(work.choice.names)
    where = stem if files[0].format.together else stem.parent
    where = job.record.parent if len(job.stems) > 1 else where
    line = f"{where}: {names}  ({report.seconds:.1f} s in {report.elapsed:.1f} s)"
    details = {**_describe(report, options.seed), "fit": fit, "report": measured}
    return Outcome(details, (line, *_summary(report)))


def _note(job: Job, info: AudioInfo, form: StemFormat, names: Sequence[str], quiet: bool) -> None:
    """Say what of a file is not read or kept, and whether its format demands another number of stems."""
    from sepcli.media.covers import holds_cover
    from sepcli.media.stem_box import STEMS

    if form.together and len(names) != STEMS:
        extra = f" and {STEMS - len(names)} silent" if len(names) < STEMS else ""
        players = f"players demand {STEMS} stems"
        console.note(f"{job.track}: {players}, the file has {', '.join(names)}{extra}", quiet)
    if info.streams > 1:
        console.note(f"{job.track}: the first of {info.streams} audio streams is separated", quiet)
    if info.tags.cover is not None and not holds_cover(form.format, info.tags.cover):
        console.note(f"{job.track}: its cover image is not copied to the stems", quiet)


def _describe(report: StreamReport, seed: int) -> dict[str, Any]:
    """Return the record's entries on samples: quality of those that are kept, and of several confidence.

    The seed of a sample is that of its first block.
    """
    from sepcli.separation.seeds import sample_seeds

    seeds, several = sample_seeds(seed, 0, len(report.sets)), report.samples
    entries = Quality(seeds[:1], [nan], [nan], None).describe()
    if several is None:
        return entries
    if len(report.sets) > 1:
        quality = Quality(
            [seeds[number] for number in several.order],
            [s.residual_rms for s in several.reports],
            [s.agreement_db for s in several.reports],
            [s.log_prior for s in several.reports if s.log_prior is not None] or None,
        )
        entries = {**quality.describe(), "medoid": several.medoid}
    names = [stem.name for stem in report.sets[0]]
    return {**entries, "confidence": dict(zip(names, several.confidence, strict=True))}


def _summary(report: StreamReport) -> tuple[str, ...]:
    """Return one line on kept samples: what they are ranked by, and the number of the medoid."""
    if report.samples is None or len(report.sets) == 1:
        return ()
    by = "agreement" if report.samples.reports[0].log_prior is None else "log prior"
    return (f"  {len(report.sets)} samples, best first by {by}, medoid: {report.samples.medoid:02d}",)


def _warn(job: Job, report: StreamReport, names: Sequence[str]) -> None:
    """Warn of written stems that hold nothing, or everything."""
    for stem in (stem for stems in report.sets for stem in stems if stem.name in names):
        if stem.silent and not report.silent:
            console.warn(f"{job.track}: the stem {stem.name} is silent")
        if stem.equals_mixture:
            console.warn(f"{job.track}: the stem {stem.name} equals the mixture")
