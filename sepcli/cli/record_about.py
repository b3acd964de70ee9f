"""What the page of a run says of it: title, warnings, settings and model cards, from its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import UNSET

from sepcli.cli.records import RunRecord
from sepcli.errors import PriorError
from sepcli.pages.separation import About
from sepcli.separation.fit import LEAST_FIT

NAMES = {
    "command": "command",
    "prior": "prior",
    "engine": "engine",
    "sampler": "sampler",
    "weights": "weights of the sources",
    "seed": "seed",
    "device": "device",
    "hint": "hint",
    "gray": "gray",
    "gray_from": "gray chosen",
    "rule": "rule of the method",
    "rank": "order of the samples",
    "medoid": "sample nearest to all others",
}
"""Entry of a record → its name in a page."""


def written(record: RunRecord) -> tuple[str, ...]:
    """Return the names of the stems that were written."""
    options = record.options
    if options.two_stems:
        return (options.two_stems, f"no_{options.two_stems}")
    return tuple(options.only or record.sources)


def title_of(record: RunRecord, number: int) -> str:
    """Return the heading of a sample."""
    if len(record.stems) == 1:
        return (
            "Colors" if record.command == "colorize" else "Sources" if record.medium == "image" else "Stems"
        )
    return f"Sample {number + 1}{', the best' if number == 0 else ''}"


def quality_of(record: RunRecord, number: int) -> str:
    """Return a line on a sample: what the record measured."""
    sample = record.samples[number] if number < len(record.samples) else None
    if sample is None:
        return ""
    parts = [
        "" if sample.agreement_db is None else f"agreement with the others {sample.agreement_db:.1f} dB",
        "" if sample.log_prior is None else f"log prior {sample.log_prior:.6g} nats",
    ]
    return ", ".join(part for part in parts if part)


def about_of(record: RunRecord, folder: Path, size: str) -> About:
    """Return what a page says of a run, of a recording or image of a size."""
    prior = ", ".join(record.prior) if isinstance(record.prior, tuple) else record.prior or record.engine
    verb = "colorized" if record.command == "colorize" else f"separated into {', '.join(written(record))}"
    count = len(record.stems)
    samples = f", {count} samples" if count > 1 else ""
    title = Path(record.input).stem or folder.name
    lead = f"{Path(record.input).name}, {size}, {verb} by {prior}{samples}."
    return About(title, lead, [*_warnings(record)], [*_settings(record)], [*_cards(record)])


def _warnings(record: RunRecord) -> Iterator[str]:
    """Yield sentences on a prior that does not explain the mixture, and on stems that hold nothing."""
    yield from fit_warning(_fit(record))
    names = written(record)
    for sets in record.report.get("sets") or ():
        for stem in sets:
            if stem.get("name") in names and stem.get("silent") and record.report.get("rms"):
                yield f"The stem {stem['name']} is silent."
            if stem.get("name") in names and stem.get("equals_mixture"):
                yield f"The stem {stem['name']} equals the mixture."
        break


def fit_warning(fit: float | None) -> tuple[str, ...]:
    """Return a sentence on a prior that does not explain the mixture; None: that was not assessed."""
    if fit is None or fit >= LEAST_FIT:
        return ()
    return (f"The prior does not explain this mixture (fit {fit:.2g}): the stems are unreliable.",)


def _fit(record: RunRecord) -> float | None:
    return None if record.fit is UNSET else record.fit


def _settings(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield name and value of what ran."""
    for key, name in NAMES.items():
        value = getattr(record, key)
        if value is not UNSET and value is not None:
            yield name, _text(value)
    for table in (record.settings, record.stream if isinstance(record.stream, dict) else {}):
        yield from ((key.replace("_", " "), _text(value)) for key, value in table.items())
    fit = _fit(record)
    yield "fit of the prior to the mixture", "not assessed" if fit is None else f"{fit:.3g}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cards(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield name and model card of the priors that are here; nothing is fetched."""
    from sepcli.catalog import resolve
    from sepcli.catalog.model_card import model_card

    for reference in dict.fromkeys(record.prior_references):
        if reference.startswith(".") or ":" in reference:
            continue  # a folder may be anyone's, and a file of code is never loaded
        try:
            card, _ = resolve.find(reference)
        except PriorError:
            continue
        yield reference, model_card(card, reference).partition("\n---\n")[2].strip()
