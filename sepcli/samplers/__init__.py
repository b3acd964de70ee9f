"""Samplers of signals, which follow the score of a posterior, and of tokens. ``SAMPLERS`` is their table.

This module imports no torch: the rows name their classes as ``module:attribute``. The classes of signal
samplers
are attributes of this module, loaded when they are first used: ``sepcli.samplers.Langevin(steps=100)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sepcli.samplers.langevin import Langevin
    from sepcli.samplers.msdm import MultiSource
    from sepcli.samplers.projected import Projected
    from sepcli.samplers.successive_halving import Halving


@dataclass(frozen=True)
class SamplerEntry:
    """A row of ``SAMPLERS``.

    Attributes:
        name: on the command line.
        cls: ``module:attribute`` of the class, a frozen dataclass of settings.
        domain: whether it samples signals or tokens.
        posterior: what it follows: a mixture met exactly (dirac), up to Gaussian noise, or a posterior of
            tokens.
        summary: one line.
    """

    name: str
    cls: str
    domain: Literal["signal", "token"]
    posterior: Literal["dirac", "gaussian", "token"]
    summary: str

    def load(self) -> Any:
        """Import and return the class."""
        module, _, attribute = self.cls.partition(":")
        return getattr(import_module(module), attribute)


SAMPLERS: Mapping[str, SamplerEntry] = {
    entry.name: entry
    for entry in (
        SamplerEntry(
            "projected",
            "sepcli.samplers.projected:Projected",
            "signal",
            "dirac",
            "ancestral sampling on the constraint; few evaluations",
        ),
        SamplerEntry(
            "halving",
            "sepcli.samplers.successive_halving:Halving",
            "signal",
            "dirac",
            "several chains, halved by how well they explain the mixture",
        ),
        SamplerEntry(
            "langevin",
            "sepcli.samplers.langevin:Langevin",
            "signal",
            "gaussian",
            "annealed Langevin dynamics of BASIS",
        ),
        SamplerEntry(
            "multi-source",
            "sepcli.samplers.msdm:MultiSource",
            "signal",
            "dirac",
            "multi-source diffusion with churn (Mariani et al. 2023)",
        ),
        SamplerEntry(
            "greedy",
            "sepcli.samplers.ancestral:Greedy",
            "token",
            "token",
            "the likeliest pair of tokens at every step",
        ),
        SamplerEntry(
            "ancestral",
            "sepcli.samplers.ancestral:Ancestral",
            "token",
            "token",
            "one random pair of tokens at every step",
        ),
        SamplerEntry(
            "top-k",
            "sepcli.samplers.ancestral:Ancestral",
            "token",
            "token",
            "as ancestral, among the top_k likeliest pairs",
        ),
        SamplerEntry(
            "beam", "sepcli.samplers.beam:Beam", "token", "token", "beam search over pairs of tokens"
        ),
    )
}
"""Name → row."""

_SIGNAL = {entry.cls.partition(":")[2]: entry for entry in SAMPLERS.values() if entry.domain == "signal"}


def names(domain: str) -> tuple[str, ...]:
    """Names of the samplers of signals or of tokens."""
    return tuple(name for name, entry in SAMPLERS.items() if entry.domain == domain)


def name_of(sampler: object) -> str:
    """The command-line name of a sampler, the first of its class; the name of its class if it is not in
    the table."""
    kind = type(sampler)
    cls = f"{kind.__module__}:{kind.__qualname__}"
    return next((entry.name for entry in SAMPLERS.values() if entry.cls == cls), kind.__name__)


def __getattr__(name: str) -> Any:
    if name in _SIGNAL:
        return _SIGNAL[name].load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["SAMPLERS", "Halving", "Langevin", "MultiSource", "Projected", "SamplerEntry", "name_of", "names"]
