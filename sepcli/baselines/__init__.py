"""Baselines: methods without a trained prior, for mixtures of drums and bass. ``BASELINES`` is their table.

This module imports no torch: the rows name their functions as ``module:function``. Every function separates a
mixture (C, T) or (T,) at ``sample_rate`` Hz into stems (2, C, T) or (2, T), drums and bass, as they are in
the mixture; all but ``ica`` return stems that sum to the mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

SOURCES = ("drums", "bass")
"""Names of the outputs of every method, in this order."""
WEIGHTS = (0.5, 0.5)
"""Default weights α_k of the mixing m = Σ α_k x_k."""
SAMPLE_RATE = 22050
"""Default sample rate in Hz."""
STREAM = {"window": 10.0, "overlap": 1.0, "fft_seconds": 0.093, "exponent": 1.0}
"""Stream settings for files: windows of several repetitions; exponent 1 reproduces the masks of the
methods."""


@dataclass(frozen=True)
class BaselineEntry:
    """A row of ``BASELINES``.

    Attributes:
        name: on the command line.
        function: ``module:function``.
        summary: one line.
        rule: which output is called drums and which bass.
    """

    name: str
    function: str
    summary: str
    rule: str

    def load(self) -> Any:
        """Import and return the function."""
        module, _, attribute = self.function.partition(":")
        return getattr(import_module(module), attribute)


_REPETITION = "drums are the foreground, bass the repeating background (a convention)"
_PERCUSSIVE = "drums are the components that are more percussive than harmonic"

BASELINES: Mapping[str, BaselineEntry] = {
    name: BaselineEntry(name, f"sepcli.baselines.{function}", summary, rule)
    for name, function, summary, rule in (
        (
            "hpss",
            "hpss:hpss",
            "harmonic-percussive separation by median filters",
            "drums are the percussive part, bass the harmonic part",
        ),
        ("repet", "repet:repet", "median over periodic repetitions", _REPETITION),
        ("repet-sim", "repet:repet_sim", "median over similar frames", _REPETITION),
        ("ft2d", "ft2d:ft2d", "peaks of the 2D Fourier transform", _REPETITION),
        (
            "rpca",
            "rpca:rpca",
            "robust principal component analysis: low rank plus sparse",
            "drums are the low-rank part, bass the sparse part (a convention)",
        ),
        ("nmf", "nmf:nmf", "non-negative matrix factorization", _PERCUSSIVE),
        ("convolutive-nmf", "nmfd:nmfd", "non-negative matrix factor deconvolution", _PERCUSSIVE),
        (
            "ica",
            "ica:ica",
            "independent component analysis of short frames",
            "drums are the brighter components (a convention); no masks, no sum to the mixture",
        ),
    )
}
"""Name → row."""
