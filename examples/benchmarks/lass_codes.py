"""Seconds and memory of LASS with 16,384 codes: two images of 256 x 256 from checkpoint to files, and tokens.

    python examples/benchmarks/lass_codes.py --out lass-codes.json

The networks have VQ-GAN's 16,384 codes and 256 tokens per image, few channels, and random weights, so that
the figures are those of codes, table and search, not of the networks. Every command runs in a process of its
own, whose peak resident memory is stated; ``start`` is that of a command that only starts. Before that,
random triples of so many codes are counted, and a window of 1,024 tokens is decoded by beam search.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from sepcli.priors.lass.gpt import GptConfig, GptPrior
from sepcli.priors.lass.import_vqgan import FIRST, RENAMES, SECOND
from sepcli.priors.lass.posterior import LassPosterior
from sepcli.priors.lass.settings import LassSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.transformer import TransformerConfig, TransformerPrior
from sepcli.priors.lass.vqgan import Vqgan, VqganConfig
from sepcli.samplers.beam import Beam

CODES, SIDE = 16384, 256
CODEC = VqganConfig(size=(SIDE, SIDE), width=32, multiples=(1, 1, 1, 1, 2), residuals=1, latent_channels=64)
GPT = GptConfig(CODES, ("image",), dim=64, layers=2, heads=1)
SMALL = TransformerConfig(CODES, ("one", "two"), dim=64, layers=1, heads=2, head_dim=32, context=256)
WINDOW = 1024
PROGRAM = """
import sys
from pathlib import Path
from sepcli.cli.app import run
code = run(sys.argv[1:])
print(Path("/proc/self/status").read_text(), file=sys.stderr)
sys.exit(code)
"""
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
"""The peak of a process in /proc, on Linux; ``ru_maxrss`` of a child is at least that of its parent."""


def save_checkpoint(path: Path) -> None:
    """Write both stages with random weights, as taming-transformers does."""
    torch.manual_seed(0)
    codec, gpt = Vqgan(CODEC), GptPrior(GPT)
    codec.quantizer.codebook.copy_(torch.randn_like(codec.quantizer.codebook))
    nn.init.normal_(gpt.pos_emb, std=0.1)
    theirs = {new: old for old, new in RENAMES.items()}
    first = {FIRST + theirs.get(name, name): tensor for name, tensor in codec.state_dict().items()}
    torch.save({"state_dict": first | {SECOND + n: t for n, t in gpt.state_dict().items()}}, path)


def save_images(folder: Path, count: int) -> None:
    """Write smooth random images in color."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def measure(*words: str | Path) -> dict[str, Any]:
    """Run a command of sepcli; return seconds and the peak of its resident memory, in megabytes."""
    started = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = round(time.perf_counter() - started, 1)
    return {"seconds": seconds, "peak_mb": round(megabytes(done.stderr))}


def images(tokens: int, count: int) -> dict[str, Any]:
    """Import, count and separate, from a checkpoint to the files of two images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(folder / "last.ckpt")
        save_images(folder / "data", count)
        prior = folder / "prior"
        first, second = (np.asarray(Image.open(folder / "data" / f"{n}.png"), float) for n in (0, 1))
        Image.fromarray(((first + second) / 2).astype(np.uint8)).save(folder / "mix.png")
        counting = ["build-likelihood", "--prior", prior, "--data", folder / "data", "--tokens", str(tokens)]
        separating = ["separate", folder / "mix.png", "--prior", prior, "-o", folder / "out", "-q"]
        return {
            "start": measure("samplers"),
            "import": measure(
                "import-prior", folder / "last.ckpt", "--family", "vqgan", "-o", prior, "--heads", "1"
            ),
            "count": {"tokens": tokens, **measure(*counting, "-q", "--set", "held_out=1")},
            "separate": measure(*separating, "--set", "refine=10"),
        }


def megabytes(status: str) -> float:
    """Return the peak resident memory in a text of /proc/PID/status, in megabytes."""
    (found,) = PEAK.findall(status)
    return int(found) / 1024


def peak() -> float:
    """Return the peak resident memory of this process so far, in megabytes."""
    return megabytes(Path("/proc/self/status").read_text())


def tokens(triples: int, beams: int) -> dict[str, Any]:
    """Count random triples, of which every tenth repeats, and decode a window."""
    before, started, rng = peak(), time.perf_counter(), np.random.default_rng(0)
    counter = TripleCounter(CODES)
    for _ in range(10):
        a, b, m = torch.from_numpy(rng.integers(0, CODES, (3, triples // 10)))
        counter.add(a, b, m)
        counter.add(*(part[: triples // 100] for part in (a, b, m)))
    table = LikelihoodTable.of(counter, "codec")
    counted, after = time.perf_counter() - started, peak()
    torch.manual_seed(0)
    prior = TransformerPrior(SMALL).eval()
    started = time.perf_counter()
    mixture = torch.from_numpy(rng.integers(0, CODES, (1, WINDOW)))
    Beam(beams)(LassPosterior(prior, table, mixture, LassSettings()))
    return {
        "nonzeros": table.nonzeros,
        "bytes_per_nonzero": round(table.nbytes / table.nonzeros, 1),
        "seconds_counting": round(counted, 1),
        "peak_mb_counting": round(after - before),
        "beams": beams,
        "seconds_decoding": round(time.perf_counter() - started, 1),
        "peak_mb_decoding": round(peak() - after),
    }


def main() -> None:
    """Measure, print and write one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=100_000, help="tokens of images that are counted")
    parser.add_argument("--images", type=int, default=40, help="images that they come from")
    parser.add_argument("--triples", type=int, default=4_000_000, help="random triples")
    parser.add_argument("--beams", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report = {
        "codes": CODES,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "tokens": tokens(arguments.triples, arguments.beams),
        "images": images(arguments.tokens, arguments.images),
    }
    print(json.dumps(report, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
