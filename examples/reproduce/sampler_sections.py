"""Sections of RESULTS.md on samplers: of other packages, and against closed forms; see ``tables.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sections import figure, markdown


def samplers(document: Mapping[str, Any]) -> str:
    """Return the section on other packages' samplers, from the report of ``posterior_samplers.py``."""
    measured = document["measured"]
    versions = ", ".join(f"{name} {text}" for name, text in measured["versions"].items())
    about = (
        "By `examples/benchmarks/posterior_samplers.py`: sums 0.5 x_1 + 0.5 x_2 of two digits, the prior "
        f"`mnist` in float32 for all, {document['budget']} evaluations a pair unless the row says otherwise, "
        "gradients not limited. PSNR rewards averages: `halving` and `projected` sample at a temperature "
        "below the posterior's, the others aim at its samples. Settings in a grid are those of greatest "
        f"PSNR on {document['grid_pairs']} sums of training digits.\n\n"
        f"- data: {document['dataset']}; half the mixture has {document['half']:.2f} dB\n"
        f"- date: {measured['date']}\n- versions: {versions}\n- threads: {document['threads']}\n"
    )
    if sentence := document["comparison"].get("sentence"):
        about += f"- result: {sentence}\n"
    heads = ("sampler", "PSNR, dB", "evaluations", "gradients", "processor, s", "clock, s", "settings (of)")
    return "\n".join(
        ["## Samplers of other packages\n", about, markdown(heads, sampler_rows(document)) + "\n"]
    )


def color_ranking(document: Mapping[str, Any]) -> str:
    """Return the section on the order of colorizations, from the report of ``color_ranking.py``."""
    about = (
        "By `examples/benchmarks/color_ranking.py CIFAR10`: the first of "
        f"{document['samples']} colorizations of {document['images']} test photographs by several rules; the "
        "last one is that of `sepcli colorize --samples`. Chroma: root mean square of what distinguishes the "
        "channels from their mean.\n"
    )
    heads = ("rule", *(f"chroma, {percent} %" for percent in document["quantiles"]), "PSNR")
    rows = [
        (
            row["rule"],
            *(f"{value:.3f}" for value in row["chroma"]),
            "–" if row["psnr"] is None else f"{row['psnr']:.2f} dB",
        )
        for row in document["rows"]
    ]
    return "\n".join(["## Order of colorizations\n", about, markdown(heads, rows) + "\n"])


def exactness(document: Mapping[str, Any]) -> str:
    """Return the section on closed-form posteriors, from the report of ``posterior_exactness.py``."""
    measured = document["measured"]
    versions = ", ".join(f"{name} {text}" for name, text in measured["versions"].items())
    about = (
        "By `examples/benchmarks/posterior_exactness.py`: the posterior of two signals of 8 values given "
        "their mean, in closed form, and the same exact prior for every sampler. The error of the mean is a "
        "root mean square over the values, to be compared with the posterior's standard deviation; the trace "
        "of the covariance is divided by the true one; the last column is the error of the probability of "
        f"the first component.\n\n- samples: {document['samples']:,} of each posterior\n"
        f"- date: {measured['date']}\n- versions: {versions}\n"
    )
    heads = (
        "posterior",
        "sampler",
        "error of mean (std)",
        "trace",
        "evaluations",
        "backward",
        "error of weight",
    )
    rows = [
        (
            row["problem"],
            f"{row['package']}: {row['sampler']}",
            f"{row['mean']:.3f} ({row['std']:.2f})",
            f"{row['trace']:.2f}",
            *(f"{row[key]:g}" for key in ("evaluations", "backwards")),
            f"{row['share']:+.3f}" if row["problem"] == "two components" else "–",
        )
        for row in document["rows"]
    ]
    return "\n".join(["## Posteriors in closed form\n", about, markdown(heads, rows) + "\n"])


def sampler_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of the samplers, the greatest PSNR first."""
    ordered = sorted(document["rows"], key=lambda row: float(row["psnr"]), reverse=True)
    return [
        (
            f"{row['package']}: {row['sampler']}",
            figure({"mean": row["psnr"], "ci95": row["ci95"]}, "psnr"),
            *(f"{row[key]:g}" for key in ("evaluations", "backwards")),
            *(f"{row[key]:.2f}" for key in ("cpu_seconds", "seconds")),
            " ".join(
                f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}"
                for key, value in row["settings"].items()
            )
            + f" ({len(row['grid']) or 1})",
        )
        for row in ordered
    ]
