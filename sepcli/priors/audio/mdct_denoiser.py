"""A denoiser of audio, D(x, σ) ≈ E[x_0 | x = x_0 + σ ε], on MDCT coefficients, bands × frames.

The transform is orthogonal (see ``sepcli.signal.mdct``): white noise of σ on a waveform is white noise of σ
on its coefficients. The power of audio varies by orders of magnitude between bands, so that each band has
a standard deviation s_f, measured on the training data, instead of the σ_data of Karras et al.:

    D = g x + σ √g F        logit g = ln(s_f²/σ²) + U        C = g σ² exp(R)

U, F and R are outputs of the network for every cell; C is the variance of x_0 given x. For zero output g is
c_skip = s_f²/(σ² + s_f²) and σ √g is c_out = σ s_f/√(σ² + s_f²): the Wiener filter of stationary Gaussian
bands. U is the local loudness relative to the band, whose range is that of σ, so that the output is of order
one.

The network has two inputs per cell: x/√(σ² + s_f²), the amplitude relative to the band, and arsinh(x/σ), the
amplitude relative to the noise, in which quiet passages remain visible. With the embedding of ln σ they also
determine the signal-to-noise ratio of every band. The loss is

    E Σ_f w_f(σ) (D - x_0)²,   w_f(σ) ∝ s_f/σ²,   ln σ ~ N(P_mean, P_std²)

plus the negative log-likelihood of (D - x_0)² under C, in which ratios above 200 count logarithmically, so
that an onset in an otherwise silent band does not dominate. The weights are scaled such that the Wiener
filter has the loss one at every σ. Most bands of music have little energy; the weight s_f emphasizes audible
errors and spends few parameters on content below the noise.

A denoiser preserves whatever exceeds the noise, including interference. An interference-trained denoiser
estimates x_0 from x_0 + c + σ ε with other audio c: D is then not the score of p_σ, but leaves c to the other
sources.

The network is a stack of residual blocks over time with the bands as channels and dilated convolutions;
normalization is per frame. D therefore has the length of its input, and a frame depends on the frames within
``reach``. A second network may correct the lowest bands (see ``sepcli.priors.audio.low_band_net``).

Source: Karras et al. 2022 (EDM), table 1 and equation 8, here per band; van den Oord et al. 2016 (dilations);
    Perez et al. 2018 (FiLM). The local gain g, the second input and w_f are from this project.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sepcli.errors import InputError
from sepcli.priors.audio.frame_net import arsinh
from sepcli.priors.audio.low_band_net import LowBandNet
from sepcli.priors.audio.spectral_net import FrameNet, SpectralConfig
from sepcli.priors.noise import NoiseEmbedding, noise_rows, noise_seeds, without_variance

LINEAR_RANGE = 8.0
"""Amplitudes in standard deviations of the band above which the input is compressed logarithmically:
interference may be a thousand times as loud as the softest bands, and would otherwise dominate the input."""
MAX_RATIO = 200.0
"""Ratio of squared error and C above which the likelihood counts it logarithmically."""
MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -12.0, 6.0
"""Range of R, and of the correction by the network of the lowest bands."""
ERROR_FLOOR = 1e-3
"""Floor of the error relative to the power of the input in logarithmic losses."""
BAND_SHARE = 0.25
"""Weight of the error of all bands alike in the loss of excerpts of songs."""
DECIBELS = 10 / float(np.log(10))
"""Factor from natural logarithms of power to decibels."""


class SpectralPrior(nn.Module):
    """p(x) of one kind of audio; fulfils ``sepcli.protocols.DenoisingPrior``, for all sources.

    Args:
        config: architecture and units.
        net: network from features (B, 2M, N) and the embedding (B, E) to U, F and R (B, 3M, N), or U and F
            (B, 2M, N); None: a ``FrameNet``.
    """

    band_std: Tensor

    def __init__(self, config: SpectralConfig, net: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.net = FrameNet(config, 2 * config.bins, self.heads * config.bins) if net is None else net
        self.low = (
            LowBandNet(config.low, config.low_width, config.embedding, config.width) if config.low else None
        )
        self.embed = NoiseEmbedding(config.embedding, 2.0)
        stds = torch.tensor(config.band_std, dtype=torch.float32).expand(config.bins)
        self.register_buffer("band_std", stds[:, None].clone(), False)

    @property
    def heads(self) -> int:
        """Outputs of the network per cell."""
        return 3 if self.config.variance else 2

    def denoise(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return D and C, like x, at noisy coefficients x (B, M, N), float32, for σ (B,) > 0."""
        level = sigma[:, None, None]
        scaled = x * (level**2 + self.band_std**2).rsqrt()
        excess = scaled - scaled.clamp(-LINEAR_RANGE, LINEAR_RANGE)
        compressed = scaled - excess + excess.sign() * excess.abs().log1p()
        features = torch.cat([compressed, arsinh(x / level)], dim=1)
        embedding = F.silu(self.embed(sigma))
        if self.low is None:
            return self._moments_from(self.net(features, embedding), x, level)
        net, bands = cast(FrameNet, self.net), slice(0, self.config.low)
        channels = net.trunk(features, embedding)
        mean, variance = self._moments_from(net.leave(channels).mT, x, level)
        std = (level**2 + self.band_std[bands] ** 2).sqrt()
        correction, log_variance = self.low(x[:, bands], mean[:, bands], std, level, channels, embedding)
        lower = variance[:, bands] * log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE).exp()
        upper = slice(self.config.low, None)
        mean = torch.cat([mean[:, bands] + correction, mean[:, upper]], dim=1)
        return mean, torch.cat([lower, variance[:, upper]], dim=1)

    def _moments_from(self, output: Tensor, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return D and C of U, F and R (B, 3M, N)."""
        u, f, *variance = output.float().chunk(self.heads, dim=1)
        r = variance[0].clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE) if variance else torch.zeros_like(f)
        gain = torch.sigmoid(2.0 * (self.band_std / level).log() + u)
        mean = gain * x + level * gain.sqrt() * f
        return mean, level**2 * gain.detach() * r.exp()  # C is trained through r only

    @property
    def has_variance(self) -> bool:
        """Whether ``moments`` are available."""
        return self.config.variance

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return ∇ log p_σ at x (B, K, 1, M, N) for σ ()."""
        return (self._moments(x, sigma)[0] - x) / sigma**2

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean D and variance C, like x, of clean coefficients given x (B, K, 1, M, N) at σ ()."""
        if not self.config.variance:
            without_variance(self, x, sigma)
        return self._moments(x, sigma)

    def loss(
        self, x: Tensor, rng: np.random.Generator, interference: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of denoising score matching on clean coefficients (B, M, N), and its metrics.

        σ is random for each item; ``interference``, like x, is what the network learns to remove. Metrics
        are ``mse`` (the first term), ``wiener`` (the same for the Wiener filter, which is the initial
        network) and ``nll`` (the second term, of the variance head).
        """
        return self.batch_loss(x, *self.sample_noise(len(x), rng), interference)

    def batch_loss(
        self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64], interference: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same for given σ (B,) and seeds (B,) of the noise."""
        noisy = self.corrupt(x, sigma, seeds, interference)
        mse, wiener, nll = self.errors(x, noisy, sigma, interference is not None)
        metrics = {"mse": float(mse.detach()), "wiener": float(wiener)}
        if not self.config.variance:
            return mse, metrics
        return mse + 0.1 * nll, {**metrics, "nll": float(nll.detach())}

    def low_loss(
        self, x: Tensor, rng: np.random.Generator, interference: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the network of the lowest bands: the mean logarithm of the error of every item.

        Arguments are those of ``loss``; metrics are ``error`` (the first term in dB, relative to the clean
        audio) and ``nll`` (the second term, of the variance).
        """
        return self.low_batch_loss(x, *self.sample_noise(len(x), rng), interference)

    def low_batch_loss(
        self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64], interference: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the same for given σ (B,) and seeds (B,) of the noise."""
        noisy = self.corrupt(x, sigma, seeds, interference)
        error, nll = self.low_errors(x, noisy, sigma)
        metrics = {"error": DECIBELS * float(error.detach()), "nll": float(nll.detach())}
        return error + (0.1 * nll if self.config.variance else 0.0), metrics

    def song_loss(
        self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64], interference: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss () of excerpts of songs, and its metrics; see ``sepcli.priors.audio.song_task``.

        Metrics are ``error`` (in dB, relative to the clean audio), ``bands`` (that of all bands alike, in dB,
        relative to the Wiener filter) and ``nll``.
        """
        error, weighted, nll = self.song_errors(x, self.corrupt(x, sigma, seeds, interference), sigma)
        metrics = {
            key: DECIBELS * float(value.detach()) for key, value in (("error", error), ("bands", weighted))
        }
        loss = error + BAND_SHARE * weighted + (0.1 * nll if self.config.variance else 0.0)
        return loss, {**metrics, "nll": float(nll.detach())}

    def sample_noise(self, count: int, rng: np.random.Generator) -> tuple[Tensor, NDArray[np.int64]]:
        """Sample σ (B,) and seeds (B,) of the noise of B items."""
        sigmas = np.exp(self.config.p_mean + self.config.p_std * rng.standard_normal(count))
        return torch.from_numpy(sigmas).float().to(self.band_std.device), noise_seeds(count, rng)

    def corrupt(
        self, x: Tensor, sigma: Tensor, seeds: NDArray[np.int64], interference: Tensor | None
    ) -> Tensor:
        """Return items (B, M, N) with noise of σ (B,) and interference."""
        noisy = x + sigma[:, None, None] * noise_rows(x, seeds)
        return noisy + (0.0 if interference is None else interference)

    def errors(
        self, x: Tensor, noisy: Tensor, sigma: Tensor, interference: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weighted errors of D and of the Wiener filter, and the negative log-likelihood; each ().

        Coefficients are clean and noisy (B, M, N) for σ (B,); the noisy ones may contain interference.
        """
        mean, variance = self.denoise(noisy, sigma)
        squares, level = (mean - x).square(), sigma[:, None, None]
        weighted, wiener = self._weighted(squares, x, noisy, level)
        scale = wiener.clamp(min=1.0) if interference else 1.0  # else loud interference dominates at low σ
        return (weighted / scale).mean(), (wiener / scale).mean(), self._nll(squares, variance, level)

    def _weighted(self, squares: Tensor, x: Tensor, noisy: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted squared errors of D and of the Wiener filter, each (B,)."""
        s = self.band_std
        weight = s / (s**3 / (s**2 + level**2)).mean(dim=1, keepdim=True) / level**2
        wiener = (noisy * s**2 / (level**2 + s**2) - x).square()
        return (weight * squares).mean(dim=(1, 2)), (weight * wiener).mean(dim=(1, 2))

    def low_errors(self, x: Tensor, noisy: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean log error of D in the lowest bands, and its negative log-likelihood; each ()."""
        bands = slice(0, self.config.low)
        mean, variance = (y[:, bands] for y in self.denoise(noisy, sigma))
        squares = (mean - x[:, bands]).square()
        ratio = _log_ratio(squares, x[:, bands], noisy[:, bands])
        return ratio.mean(), self._nll(squares, variance, sigma[:, None, None])

    def song_errors(self, x: Tensor, noisy: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mean log errors of D, plain and weighted, and the negative log-likelihood; each ()."""
        mean, variance = self.denoise(noisy, sigma)
        squares, level = (mean - x).square(), sigma[:, None, None]
        weighted, wiener = self._weighted(squares, x, noisy, level)
        relative = ((weighted + ERROR_FLOOR) / (wiener + ERROR_FLOOR)).log()
        return _log_ratio(squares, x, noisy).mean(), relative.mean(), self._nll(squares, variance, level)

    def _nll(self, error: Tensor, variance: Tensor, level: Tensor) -> Tensor:
        """Return the negative log-likelihood () of squared errors (B, L, N) of the lowest L bands under C."""
        s = self.band_std[: error.shape[1]]
        unit = level**2 * s**2 / (level**2 + s**2)  # C of the Wiener filter, so that the value has no units
        ratio = error.detach() / variance
        bounded = ratio.clamp(max=MAX_RATIO) + MAX_RATIO * (ratio / MAX_RATIO).clamp(min=1.0).log()
        return 0.5 * (bounded + (variance / unit).log()).mean()

    def _moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 5 or tuple(x.shape[2:4]) != (1, self.config.bins):
            raise InputError(
                f"coefficients of shape {tuple(x.shape)} do not fit a prior of {self.config.bins} bands",
                "use the hop and the sample rate of the prior, and one channel",
            )
        rows = x.flatten(0, 2)
        mean, variance = self.denoise(rows.float(), sigma.to(rows).float().expand(len(rows)))
        return mean.to(x.dtype).view_as(x), variance.to(x.dtype).view_as(x)


def _log_ratio(squares: Tensor, x: Tensor, noisy: Tensor) -> Tensor:
    """Return the logarithm (B,) of squared errors relative to the power of clean audio, all (B, L, N)."""
    floor = ERROR_FLOOR * noisy.square().mean(dim=(1, 2))
    return ((squares.mean(dim=(1, 2)) + floor) / (x.square().mean(dim=(1, 2)) + floor)).log()
