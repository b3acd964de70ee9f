"""``sepcli separate`` for recordings: windows through an engine, stems like the mixture's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.jobs import Outcome
from sepcli.cli.outputs import Job, Layout, plan
from sepcli.cli.separators import Choice

if TYPE_CHECKING:
    from sepcli.cli.settings import Consistency, Format
    from sepcli.media.stems import Container
    from sepcli.separation.separator import Separator
    from sepcli.separation.stem_report import StreamReport


@dataclass(frozen=True, eq=False)
class AudioSeparation:
    """Separates recordings; fulfils ``sepcli.cli.jobs.Work``.

    Attributes:
        choice: what separates.
        layout: how stems are named.
        consistency: None: the engine's default.
        format: of the stems; None: the mixture's.
        seed: of the run.
        overwrite: replace files that exist.
        quiet: no progress.
    """

    choice: Choice
    layout: Layout
    consistency: Consistency | None
    format: Format | None
    seed: int
    overwrite: bool
    quiet: bool

    smaller = "reduce it: --set batch=1, fewer samples"

    @property
    def libraries(self) -> Sequence[str]:
        """Distributions whose versions are recorded."""
        return ("torch", "numpy", "soundfile", "soxr", *self.choice.libraries)

    def plan(self, source: Path) -> Job:
        """Name the stems of a recording, whose header is read."""
        from sepcli.media.audio import AudioReader
        from sepcli.media.stems import stem_format

        with AudioReader(source) as reader:
            extension = stem_format(reader.info, self._container).extension
        return plan(source, self.layout, extension)

    def prepare(self) -> Mapping[str, Any]:
        """Load the separator; return what runs."""
        return {**self._separator.describe(), "seed": self.seed}

    def run(self, job: Job, title: str) -> Outcome:
        """Separate a recording and write its stems."""
        from sepcli.media.audio import AudioReader
        from sepcli.media.stems import StemWriter, reorder

        with ExitStack() as stack:
            reader = stack.enter_context(AudioReader(job.source))
            options: dict[str, Any] = {"container": self._container, "overwrite": self.overwrite}
            writers = [stack.enter_context(StemWriter(p, reader.info, **options)) for p in job.stems]
            bar = stack.enter_context(console.progress(title, self.quiet))

            def progress(done: float, total: float) -> None:
                bar(round(done), round(total))

            report = self._separator.separate_blocks(
                reader, writers, samples=self.layout.samples, seed=self.seed, on_progress=progress
            )
            if report.samples is not None and len(writers) > 1:
                reorder(writers, report.samples.order)
        _warn(job, report)
        details = {
            **describe_samples(report, self.seed),
            "report": {key: value for key, value in asdict(report).items() if key != "samples"},
        }
        stems = ", ".join(self.layout.stems)
        first = f"{job.stems[0][0].parent}: {stems}  ({report.seconds:.1f} s in {report.elapsed:.1f} s)"
        return Outcome(details, (first, *summary(report)))

    @property
    def _container(self) -> Container | None:
        return None if self.format is None else self.format.value

    @cached_property
    def _separator(self) -> Separator:
        loaded = self.choice.load(None if self.consistency is None else self.consistency.value)
        if self.consistency == "none" and self.layout.samples == 1:  # the bare first sample, no average
            return loaded.configured(replace(loaded.stream, samples=1))
        if self.layout.samples == 1:
            return loaded
        return loaded.configured(replace(loaded.stream, samples=self.layout.samples, keep_samples=True))


def describe_samples(report: StreamReport, seed: int) -> dict[str, Any]:
    """Return the record's entries on samples.

    Args:
        report: of one recording.
        seed: of the run.

    Returns:
        ``samples``, per kept sample, the best first, the ``seed`` of its first block and its quality, null
        where unknown; of several samples ``confidence``, per stem a list over seconds in dB, null
        where there is nothing; of several kept ones ``rank`` and ``medoid``.
    """
    from sepcli.separation.ranking import RULE
    from sepcli.separation.seeds import sample_seeds

    unknown = {"residual_rms": None, "log_prior": None, "agreement_db": None}
    seeds = sample_seeds(seed, 0, len(report.sets))
    if report.samples is None:
        return {"samples": [{"seed": seeds[0], **unknown}]}
    names = [stem.name for stem in report.sets[0]]
    confidence = {"confidence": dict(zip(names, report.samples.confidence, strict=True))}
    if len(report.sets) == 1:
        return {"samples": [{"seed": seeds[0], **unknown}], **confidence}
    samples = [
        {
            "seed": seeds[number],
            "residual_rms": sample.residual_rms,
            "log_prior": sample.log_prior,
            "agreement_db": sample.agreement_db,
        }
        for number, sample in zip(report.samples.order, report.samples.reports, strict=True)
    ]
    return {"samples": samples, "rank": RULE, "medoid": report.samples.medoid, **confidence}


def summary(report: StreamReport) -> tuple[str, ...]:
    """Return one line on kept samples: what they are ranked by, and the number of the medoid."""
    if report.samples is None or len(report.sets) == 1:
        return ()
    by = "agreement" if report.samples.reports[0].log_prior is None else "log prior"
    return (f"  {len(report.sets)} samples, best first by {by}, medoid: {report.samples.medoid:02d}",)


def _warn(job: Job, report: StreamReport) -> None:
    """Warn of stems that hold nothing, or everything."""
    for stem in (stem for stems in report.sets for stem in stems):
        if stem.silent and not report.silent:
            console.warn(f"{job.track}: the stem {stem.name} is silent")
        if stem.equals_mixture:
            console.warn(f"{job.track}: the stem {stem.name} equals the mixture")
