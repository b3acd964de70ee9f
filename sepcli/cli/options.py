"""Options that several commands have, and how the arguments of the library are called on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

FILES, MODEL, REPORT = "Files", "Model", "Report"
"""Panels of options in help texts."""

Samples = Annotated[
    int, typer.Option(min=1, rich_help_panel=MODEL, help="Number of posterior samples to write.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        rich_help_panel=MODEL,
        help="Change a setting of the sampler, the posterior or the windows; repeatable.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, rich_help_panel=MODEL, help="Seed; it decides the samples.")]
Device = Annotated[
    str, typer.Option(rich_help_panel=MODEL, help="Compute on auto, cpu, cuda, cuda:N or mps.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=FILES, help="Replace files that exist.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", rich_help_panel=FILES, help="Skip inputs that are finished, with the same options."
    ),
]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=REPORT, help="Print one JSON document.")]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", rich_help_panel=REPORT, help="Print no progress and no notes.")
]

NAMES: Mapping[str, str] = {
    "priors": "--prior",
    "engine": "--method",
    "settings": "--set",
    "stream": "--set",
    "mixing": "--gray",
    "methods": "--method",
    "metrics": "--metric",
}
"""The option of an argument of the library, where the names differ."""
KEYS: Mapping[str, str] = {"samples": "draws"}
"""The key of ``--set`` of a setting of the library, where the names differ."""
INPUTS = ("signal", "mixture", "mixtures", "reader")
"""Arguments of the library that no option gives."""


def in_option_words(message: str, argument: str | None) -> str:
    """Return the message of an error of the library with the option that gave its argument.

    Args:
        message: of the error.
        argument: as in ``SepError.argument``, for example ``weights`` or ``settings.steps``; None: unknown.
    """
    if argument is None or argument in INPUTS:
        return message
    name, _, key = argument.partition(".")
    option = NAMES.get(name, f"--{name.replace('_', '-')}")
    option += f" {KEYS.get(key, key)}" if key and option == "--set" else ""
    return message if option in message else f"{option}: {message}"
