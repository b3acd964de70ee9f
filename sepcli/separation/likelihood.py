"""Settings of the posteriors that samplers of signals follow; this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sepcli.settings import check

Covariance = Literal["diagonal", "jacobian"]
"""Covariance of the clean sources given noisy ones: of independent values, or from the Jacobian."""
Products = Annotated[int, Meta(ge=1, le=64)]


@dataclass(frozen=True)
class GaussianSettings:
    """Settings of a Gaussian posterior.

    Attributes:
        width: c = γ²/σ²; 1 is the paper's.
        moments: jacobian: p_σ(x | m) with the covariance of the clean sources from the denoiser's Jacobian,
            instead of a likelihood of width c.
        products: vector-Jacobian products (backward passes) per evaluation, of moments=jacobian.
    """

    width: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    moments: Covariance = "diagonal"
    products: Products = 2

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DiracSettings:
    """Settings of a posterior on the constraint.

    Attributes:
        weigh: whether the sources are weighted by their posterior variance; needs a prior that provides it.
        sigma_y: σ_y, the standard deviation of the mixture's noise.
        isotropic: whether the sampler's noise has all directions, not only those that the mixture leaves
            open.
        alike: whether the errors of the sources' estimates are fully correlated, as those of an image's
            channels.
        bounded: whether the sources' values are kept to the range of their medium; audio has none.
        local: of ``halving`` of audio: 0: chains compete as a whole; w > 0: at every frame (of a flow:
            sample), judged by w to either side.
        from_mixture: whether sampling starts with all of the mixture in every source, for
            interference-trained priors; needs ``isotropic``.
        moments: covariance of the clean sources given noisy ones. diagonal: independent values, of equal
            variance, or with ``weigh`` of the prior's; jacobian: of all values, from the denoiser's Jacobian.
        products: vector-Jacobian products (backward passes) per evaluation, of moments=jacobian.
    """

    weigh: bool = False
    sigma_y: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    isotropic: bool = False
    alike: bool = False
    bounded: bool = True
    local: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    from_mixture: bool = False
    moments: Covariance = "diagonal"
    products: Products = 2

    def __post_init__(self) -> None:
        check(self)
