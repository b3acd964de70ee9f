"""Sections of RESULTS.md on posteriors: calibration, fit, Lévy processes, learning; see ``tables.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sections import figure, markdown, summary

CALIBRATIONS: Mapping[str, str] = {
    "calibration-mnist": "--prior mnist --preset draws --pairs 200 --samples 19 --batch 16",
    "calibration-mnist-unweighed": (
        "--prior mnist --preset draws --set weigh=0 --set isotropic=0 --pairs 200 --samples 4 --batch 16"
    ),
    "calibration-mnist-recorded": (
        "--prior mnist --preset draws --dataset mnist --data MNIST --pairs 40 --samples 9 --batch 16"
    ),
    "calibration-drums-bass-recorded": (
        "--prior slakh-drums-bass --dataset pairs --data PAIRS --pairs 40 --samples 9"
    ),
    "calibration-songs-recorded": (
        "--prior songs --dataset pairs --data MIXES --pairs 24 --samples 5 --batch 1"
    ),
    "calibration-drums-bass": (
        "--prior slakh-drums-bass --sampler projected --set steps=48 --set average=1 --set from_mixture=0"
        " --set sigma_max=3.3 --set sigma_min=0.001 --set rho=5 --pairs 40 --samples 4"
    ),
}
"""Report → options of ``sepcli evaluate --calibration`` that write it."""
_FIT = "slakh-drums-bass --explained PAIRS --foreign FULLMIX --stem rest --count 120"
FITS: Mapping[str, str] = {
    "fit-slakh-drums-bass": _FIT,
    "fit-slakh-drums-bass-evidence": f"{_FIT} --statistic evidence --steps 10 --samples 2",
    "fit-slakh-drums-bass-levels": f"{_FIT} --statistic levels",
    "fit-songs": "songs --explained FULLMIX --foreign VOICES --stem S00",
    "fit-mnist": "mnist --explained MNIST --foreign CIFAR10/test --sigma 0.3 --count 60",
}
"""Report → options of ``calibrate_fit.py`` that write it."""
_DIGITS = "--dataset mnist --data MNIST --prior mnist --pairs 24 --metric psnr --batch 16 --preset"
_PAIRS = "--dataset pairs --data PAIRS --prior slakh-drums-bass --pairs 6 --samples 1 --metric sdr --preset"
PRESETS: Mapping[str, str] = {
    "mnist-estimate": f"{_DIGITS} estimate",
    "mnist-draws": f"{_DIGITS} draws",
    "drums-bass-estimate": f"{_PAIRS} estimate",
    "drums-bass-draws": f"{_PAIRS} draws",
}
"""Report → options of ``sepcli evaluate`` that write it."""
PERCENT = 100.0


def calibrations(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section on calibration, from reports of ``sepcli evaluate --calibration``."""
    about = (
        "By `sepcli evaluate --calibration`: p-values of ranks of the truth among samples (χ²) and of TARP "
        "(Kolmogorov-Smirnov), uniform if the samples are the posterior's; coverage of the widest central "
        "interval that the number of samples allows, and of that by the standard deviation (90 %, Student's "
        "t); squared error of the mean over its expectation from "
        "the spread, above 1: too narrow. All p-values of a report are tested together (Bonferroni).\n"
    )
    commands = "\n".join(
        f"sepcli evaluate --calibration {CALIBRATIONS[name]} --out {name}.json" for name in documents
    )
    rows = []
    for name, document in documents.items():
        coverage = document["coverage"]
        least = min(document["p_values"], key=lambda key: document["p_values"][key])
        count = len(document["p_values"])
        passed = [key for key, value in document["p_values"].items() if value * count > 0.05]
        settings = document["about"]["settings"]
        by_std = document.get("standard_deviation", {}).get("measured")
        rows.append(
            (
                name.removeprefix("calibration-"),
                document["about"]["truths"],
                f"{document['mixtures']} × {document['samples']}",
                f"{settings['steps']} levels, {_noise(settings)}",
                f"{document['p_value']:.2g}",
                f"{', '.join(passed) or 'none'}",
                f"{least} ({document['p_values'][least]:.2g})",
                f"{PERCENT * coverage['measured']:.1f} % of {PERCENT * coverage['nominal']:.0f} %",
                "–" if by_std is None else f"{PERCENT * by_std:.1f} %",
                f"{document['error_over_spread']:.2f}",
            )
        )
    heads = (
        *("prior", "truths", "mixtures × samples", "sampler", "p", "uniform", "least uniform"),
        *("coverage", "by standard deviation", "error/spread"),
    )
    parts = ["## Calibration\n", about, f"```sh\n{commands}\n```\n", markdown(heads, rows) + "\n"]
    return "\n".join([*parts, *confidences(documents)])


