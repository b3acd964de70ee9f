"""Which network should denoise sound: one over frames, bands as channels, or a U-Net over bands × frames?

Both see the same MDCT coefficients through the same preconditioning, and learn from the same chunks for the
same time; they differ in the network alone. Printed is what is left of the error of Wiener's filter on
held-out recordings: as it is, times the parameters, times what a second of sound costs.

    python examples/benchmarks/audio_representation.py FOLDER --time-budget 600
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from sepcli.datasets.audio_folder import levelled, open_folder, split
from sepcli.priors.denoiser import DenoiserConfig, UNet
from sepcli.priors.spectral import SpectralConfig, SpectralPrior
from sepcli.training.audio import REFERENCE, AudioTask, measure_bands
from sepcli.training.denoiser import Averaged
from sepcli.training.loop import LoopSettings, train


class PictureNet(nn.Module):
    """A 2-D U-Net over bands × frames, in the place of ``sepcli.priors.spectral.FrameNet``.

    Its normalisation is over the whole picture, so that what it says of a frame depends on all others.

    Args:
        config: of the U-Net.
        heads: numbers per cell that it says.
    """

    def __init__(self, config: DenoiserConfig, heads: int) -> None:
        super().__init__()
        self.fold, self.step = config.fold, config.fold * 2 ** (len(config.widths) - 1)
        self.net = UNet(config, 2 * config.fold**2, heads * config.fold**2)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Features (B, 2M, N) and the embedding (B, E) to (B, heads · M, N)."""
        bins, frames = x.shape[1] // 2, x.shape[2]
        picture = nn.functional.pad(x.unflatten(1, (2, bins)), (0, -frames % self.step, 0, -bins % self.step))
        out = self.net(nn.functional.pixel_unshuffle(picture, self.fold), told)
        out = nn.functional.pixel_shuffle(out, self.fold)[..., :bins, :frames]
        return out.flatten(1, 2)


def networks(config: SpectralConfig, tiny: bool) -> dict[str, SpectralPrior]:
    """The two to compare, of about the same number of parameters."""
    widths, frames = ((8, 8), {"width": 32, "blocks": 2, "embedding": 16}) if tiny else ((80, 128, 184), {})
    common = {"bins": config.bins, "band_std": config.band_std}
    one = SpectralConfig(**common, **frames)
    picture = DenoiserConfig(fold=4, widths=widths, blocks=1 if tiny else 2, embedding=one.embedding)
    return {"frames (1-D)": SpectralPrior(one), "picture (2-D)": SpectralPrior(one, PictureNet(picture, 3))}


def seconds_per_second(prior: SpectralPrior, seconds: float = 4.0, repeats: int = 3) -> float:
    """Time of one evaluation per second of sound."""
    frames = round(seconds * prior.config.sample_rate / prior.config.bins)
    x, sigma = torch.zeros(1, prior.config.bins, frames), torch.full((1,), 0.1)
    device = next(prior.parameters()).device
    with torch.inference_mode():
        prior.denoise(x.to(device), sigma.to(device))
        started = time.perf_counter()
        for _ in range(repeats):
            float(prior.denoise(x.to(device), sigma.to(device))[0].sum())
    return (time.perf_counter() - started) / repeats / seconds


def compare(
    folder: Path,
    seconds: float,
    *,
    frames: int = 256,
    batch: int = 16,
    device: str = "cpu",
    tiny: bool = False,
) -> list[dict[str, float | str]]:
    """Train both for ``seconds`` each; one row of figures per network."""
    bank = levelled(open_folder(folder, "sound", 22050), REFERENCE)
    learn, held_out = split(bank, frames * 256)
    config = SpectralConfig(band_std=tuple(measure_bands(learn, frames, 256)))
    rows: list[dict[str, float | str]] = []
    for name, prior in networks(config, tiny).items():
        task = AudioTask(Averaged(prior.to(device)), learn, held_out, batch, frames)
        with tempfile.TemporaryDirectory() as out:
            done = train(task, Path(out), LoopSettings(seconds=seconds, steps=None), torch.device(device))
        last = done.history[-1]
        left = last["valid_mse"] / last["valid_wiener"]
        million = sum(p.numel() for p in prior.parameters()) / 1e6
        cost = 1000 * seconds_per_second(task.model.mean)
        rows.append(
            {
                "network": name,
                "million parameters": round(million, 3),
                "steps": done.step,
                "error left": round(left, 4),
                "× million parameters": round(left * million, 4),
                "ms per second of sound": round(cost, 2),
                "× ms": round(left * cost, 4),
            }
        )
    return rows


def main() -> None:
    """Compare, and print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="recordings of one kind of sound")
    parser.add_argument("--time-budget", type=float, default=600.0, help="seconds per network")
    parser.add_argument("--frames", type=int, default=256, help="MDCT frames per chunk")
    parser.add_argument("--batch", type=int, default=16, help="chunks per step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the program")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    rows = compare(a.folder, a.time_budget, frames=a.frames, batch=a.batch, device=a.device, tiny=a.tiny)
    if a.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
