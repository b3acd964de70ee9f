"""What a sampler is called on the command line, and its settings: what records of a run say of it."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from sepcli.samplers.ancestral import Ancestral, Greedy
from sepcli.samplers.beam import Beam
from sepcli.samplers.langevin import Langevin
from sepcli.samplers.msdm import MultiSource
from sepcli.samplers.projected import Projected
from sepcli.samplers.successive_halving import Halving

NAMES: dict[type[Any], str] = {
    Projected: "projected",
    Halving: "halving",
    Langevin: "langevin",
    MultiSource: "multi-source",
    Greedy: "greedy",
    Beam: "beam",
    Ancestral: "ancestral",
}
"""Class of a sampler → its name; an ancestral one of the k likeliest tokens is ``top-k``."""


def describe_sampler(sampler: object) -> tuple[str, dict[str, Any]]:
    """Return a sampler's name and its typed settings.

    A setting without a number is given by its word (``eta=ancestral``), or left out where it has none.

    Args:
        sampler: a dataclass of settings; one that has no name here is called by its class.
    """
    name = NAMES.get(type(sampler), type(sampler).__name__)
    settings = asdict(sampler) if is_dataclass(sampler) and not isinstance(sampler, type) else {}
    if isinstance(sampler, Ancestral):
        return ("ancestral", {}) if sampler.top_k is None else ("top-k", settings)
    if isinstance(sampler, Projected) and sampler.eta is None:
        settings["eta"] = "ancestral"
    return name, settings
