"""The discrete likelihood p(mixture token | source tokens): sparse, built by counting, smoothed."""

from sepcli.table.counts import Counts, TripleCounter
from sepcli.table.likelihood import Coverage, LikelihoodTable

__all__ = ["Counts", "Coverage", "LikelihoodTable", "TripleCounter"]
