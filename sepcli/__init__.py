"""Bayesian source separation with generative priors.

A mixture ``m = A x`` of sources ``x`` is separated by sampling the posterior ``p(x | m) ∝ p(m | x) p(x)``;
the prior ``p(x)`` is any generative model of clean sources. The names below are imported when they are first
used, so that importing this package is cheap::

    separator = sepcli.load("slakh-drums-bass")
    result = separator.separate(mixture, sample_rate=44100)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "ChannelMean",
    "ChannelSum",
    "InputError",
    "Luma",
    "OutputError",
    "PriorError",
    "Result",
    "SepError",
    "Separator",
    "UsageError",
    "WeightedSum",
    "__version__",
    "datasets",
    "evaluate",
    "from_denoiser",
    "from_diffusers",
    "from_score",
    "load",
    "sample",
    "samplers",
]

if TYPE_CHECKING:
    from sepcli import datasets, samplers
    from sepcli.api import evaluate, from_denoiser, from_diffusers, from_score, load, sample
    from sepcli.errors import InputError, OutputError, PriorError, SepError, UsageError
    from sepcli.separation.result import Result
    from sepcli.separation.separator import Separator
    from sepcli.signal.mixing import ChannelMean, ChannelSum, Luma, WeightedSum
else:
    _MODULES = {
        **dict.fromkeys(("InputError", "OutputError", "PriorError", "SepError", "UsageError"), "errors"),
        **dict.fromkeys(("ChannelMean", "ChannelSum", "Luma", "WeightedSum"), "signal.mixing"),
        "Result": "separation.result",
        "Separator": "separation.separator",
    }

    def __getattr__(name: str) -> object:
        if name in ("datasets", "samplers"):
            return import_module(f"sepcli.{name}")
        if name in __all__:
            return getattr(import_module(f"sepcli.{_MODULES.get(name, 'api')}"), name)
        raise AttributeError(f"module 'sepcli' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(__all__)
