"""Presets of score priors by name: what a separation samples from; this module imports no torch.

``estimate`` is for one answer, ``draws`` for several samples with error bars.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        networks: the same for sources whose priors are trained networks of images.
    """

    name: str
    summary: str
    sampler: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    networks: Mapping[str, Any] = field(default_factory=dict)


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
            "samples of p(x | m), for error bars; what several --samples use where the prior's card says that"
            " they are calibrated. Ancestral sampling of second order with the covariance from"
            " the denoiser's Jacobian, two backward passes per evaluation; exact for Gaussian priors. Trained"
            " networks of images: Langevin dynamics with averaged noise, without the Jacobian; exact in the"
            " limit of many steps. sepcli evaluate --calibration measures it",
            "projected",
            {"steps": 64, "eta": "ancestral", "order": 2, "moments": "jacobian", "products": 2},
            {"steps": 48, "sigma_max": 2.0, "rho": 3.0, "average": 1, "isotropic": 1, "bounded": 0},
        ),
    )
}
"""Name → row."""


def preset_of(name: str | None, sampler: str | None) -> Preset:
    """Return a preset; None: ``estimate``.

    Raises:
        UsageError: the preset is unknown, or chooses another sampler than the one that is given.
    """
    chosen = ESTIMATE if name is None else name
    if chosen not in PRESETS:
        raise UsageError(f"unknown preset '{chosen}'", nearest(chosen, PRESETS), argument="preset")
    if sampler is not None and PRESETS[chosen].sampler is not None:
        raise UsageError(
            f"the preset {chosen} chooses the sampler {PRESETS[chosen].sampler}",
            "leave out one of the two",
            argument="preset",
        )
    return PRESETS[chosen]
