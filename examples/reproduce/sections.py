"""Sections of RESULTS.md, a report each, and texts of figures; see ``tables.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sepcli.catalog import card as cards
from sepcli.catalog import index
from sepcli.metrics import DECIBEL, METRICS

CROSS = "cross-likelihood"


def figure(value: Mapping[str, Any], metric: str, bold: bool = False) -> str:
    """Return mean and interval; a bold one with the unit of the metric."""
    row, ends = METRICS[metric], value.get("ci95") or (None, None)
    form = ".2f" if row.unit == DECIBEL else ".3g"
    mean = f"**{value['mean']:{form}}** {row.unit}".strip() if bold else f"{value['mean']:{form}}"
    return mean if ends[0] is None else f"{mean} [{ends[0]:{form}}, {ends[1]:{form}}]"


def summary(stems: Mapping[str, Any] | None) -> Any:
    """Return the summary over all stems, or of the only one."""
    return None if stems is None else stems.get("average") or next(iter(stems.values()))


def cost(document: Mapping[str, Any]) -> str:
    """Return evaluations and seconds of an item, as far as they are known."""
    costs = document.get("cost", {})
    steps = document["protocol"]["settings"].get("settings", {}).get("steps")
    evaluations = costs.get("evaluations", steps)
    texts = [] if evaluations is None else [f"{evaluations:g} evaluations"]
    seconds = [value for key, value in costs.items() if key.startswith("seconds_per_")]
    texts += [f"{value:.0f} s" if value >= 100 else f"{value:.2g} s" for value in seconds]
    return ", ".join(texts) or "–"


def markdown(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, tuple("---" for _ in heads), *rows))


def section(report: str, options: str, document: Mapping[str, Any]) -> str:
    """Return the section of a report: command, what it says of itself, and its tables."""
    facts = [f"## {report}\n", f"```sh\nsepcli evaluate {options} --out {report}.json\n```\n"]
    facts += [f"- {name}: {text}" for name, text in described(document) if text]
    return "\n".join([*facts, "", *tables(document)])


def described(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a report says of itself."""
    protocol = document.get("protocol", document)
    settings, measured = protocol.get("settings", protocol), document.get("measured", {})
    yield "data", protocol.get("dataset", protocol.get("data", ""))
    yield "mixture", protocol.get("mixture", "")
    yield "date", measured.get("date", "not recorded")
    versions = measured.get("versions", {"sepcli": protocol.get("version", "?")})
    yield "versions", ", ".join(f"{name} {text}" for name, text in versions.items())
    yield "device", f"{settings.get('device', '')}"
    yield "engine", ", ".join(str(settings[key]) for key in ("engine", "sampler") if settings.get(key))
    used = settings.get("settings", {})
    yield (
        "settings",
        " ".join(f"{key}={round(v, 6) if isinstance(v, float) else v}" for key, v in used.items()),
    )
    yield "weights, SHA-256", weights(settings.get("files", {}))
    if "protocol" in document:
        yield "cost per item", cost(document).replace("–", "")
    yield "result", document.get("sentence", "")


def weights(files: Mapping[str, Any]) -> str:
    """Return the hashes of the weights of a prior, and whether they are those of this repository."""
    hashes: dict[str, str] = {}
    for name, entry in files.items():  # of cross-likelihood, by prior
        inner = (
            {f"{name}/{file}": digest for file, digest in entry.items()} if isinstance(entry, dict) else {}
        )
        hashes |= inner or {name: entry}
    hashes = {name: digest for name, digest in hashes.items() if name.endswith(".safetensors")}
    if not hashes:
        return ""
    places = {"those that are bundled": bundled(), "those of examples/reproduce": beside()}
    here = (words for words, known in places.items() if set(hashes.values()) <= known)
    now = next(here, "not those that are bundled now")
    short = [f"{name.removesuffix('/model.safetensors')} `{digest[:12]}`" for name, digest in hashes.items()]
    return f"{', '.join(short)} ({now})"


def bundled() -> set[str]:
    """Return the hashes of the files of all bundled priors."""
    return hashes_of(index.BUNDLED / name for name in index.names())


def beside() -> set[str]:
    """Return the hashes of the files of the priors in this folder."""
    here = Path(__file__).parent
    cards_here = (*here.glob("mnist-glow/card.toml"), *here.glob("toy-flows/priors/*/card.toml"))
    return hashes_of(card.parent for card in cards_here)


def hashes_of(folders: Iterable[Path]) -> set[str]:
    """Return the hashes of the files of priors."""
    return {entry.sha256 for folder in folders for entry in cards.read(folder).files.values()}


