"""Measure what storing our priors in fewer bytes costs, and write it into their cards.

    python examples/reproduce/storage.py measure CHECKOUT REPORTS --data DATA [NAME...]
    python examples/reproduce/storage.py compare BEFORE AFTER --out storage.json
    python examples/reproduce/storage.py cards storage.json FOLDER

``measure`` evaluates the priors of a checkout of sepcli; DATA holds ``mnist`` (the IDX files),
``cifar10`` (``train`` and ``test``) and ``drums-bass-test`` (``examples/make_pairs.py``). ``compare`` takes
two folders of such reports, before and after, of the same items and seeds. ``cards`` writes the figures into
the cards of the priors that FOLDER holds. A finished report is not measured again. Samplers that choose
between candidates or sample tokens end in other samples after any change of the weights: their values
scatter, and likelihoods beside them say what the change costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from sepcli.catalog import card as cards
from sepcli.metrics.statistics import bootstrap_ci

FLOWS = "examples/reproduce/toy-flows"
TOYS = tuple(word for n in range(1, 5) for word in ("--prior", f"{FLOWS}/priors/{n}"))


class Row(NamedTuple):
    """A measurement.

    Attributes:
        priors: whose cards get it.
        metric: of the report that is compared.
        arguments: of ``sepcli evaluate``; () for ``tokens``.
        method: row of the report.
        unit: of the metric.
    """

    priors: tuple[str, ...]
    metric: str
    arguments: tuple[str, ...]
    method: str = "sepcli"
    unit: str = "dB"


PAIRS = ("--dataset", "pairs", "--data", "{data}/drums-bass-test", "--metric", "sdr")
MNIST = ("--dataset", "mnist", "--data", "{data}/mnist", "--metric")
COLORS = ("--dataset", "cifar10", "--task", "colorize", "--data", "{data}/cifar10", "--metric", "psnr")
WAVES = ("--dataset", "toy-waves", "--metric", "sdr,si-sdr", "--prior")
ROWS: Mapping[str, Row] = {
    "songs": Row(("slakh-drums", "slakh-bass", "slakh-drums-bass"), "sdr", (*PAIRS, "--pairs", "40")),
    "lass": Row(("slakh-drums-bass",), "sdr", (*PAIRS, "--method", "lass", "--pairs", "12")),
    "mnist": Row(
        ("mnist",), "psnr", (*MNIST, "psnr", "--prior", "mnist", "--pairs", "24", "--sampler", "projected")
    ),
    "mnist-halving": Row(("mnist",), "psnr", (*MNIST, "psnr", "--prior", "mnist", "--pairs", "24")),
    "mnist-lass": Row(("mnist-lass",), "psnr", (*MNIST, "psnr", "--prior", "mnist-lass", "--pairs", "8")),
    "cifar": Row(("cifar10",), "psnr", (*COLORS, "--prior", "cifar10", "--pairs", "48")),
    "toys": Row(
        ("toy-flows",),
        "sdr",
        (*WAVES, FLOWS, "--pairs", "2", "--batch", "2"),
    ),
    "toys-variational": Row(
        ("toy-waves",),
        "sdr",
        (*WAVES, "toy-waves", "--pairs", "20"),
    ),
    "toys-cross": Row(
        ("toy-flows",),
        "cross-likelihood",
        ("--metric", "cross-likelihood", "--data", "toy-waves", "--pairs", "20", *TOYS),
        unit="nats per sample",
    ),
    "tokens": Row(("mnist-lass", "slakh-drums-bass"), "", ()),
}


def measure(checkout: Path, out: Path, data: Path, names: Sequence[str]) -> int:
    """Write the reports of a checkout; return the exit code of the first that fails."""
    out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    for name in names or ROWS:
        report = (out / f"{name}.json").resolve()
        if report.exists():
            continue
        if ROWS[name].arguments:
            words = [word.format(data=data.resolve()) for word in ROWS[name].arguments]
            command = [sys.executable, "-m", "sepcli", "evaluate", *words, "--out", str(report), "--quiet"]
        else:
            command = [
                sys.executable,
                str(Path(__file__).resolve()),
                "tokens",
                str(report),
                str(data.resolve()),
            ]
        code = subprocess.run(command, cwd=checkout, env=environment, check=False).returncode
        if code:
            return code
    return 0


def tokens(report: Path, data: Path) -> None:
    """Measure codecs and networks over their tokens on test items, without sampling."""
    import torch

    from sepcli.catalog.resolve import find
    from sepcli.datasets.idx import read_idx
    from sepcli.datasets.pair_folder import read_pairs
    from sepcli.priors.lass.load import load_codec, load_context, load_transformer
    from sepcli.priors.lass.tasks import context_nll
    from sepcli.signal.mixing import WeightedSum

    digits = read_idx(data / "mnist" / "t10k-images-idx3-ubyte.gz")[:512]
    images = torch.from_numpy(np.asarray(digits, np.float32) / 255)[:, None]
    names = ("drums", "bass")
    pairs = [
        pair.sources for pair, _ in zip(read_pairs(data / "drums-bass-test", names), range(24), strict=False)
    ]
    length = min(pair.shape[-1] for pair in pairs) // 4096 * 4096
    audio = torch.from_numpy(np.stack([pair[:, :length] for pair in pairs]))  # (N, 2, T)
    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for prior, signals in (("mnist-lass", images), ("slakh-drums-bass", audio.flatten(0, 1)[:, None])):
            card, folder = find(prior)
            (codec, digest), transformer = load_codec(folder, card), load_transformer(folder)
            z = codec.encode(signals)
            source = (
                torch.arange(len(z)) % 2 if prior != "mnist-lass" else torch.zeros(len(z), dtype=torch.int64)
            )
            measure_name, quality = codec.quality(signals, codec.decode(z))
            found[prior] = {
                f"codec, {measure_name} in dB": quality,
                "transformer, nats per token": float(transformer.loss(z, source)[0]),
            }
            if prior == "slakh-drums-bass":
                context = load_context(folder, card, codec, digest).eval()
                nll, _ = context_nll(context, codec, WeightedSum((0.5, 0.5)), audio[:, :, None])
                found[prior]["context, nats per token"] = float(nll)
    report.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def compare(before: Path, after: Path) -> dict[str, Any]:
    """Return prior → figures for its card, of the reports that are in both folders."""
    figures: dict[str, Any] = {}
    for name, row in ROWS.items():
        paths = [folder / f"{name}.json" for folder in (before, after)]
        if not all(path.is_file() for path in paths):
            continue
        reports = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        for prior in row.priors:
            entry = figures.setdefault(prior, {})
            if not row.arguments:
                entry |= {key: change(old, reports[1][prior][key]) for key, old in reports[0][prior].items()}
            elif row.metric == "cross-likelihood":
                old, new = (float(np.trace(report["mean"]) / len(report["mean"])) for report in reports)
                entry[f"{name}, {row.unit}"] = change(old, new)
            else:
                entry[f"{name}, {row.metric} in {row.unit}"] = paired(row, reports)
    return figures


def change(before: float, after: float) -> dict[str, float]:
    """The two values and their difference, rounded."""
    return {"before": round(before, 4), "after": round(after, 4), "change": round(after - before, 4)}


def paired(row: Row, reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over items in two reports, and the mean difference with its interval by bootstrap."""
    values: list[dict[str, list[float]]] = [{}, {}]
    for report, items in zip(reports, values, strict=True):
        for entry in report["tracks"]:
            if (entry["method"], entry["metric"]) == (row.method, row.metric):
                items.setdefault(entry["track"], []).append(entry["value"])
    shared = sorted(values[0].keys() & values[1].keys())
    old, new = (np.array([np.mean(items[track]) for track in shared]) for items in values)
    low, high = bootstrap_ci(new - old, 0.95, 2000, 0)
    found: dict[str, Any] = change(float(old.mean()), float(new.mean()))
    return {**found, "ci95": [round(low, 4), round(high, 4)], "items": len(shared)}


