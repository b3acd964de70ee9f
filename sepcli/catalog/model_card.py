"""Model cards for the Hugging Face Hub: ``README.md`` with a YAML head, generated from a card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sepcli.catalog.card import COLORIZE, Card, Part
from sepcli.metrics import METRICS

README = "README.md"
LICENCES = re.compile(
    r"mit|isc|zlib|unlicense|apache-2\.0|mpl-2\.0|bsl-1\.0|cc0-1\.0|artistic-2\.0|afl-3\.0|bsd-[23]-clause"
    r"|a?gpl-3\.0|gpl-2\.0|lgpl-(2\.1|3\.0)|cc-by(-sa|-nc|-nd|-nc-sa|-nc-nd)?-[34]\.0"
)
"""Identifiers of licences that the Hub lists; others are written as ``other`` with their name."""
TASKS = {"audio": "audio-to-audio", "image": "image-to-image"}
"""Medium → the Hub's name of the task."""
LIKELIHOODS = frozenset({"table", "latent", "context"})
"""Families of parts that are not priors."""
NOTE = re.compile(r" --note(?:[ =]'(?:[^']|'\"'\"')*'| .*?(?= --|$))")
"""The note on the data in a command, which the card repeats; quoted as in a shell, or not."""
FACTS = (
    *("protocol", "dataset", "mixture", "tracks", "version", "method", "sampler", "samples"),
    *("evaluations", "device", "command", "verdict", "noise", "n", "unit"),
)
"""Entries of figures that describe a measurement; the others are results."""


