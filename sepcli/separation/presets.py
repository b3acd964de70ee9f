"""Presets of score priors by name: what a separation samples from; this module imports no torch.

``estimate`` is for one answer, ``draws`` for several samples with error bars.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sepcli.errors import UsageError, nearest

ESTIMATE, DRAWS = "estimate", "draws"


@dataclass(frozen=True)
class Preset:
    """A row of ``PRESETS``.

    Attributes:
        name: on the command line.
        summary: what it samples from.
        sampler: its name; None: the default of the prior.
        settings: of the sampler and the posterior, over the defaults of the prior for this sampler.
    """

    name: str
    summary: str
    sampler: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            ESTIMATE,
            "the default sampler of the prior: sharp, for one answer. projected and halving sample about"
            " half of the posterior's variance (65 to 70 % of its standard deviation), halving the best of"
            " several chains",
        ),
        Preset(
            DRAWS,
            "samples of p(x | m), for error bars: ancestral sampling of second order with the covariance from"
            " the denoiser's Jacobian. Exact for Gaussian priors; two backward passes per evaluation",
            "projected",
            {"steps": 64, "eta": "ancestral", "order": 2, "moments": "jacobian", "products": 2},
        ),
    )
}
"""Name → row."""


def preset_of(
    name: str | None, sampler: str | None, samples: int = 1, settings: Collection[str] = ()
) -> Preset:
    """Return the preset that applies.

    Args:
        name: of the preset; None: ``draws`` for several samples, else ``estimate``.
        sampler: that is given by name; no other than ``estimate`` goes with one.
        samples: number of samples.
        settings: that are given; those of another sampler keep the default.

    Raises:
        UsageError: the preset is unknown, or contradicts the sampler.
    """
    if name is None:
        allowed = {"bounded", "alike", "isotropic", "sigma_y", "weigh", *PRESETS[DRAWS].settings, *RANGE}
        several = samples > 1 and sampler is None and allowed.issuperset(settings)
        return PRESETS[DRAWS if several else ESTIMATE]
    if name not in PRESETS:
        raise UsageError(f"unknown preset '{name}'", nearest(name, PRESETS), argument="preset")
    if sampler is not None and PRESETS[name].sampler is not None:
        raise UsageError(
            f"the preset {name} chooses the sampler {PRESETS[name].sampler}",
            "leave out one of the two",
            argument="preset",
        )
    return PRESETS[name]


RANGE = ("sigma_max", "sigma_min", "rho", "repeats")
"""Settings of the noise schedule that go with ``draws``."""