def in_words(figure: Mapping[str, Any]) -> str:
    """A figure in one line, for a card."""
    text = f"{figure['after']:g} (before {figure['before']:g}, change {figure['change']:+g}"
    if "ci95" in figure:
        low, high = figure["ci95"]
        text += f" [{low:g}, {high:g}], {figure['items']} items"
    return f"{text})"


def write_cards(figures: Mapping[str, Any], folder: Path) -> None:
    """Write the figures into the cards of the priors that a folder holds."""
    for prior, found in figures.items():
        if not (folder / prior).is_dir():
            continue
        card = cards.read(folder / prior)
        protocol = (
            "the same items and seeds, weights in bfloat16 (before) and as they are stored (after), mean"
            " [95 % interval of the change]; the other figures are of the weights before"
        )
        entry = {"protocol": protocol, "command": "examples/reproduce/storage.py"}
        entry |= {name: in_words(figure) for name, figure in found.items()}
        cards.write(replace(card, figures={**card.figures, "storage": entry}), folder / prior)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure")
    one.add_argument("checkout", type=Path)
    one.add_argument("reports", type=Path)
    one.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(ROWS)}")
    one.add_argument("--data", type=Path, required=True)
    one = commands.add_parser("tokens")
    one.add_argument("report", type=Path)
    one.add_argument("data", type=Path)
    one = commands.add_parser("compare")
    one.add_argument("before", type=Path)
    one.add_argument("after", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one = commands.add_parser("cards")
    one.add_argument("figures", type=Path)
    one.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    if options.command == "measure":
        return measure(options.checkout, options.reports, options.data, options.names)
    if options.command == "tokens":
        tokens(options.report, options.data)
    elif options.command == "compare":
        found = compare(options.before, options.after)
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    else:
        write_cards(json.loads(options.figures.read_text(encoding="utf-8")), options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