def tables(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table per metric: methods by stems, with intervals."""
    if document.get("metric") == CROSS:
        pairs = [
            tuple(figure({"mean": mean, "ci95": ends}, CROSS) for mean, ends in zip(*row, strict=True))
            for row in zip(document["mean"], document["ci95"], strict=True)
        ]
        rows = [(prior, *texts) for prior, texts in zip(document["priors"], pairs, strict=True)]
        yield markdown((f"prior, {document['unit']}", *document["sources"]), rows) + "\n"
        return
    for metric, methods in document["results"].items():
        stems = tuple(next(iter(methods.values())))
        rows = [
            (method, *(figure(values[stem], metric) for stem in stems), str(summary(values)["n"]))
            for method, values in methods.items()
        ]
        unit = METRICS[metric].unit
        yield markdown((f"{metric}, {unit}" if unit else metric, *stems, "items"), rows) + "\n"


def storage(document: Mapping[str, Any]) -> str:
    """Return the section on weights in 8 bits, from the report of ``storage.py compare``."""
    rows = []
    for prior, measures in document.items():
        for measure, found in measures.items():
            ends = found.get("ci95")
            interval = f" [{ends[0]:+.2g}, {ends[1]:+.2g}]" if ends else ""
            change = f"{found['change']:+.2g}{interval}"
            rows.append((prior, measure, *(f"{found[key]:.3f}" for key in ("before", "after")), change))
    heads = ("prior", "measure", "before", "after", "change [95 %]")
    about = "Bundled priors before and after their weights were stored in 8 bits, by `storage.py compare`.\n"
    return "\n".join(["## Weights in 8 bits\n", about, markdown(heads, rows) + "\n"])


def fuzz(document: Mapping[str, Any]) -> str:
    """Return the section on damaged inputs and killed runs, from the report of ``tests/fuzz.py``."""
    measured = document["measured"]
    versions = ", ".join(f"{name} {text}" for name, text in measured["versions"].items())
    ends = ("read", "refused", "failed")
    rows = [
        (kind, str(sum(counts.values())), *(str(counts[end]) for end in ends))
        for kind, counts in document["kinds"].items()
    ]
    failures = (
        f"{document['failures']} failed (a traceback, a hang, an output that is not whole, or a cut unseen)"
    )
    about = (
        f"{document['inputs']:,} damaged inputs in {document['seconds'] / 60:.0f} minutes, seed "
        f"{document['seed']}, by `tests/fuzz.py`: {failures}; the slowest took "
        f"{document['slowest_input_seconds']:.1f} s ({measured['date']}; {versions}).\n"
    )
    return "\n".join(["## Damaged inputs\n", about, markdown(("input", "number", *ends), rows) + "\n"])


def kills(document: Mapping[str, Any]) -> str:
    """Return the section on killed runs, from the report of ``tests/kill_runs.py``."""
    about = (
        f"{document['killed']} runs killed by `kill -9` at random moments, seed {document['seed']}, by "
        f"`tests/kill_runs.py`: {document['failures']} of them, resumed, ended in other bytes than an "
        f"undisturbed run, or with temporary files ({document['date']}).\n"
    )
    runs: dict[str, list[bool]] = {}
    for line in document["each"]:
        runs.setdefault(line["run"], []).append(bool(line["unlike"]))
    rows = [(run, str(len(unlike)), str(sum(unlike))) for run, unlike in runs.items()]
    return "\n".join(["## Killed runs\n", about, markdown(("run", "killed", "unlike"), rows) + "\n"])


def against(document: Mapping[str, Any]) -> str:
    """Return the section on speed, from the report of ``against.py``."""
    about = (
        f"This version and commit {document['before']} in turns, medians of {document['repeats']}, on "
        f"{document['processors']} processors ({document['machine']}, torch {document['torch']}), by "
        "`examples/benchmarks/against.py`, which says what the work is. Seconds are of whole processes.\n"
    )
    heads = ("work", "before, s", "now, s", "ratio", "before, MB", "now, MB")
    keys = ("seconds_before", "seconds_now", "ratio", "megabytes_before", "megabytes_now")
    rows = [
        (row["work"], *(f"{row[key]:g}" if row[key] else "–" for key in keys)) for row in document["rows"]
    ]
    return "\n".join(["## Speed beside an earlier version\n", about, markdown(heads, rows) + "\n"])


def decoding(document: Mapping[str, Any]) -> str:
    """Return the section on the audio reader, from the report of ``decoding.py``."""
    versions = ", ".join(f"{name} {text}" for name, text in document["versions"].items())
    equal = f"{document['equal']} of {document['files']} files are read as the program ffmpeg decodes them"
    about = f"{equal} ({versions}); the others, by `decoding.py`:\n"
    keys = ("file", "sepcli", "ffmpeg", "difference")
    rows = [tuple(f"{entry[key]}" for key in keys) for entry in document["others"]]
    heads = ("file", "samples", "samples of ffmpeg", "largest difference")
    return "\n".join(["## Audio reader\n", about, markdown(heads, rows) + "\n"])
