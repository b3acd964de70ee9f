"""Sections of RESULTS.md on posteriors: calibration, fit, Lévy processes, learning; see ``tables.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sections import markdown

CALIBRATIONS: Mapping[str, str] = {
    "calibration-mnist": "--prior mnist --preset draws --pairs 100 --samples 4 --batch 16",
    "calibration-mnist-unweighed": (
        "--prior mnist --preset draws --set weigh=0 --set isotropic=0 --pairs 200 --samples 4 --batch 16"
    ),
    "calibration-drums-bass": (
        "--prior slakh-drums-bass --sampler projected --set steps=48 --set average=1 --set from_mixture=0"
        " --set sigma_max=3.3 --set sigma_min=0.001 --set rho=5 --pairs 40 --samples 4"
    ),
}
"""Report → options of ``sepcli evaluate --calibration`` that write it."""
FITS = ("fit-slakh-drums-bass", "fit-songs")
"""Reports of ``calibrate_fit.py``."""
PERCENT = 100.0


def calibrations(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section on calibration, from reports of ``sepcli evaluate --calibration``."""
    about = (
        "By `sepcli evaluate --calibration`: p-values of ranks of the truth among samples (χ²) and of TARP "
        "(Kolmogorov-Smirnov), uniform if the samples are the posterior's; coverage of the widest central "
        "interval that the number of samples allows; squared error of the mean over its expectation from "
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
        rows.append(
            (
                name.removeprefix("calibration-"),
                document["about"]["truths"],
                f"{document['mixtures']} × {document['samples']}",
                f"{settings['steps']} levels, {'averaged noise' if settings.get('average') else 'ancestral'}",
                f"{document['p_value']:.2g}",
                f"{', '.join(passed) or 'none'}",
                f"{least} ({document['p_values'][least]:.2g})",
                f"{PERCENT * coverage['measured']:.1f} % of {PERCENT * coverage['nominal']:.0f} %",
                f"{document['error_over_spread']:.2f}",
            )
        )
    heads = (
        *("prior", "truths", "mixtures × samples", "sampler", "p", "uniform", "least uniform"),
        *("coverage", "error/spread"),
    )
    table = markdown(heads, rows)
    return "\n".join(["## Calibration\n", about, f"```sh\n{commands}\n```\n", table + "\n"])


def fits(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section on the fit of mixtures, from reports of ``calibrate_fit.py``."""
    about = (
        "By `examples/calibrate_fit.py`: mixtures that a prior explains, and the same with a foreign source, "
        "as loud as one of the sources, added. Flagged: fit below 0.05, by the reference of the card; and at "
        "the threshold that flags 5 % of all explained mixtures.\n"
    )
    rows = [
        (
            document["prior"],
            document["explained"],
            document["foreign"],
            _share(document["false_alarms"]),
            _share(document["foreign_source"]),
            f"{PERCENT * document['flagged_at_5_percent']:.0f} %",
            f"{document['median_db']['explained']:.1f}, {document['median_db']['foreign']:.1f}",
        )
        for document in documents.values()
    ]
    heads = ("prior", "explained", "foreign", "false alarms", "flagged", "flagged at 5 %", "medians, dB")
    return "\n".join(["## Fit of a mixture\n", about, markdown(heads, rows) + "\n"])


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
