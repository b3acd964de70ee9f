"""Samplers by their command-line names: construction from settings, and description for records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from sepcli.errors import UsageError, nearest
from sepcli.protocols import Sampler
from sepcli.samplers import SAMPLERS, name_of, names
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.settings import parse

TokenSampler = Ancestral | Beam | Greedy

SAMPLER_OF: Mapping[str, str] = {"top_k": "top-k", "width": "beam"}
"""A setting → the name of the sampler of tokens that has it."""
TOP_K = 32
"""Number of candidates that ``top-k`` samples from, unless ``top_k`` is set."""


def signal_sampler(name: str, settings: Mapping[str, Any]) -> Sampler:
    """Make a sampler of signals.

    Raises:
        UsageError: an unknown sampler or setting, or a value out of range.
    """
    check_name(name, "signal")
    sampler: Sampler = parse(SAMPLERS[name].load(), settings)
    return sampler


def token_sampler(name: str, options: Mapping[str, Any]) -> tuple[TokenSampler, dict[str, Any]]:
    """Make a sampler of tokens; return it, and the options that are not settings of any sampler.

    Raises:
        UsageError: the sampler is unknown, an option belongs to another sampler, or a value is out of range.
    """
    check_name(name, "token")
    for key in options:
        if SAMPLER_OF.get(key, name) != name:
            raise UsageError(
                f"the sampler {name} has no setting '{key}'",
                f"choose the sampler {SAMPLER_OF[key]}, too",
                argument=f"settings.{key}",
            )
    sampler_options = {key: value for key, value in options.items() if key in SAMPLER_OF}
    if name == "top-k":
        sampler_options.setdefault("top_k", TOP_K)
    rest = {key: value for key, value in options.items() if key not in SAMPLER_OF}
    sampler: TokenSampler = parse(SAMPLERS[name].load(), sampler_options)
    return sampler, rest


def check_name(name: str, domain: str) -> None:
    """Check the name of a sampler.

    Raises:
        UsageError: the sampler is unknown.
    """
    if name not in names(domain):
        raise UsageError(f"unknown sampler '{name}'", nearest(name, names(domain)), argument="sampler")


def describe_sampler(sampler: object) -> tuple[str, dict[str, Any]]:
    """Return a sampler's command-line name, that of its class if there is none, and its typed settings.

    ``eta`` of ancestral sampling is recorded as ``ancestral``; an ancestral token sampler of the k likeliest
    pairs is ``top-k``, without k it has no settings.
    """
    name = name_of(sampler)
    settings = asdict(sampler) if is_dataclass(sampler) and not isinstance(sampler, type) else {}
    if name in ("ancestral", "top-k"):
        return ("ancestral", {}) if settings["top_k"] is None else ("top-k", settings)
    if settings.get("eta", 0.0) is None:
        settings["eta"] = "ancestral"
    return name, settings
