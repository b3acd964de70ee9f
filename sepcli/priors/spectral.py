"""A denoiser of sound: D(x, σ) ≈ E[x_0 | x = x_0 + σ ε] on MDCT coefficients, bands × frames.

The transform is orthogonal (see ``sepcli.mdct``), so that white noise of σ on a waveform is white noise of σ
on its coefficients. The bands of sound differ by orders of magnitude, and so each has a data deviation s_f of
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
normalisation is per frame. So D is as long as its input, and a frame depends on those within ``reach``.

Source: Karras et al. 2022 (EDM), table 1 and equation 8, here per band; van den Oord et al. 2016 (dilations);
    Perez et al. 2018 (FiLM). The local gain g, the second view and w_f are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sepcli.errors import InputError, PriorError

LOUD = 8.0
"""Deviations of its band from which on the level of a cell counts by its logarithm: what is foreign to the
sound may be a thousand times as loud as its softest bands, and nothing else would be seen beside it."""
SURPRISING = 200.0
"""Squared errors of so many times C are told of no more than by their logarithm."""


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

    @property
    def reach(self) -> int:
        """How many frames to either side a frame of D depends on."""
        return sum(self.dilations[n % len(self.dilations)] for n in range(self.blocks))


class FrameNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each frame, in float32 whatever autocast says."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, N) to the same, float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float().mT).mT


class Block(nn.Module):
    """A convolution over time and one over channels, beside a short cut; scaled and shifted by the embedding.

    Args:
        width: W.
        embedding: E.
        dilation: frames between the three taps.
    """

    def __init__(self, width: int, embedding: int, dilation: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = FrameNorm(width), FrameNorm(width)
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)
        self.tell = nn.Linear(embedding, 2 * width)
        for parameter in (*self.conv2.parameters(), *self.tell.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, W, N) and the embedding (B, E) to (B, W, N)."""
        scale, shift = self.tell(told)[..., None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        out: Tensor = x + self.conv2(h)
        return out


class FrameNet(nn.Module):
    """Features (B, inner, N) and the embedding (B, E) to (B, outer, N)."""

    def __init__(self, config: SpectralConfig, inner: int, outer: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(inner, config.width, 1)
        self.blocks = nn.ModuleList(
            Block(config.width, config.embedding, config.dilations[n % len(config.dilations)])
            for n in range(config.blocks)
        )
        self.norm, self.leave = FrameNorm(config.width), nn.Conv1d(config.width, outer, 1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """See the class."""
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, told)
        out: Tensor = self.leave(F.silu(self.norm(x)))
        return out


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

    def forward(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """U, F and R at noisy coefficients.

        Args:
            x: (B, M, N), float32.
            sigma: (B,), positive.

        Returns:
            U, F and R, each (B, M, N), float32; R is zero without a variance head.
        """
        level = sigma[:, None, None]
        own = x * (level**2 + self.band_std**2).rsqrt()
        beyond = own - own.clamp(-LOUD, LOUD)
        features = torch.cat(
            [own - beyond + beyond.sign() * beyond.abs().log1p(), (x / level).asinh()], dim=1
        )
        angles = (sigma.log() / 4)[:, None] * self.frequencies
        told = F.silu(self.embed(torch.cat([angles.cos(), angles.sin()], dim=1)))
        u, f, *rest = self.net(features, told).float().chunk(self.heads, dim=1)
        return u, f, rest[0].clamp(-12.0, 6.0) if rest else torch.zeros_like(f)

    def denoise(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """D and C at noisy coefficients (B, M, N) for σ (B,); see ``forward``."""
        u, f, r = self(x, sigma)
        level = sigma[:, None, None]
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
        config, s = self.config, self.band_std
        draws = np.exp(config.p_mean + config.p_std * rng.standard_normal(len(x)))
        sigma = torch.from_numpy(draws).float().to(x.device)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        level = sigma[:, None, None]
        noisy = x + level * noise + (0.0 if foreign is None else foreign)
        mean, variance = self.denoise(noisy, sigma)
        error = (mean - x).square()
        weight = s / (s**3 / (s**2 + level**2)).mean(dim=1, keepdim=True) / level**2
        usual = (noisy * s**2 / (level**2 + s**2) - x).square()
        if foreign is not None:  # a loud one would outweigh all else where there is little noise
            weight = weight / (weight * usual).mean(dim=(1, 2), keepdim=True).clamp(min=1.0)
        mse = (weight * error).mean()
        figures = {"mse": float(mse.detach()), "wiener": float((weight * usual).mean())}
        if not config.variance:
            return mse, figures
        unit = level**2 * s**2 / (level**2 + s**2)  # Wiener's C, so that the figure has no units
        surprise = error.detach() / variance
        held = surprise.clamp(max=SURPRISING) + SURPRISING * (surprise / SURPRISING).clamp(min=1.0).log()
        nll = 0.5 * (held + (variance / unit).log()).mean()
        return mse + 0.1 * nll, {**figures, "nll": float(nll.detach())}

    def _moments(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 5 or tuple(x.shape[2:4]) != (1, self.config.bins):
            raise InputError(
                f"coefficients of shape {tuple(x.shape)} for a prior of {self.config.bins} bands",
                "use the hop and the sample rate of the prior, and one channel",
            )
        rows = x.flatten(0, 2)
        mean, variance = self.denoise(rows.float(), sigma.to(rows).float().expand(len(rows)))
        return mean.to(x.dtype).view_as(x), variance.to(x.dtype).view_as(x)