def confidences(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return text and table on the confidence per second, of calibrations on recordings."""
    found = {name: document["confidence"] for name, document in documents.items() if "confidence" in document}
    about = (
        "Confidence per second of recordings, medians: that of the samples (reported, before a prior's "
        "`confidence_excess` lowers it), what the error of the mean attains, and the excess of the former; "
        "their rank correlation (Spearman); and how often the truth is no farther from the mean than most "
        "samples are from the mean of the others and the truth.\n"
    )
    rows = [
        (
            name.removeprefix("calibration-"),
            str(confidence["seconds"]),
            *(f"{confidence['median_db'][key]:.1f} dB" for key in ("reported", "attained", "excess")),
            _number(confidence.get("rank_correlation")),
            f"{PERCENT * confidence['coverage']['measured']:.0f} %"
            f" of {PERCENT * confidence['coverage']['nominal']:.0f} %",
        )
        for name, confidence in found.items()
    ]
    heads = ("prior", "seconds of sources", "reported", "attained", "excess", "rank correlation", "coverage")
    return [about, markdown(heads, rows) + "\n"] if rows else []


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def presets(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section on both presets beside each other, from reports of ``sepcli evaluate``."""
    about = (
        "The same mixtures by `--preset estimate`, the default of one answer, and by `--preset draws`, one "
        "sample each: a sample of the posterior is worse than an estimate by these metrics.\n"
    )
    commands = "\n".join(f"sepcli evaluate {PRESETS[name]} --out {name}.json" for name in documents)
    rows = []
    for name, document in documents.items():
        metric = next(iter(document["results"]))
        value = summary(document["results"][metric]["sepcli"])
        sampler = str(document["protocol"]["settings"]["sampler"])
        rows.append(
            (*name.rsplit("-", 1), sampler, metric, figure(value, metric, bold=True), str(value["n"]))
        )
    heads = ("prior", "preset", "sampler", "metric", "result", "mixtures")
    return "\n".join(["## Presets\n", about, f"```sh\n{commands}\n```\n", markdown(heads, rows) + "\n"])


def preset_cost(document: Mapping[str, Any]) -> str:
    """Return the section on the seconds of samples, from the report of ``preset_cost.py``."""
    about = (
        "By `examples/benchmarks/preset_cost.py`: one sample of `examples/digits/mix.png`, and of three "
        f"seconds of `examples/song/mix.flac`, on one thread; medians of {document['repeats']} samples.\n"
    )
    rows = [
        (
            *(str(row[key]) for key in ("prior", "preset", "sampler", "evaluations", "backward_passes")),
            *(f"{row[key]:.2f} s" for key in ("processor_seconds", "clock_seconds")),
        )
        for row in document["rows"]
    ]
    heads = ("prior", "preset", "sampler", "evaluations", "backward passes", "processor", "clock")
    return "\n".join(["## Seconds per sample of the presets\n", about, markdown(heads, rows) + "\n"])


def fits(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section on the fit of mixtures, from reports of ``calibrate_fit.py``."""
    about = (
        "By `examples/calibrate_fit.py`: mixtures that a prior explains, and the same with a foreign source, "
        "as loud as one of the sources, added (sums of images: instead of the second). By the denoising "
        "error at one σ, by its mean over noise levels, or by the evidence of the mixture (DiME). Flagged: "
        "fit below 0.05, by the reference of the card; and at the threshold that flags 5 % of all explained "
        "mixtures.\n"
    )
    rows = [
        (
            document["prior"],
            document.get("statistic", "denoising"),
            document["explained"],
            document["foreign"],
            _share(document["false_alarms"]),
            _share(document["foreign_source"]),
            f"{PERCENT * document['flagged_at_5_percent']:.0f} %",
            _medians(document),
        )
        for document in documents.values()
    ]
    heads = (
        "prior",
        "statistic",
        "explained",
        "foreign",
        "false alarms",
        "flagged",
        "flagged at 5 %",
        "medians",
    )
    program = "python examples/calibrate_fit.py"
    commands = "\n".join(f"{program} {FITS[name]} --out {name}.json" for name in documents)
    return "\n".join(
        ["## Fit of a mixture\n", about, f"```sh\n{commands}\n```\n", markdown(heads, rows) + "\n"]
    )


def _noise(settings: Mapping[str, Any]) -> str:
    if settings.get("average"):
        return "averaged noise"
    return "ancestral" if settings.get("eta") is None else f"η = {settings['eta']:g}"


def _medians(document: Mapping[str, Any]) -> str:
    if "median_db" in document:
        return "{explained:.1f}, {foreign:.1f} dB".format(**document["median_db"])
    return "{explained:.3f}, {foreign:.3f} nats per value".format(**document["median_nats"])


def _share(found: Mapping[str, Any]) -> str:
    return f"{PERCENT * found['flagged']:.0f} % of {found['mixtures']}"


def levy(document: Mapping[str, Any]) -> str:
    """Return the section on Lévy processes, from the report of ``levy_posterior.py``."""
    about = (
        "By `examples/benchmarks/levy_posterior.py`: sums of two Lévy processes of 64 values, "
        f"{document['mixtures']} mixtures, {document['samples']} samples each, denoisers by Gibbs chains of "
        f"{document['denoiser_sweeps']} sweeps; truth: chains of {document['sweeps']:,} sweeps. Error of "
        "the mean and trace are relative to the truth's standard deviation and trace; intervals of 90 %.\n"
    )
    rows = [
        (
            name,
            f"{row['evaluations']}" if "evaluations" in row else "–",
            f"{row['mean_error']:.2f}",
            f"{row['trace']:.2f}",
            f"{PERCENT * row['coverage']:.0f} %",
        )
        for name, row in document["rows"].items()
    ]
    heads = ("sampler", "evaluations", "error of mean", "trace", "coverage")
    return "\n".join(["## Posteriors of Lévy processes\n", about, markdown(heads, rows) + "\n"])


def from_mixtures(document: Mapping[str, Any]) -> str:
    """Return the section on priors from mixtures, from the report of ``prior_from_mixtures.py``."""
    about = (
        f"By `examples/benchmarks/prior_from_mixtures.py`: digits {document['x']} learned from "
        f"{document['count']:,} sums with digits {document['y']}, {document['steps']:,} steps a round, size "
        f"{document['preset']}, {document['cpu_seconds']:,} s of one core in all. Error of denoising test "
        "digits (root mean square), and PSNR of both sources of sums of test digits; half the mixture has "
        f"{document['mixture_psnr']:.2f} dB.\n"
    )
    levels = tuple(next(iter(document["rows"].values()))["denoising_rms"])
    rows = [
        (name, *(f"{row['denoising_rms'][level]:.3f}" for level in levels), f"{row['separation_psnr']:.2f}")
        for name, row in document["rows"].items()
    ]
    heads = ("prior", *(f"error at σ = {level}" for level in levels), "PSNR, dB")
    return "\n".join(["## Priors from mixtures alone\n", about, markdown(heads, rows) + "\n"])
