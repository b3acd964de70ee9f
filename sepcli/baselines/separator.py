"""A method without a prior as a separator, so that files and evaluations go through it like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sepcli.baselines import SAMPLE_RATE, SOURCES, WEIGHTS
from sepcli.baselines.ft2d import ft2d
from sepcli.baselines.hpss import hpss
from sepcli.baselines.ica import ica
from sepcli.baselines.nmf import nmf
from sepcli.baselines.nmfd import nmfd
from sepcli.baselines.repet import repet, repet_sim
from sepcli.baselines.rpca import rpca
from sepcli.errors import UsageError
from sepcli.protocols import ProgressCallback


class Method(NamedTuple):
    """A method, and the rule that names its outputs."""

    separate: Callable[[Tensor, int], Tensor]
    """Mixture (C, T) and its sample rate to (2, C, T): drums and bass as they sound in the mixture."""
    rule: str
    """Which output is called drums and which bass."""


METHODS: Mapping[str, Method] = {
    "hpss": Method(hpss, "drums are the percussive part, bass the harmonic part"),
    "repet": Method(repet, "drums are the foreground, bass the repeating background (a convention)"),
    "repet-sim": Method(repet_sim, "drums are the foreground, bass the repeating background (a convention)"),
    "ft2d": Method(ft2d, "drums are the foreground, bass the repeating background (a convention)"),
    "rpca": Method(rpca, "drums are the low-rank part, bass the sparse part (a convention)"),
    "nmf": Method(nmf, "drums are the components that are more percussive than harmonic"),
    "convolutive-nmf": Method(nmfd, "drums are the components that are more percussive than harmonic"),
    "ica": Method(ica, "drums are the brighter components (a convention); no masks, no sum to the mixture"),
}
"""By the word after ``--method``."""


@dataclass(frozen=True)
class BlindSeparator:
    """A blind method; fulfils ``sepcli.protocols.Separator``.

    Attributes:
        method: A key of ``METHODS``.
        names: ``drums`` and ``bass``, in the order wanted.
        weights: α_k of the mixing m = Σ α_k x_k.
        sample_rate: Hz.

    Raises:
        UsageError: No such method, or other sources are wanted.
    """

    method: str
    names: tuple[str, ...] = SOURCES
    weights: tuple[float, ...] = WEIGHTS
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no method named '{self.method}'", f"one of: {', '.join(METHODS)}")
        if sorted(self.names) != sorted(SOURCES):
            raise UsageError(
                f"{self.method} tells {' and '.join(SOURCES)} apart, not {', '.join(self.names)}",
                "leave out --method, or use a prior of drums and bass",
            )

    @property
    def channels(self) -> int | None:
        """C of the mixtures; None: any."""
        return None

    @property
    def hop(self) -> None:
        """None: the noise cannot be fixed in time."""
        return None

    @property
    def evaluations(self) -> int:
        """Evaluations of the prior per source of a sample."""
        return 0

    @property
    def density(self) -> None:
        """None: there is no density."""
        return None

    @property
    def interference_trained(self) -> bool:
        """Whether estimates are better than masks made of them."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return torch.device("cpu")

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        """Separate; there is no randomness in it.

        Args:
            mixture: (B, C, T).
            seeds: (B, S); only S is looked at, all draws are alike.
            on_progress: Told about finished items.

        Returns:
            (B, S, 2, C, T), unweighted.
        """
        order = [SOURCES.index(name) for name in self.names]
        alpha = torch.tensor(self.weights, dtype=mixture.dtype, device=mixture.device)[:, None, None]
        items: list[Tensor] = []
        for item in mixture:
            items.append(METHODS[self.method].separate(item, self.sample_rate)[order] / alpha)
            if on_progress is not None:
                on_progress(len(items), len(mixture))
        return torch.stack(items)[:, None].expand(-1, seeds.shape[1], -1, -1, -1)

    def describe(self) -> dict[str, Any]:
        """Return the method; there are neither a sampler nor settings."""
        return {"engine": self.method, "sampler": None, "settings": {}, "device": "cpu"}

    def log_prior(self, sources: Tensor) -> None:
        """None: there is no prior."""
        return None
