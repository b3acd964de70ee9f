"""Whole evaluations: from folders to a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sepcli.baselines import SOURCES
from sepcli.baselines.separator import METHODS, BlindSeparator
from sepcli.datasets.pairs import pair_files, pair_ids, read_pairs
from sepcli.errors import InputError, UsageError
from sepcli.evaluation.baselines import AVERAGE, ORACLE
from sepcli.evaluation.batches import item_seeds
from sepcli.evaluation.examples import folder_clips
from sepcli.evaluation.folder_layouts import IMAGES as IMAGE_FILES
from sepcli.evaluation.folder_layouts import SOUNDS as SOUND_FILES
from sepcli.evaluation.folder_layouts import Layout, Pairing, holds, pair_folders
from sepcli.evaluation.folders import score_folders
from sepcli.evaluation.journal import append_journal, resume_journal
from sepcli.evaluation.pairs import evaluate_pairs, mixture_words, pair_clips, refine_as
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Failure, Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.summary import AVERAGE as COLUMN
from sepcli.metrics import METRICS
from sepcli.protocols import Engine, ProgressCallback
from sepcli.separation.settings import StreamSettings

BUILTIN = Path(__file__).parent / "builtin"
"""Ten mixtures that come with the package."""
MIXED_SOUNDS = "mixture.* beside the references where there is one, else the sum of the stems"
MIXED_IMAGES = "the sum of the stems"
BEST_ORDER = "the estimates of a track in the order of the greatest mean SI-SDR, of images PSNR"


def evaluate_folders(
    estimates: Path,
    references: Path | Layout,
    metrics: Sequence[str] = (),
    *,
    dataset: str | None = None,
    any_order: bool = False,
    seed: int = 0,
    workers: int = 1,
    journal: Path | None = None,
    replace_journal: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Score finished estimates.

    Args:
        estimates: Folder of ``{track}/{stem}.*``; see ``sepcli.evaluation.folder_layouts`` for other layouts.
        references: Folder of the true stems, likewise; or the songs of a data set.
        metrics: Keys of ``AGGREGATION`` or of ``IMAGES`` in ``sepcli.evaluation.protocol``; if there are
            none, ``sdr``, or those of images for folders that hold images and no sound.
        dataset: What the references are, in words; their folder's name if None.
        any_order: Put the estimates of a track in the order that fits best.
        seed: Of the bootstrap.
        workers: Processes.
        journal: Keeps finished tracks; a run that finds its own journal continues it, to the same report.
        replace_journal: Start over when the journal is of a run with other settings or files.
        on_progress: Told about finished tracks.

    Raises:
        InputError: if nothing can be scored, or a model or stem is called like a row or column of the report.
            Single tracks that cannot be are failures of the report.
        OutputError: if the journal is of a run with other settings or files, or cannot be written.
        UsageError: if metrics of sounds and of images are mixed.
    """
    metrics = tuple(metrics) or (("psnr", "ssim") if _only_images(estimates) else ("sdr",))
    media = {METRICS[metric].medium for metric in metrics}
    if len(media) > 1:
        raise UsageError(
            f"{', '.join(metrics)} are metrics of audio and of images", "choose those of one medium"
        )
    images = media == {"image"}
    pairing = pair_folders(estimates, references, IMAGE_FILES if images else SOUND_FILES)
    _refuse_taken_names(estimates, pairing)
    protocol = Protocol(
        metrics=metrics,
        dataset=f"estimates {estimates.name} against {dataset or _called(references)}",
        stems=pairing.stems,
        mixture=MIXED_IMAGES if images else MIXED_SOUNDS,
        tracks=len(pairing.tracks) + len(pairing.failures),
        seed=seed,
        settings={"order": BEST_ORDER} if any_order else {},
    )
    finished = resume_journal(journal, protocol.fingerprint(_files(pairing)), replace_journal)
    left = replace(pairing, tracks=tuple(t for t in pairing.tracks if t.name not in finished))
    results = score_folders(left, metrics, any_order=any_order, workers=workers)
    scores: list[TrackScore] = []
    failures = list(pairing.failures)
    for number, track in enumerate(pairing.tracks, start=1):
        result = finished.get(track.name) or next(results)
        if isinstance(result, Failure):
            failures.append(result)
        else:
            scores += result
            if journal is not None and track.name not in finished:
                append_journal(journal, {track.name: result})
        if on_progress is not None:
            on_progress(number, len(pairing.tracks))
    if not scores:
        raise InputError(
            f"none of {len(failures)} track(s) can be scored; {failures[0].track}: {failures[0].reason}",
            "give folders whose files have the same names, sample rate, channels and length",
        )
    notes = (
        [f"only in one of the folders, not scored: {', '.join(pairing.ignored)}"] if pairing.ignored else []
    )
    report = make_report(protocol, scores, failures, notes)
    return replace(report, clips_of=folder_clips(pairing, images))


def _files(pairing: Pairing) -> Iterator[Path]:
    """All that is read of finished stems and their references."""
    for track in pairing.tracks:
        for stems in (*track.estimates.values(), track.references):
            for source in stems.values():
                yield from [source] if isinstance(source, Path) else source.paths


