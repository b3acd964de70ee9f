"""One prior of color images as a prior of three gray ones, and colors that are known beforehand.

Colorization is separation: the channels of one image are the sources, their weighted sum is its gray, and the
prior is joint. ``ChannelsAsSources`` is that change of view.

``Hinted`` multiplies a prior by a Gaussian likelihood N(y; x, 1/λ), with a precision λ for every value, 0
where nothing is known. With D and C the mean and variance of clean x_0 given x under the prior,

    D' = D + C λ/(1 + C λ) (y - D),   C' = C/(1 + C λ),   score = (D' - x)/σ²

which is exact for values that are Gaussian and independent given x. Of others it moves those that are hinted;
their neighbours follow in later steps, when the prior sees them beside these.

Source: Jayaram & Thickstun 2020 (BASIS), section 5.2, for colorization as separation; Kalman's update.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sepcli.priors.images.independent import ClassPrior
from sepcli.protocols import DenoisingPrior


@dataclass(frozen=True)
class ChannelsAsSources:
    """p(x) of an image of C channels, seen as C sources of one; fulfils ``protocols.DenoisingPrior``.

    Attributes:
        prior: of color images.
    """

    prior: ClassPrior

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, C, 1, H, W) for σ ()."""
        return self.prior.score(x.transpose(1, 2), sigma).transpose(1, 2)

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of the clean image, each like x."""
        mean, variance = self.prior.moments(x.transpose(1, 2), sigma)
        return mean.transpose(1, 2), variance.transpose(1, 2)


@dataclass(frozen=True)
class Hinted:
    """p(x) N(y; x, 1/λ); fulfils ``protocols.DenoisingPrior``.

    Attributes:
        prior: p(x).
        target: y, broadcast against x (B, K, C, *D).
        precision: λ, likewise.
        sure: whether the prior knows its own C; otherwise it is taken to be flat, C = σ².
    """

    prior: DenoisingPrior
    target: Tensor
    precision: Tensor
    sure: bool

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, C, *D) for σ ()."""
        if self.sure:
            mean, variance = self.prior.moments(x, sigma)
        else:
            variance = sigma**2
            mean = x + variance * self.prior.score(x, sigma)
        return (self._updated(mean, variance)[0] - x) / sigma**2

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D' and variance C' of the clean sources, each like x."""
        return self._updated(*self.prior.moments(x, sigma))

    def _updated(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        kept = 1.0 / (1.0 + variance * self.precision)
        return self.target + kept * (mean - self.target), kept * variance
