"""The discrete likelihood p(mixture token | source tokens): sparse, built by counting, smoothed."""

from sepcli.priors.lass.table.counts import Counts, TripleCounter
from sepcli.priors.lass.table.likelihood import Coverage, LikelihoodTable

__all__ = ["Counts", "Coverage", "LikelihoodTable", "TripleCounter"]
