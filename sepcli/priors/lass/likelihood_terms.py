"""Likelihood terms beside the table's: of the mixture's latents, and of the mixture around a token."""

from __future__ import annotations

import torch
from torch import Tensor

from sepcli.priors.lass.context import ContextLikelihood
from sepcli.priors.lass.latent import LatentLikelihood

ROWS = 64
"""Slices whose pairs go through the network at once."""


class LatentTerm:
    """κ log p(h_m | z_1, z_2) at the observed latents, for W windows; see ``sepcli.priors.lass.latent``.

    Args:
        likelihood: The network, on the device of the latents.
        latents: h_m (W, L, D), unit vectors.
        power: κ.
    """

    def __init__(self, likelihood: LatentLikelihood, latents: Tensor, power: float) -> None:
        self._likelihood = likelihood
        self._latents = latents
        self._power = power
        self._offset = self._slope = torch.empty(0)

    def prepare(self, first: Tensor, second: Tensor) -> None:
        """Run the network once over the candidates (U, N) of all U slices."""
        chunks = zip(torch.split(first, ROWS), torch.split(second, ROWS), strict=True)
        parts = [self._likelihood.linear(a, b) for a, b in chunks]
        self._offset, self._slope = (self._power * torch.cat(each) for each in zip(*parts, strict=True))

    def prepared(self, row: Tensor, width: int, position: int) -> Tensor:
        """At step ``position``, for the first ``width`` candidates of slices ``row`` (W,): (W, width)."""
        offset, slope = (part[:, :width].index_select(0, row) for part in (self._offset, self._slope))
        return offset + (slope @ self._latents[:, position, :, None])[..., 0]

    def fresh(self, first: Tensor, second: Tensor, position: int) -> Tensor:
        """The same for any tokens (W, M): (W, M)."""
        latent = self._latents[:, position, None]
        return self._power * self._likelihood.log_prob(latent, first, second)


class ContextTerm:
    """μ log p(c_t | z_k) for every token of every source, for W windows; see ``sepcli.priors.lass.context``.

    Args:
        likelihood: The network, on the device of the features.
        features: c (W, L, F), the codec's of the mixtures.
        power: μ.
    """

    def __init__(self, likelihood: ContextLikelihood, features: Tensor, power: float) -> None:
        self._likelihood = likelihood
        self._hidden = likelihood(features)
        self._power = power

    def at(self, position: int) -> Tensor:
        """At step ``position``, up to a constant per window and source: (W, K, V), float32."""
        return self._power * self._likelihood.log_ratio(self._hidden[:, position])
