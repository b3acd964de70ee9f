"""Samplers of signals, which follow the score of a posterior, and of tokens. ``SAMPLERS`` is their table.

This module imports no torch: the rows name their classes as ``module:attribute``. The classes of signal
samplers are attributes of this module, loaded when they are first used: ``sepcli.samplers.Langevin()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sepcli.samplers.langevin import Langevin
    from sepcli.samplers.msdm import MultiSource
    from sepcli.samplers.particles import Particles
    from sepcli.samplers.projected import Projected
    from sepcli.samplers.successive_halving import Halving


@dataclass(frozen=True)
class SamplerEntry:
    """A row of ``SAMPLERS``.

    Attributes:
        name: on the command line.
        cls: ``module:attribute`` of the class, a frozen dataclass of settings.
        posterior: what it follows: a mixture met exactly (dirac), up to Gaussian noise, or a posterior of
            tokens.
        summary: one line.
    """

    name: str
    cls: str
    posterior: Literal["dirac", "gaussian", "token"]
    summary: str

    def load(self) -> Any:
        """Import and return the class."""
        module, _, attribute = self.cls.partition(":")
        return getattr(import_module(module), attribute)


_ANCESTRAL = "sepcli.samplers.ancestral"
SAMPLERS: Mapping[str, SamplerEntry] = {
    entry.name: entry
    for entry in (
        SamplerEntry(
            "projected",
            "sepcli.samplers.projected:Projected",
            "dirac",
            "ancestral sampling on the constraint; few evaluations",
        ),
        SamplerEntry(
            "halving",
            "sepcli.samplers.successive_halving:Halving",
            "dirac",
            "several chains, halved by how well they explain the mixture",
        ),
        SamplerEntry(
            "particles",
            "sepcli.samplers.particles:Particles",
            "dirac",
            "sequential Monte Carlo: the posterior, in the limit of many particles",
        ),
        SamplerEntry(
            "langevin",
            "sepcli.samplers.langevin:Langevin",
            "gaussian",
            "annealed Langevin dynamics of BASIS",
        ),
        SamplerEntry(
            "multi-source",
            "sepcli.samplers.msdm:MultiSource",
            "dirac",
            "multi-source diffusion with churn (Mariani et al. 2023)",
        ),
        SamplerEntry("greedy", f"{_ANCESTRAL}:Greedy", "token", "the likeliest pair of tokens at every step"),
        SamplerEntry(
            "ancestral", f"{_ANCESTRAL}:Ancestral", "token", "one random pair of tokens at every step"
        ),
        SamplerEntry(
            "top-k", f"{_ANCESTRAL}:Ancestral", "token", "as ancestral, among the top_k likeliest pairs"
        ),
        SamplerEntry("beam", "sepcli.samplers.beam:Beam", "token", "beam search over pairs of tokens"),
    )
}
"""Name → row."""


def names(domain: str) -> tuple[str, ...]:
    """Names of the samplers of signals or of tokens."""
    tokens = domain == "token"
    return tuple(name for name, entry in SAMPLERS.items() if (entry.posterior == "token") == tokens)


def name_of(sampler: object) -> str:
    """The command-line name of a sampler, the first of its class; otherwise the name of its class."""
    kind = type(sampler)
    cls = f"{kind.__module__}:{kind.__qualname__}"
    return next((entry.name for entry in SAMPLERS.values() if entry.cls == cls), kind.__name__)


def __getattr__(name: str) -> Any:
    for sampler in names("signal"):
        if SAMPLERS[sampler].cls.endswith(f":{name}"):
            return SAMPLERS[sampler].load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SAMPLERS",
    "Halving",
    "Langevin",
    "MultiSource",
    "Particles",
    "Projected",
    "SamplerEntry",
    "name_of",
    "names",
]
