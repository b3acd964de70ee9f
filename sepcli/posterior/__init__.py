"""Prior × mixture → what a sampler follows: tokens (LASS), scores (Gaussian, Dirac)."""

from sepcli.posterior.dirac import DiracPosterior, Moments, NullSpace
from sepcli.posterior.evidence import LatentEvidence
from sepcli.posterior.gaussian import WIDTHS, GaussianPosterior
from sepcli.posterior.lass import LassPosterior, LassSettings, LassState

__all__ = [
    "WIDTHS",
    "DiracPosterior",
    "GaussianPosterior",
    "LassPosterior",
    "LassSettings",
    "LassState",
    "LatentEvidence",
    "Moments",
    "NullSpace",
]
