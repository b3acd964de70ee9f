"""Prior × mixture → what a sampler follows: tokens (LASS), scores (Gaussian, Dirac); and a learnt q."""

from sepcli.posterior.dirac import DiracPosterior, Moments, NullSpace
from sepcli.posterior.evidence import ContextEvidence, LatentEvidence
from sepcli.posterior.gaussian import WIDTHS, GaussianPosterior
from sepcli.posterior.lass import LassPosterior, LassSettings, LassState
from sepcli.posterior.variational import GaussianSources

__all__ = [
    "WIDTHS",
    "ContextEvidence",
    "DiracPosterior",
    "GaussianPosterior",
    "GaussianSources",
    "LassPosterior",
    "LassSettings",
    "LassState",
    "LatentEvidence",
    "Moments",
    "NullSpace",
]
