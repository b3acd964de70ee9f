"""Whole evaluations: from folders to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepcli.blind import SOURCES
from sepcli.blind.separator import METHODS, BlindSeparator
from sepcli.datasets.pairs import pair_ids, read_pairs
from sepcli.errors import InputError
from sepcli.evaluation.folders import pair_folders, score_folders
from sepcli.evaluation.journal import resume_journal
from sepcli.evaluation.pairs import evaluate_pairs, wiener_refine
from sepcli.evaluation.protocol import Protocol
from sepcli.evaluation.report import Failure, Report, make_report
from sepcli.evaluation.score import TrackScore
from sepcli.protocols import OnStep, Separator
from sepcli.stream import StreamSettings

BUILTIN = Path(__file__).parent / "builtin"
"""Ten mixtures that come with the package."""


def evaluate_folders(
    estimates: Path, references: Path, metrics: Sequence[str], *, seed: int = 0, on_step: OnStep | None = None
) -> Report:
    """Score finished estimates.

    Args:
        estimates: Folder of ``{track}/{stem}.*``; see ``pair_folders`` for other layouts.
        references: Folder of the true stems, likewise.
        metrics: Keys of ``sepcli.evaluation.protocol.AGGREGATION``.
        seed: Of the bootstrap.
        on_step: Told about finished tracks.

    Raises:
        InputError: if nothing can be scored. Single tracks that cannot be are failures of the report.
    """
    pairing = pair_folders(estimates, references)
    scores: list[TrackScore] = []
    failures = list(pairing.failures)
    for number, result in enumerate(score_folders(pairing, metrics), start=1):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            scores += result
        if on_step is not None:
            on_step(number, len(pairing.tracks))
    if not scores:
        raise InputError(
            f"none of {len(failures)} track(s) can be scored; {failures[0].track}: {failures[0].reason}",
            "give folders whose files have the same names, sample rate, channels and length",
        )
    protocol = Protocol(
        metrics=tuple(metrics),
        dataset=f"estimates {estimates.name} against references {references.name}",
        stems=pairing.stems,
        mixture="mixture.* beside the references where there is one, else the sum of the stems",
        tracks=len(pairing.tracks) + len(pairing.failures),
        seed=seed,
    )
    notes = (
        [f"only in one of the folders, not scored: {', '.join(pairing.ignored)}"] if pairing.ignored else []
    )
    return make_report(protocol, scores, failures, notes)


def evaluate_dataset(
    data: Path,
    separator: Separator | None,
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
    on_step: OnStep | None = None,
) -> Report:
    """Mix, separate and score a folder of items, ``{stem}/{item}.flac``; level and masks are ``separate``'s.

    Args:
        data: The folder.
        separator: Its names are the stems, its weights those of the mixture. None without a prior.
        metrics: Keys of ``sepcli.evaluation.protocol.AGGREGATION``.
        methods: Keys of ``sepcli.blind.separator.METHODS``, a row each, scored as they come; at least one
            without a prior.
        limit: Only the first items.
        seed: Of the draws and the bootstrap.
        stream: Draws per item, level and masks, as ``separate`` would use them.
        batch: Items that are separated together.
        settings: Of the separator, for the protocol.
        journal: Keeps finished items; a run that finds its own journal continues it, to the same report.
        replace_journal: Start over when the journal is of a run with other settings.
        on_step: Told about progress.

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
    blind = _blind(methods, separator, next(read_pairs(data, names, 1)).sample_rate)
    frame = separator or next(iter(blind.values()))
    protocol = Protocol(
        metrics=tuple(metrics),
        dataset=f"{data.name}: {ids[0]} … {ids[-1]}",
        stems=tuple(frame.names),
        mixture=" + ".join(f"{w:g}·{name}" for w, name in zip(frame.weights, frame.names, strict=True)),
        tracks=len(ids),
        seed=seed,
        settings={**(settings or {}), **_made_with(stream, batch, methods, separator is not None)},
    )
    finished = resume_journal(journal, protocol.fingerprint(), replace_journal)
    batches = evaluate_pairs(
        read_pairs(data, names, limit),
        separator,
        others=blind,
        metrics=metrics,
        seed=seed,
        draws=stream.samples,
        batch=batch,
        level=stream.reference_rms,
        refine=wiener_refine(frame.sample_rate, stream),
        finished=finished,
        journal=journal,
        on_step=on_step,
        total=len(ids),
    )
    scores = [score for scored in batches for track in scored.values() for score in track]
    return make_report(protocol, scores, notes=[f"{name}: {METHODS[name].rule}" for name in blind])


def _blind(methods: Sequence[str], separator: Separator | None, sample_rate: int) -> dict[str, Separator]:
    """The blind methods by name, with the names, weights and rate of the prior's separator or the items."""
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
            "mask_window_seconds": stream.fft_seconds,
            "mask_exponent": stream.exponent,
        }
    return used | ({"methods": list(methods)} if methods else {})
