"""Comparison of networks and numbers of bands for audio denoisers.

A network over frames with the bands as channels, with several numbers of bands, is compared to a U-Net over
bands × frames. All get MDCT coefficients of the same chunks with the same preconditioning, and train for the
same time; the transform is orthonormal, so that errors are comparable between numbers of bands. Printed are
the improvement of the signal-to-noise ratio of held-out audio in dB by denoising at four noise levels, that
of the Wiener filter for stationary bands, the number of parameters, and the time per second of audio.

    python examples/benchmarks/audio_representation.py DATA --source bass --time-budget 600
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sepcli.datasets.stems import StemBank
from sepcli.priors.audio.denoiser_task import AudioTask
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.recordings import measure_bands, open_banks, sample_coefficients
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.images.denoiser import DenoiserConfig, UNet
from sepcli.priors.precision import fastest
from sepcli.training.ema import averaged
from sepcli.training.loop import train
from sepcli.training.task import LoopSettings

RATE = 22050
SIGMAS = (0.003, 0.01, 0.03, 0.1)
"""Noise; recordings have an RMS of 0.05 to 0.2 or so (``sepcli.priors.audio.recordings``)."""


class ImageNet(nn.Module):
    """A 2-D U-Net over bands × frames instead of ``sepcli.priors.audio.mdct_denoiser.FrameNet``.

    Its normalization is over the whole image, so that the output for a frame depends on all others.

    Args:
        config: config of the U-Net.
        heads: number of outputs per cell.
    """

    def __init__(self, config: DenoiserConfig, heads: int) -> None:
        super().__init__()
        self.fold, self.step = config.fold, config.fold * 2 ** (len(config.widths) - 1)
        self.net = UNet(config, 2 * config.fold**2, heads * config.fold**2)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map features (B, 2M, N) and the embedding (B, E) to (B, heads · M, N)."""
        bins, frames = x.shape[1] // 2, x.shape[2]
        image = nn.functional.pad(x.unflatten(1, (2, bins)), (0, -frames % self.step, 0, -bins % self.step))
        out = self.net(nn.functional.pixel_unshuffle(image, self.fold), embedding)
        out = nn.functional.pixel_shuffle(out, self.fold)[..., :bins, :frames]
        return out.flatten(1, 2)


def network(bins: int, image: bool, band_std: tuple[float, ...], tiny: bool) -> SpectralPrior:
    """Return one of the compared networks; all have about the same number of parameters."""
    config = SpectralConfig(bins=bins, band_std=band_std)
    if tiny:
        config = SpectralConfig(bins=bins, band_std=band_std, width=32, blocks=2, embedding=16)
    if not image:
        return SpectralPrior(config)
    widths = (8, 8) if tiny else (80, 128, 192)
    sizes = DenoiserConfig(fold=4, widths=widths, blocks=1 if tiny else 2, embedding=config.embedding)
    return SpectralPrior(config, ImageNet(sizes, 3))


def improvement(prior: SpectralPrior, bank: StemBank, frames: int, chunks: int = 32) -> dict[str, float]:
    """Return the noise reduction in dB, mean over chunks, per σ; that of the Wiener filter as mean over σ."""
    rng = np.random.default_rng(0)
    x = sample_coefficients(bank, rng, chunks, frames, prior.config.bins)
    figures: dict[str, float] = {}
    wiener = []
    for sigma in SIGMAS:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        noisy = x + sigma * noise
        with torch.inference_mode(), fastest(x.device):
            mean = torch.cat(
                [prior.denoise(part, torch.full((len(part),), sigma))[0] for part in noisy.split(4)]
            )
        figures[f"dB at {sigma:g}"] = _decibels(sigma, mean - x)
        variance = prior.band_std**2
        wiener.append(_decibels(sigma, noisy * variance / (variance + sigma**2) - x))
    figures["dB"] = round(float(np.mean(list(figures.values()))), 2)
    return {**figures, "dB of Wiener": round(float(np.mean(wiener)), 2)}


def _decibels(sigma: float, error: Tensor) -> float:
    return round(float(-10 * (error.square().mean(dim=(1, 2)) / sigma**2).log10().mean()), 2)


def seconds_per_second(prior: SpectralPrior, seconds: float = 4.0, repeats: int = 3) -> float:
    """Return the time of one evaluation in seconds per second of audio."""
    frames = round(seconds * prior.config.sample_rate / prior.config.bins)
    x, sigma = torch.zeros(1, prior.config.bins, frames), torch.full((1,), 0.1)
    with torch.inference_mode(), fastest(x.device):
        prior.denoise(x, sigma)
        started = time.perf_counter()
        for _ in range(repeats):
            float(prior.denoise(x, sigma)[0].sum())
    return (time.perf_counter() - started) / repeats / seconds


def compare(
    data: Path,
    source: str,
    seconds: float,
    kinds: list[tuple[int, bool]],
    *,
    length: int = 65536,
    batch: int = 16,
    cache: Path | None = None,
    device: str = "cpu",
    tiny: bool = False,
) -> list[dict[str, float | str]]:
    """Train every network for ``seconds``, and return one row of results per network.

    Args:
        data: recordings of one kind of audio, or a folder in the layout of Slakh2100.
        source: class of the latter.
        seconds: training time per network.
        kinds: number of bands, and whether the network is a U-Net over bands × frames.
        length: samples per chunk, a multiple of all numbers of bands.
        batch: chunks per step.
        cache: folder for decoded recordings.
        device: device of the training.
        tiny: whether to use tiny networks, for a test run.
    """
    learn, held_out = open_banks(data, source, RATE, length, cache)
    rows: list[dict[str, float | str]] = []
    for bins, image in kinds:
        frames = length // bins
        prior = network(bins, image, tuple(measure_bands(learn, frames, bins)), tiny)
        average = averaged(prior.to(device))
        mean = cast(SpectralPrior, average.module)
        task = AudioTask(prior, mean, learn, held_out, batch, frames)
        with tempfile.TemporaryDirectory() as out:
            done = train(
                task,
                Path(out),
                LoopSettings(seconds=seconds, steps=None, validations=1),
                torch.device(device),
                average=average,
            )
        mean = mean.cpu().eval()
        rows.append(
            {
                "network": "image (2-D)" if image else "frames (1-D)",
                "bands": bins,
                "million parameters": round(sum(p.numel() for p in prior.parameters()) / 1e6, 3),
                "steps": done.step,
                **improvement(mean, held_out, frames),
                "ms per second of audio": round(1000 * seconds_per_second(mean), 2),
            }
        )
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    """Compare the networks; print a line per network, and optionally write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, help="recordings of one kind of audio, or a folder in the layout of Slakh2100"
    )
    parser.add_argument("--source", default="audio", help="class of Slakh2100")
    parser.add_argument(
        "--bands", type=int, nargs="+", default=[256, 512, 1024], help="numbers of bands of the 1-D networks"
    )
    parser.add_argument("--time-budget", type=float, default=600.0, help="seconds per network")
    parser.add_argument("--batch", type=int, default=16, help="chunks of three seconds per step")
    parser.add_argument("--cache", type=Path, help="folder for decoded recordings")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, for a test run")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    a = parser.parse_args()
    kinds = [(bins, False) for bins in a.bands] + [(256, True)]
    rows = compare(
        a.data, a.source, a.time_budget, kinds, batch=a.batch, cache=a.cache, device=a.device, tiny=a.tiny
    )
    if a.json:
        a.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
