"""Bayesian source separation with generative priors.

A mixture ``m = A x`` of sources ``x`` is separated by drawing from the posterior ``p(x | m) ∝ p(m | x)
p(x)``; the prior ``p(x)`` is any generative model of clean sources. Importing this package is cheap: torch is
imported only by the modules that compute.
"""

__version__ = "0.1.0"
