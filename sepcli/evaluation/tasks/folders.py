"""Finished estimates against references, files matched by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sepcli.errors import InputError, UsageError
from sepcli.evaluation.baselines import AVERAGE, ORACLE
from sepcli.evaluation.folder_layouts import IMAGES, SOUNDS, Layout, holds
from sepcli.evaluation.folder_pairs import FolderTrack, Pairing, pair_folders
from sepcli.evaluation.folders import score_track_files, track_clips
from sepcli.evaluation.previews import Clip
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.summary import AVERAGE as COLUMN
from sepcli.evaluation.task import Members, Plan, Scored, Setup
from sepcli.metrics import find
from sepcli.protocols import ProgressCallback

MIXED = {
    "audio": "mixture.* beside the references where there is one, else the sum of the stems",
    "image": "the sum of the stems",
}
"""The mixture that the baselines separate, by medium."""
BEST_ORDER = "the estimates of a track in the order of the greatest mean SI-SDR, of images PSNR"


@dataclass(frozen=True)
class Folders:
    """Estimates and references in two folders; see ``open_folders``."""

    pairing: Pairing
    title: str
    medium: str = "audio"
    any_order: bool = False
    separates: bool = False
    one_by_one: bool = True
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The default metrics."""
        return ("sdr",) if self.medium == "audio" else ("psnr", "ssim")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of metrics that can be measured."""
        return ("track",) if self.medium == "audio" else ("item",)

    def setup(self, plan: Plan) -> Setup:
        """Return the protocol, and the tracks that lack a file as failures."""
        pairing = self.pairing
        protocol = Protocol(
            metrics=plan.metrics,
            dataset=self.title,
            stems=pairing.stems,
            mixture=MIXED[self.medium],
            tracks=len(pairing.tracks) + len(pairing.failures),
            seed=plan.seed,
            settings={"order": BEST_ORDER} if self.any_order else {},
        )
        ignored = ", ".join(pairing.ignored)
        only = (f"only in one of the folders, not scored: {ignored}",) if ignored else ()
        notes = (*pairing.warnings, *only, *pairing.notes, *self.notes)
        return Setup(protocol, files=tuple(self._files()), failures=pairing.failures, notes=notes)

    def items(self, plan: Plan) -> Iterator[FolderTrack]:
        """Yield the tracks that have all their files."""
        yield from self.pairing.tracks

    def score(self, items: Members[FolderTrack], plan: Plan, on_progress: ProgressCallback | None) -> Scored:
        """Read and score a track."""
        ((_, track),) = items
        return Scored({track.id: score_track_files(track, plan.metrics, self.any_order)})

    def clips(self, number: int, item: FolderTrack, plan: Plan) -> list[Clip]:
        """Return previews of the mixture, the references and the estimates."""
        return track_clips(item, self.medium == "image")

    def _files(self) -> Iterator[Path]:
        for track in self.pairing.tracks:
            for stems in (*track.estimates.values(), track.references):
                for source in stems.values():
                    yield from [source] if isinstance(source, Path) else source.paths


def open_folders(
    estimates: Path,
    references: Path | Layout,
    metrics: Sequence[str] = (),
    *,
    title: str | None = None,
    any_order: bool = False,
    notes: Sequence[str] = (),
    limit: int | None = None,
) -> Folders:
    """Match finished estimates with references.

    Args:
        estimates: folder in a layout of ``sepcli.evaluation.folder_layouts``.
        references: likewise, of the true stems; or the songs of a data set.
        metrics: their medium, or else that of the files, is compared.
        title: of the references; their folder's name if None.
        any_order: put the estimates of a track in the order that fits best.
        notes: sentences on the references, for the report.
        limit: tracks that are scored, the first by name of those that have all files; None: all.

    Raises:
        InputError: the folders have no stem of a track in common, or a model or stem has the name of a row or
            column of the report.
        UsageError: metrics of audio and of images are mixed.
    """
    media = {metric.medium for metric in find(metrics)}
    if len(media) > 1:
        raise UsageError(
            f"{', '.join(metrics)} are metrics of audio and of images", "choose those of one medium"
        )
    images = media == {"image"} if media else holds(estimates, IMAGES) and not holds(estimates, SOUNDS)
    pairing = pair_folders(estimates, references, IMAGES if images else SOUNDS)
    if limit is not None and limit < len(pairing.tracks):
        notes = (*notes, f"only the first {limit} of {len(pairing.tracks)} tracks are scored")
        pairing = replace(pairing, tracks=pairing.tracks[:limit], failures=())
    rows = {row for track in pairing.tracks for row in track.estimates}
    for taken in sorted(rows & {AVERAGE, ORACLE} | set(pairing.stems) & {COLUMN}):
        raise InputError(
            f"a model or stem of {estimates} is called '{taken}', as a part of every report is", "rename it"
        )
    fallback = f"references {references.name}" if isinstance(references, Path) else "references"
    name = f"estimates {estimates.name} against {title or fallback}"
    return Folders(pairing, name, "image" if images else "audio", any_order, notes=tuple(notes))
