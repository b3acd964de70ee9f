"""Baselines that need no prior: what structure alone tells apart in a mixture of drums and bass.

This page is all that the command line needs to know before it loads them.
"""

from __future__ import annotations

SOURCES = ("drums", "bass")
"""What every method's outputs are called, in their order."""
WEIGHTS = (0.5, 0.5)
"""The α_k of the mixing m = Σ α_k x_k that the outputs are brought to."""
SAMPLE_RATE = 22050
"""Hz, the rate at which the command line runs them."""
STREAM = {"window": 10.0, "overlap": 1.0, "fft_seconds": 0.093, "exponent": 1.0}
"""Of files: repetition needs seconds to be seen; masks of masked mixtures are, with exponent 1, the same."""
