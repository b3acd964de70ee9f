"""Samplers of tokens by their names on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sepcli.errors import UsageError
from sepcli.samplers import SAMPLERS, names
from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.settings import parse

TokenSampler = Ancestral | Beam | Greedy

SAMPLER_OF: Mapping[str, str] = {"top_k": "top-k", "width": "beam"}
"""A sampler's setting → the name of the sampler that has it."""
TOP_K = 32
"""Number of candidates that ``top-k`` samples from, unless ``top_k`` is set."""


def token_sampler(name: str, options: Mapping[str, Any]) -> tuple[TokenSampler, dict[str, Any]]:
    """Make a sampler of tokens.

    Args:
        name: of a sampler of tokens in ``SAMPLERS``.
        options: settings by key.

    Returns:
        The sampler, and those options that are not settings of any sampler.

    Raises:
        UsageError: the sampler is unknown, an option belongs to another sampler, or a value is out of range.
    """
    if name not in names("token"):
        raise UsageError(f"unknown sampler '{name}'", f"one of: {', '.join(names('token'))}", "sampler")
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
