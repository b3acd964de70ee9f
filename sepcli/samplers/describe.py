"""A sampler's command-line name and its settings, for records."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from sepcli.samplers import name_of


def describe_sampler(sampler: object) -> tuple[str, dict[str, Any]]:
    """Return a sampler's command-line name and its typed settings.

    ``eta`` of ancestral sampling is recorded as ``ancestral``; an ancestral token sampler of the k likeliest
    pairs is ``top-k``, without k it has no settings.

    Args:
        sampler: a dataclass of settings; one that is not in ``SAMPLERS`` is named by its class.
    """
    name = name_of(sampler)
    settings = asdict(sampler) if is_dataclass(sampler) and not isinstance(sampler, type) else {}
    if name in ("ancestral", "top-k"):
        return ("ancestral", {}) if settings["top_k"] is None else ("top-k", settings)
    if settings.get("eta", 0.0) is None:
        settings["eta"] = "ancestral"
    return name, settings
