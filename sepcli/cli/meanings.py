"""Options and commands that are called otherwise elsewhere: what is meant, by meaning, else by spelling."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from sepcli.errors import nearest
from sepcli.media import MEDIA
from sepcli.settings import allowed

_OUT, _PRIOR, _STEPS = ("--out",), ("--prior", "--family"), ("--steps", "--time-budget", "--set steps=N")
_SAMPLES, _WORKERS, _DATA = ("--samples", "--pairs"), ("--jobs", "--set batch=N"), ("--data",)
_DEVICE, _OVERWRITE, _TABLE = ("--device",), ("--overwrite",), ("--table", "--format", "--json")
_BATCH = ("--batch", "--set batch=N")
OPTIONS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("--output", "--output-dir", "--out-dir", "--outdir", "--dest", "--save"), _OUT),
    **dict.fromkeys(("--model", "--models", "--model-name", "-m"), _PRIOR),
    **dict.fromkeys(("--checkpoint", "--ckpt", "--pretrained"), ("--init", "--prior")),
    **dict.fromkeys(("--steps", "--num-steps", "--iterations", "--max-steps", "--epochs"), _STEPS),
    **dict.fromkeys(("--lr", "--rate"), ("--learning-rate",)),
    **dict.fromkeys(("--batch-size", "-b"), _BATCH),
    **dict.fromkeys(("--num-samples", "--n-samples", "-n"), _SAMPLES),
    **dict.fromkeys(("--limit", "--num-items", "--count"), ("--pairs",)),
    **dict.fromkeys(("--gpu", "--cuda", "--cpu", "--mps"), _DEVICE),
    **dict.fromkeys(("--force", "--replace", "-f", "-y"), _OVERWRITE),
    **dict.fromkeys(("--workers", "--jobs", "--num-workers", "--num-processes", "--threads", "-j"), _WORKERS),
    **dict.fromkeys(("--input", "--data-dir", "--dataset-dir", "--root"), _DATA),
    **dict.fromkeys(("--ext", "--codec", "--output-format"), ("--format",)),
    **dict.fromkeys(("--markdown", "--latex"), _TABLE),
    **dict.fromkeys(("--format",), ("--table",)),
    **dict.fromkeys(("--algorithm", "--engine"), ("--method",)),
    **dict.fromkeys(("--config", "--option"), ("--set",)),
    **dict.fromkeys(("--silent", "--no-progress"), ("--quiet",)),
    **dict.fromkeys(("--random-seed", "--random-state"), ("--seed",)),
    "--continue": ("--resume",),
    "--bits": ("--bit-depth",),
    "--pattern": ("--filename",),
    "--size": ("--preset",),
}
"""Option of other programs → options here; the first that the command has is meant."""
COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "fit"), "train-prior"),
    **dict.fromkeys(("fetch", "download", "list", "priors", "models"), "fetch-priors"),
    **dict.fromkeys(("eval", "score", "test", "benchmark", "compare"), "evaluate"),
    **dict.fromkeys(("split", "unmix", "demix", "extract"), "separate"),
    **dict.fromkeys(("color", "colorise"), "colorize"),
    **dict.fromkeys(("upload", "publish", "push"), "push-prior"),
    **dict.fromkeys(("import", "convert"), "import-prior"),
    **dict.fromkeys(("info", "doctor", "version"), "env"),
    "count": "build-likelihood",
}
"""Command of other programs → command here."""
NUMBER = re.compile(r"-.*[ <](int|float)", re.IGNORECASE)
"""The head of a number's row in a help text."""
RULES: Mapping[str, str] = {"ge": "min", "le": "max"}
"""Constraint of a range → its name in an option."""
CHOICE = re.compile(r"Invalid value for '([^']+)'.*?'([^']*)' is not one of (.+)", re.DOTALL)


def meant_option(option: str, available: Collection[str]) -> str | None:
    """Return the hint for an unknown option of a command with these options; None: nothing is near."""
    for twin in OPTIONS.get(option, ()):
        if twin.split()[0] in available:
            return f"did you mean {twin}?"
    long = [name.removeprefix("--") for name in available if name.startswith("--")]
    typed = option.removeprefix("--")
    near = difflib.get_close_matches(typed, long, n=1, cutoff=0.7) if typed != option else []
    return f"did you mean --{near[0]}?" if near else None


def dashed_file(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return the two lines for a file whose name begins with a dash, as options do; None: there is none."""
    suffixes = {suffix for row in MEDIA.values() for suffix in row.suffixes}
    for argument in arguments:
        path = Path(argument)
        is_media = path.suffix.lower() in suffixes and "=" not in argument
        if argument == "--":
            break
        if argument.startswith("-") and argument != "-" and (is_media or path.exists()):
            return f"{argument} begins with a dash, as options do", f"write ./{argument}, or -- before it"
    return None


def meant_command(command: str, commands: Collection[str]) -> str | None:
    """Return the hint for an unknown command; None: nothing is near."""
    near = [COMMANDS[command]] if command in COMMANDS else difflib.get_close_matches(command, commands, n=1)
    return f"did you mean `sepcli {near[0]}`?" if near else None


def refused_choice(message: str) -> tuple[str, str] | None:
    """Return the two lines for a value that an option does not have; None: another error."""
    match = CHOICE.search(message)
    if match is None:
        return None
    choices = re.findall(r"'([^']+)'", match[3])
    return f"{match[1]} has no choice '{match[2]}'", nearest(match[2], choices)


def refused_number(problem: Any, arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return the two lines for an option whose value is no number, or out of range; None: another error."""
    option: Any = getattr(problem, "param", None)
    record = option.get_help_record(problem.ctx) if option else None
    kind = NUMBER.match(record[0]) if record else None
    if kind is None:
        return None
    kinds = (option, getattr(option, "type", None))  # where typer keeps a range, by its version
    rules = {
        sign: next((getattr(one, name) for one in kinds if hasattr(one, name)), None)
        for sign, name in RULES.items()
    }
    numbers: Any = int if kind[1].lower() == "int" else float
    given = re.findall(rf"(?:^| )({'|'.join(option.opts)})[ =](\S+)", " ".join(arguments))
    named = " ".join(given[-1]) if given else option.opts[-1]
    return f"{named} is not valid", f"use {allowed(Annotated[numbers, Meta(**rules)])}"