def _refuse_taken_names(estimates: Path, pairing: Pairing) -> None:
    """Rows and columns of a report need different names."""
    rows = {row for track in pairing.tracks for row in track.estimates}
    for taken in sorted(rows & {AVERAGE, ORACLE} | set(pairing.stems) & {COLUMN}):
        raise InputError(
            f"a model or stem of {estimates} is called '{taken}', as a part of every report is", "rename it"
        )


def _only_images(folder: Path) -> bool:
    return holds(folder, IMAGE_FILES) and not holds(folder, SOUND_FILES)


def _called(references: Path | Layout) -> str:
    return f"references {references.name}" if isinstance(references, Path) else "references"


def evaluate_dataset(
    data: Path,
    separator: Engine | None,
    metrics: Sequence[str],
    *,
    methods: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    stream: StreamSettings | None = None,
    batch: int = 8,
    settings: Mapping[str, Any] | None = None,
    journal: Path | None = None,
    replace_journal: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Report:
    """Mix, separate and score a folder of items, ``{stem}/{item}.flac``; level and masks are ``separate``'s.

    Args:
        data: The folder.
        separator: Its names are the stems, its weights those of the mixture. None without a prior.
        metrics: Keys of ``sepcli.metrics.METRICS``.
        methods: Keys of ``sepcli.baselines.separator.METHODS``, a row each, scored as they come; at least one
            without a prior.
        limit: Only the first items.
        seed: Of the draws and the bootstrap.
        stream: Draws per item, level and masks, as ``separate`` would use them.
        batch: Items that are separated together.
        settings: Of the separator, for the protocol.
        journal: Keeps finished items; a run that finds its own journal continues it, to the same report.
        replace_journal: Start over when the journal is of a run with other settings.
        on_progress: Told about progress.

    Raises:
        InputError: if an item is missing, cannot be read or does not fit the separator.
        OutputError: if the journal is of a run with other settings, or cannot be written.
        UsageError: if a method is unknown, or separates other sources than the prior.
        ValueError: if there is neither a separator nor a method.
    """
    if separator is None and not methods:
        raise ValueError("nothing to evaluate: neither a separator nor a method")
    stream = stream or StreamSettings()
    names = SOURCES if separator is None else separator.names
    ids = pair_ids(data, names)[:limit]
    if not ids:
        raise InputError(f"{data} holds no items", "give a folder of {stem}/{item}.flac")
    blind = blind_rows(methods, separator, next(read_pairs(data, names, 1)).sample_rate)
    frame = separator or next(iter(blind.values()))
    protocol = Protocol(
        metrics=tuple(metrics),
        dataset=f"{data.name}: {ids[0]} … {ids[-1]}",
        stems=tuple(frame.names),
        mixture=mixture_words(frame),
        tracks=len(ids),
        seed=seed,
        settings={**(settings or {}), **_made_with(stream, batch, methods, separator is not None)},
    )
    files = pair_files(data, names, limit)
    finished = resume_journal(journal, protocol.fingerprint(files), replace_journal)
    drawing: dict[str, Any] = {
        "others": blind,
        "seed": seed,
        "draws": stream.samples,
        "level": stream.reference_rms,
        "refine": refine_as(frame.sample_rate, stream, frame.weights),
    }
    batches = evaluate_pairs(
        read_pairs(data, names, limit),
        separator,
        **drawing,
        metrics=metrics,
        batch=batch,
        finished=finished,
        journal=journal,
        on_progress=on_progress,
        total=len(ids),
    )
    scores = [score for scored in batches for track in scored.values() for score in track]
    report = make_report(protocol, scores, notes=[f"{name}: {METHODS[name].rule}" for name in blind])
    clips = pair_clips(lambda: read_pairs(data, names, limit), separator, **drawing)
    return replace(report, seeds=item_seeds(seed, ids), clips_of=clips)


def blind_rows(methods: Sequence[str], separator: Engine | None, sample_rate: int) -> dict[str, Engine]:
    """The blind methods by name, with the names, weights and rate of the prior's separator or the items.

    Raises:
        UsageError: a method is unknown, or separates other sources than the prior.
    """
    if separator is None:
        return {method: BlindSeparator(method, sample_rate=sample_rate) for method in methods}
    frame = (tuple(separator.names), tuple(separator.weights), separator.sample_rate)
    return {method: BlindSeparator(method, *frame) for method in methods}


def _made_with(stream: StreamSettings, batch: int, methods: Sequence[str], prior: bool) -> dict[str, Any]:
    """What the numbers depend on besides the separator's own settings."""
    used: dict[str, Any] = {"level": stream.reference_rms, "batch": batch}
    if prior:
        used |= {
            "draws": stream.samples,
            "consistency": stream.consistency,
            "mask_window_seconds": stream.fft_seconds,
            "mask_exponent": stream.exponent,
        }
    return used | ({"methods": list(methods)} if methods else {})