def model_card(card: Card, reference: str) -> str:
    """Return the model card of a prior, in Markdown.

    Args:
        card: of the prior.
        reference: how users name the prior: its catalog name, or ``hf:owner/name``.
    """
    parts = [_head(card), f"# {card.name}", card.title, _use(card, reference), _contents(card)]
    parts += [_data(card), _training(card), _figures(card), _limits(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(card: Card) -> str:
    """Return the metadata that the Hub reads."""
    licence = re.sub("-(only|or-later)$", "", card.licence.strip().lower())
    is_listed = bool(LICENCES.fullmatch(licence))
    head: dict[str, Any] = {
        "license": licence if is_listed else "other",
        "license_name": "" if is_listed or not licence else re.sub(r"[^\w.]+", "-", licence).strip("-"),
        "library_name": "sepcli",
        "pipeline_tag": TASKS[card.medium],
        "tags": ["source-separation", "generative-prior", card.medium, *_families(card)],
        "datasets": [entry.hub for entry in card.datasets if entry.hub],
        "metrics": [name for name in METRICS if name in set(_keys(card.figures))],
    }
    filled = {key: value for key, value in head.items() if value}
    return f"---\n{yaml.safe_dump(filled, sort_keys=False, allow_unicode=True)}---"


def _families(card: Card) -> list[str]:
    return sorted({part.family for part in card.parts.values()} - LIKELIHOODS)


def _keys(figures: Any) -> Iterator[str]:
    """Yield all keys of nested figures, as names of metrics are written."""
    if isinstance(figures, Mapping):
        for key, value in figures.items():
            yield str(key).replace("_", "-")
            yield from _keys(value)


def _use(card: Card, reference: str) -> str:
    other = " --other" if card.medium == "audio" and len(card.sources) == 1 else ""
    mixture = "song.wav" if card.medium == "audio" else "mixture.png"
    lines = [f"sepcli separate {mixture} --prior {reference}{other}"]
    if COLORIZE in card.settings:
        lines.append(f"sepcli colorize photo.jpg --prior {reference}")
    return f"A prior of `sepcli`, Bayesian source separation with generative priors:\n\n{_code(lines)}"


def _contents(card: Card) -> str:
    terms = (f"{weight:g}·{name}" for weight, name in zip(card.weights, card.sources, strict=False))
    rows = {
        "medium": _medium(card),
        "sources": ", ".join(card.sources),
        "mixture": " + ".join(terms) if len(card.sources) > 1 else "",
        "engines": ", ".join(f"{e} (default)" if e == card.engine else e for e in card.engines),
        "networks": ", ".join(f"`{folder}` ({part.family})" for folder, part in card.parts.items()),
        "score priors": ", ".join(f"`{name}`" for name in card.priors),
        "several samples": _draws(card),
        "licence of the weights": card.licence or "not stated",
    }
    return f"## What it separates\n\n{_table(('', ''), [row for row in rows.items() if row[1]])}"


def _draws(card: Card) -> str:
    """Return whether samples by the preset draws are calibrated."""
    if card.draws is None:
        return ""
    draws, whether = card.draws, "calibrated" if card.draws.calibrated else "not calibrated"
    measured = f"{draws.mixtures} mixtures with {draws.samples} samples each: p = {draws.p_value:g}"
    return f"`--preset draws` is {whether} ({measured}, 90 % intervals cover {100 * draws.coverage:.1f} %)"


def _medium(card: Card) -> str:
    if card.medium == "audio":
        return f"audio, {card.sample_rate:,} Hz"
    size = " × ".join(map(str, card.resolution))
    return f"images, {size} pixels" if size else "images"


def _data(card: Card) -> str:
    rows = [(entry.name, entry.licence or "not stated") for entry in card.datasets]
    text = f"{card.data[:1].upper()}{card.data[1:].removesuffix('.')}." if card.data else ""
    table = _table(("data", "licence"), rows) if rows else ""
    return _section("Training data", text, table)


def _training(card: Card) -> str:
    note = "The commands are those of the version that trained; names of options may have changed."
    parts = [_part(folder, part) for folder, part in card.parts.items()]
    return _section("Training", *([note, *parts] if parts else []))


def _part(folder: str, part: Part) -> str:
    """Return the last training of a network: command, time, machine and validation."""
    training = part.training
    before = sum(_number(entry.get("seconds")) for entry in part.history)
    validation = _values(training.get("validation", {}), ())
    facts = {
        "steps": f"{_number(training.get('steps')):,}",
        "tokens": f"{_number(training.get('tokens')):,}",
        "time": _time(_number(training.get("seconds"))),
        "earlier trainings": f"{len(part.history)}, {_time(before)}" if part.history else "",
        "machine": str(training.get("device", "")),
        "validation": ", ".join(f"{_words(path)} {value}" for path, value in validation),
        "storage": _storage(part.storage),
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value not in ("", "0")]
    command = NOTE.sub("", str(training.get("command", "")))
    code = f"\n\n{_code([command])}" if command else ""
    listed = "\n\n" + "\n".join(lines) if lines else ""
    return f"### `{folder}`: {part.family}{listed}{code}"


def _storage(storage: Mapping[str, Any]) -> str:
    error = storage.get("relative_error")
    rounded = f", which changes the weights by {_text(error)} of their size" if error else ""
    base = storage.get("base")
    lower = (
        f", differences of rank {_text(storage.get('rank'))} from the bundled prior `{base}`" if base else ""
    )
    return f"{storage['type']}{lower}{rounded}" if "type" in storage else ""


def _figures(card: Card) -> str:
    """Return the measured results: what was measured, and a table of values."""
    shared = {key: value for key, value in card.figures.items() if key in FACTS}
    single = {key: value for key, value in card.figures.items() if isinstance(value, Mapping)}
    texts = [_facts(shared)] if shared else []
    for name, figure in single.items():
        rows = [(_words(path), value) for path, value in _values(figure, ())]
        texts += [f"### {name.replace('_', ' ')}", _facts(figure), _table(("result", "value"), rows)]
    return _section("Results", *texts)


def _facts(figure: Mapping[str, Any]) -> str:
    facts = {key: figure[key] for key in FACTS if isinstance(figure.get(key), str | int | float)}
    return "\n".join(
        f"- {key}: `{value}`" if key == "command" else f"- {key}: {value}" for key, value in facts.items()
    )


def _values(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield path and text of every result; where stems have an average, it stands for them."""
    if not isinstance(value, Mapping):
        yield path, _text(value)
    elif "mean" in value:
        ends = value.get("ci95") or ()
        interval = f" [{', '.join(map(_text, ends))}]" if isinstance(ends, list | tuple) and ends else ""
        yield path, _text(value["mean"]) + interval
    elif isinstance(value.get("average"), Mapping) and "mean" in value["average"]:
        yield from _values(value["average"], path)
    else:
        for key, inner in value.items():
            if path or key not in FACTS:
                yield from _values(inner, (*path, str(key)))


def _limits(card: Card) -> str:
    return _section("Limits", "\n".join(f"- {limit}" for limit in card.limits))


def _section(title: str, *texts: str) -> str:
    filled = [text for text in texts if text]
    return "\n\n".join([f"## {title}", *filled]) if filled else ""


def _table(heads: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = [heads, ("---", "---"), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(lines: list[str]) -> str:
    return "\n".join(["```sh", *lines, "```"])


def _words(path: tuple[str, ...]) -> str:
    return " · ".join(path).replace("_", " ")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else 0


def _time(seconds: float) -> str:
    if not seconds:
        return ""
    return f"{seconds / 3600:.1f} h" if seconds >= 7200 else f"{seconds / 60:.0f} min"
