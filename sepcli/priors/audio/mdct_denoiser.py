"""A denoiser of sound: D(x, σ) ≈ E[x_0 | x = x_0 + σ ε] on MDCT coefficients, bands × frames.

The transform is orthogonal (see ``sepcli.signal.mdct``), so that white noise of σ on a waveform is white noise of σ
on its coefficients. The bands of sound differ by orders of magnitude, and so each has a data standard deviation s_f of
its own, measured on the training data, in the place of the one σ_data of Karras et al.:

    D = g x + σ √g F        logit g = ln(s_f²/σ²) + U        C = g σ² exp(R)

U, F and R are what the network says of every cell; C is the variance of x_0 given x. Where it says nothing,
g is c_skip = s_f²/(σ² + s_f²) and σ √g is c_out = σ s_f/√(σ² + s_f²): Wiener's filter for stationary Gaussian
bands. U says how loud the sound is here and now, compared with its band as a whole, which ranges as far as σ
does; so the output of the network stays of order one.

The network sees every cell twice: x/√(σ² + s_f²), its level among those of its band, and arsinh(x/σ), its
level over the noise. The second is of order one wherever there is little but noise, where quiet passages
would drown in the first. With the embedding of ln σ they also tell every band's signal-to-noise ratio. The
loss is

    E Σ_f w_f(σ) (D - x_0)²,   w_f(σ) ∝ s_f/σ²,   ln σ ~ N(P_mean, P_std²)

and the likelihood of (D - x_0)² under C, in which surprises of more than 200 C count by their
logarithm: one onset in a band that is silent otherwise must not outweigh all else. The weights are scaled so
that Wiener's filter scores one at every σ. Most bands of music hold little of its energy; weighed by s_f,
errors count where they would be heard, and few parameters are spent on what lies below the noise.

A denoiser copies what stands out from the noise, so that what is foreign to its sound, once it is there,
stays. A ``selective`` one has met other sounds besides the noise, x_0 + c + σ ε, and still had to say x_0: D
is then no score of p_σ, but leaves to other sources what is theirs.

The network is a stack of residual blocks over time, the bands as channels, with dilated convolutions;
normalisation is per frame. So D is as long as its input, and a frame depends on those within ``reach``. To
the lowest bands a second network may add what their waveform tells (see ``sepcli.priors.audio.low_band_net``).

Source: Karras et al. 2022 (EDM), table 1 and equation 8, here per band; van den Oord et al. 2016 (dilations);
    Perez et al. 2018 (FiLM). The local gain g, the second view and w_f are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError
from sepcli.priors.audio.frame_net import Block, FrameConv, FrameNorm, over_noise
from sepcli.priors.audio.low_band_net import LowNet

LOUD = 8.0
"""Standard deviations of its band from which on the level of a cell counts by its logarithm: what is foreign to the
sound may be a thousand times as loud as its softest bands, and nothing else would be seen beside it."""
SURPRISING = 200.0
"""Squared errors of so many times C are told of no more than by their logarithm."""
LEAST_DOUBT, MOST_DOUBT = -12.0, 6.0
"""Of R, and of what the network of the lowest bands adds to it."""
HIDDEN = 1e-3
"""Errors so much below the power of what is seen are as good as none."""


@dataclass(frozen=True)
class SpectralConfig:
    """Sizes of the network, units of its data and noise of its training; they are stored beside the weights.

    Attributes:
        sample_rate: Hz.
        bins: M, bands and hop of the MDCT.
        width: channels of the residual stream.
        blocks: how many residual blocks.
        dilations: frames between the taps of the blocks' convolutions, cycling.
        embedding: width of what tells the blocks σ.
        variance: whether there is a head for the posterior variance.
        band_std: s_f, one per band, or one for all.
        p_mean: mean of ln σ in training.
        p_std: standard deviation of ln σ in training.
        selective: whether it learnt to leave out sounds of other kinds.
        low: L, lowest bands that have a network of their own besides, see ``sepcli.priors.audio.low_band_net``.
        low_width: its channels.
    """

    sample_rate: int = 22050
    bins: int = 512
    width: int = 352
    blocks: int = 8
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    embedding: int = 128
    variance: bool = True
    band_std: tuple[float, ...] = (0.1,)
    p_mean: float = -2.5
    p_std: float = 1.5
    selective: bool = False
    low: int = 0
    low_width: int = 160

    @property
    def reach(self) -> int:
        """How many frames to either side a frame of D depends on."""
        apart = sum(self.dilations[n % len(self.dilations)] for n in range(self.blocks))
        return apart + (LowNet.reach(self.low) if self.low else 0)


class FrameNet(nn.Module):
    """Features (B, inner, N) and the embedding (B, E) to (B, outer, N)."""

    def __init__(self, config: SpectralConfig, inner: int, outer: int) -> None:
        super().__init__()
        self.enter = FrameConv(inner, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.embedding, config.dilations[n % len(config.dilations)])
            for n in range(config.blocks)
        )
        self.norm, self.leave = FrameNorm(config.width), FrameConv(config.width, outer)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.leave(self.trunk(x, told)).mT
        return out

    def trunk(self, x: Tensor, told: Tensor) -> Tensor:
        """The channels (B, N, W) that ``leave`` makes the output of."""
        x = self.enter(x.mT)
        for block in self.blocks:
            x = block(x, told)
        return F.silu(self.norm(x))


class SpectralPrior(nn.Module):
    """p(x) of one kind of sound; fulfils ``sepcli.protocols.DenoisingPrior`` with one prior for all sources.

    Args:
        config: sizes and units.
        net: from features (B, 2M, N) and the embedding (B, E) to U, F and R side by side (B, 3M, N), or U
            and F (B, 2M, N); a ``FrameNet`` if None.
    """

    band_std: Tensor
    frequencies: Tensor

    def __init__(self, config: SpectralConfig, net: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.net = FrameNet(config, 2 * config.bins, self.heads * config.bins) if net is None else net
        self.low = (
            LowNet(config.low, config.low_width, config.embedding, config.width) if config.low else None
        )
        half = config.embedding // 2
        self.embed = nn.Sequential(
            nn.Linear(2 * half, config.embedding), nn.SiLU(), nn.Linear(config.embedding, config.embedding)
        )
        self.register_buffer("frequencies", torch.logspace(0.0, 2.0, half, dtype=torch.float32), False)
        stds = torch.tensor(config.band_std, dtype=torch.float32).expand(config.bins)
        self.register_buffer("band_std", stds[:, None].clone(), False)

    @property
    def heads(self) -> int:
        """How many numbers the network says of every cell."""
        return 3 if self.config.variance else 2

    def denoise(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """D and C at noisy coefficients.

        Args:
            x: (B, M, N), float32.
            sigma: (B,), positive.

        Returns:
            Two tensors like x.
        """
        level = sigma[:, None, None]
        own = x * (level**2 + self.band_std**2).rsqrt()
        beyond = own - own.clamp(-LOUD, LOUD)
        features = torch.cat(
            [own - beyond + beyond.sign() * beyond.abs().log1p(), over_noise(x / level)], dim=1
        )
        angles = (sigma.log() / 4)[:, None] * self.frequencies
        told = F.silu(self.embed(torch.cat([angles.cos(), angles.sin()], dim=1)))
        if self.low is None:
            return self._moments_from(self.net(features, told), x, level)
        net, bands = cast(FrameNet, self.net), slice(0, self.config.low)
        heard = net.trunk(features, told)
        mean, variance = self._moments_from(net.leave(heard).mT, x, level)
        std = (level**2 + self.band_std[bands] ** 2).sqrt()
        more, doubt = self.low(x[:, bands], mean[:, bands], std, level, heard, told)
        lower = variance[:, bands] * doubt.clamp(LEAST_DOUBT, MOST_DOUBT).exp()
        rest = slice(self.config.low, None)
        return torch.cat([mean[:, bands] + more, mean[:, rest]], 1), torch.cat([lower, variance[:, rest]], 1)

    def _moments_from(self, said: Tensor, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """D and C from U, F and R, side by side (B, 3M, N)."""
        u, f, *rest = said.float().chunk(self.heads, dim=1)
        r = rest[0].clamp(LEAST_DOUBT, MOST_DOUBT) if rest else torch.zeros_like(f)
        gain = torch.sigmoid(2.0 * (self.band_std / level).log() + u)
        mean = gain * x + level * gain.sqrt() * f
        return mean, level**2 * gain.detach() * r.exp()  # C learns by r alone

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """∇ log p_σ at x (B, K, 1, M, N) for σ ().

        Raises:
            InputError: the coefficients are of another number of bands.
        """
        return (self._moments(x, sigma)[0] - x) / sigma**2

    def moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Mean D and variance C of clean coefficients given noisy x (B, K, 1, M, N) at σ (), each like x.

        Raises:
            InputError: the coefficients are of another number of bands.
            PriorError: there is no variance head.
        """
        if not self.config.variance:
            raise PriorError("the prior does not know its posterior variance", "separate with --set weigh=0")
        return self._moments(x, sigma)

    def loss(
        self, x: Tensor, rng: np.random.Generator, foreign: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Denoising score matching on clean coefficients, with a random σ for each item.

        Args:
            x: (B, M, N).
            rng: of noise levels and noise.
            foreign: like x, sounds of another kind that are to be taken for noise; None: there are none.

        Returns:
            The loss (), and the figures ``mse`` (its first part), ``wiener`` (the same for Wiener's filter,
            which every network begins as) and ``nll`` (of the variance head).
        """
        sigma, noisy = self.disturb(x, rng, foreign)
        mse, wiener, nll = self.errors(x, noisy, sigma, foreign is not None)
        figures = {"mse": float(mse.detach()), "wiener": float(wiener)}
        if not self.config.variance:
            return mse, figures
        return mse + 0.1 * nll, {**figures, "nll": float(nll.detach())}

    def low_loss(
        self, x: Tensor, rng: np.random.Generator, foreign: Tensor | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """What trains the network of the lowest bands: the logarithm of every item's error in them.

        Args:
            x: (B, M, N).
            rng: of noise levels and noise.
            foreign: like x; see ``loss``.

        Returns:
            The loss (), and the figures ``error`` (its first part in dB, compared with the sound itself) and
            ``nll`` (of the variance).
        """
        sigma, noisy = self.disturb(x, rng, foreign)
        error, nll = self.low_errors(x, noisy, sigma)
        figures = {"error": 10 / float(np.log(10)) * float(error.detach()), "nll": float(nll.detach())}
        return error + (0.1 * nll if self.config.variance else 0.0), figures

    def disturb(self, x: Tensor, rng: np.random.Generator, foreign: Tensor | None) -> tuple[Tensor, Tensor]:
        """A random σ for each item (B,), and the items (B, M, N) under noise and other sounds."""
        draws = np.exp(self.config.p_mean + self.config.p_std * rng.standard_normal(len(x)))
        sigma = torch.from_numpy(draws).float().to(x.device)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        return sigma, x + sigma[:, None, None] * noise + (0.0 if foreign is None else foreign)

    def errors(self, x: Tensor, noisy: Tensor, sigma: Tensor, among: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted errors of D and of Wiener's filter, and the likelihood of D's under C; each ().

        Args:
            x: clean coefficients (B, M, N).
            noisy: what is seen of them, like x.
            sigma: (B,).
            among: whether there are other sounds in ``noisy``.
        """
        s, level = self.band_std, sigma[:, None, None]
        mean, variance = self.denoise(noisy, sigma)
        error = (mean - x).square()
        weight = s / (s**3 / (s**2 + level**2)).mean(dim=1, keepdim=True) / level**2
        usual = (noisy * s**2 / (level**2 + s**2) - x).square()
        if among:  # a loud one would outweigh all else where there is little noise
            weight = weight / (weight * usual).mean(dim=(1, 2), keepdim=True).clamp(min=1.0)
        nll = self._surprise(error, variance, level)
        return (weight * error).mean(), (weight * usual).mean(), nll

    def low_errors(self, x: Tensor, noisy: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The mean logarithm of the error of D in the lowest bands, and its likelihood under C; each ()."""
        bands = slice(0, self.config.low)
        mean, variance = (y[:, bands] for y in self.denoise(noisy, sigma))
        error, power = (mean - x[:, bands]).square(), x[:, bands].square().mean(dim=(1, 2))
        least = HIDDEN * noisy[:, bands].square().mean(dim=(1, 2))
        ratio = (error.mean(dim=(1, 2)) + least) / (power + least)
        return ratio.log().mean(), self._surprise(error, variance, sigma[:, None, None])

    def _surprise(self, error: Tensor, variance: Tensor, level: Tensor) -> Tensor:
        """The negative log likelihood () of squared errors (B, L, N) of the lowest L bands under C."""
        s = self.band_std[: error.shape[1]]
        unit = level**2 * s**2 / (level**2 + s**2)  # Wiener's C, so that the figure has no units
        surprise = error.detach() / variance
        held = surprise.clamp(max=SURPRISING) + SURPRISING * (surprise / SURPRISING).clamp(min=1.0).log()
        return 0.5 * (held + (variance / unit).log()).mean()

    def _moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 5 or tuple(x.shape[2:4]) != (1, self.config.bins):
            raise InputError(
                f"coefficients of shape {tuple(x.shape)} for a prior of {self.config.bins} bands",
                "use the hop and the sample rate of the prior, and one channel",
            )
        rows = x.flatten(0, 2)
        mean, variance = self.denoise(rows.float(), sigma.to(rows).float().expand(len(rows)))
        return mean.to(x.dtype).view_as(x), variance.to(x.dtype).view_as(x)
