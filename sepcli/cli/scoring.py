"""What ``sepcli evaluate`` does once it knows what is asked: finished folders, mixed items, whole songs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sepcli.cli import console
from sepcli.cli.resolve import Method, engine_of, find_card, load
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.datasets.songs import Songs
    from sepcli.evaluation.report import Report


class Kept(NamedTuple):
    """Where a run keeps what is finished, and how it speaks."""

    journal: Path | None
    overwrite: bool
    """Whether another run's journal may be dropped."""
    quiet: bool

    def drop(self) -> None:
        """Remove what was kept of a run that is finished."""
        if self.journal is not None:
            self.journal.unlink(missing_ok=True)
            self.journal.with_name(f"{self.journal.name}.images").unlink(missing_ok=True)


def open_songs(dataset: str, data: Path, subset: str) -> tuple[Songs, str]:
    """The songs of MUSDB18 or Slakh2100, and what to call them.

    Args:
        dataset: ``musdb`` or ``slakh``.
        data: Its folder.
        subset: ``train``, ``valid`` or ``test``.

    Raises:
        InputError: There are none.
    """
    if dataset == "musdb":
        from sepcli.datasets.musdb import musdb_songs

        return musdb_songs(data, subset), f"MUSDB18, subset {subset}"  # type: ignore[arg-type]
    from sepcli.datasets.slakh_songs import slakh_songs

    split = {"valid": "validation"}.get(subset, subset)
    return slakh_songs(data, split), f"Slakh2100, split {split}"


def score_finished(
    estimates: Path,
    references: Path | Songs,
    dataset: str | None,
    metrics: Sequence[str],
    options: Mapping[str, Any],
    kept: Kept,
) -> Report:
    """Score finished estimates; ``options`` are ``evaluate_folders``'s own."""
    from sepcli.evaluation.runs import evaluate_folders

    with resumable("tracks", kept), console.progress("scoring", kept.quiet) as on_progress:
        return evaluate_folders(
            estimates,
            references,
            metrics,
            dataset=dataset,
            journal=kept.journal,
            replace_journal=kept.overwrite,
            on_progress=on_progress,
            **options,
        )


def separate_and_score(
    data: Path | tuple[Songs, str] | None,
    metrics: Sequence[str],
    chosen: Mapping[str, Any],
    counts: Mapping[str, Any],
    kept: Kept,
) -> Report:
    """Separate and score a folder of items, songs of a data set, or the built-in set.

    Args:
        data: A folder, songs and what to call them, or None.
        metrics: What to measure.
        chosen: ``prior``, ``methods``, ``device``, ``sampler``, ``settings`` (words), ``draws``,
            ``consistency``.
        counts: ``limit``, ``seed``, ``batch``.
        kept: See there.

    Raises:
        SepError: What was chosen does not fit, or the data cannot be read.
    """
    from sepcli.cli.settings import consistency_for, parse_settings, split_settings, stream_settings

    given = parse_settings(chosen["settings"])
    methods: list[Method] = chosen["methods"]
    blind = [method.value for method in methods if method.blind]
    families = [method for method in methods if not method.blind]
    if len(families) > 1:
        raise UsageError("--method lass and --method score are two runs", "evaluate one engine at a time")
    needs_prior = bool(chosen["prior"] or families or not blind)
    if chosen["consistency"] and not needs_prior:
        raise UsageError(
            "--consistency is for a prior, and none separates here", "leave it out, or give --prior"
        )
    leading = next(iter(families), None) if needs_prior else methods[0]
    leading, sampler = engine_of(leading, chosen["sampler"])
    card = find_card(leading, chosen["prior"], sampler, chosen["draws"] or 1)
    for_stream, settings = split_settings(given, card)
    if chosen["draws"]:
        for_stream["draws"] = chosen["draws"]
    separator, made_with = load(
        card, chosen["prior"], device=chosen["device"], sampler=sampler, settings=settings
    )
    consistency = consistency_for(separator, chosen["consistency"])
    stream = stream_settings(for_stream, consistency=consistency, samples=1)
    common: dict[str, Any] = {
        "methods": blind,
        "limit": counts["limit"],
        "seed": counts["seed"],
        "settings": made_with if needs_prior else {"prior": None, "device": "cpu"},
        "journal": kept.journal,
        "replace_journal": kept.overwrite,
    }
    engine = separator if needs_prior else None
    with resumable("items", kept), console.progress("separating", kept.quiet) as on_progress:
        common["on_progress"] = on_progress
        if isinstance(data, tuple):
            from sepcli.evaluation.songs import evaluate_songs

            stream = replace(stream, batch=counts["batch"])
            return evaluate_songs(*data, engine, metrics, stream=stream, **common)
        from sepcli.evaluation.runs import BUILTIN, evaluate_dataset

        return evaluate_dataset(
            data or BUILTIN, engine, metrics, stream=stream, batch=counts["batch"], **common
        )


@contextmanager
def resumable(what: str, kept: Kept) -> Iterator[None]:
    """Say on Ctrl-C that what is finished is kept."""
    try:
        yield
    except KeyboardInterrupt:
        if kept.journal is not None:
            console.note(f"finished {what} are in {kept.journal}; the same command continues", kept.quiet)
        raise
