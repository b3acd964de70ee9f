"""Samplers of tokens by their names on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sepcli.errors import UsageError
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.settings import parse

TokenSampler = Ancestral | Beam | Greedy

TOKEN_SAMPLERS: Mapping[str, type[TokenSampler]] = {
    "greedy": Greedy,
    "ancestral": Ancestral,
    "top-k": Ancestral,
    "beam": Beam,
}
"""Name → class."""
OWN_SETTINGS: Mapping[str, str] = {"top_k": "top-k", "width": "beam"}
"""A sampler's setting → the name of the sampler that has it."""
TOP_K = 32
"""Candidates among which ``top-k`` draws, unless ``top_k`` is set."""


def token_sampler(name: str, options: Mapping[str, Any]) -> tuple[TokenSampler, dict[str, Any]]:
    """Make a sampler of tokens.

    Args:
        name: a key of ``TOKEN_SAMPLERS``.
        options: settings by key.

    Returns:
        The sampler, and those options that are not settings of any sampler.

    Raises:
        UsageError: the sampler is unknown, an option belongs to another sampler, or a value is out of range.
    """
    if name not in TOKEN_SAMPLERS:
        raise UsageError(
            f"unknown sampler '{name}'", f"one of: {', '.join(TOKEN_SAMPLERS)}", argument="sampler"
        )
    for key in options:
        if OWN_SETTINGS.get(key, name) != name:
            raise UsageError(
                f"the sampler {name} has no setting '{key}'",
                f"choose the sampler {OWN_SETTINGS[key]}, too",
                argument=f"settings.{key}",
            )
    own = {key: value for key, value in options.items() if key in OWN_SETTINGS}
    if name == "top-k":
        own.setdefault("top_k", TOP_K)
    rest = {key: value for key, value in options.items() if key not in OWN_SETTINGS}
    return parse(TOKEN_SAMPLERS[name], own), rest


def describe_token_sampler(sampler: object) -> tuple[str, dict[str, Any]]:
    """Return name and settings of a sampler of tokens; its class's name if it is not in the table."""
    if isinstance(sampler, Ancestral):
        return ("ancestral", {}) if sampler.top_k is None else ("top-k", asdict(sampler))
    if isinstance(sampler, Beam):
        return "beam", asdict(sampler)
    return ("greedy" if isinstance(sampler, Greedy) else type(sampler).__name__), {}
